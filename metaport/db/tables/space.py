"""What is laid down about spaces."""

from sqlalchemy import BigInteger, Boolean, CheckConstraint, Column, Index, Integer, Table, Text

from metaport.db.personal import Personal, personal
from metaport.db.tables import metadata

# A row stays when its settings are removed: hubs read what is new by its revision.
space = Table(
    "space",
    metadata,
    Column("space", Text, primary_key=True, comment="공간의 이름 / name of the space"),
    Column("title_ko", Text, nullable=False, comment="한국어 제목 / title in Korean"),
    Column("title_en", Text, nullable=False, comment="영어 제목 / title in English"),
    Column(
        "capacity",
        Integer,
        comment="동시에 들어갈 수 있는 사람 수, 없으면 제한 없음 / users at once, null is no bound",
    ),
    Column("zone", Text, nullable=False, comment="운영 시간의 시간대 / zone of its hours"),
    Column("hours", Text, nullable=False, comment="운영 시간, JSON / opening hours, JSON"),
    Column("closed", Boolean, nullable=False, comment="닫아 두었는지 / closed whatever the hours"),
    Column("state", Text, nullable=False, comment="화면에 보이는 상태, JSON / state, JSON"),
    Column(
        "state_revision",
        BigInteger,
        nullable=False,
        comment="상태가 바뀐 횟수 / how often the state was changed",
    ),
    Column(
        "removed",
        Boolean,
        nullable=False,
        comment="설정이 지워졌는지 / whether nothing is laid down any more",
    ),
    Column(
        "revision",
        BigInteger,
        nullable=False,
        comment="모든 공간을 통틀어 변경 순번 / order of changes over all spaces",
    ),
    Column(
        "changed_by",
        Text,
        nullable=False,
        info=personal(Personal.ACTOR),
        comment="바꾼 사용자 / user who changed it",
    ),
    Column(
        "changed_at_s",
        BigInteger,
        nullable=False,
        comment="바꾼 시각, UTC 초 / when it was changed, Unix seconds",
    ),
    CheckConstraint("capacity IS NULL OR capacity > 0", name="capacity_counts"),
    CheckConstraint("state_revision >= 0", name="state_counts"),
    Index("space_by_revision", "revision", unique=True),
    comment="공간의 규칙과 상태 / rules and state of spaces",
)
