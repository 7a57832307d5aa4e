"""People who were erased: that it was done, not who they were."""

from sqlalchemy import BigInteger, CheckConstraint, Column, Table, Text

from metaport.db.personal import Personal, personal
from metaport.db.tables import metadata

erasure = Table(
    "erasure",
    metadata,
    Column(
        "pseudonym", Text, primary_key=True, comment="대신 쓰는 이름 / what stands for the person"
    ),
    Column(
        "user_id",
        Text,
        info=personal(Personal.PERSON),
        comment="지울 사용자, 끝나면 비움 / user to be erased; none once it is done",
    ),
    Column(
        "asked_by",
        Text,
        nullable=False,
        info=personal(Personal.ACTOR),
        comment="요청한 사람 / who asked for it",
    ),
    Column("at_s", BigInteger, nullable=False, comment="요청 시각, UTC 초 / when, Unix seconds"),
    Column("done_at_s", BigInteger, comment="다 지운 시각, UTC 초 / when nothing was left"),
    Column(
        "counts",
        Text,
        nullable=False,
        comment="표마다 지우거나 바꾼 행, JSON / rows deleted or changed, by table, JSON",
    ),
    CheckConstraint("(user_id IS NULL) = (done_at_s IS NOT NULL)", name="forgets_when_done"),
    comment="개인정보 삭제 기록 / erasures of personal data",
)
