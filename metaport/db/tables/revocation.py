"""Tokens taken back before their time."""

from sqlalchemy import BigInteger, Column, Integer, Table, Text

from metaport.db.tables import metadata

# Never changed, only added and deleted: hubs read what is new by its serial number.
token_revocation = Table(
    "token_revocation",
    metadata,
    Column(
        "serial",
        # SQLite counts by itself in a column of exactly this type.
        BigInteger().with_variant(Integer, "sqlite"),
        primary_key=True,
        comment="기록 순번 / order of entry",
    ),
    Column(
        "kind",
        Text,
        nullable=False,
        comment="token 또는 user / token: one by its id; user: all of a user's",
    ),
    Column("subject", Text, nullable=False, comment="토큰 id 또는 사용자 / id of token or user"),
    Column(
        "before_ms",
        BigInteger,
        nullable=False,
        comment="이 시각 전에 발급된 것, UTC 밀리초 / issued before, Unix milliseconds",
    ),
    Column(
        "until_s",
        BigInteger,
        nullable=False,
        comment="이 시각 뒤에는 지워도 됨, UTC 초 / may be forgotten then, Unix seconds",
    ),
    Column("at_s", BigInteger, nullable=False, comment="취소한 시각, UTC 초 / when, Unix seconds"),
    comment="만료 전에 취소된 토큰 / tokens taken back before their time",
)
