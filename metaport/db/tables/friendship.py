"""Who is a friend of whom, or asked to be; and who wants nothing from whom."""

from sqlalchemy import BigInteger, CheckConstraint, Column, Index, Table, Text

from metaport.db.personal import GOES, Personal, personal
from metaport.db.tables import metadata

friendship = Table(
    "friendship",
    metadata,
    # The order of two ids depends on the collation; the digest of both does not.
    Column(
        "pair",
        Text,
        primary_key=True,
        comment="두 사람의 해시, 쌍마다 한 줄 / hash of the two, one row a pair",
    ),
    Column(
        "asker",
        Text,
        nullable=False,
        info=personal(Personal.PERSON),
        comment="신청한 사람 / who asked",
    ),
    Column(
        "asked",
        Text,
        nullable=False,
        info=personal(Personal.PERSON),
        comment="신청받은 사람 / who was asked",
    ),
    Column(
        "asked_at_s",
        BigInteger,
        nullable=False,
        comment="신청한 시각, UTC 초 / when it was asked, Unix seconds",
    ),
    Column(
        "accepted_at_s",
        BigInteger,
        comment="받아들인 시각, UTC 초 / when it was accepted, Unix seconds; none while it waits",
    ),
    CheckConstraint("asker <> asked", name="of_two"),
    CheckConstraint("length(pair) = 64", name="pair_is_sha256"),
    Index("friendship_by_asker", "asker"),
    Index("friendship_by_asked", "asked"),
    info=GOES,
    comment="친구 관계와 친구 신청 / friends, and requests to be",
)

block = Table(
    "block",
    metadata,
    Column(
        "blocker",
        Text,
        primary_key=True,
        info=personal(Personal.PERSON),
        comment="차단한 사람 / who blocks",
    ),
    # Not PERSON: an export must not tell somebody who blocks them.
    Column(
        "blocked",
        Text,
        primary_key=True,
        info=personal(Personal.ACTOR),
        comment="차단된 사람 / who is blocked",
    ),
    Column(
        "at_s",
        BigInteger,
        nullable=False,
        comment="차단한 시각, UTC 초 / when it was blocked, Unix seconds",
    ),
    CheckConstraint("blocker <> blocked", name="of_another"),
    Index("block_by_blocked", "blocked"),
    info=GOES,
    comment="차단 / who blocks whom",
)
