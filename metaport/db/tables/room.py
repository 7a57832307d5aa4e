"""What is laid down about rooms."""

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, Table, Text

from metaport.db.personal import Personal, personal
from metaport.db.tables import metadata

# A row stays when its settings are removed: hubs read what is new by its revision.
room_settings = Table(
    "room_settings",
    metadata,
    Column("room", Text, primary_key=True, comment="방 / room"),
    Column(
        "kind",
        Text,
        nullable=False,
        comment="public, private, direct: 누구나, 초대받은 사람, 두 사람 / who may enter",
    ),
    Column(
        "persistent",
        Boolean,
        nullable=False,
        comment="대화를 데이터베이스에 남기는지 / whether its messages are kept in SQL",
    ),
    Column(
        "capacity",
        Integer,
        comment="동시에 들어갈 수 있는 사람 수, 없으면 제한 없음 / users at once, null is no bound",
    ),
    # Who is erased is taken out of it by `metaport.erasing`.
    Column("users", Text, nullable=False, comment="초대받은 사용자, JSON / invited users, JSON"),
    Column("guests", Boolean, nullable=False, comment="손님 입장 허용 / whether guests may enter"),
    Column(
        "subscribed",
        Boolean,
        nullable=False,
        comment="초대받은 사용자는 요청 없이 들어가 있는지 / whether users are in without asking",
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
        comment="모든 방을 통틀어 변경 순번 / order of changes over all rooms",
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
    Index("room_settings_by_revision", "revision", unique=True),
    comment="방의 종류와 규칙 / kinds and rules of rooms",
)
