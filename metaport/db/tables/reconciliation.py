"""What a day's figures were compared with, and what differed."""

from sqlalchemy import BigInteger, Column, Table, Text

from metaport.db.tables import metadata

reconciliation = Table(
    "reconciliation",
    metadata,
    Column("day", Text, primary_key=True, comment="날, 예: 2026-11-28 / day, such as 2026-11-28"),
    Column(
        "node",
        Text,
        primary_key=True,
        comment="대조한 서버 / first hub of the machine that compared",
    ),
    Column(
        "checked_at_s", BigInteger, nullable=False, comment="견준 때, UTC 초 / when, Unix seconds"
    ),
    Column("compared", Text, nullable=False, comment="견준 수, JSON / how many, by check, JSON"),
    Column("differences", Text, nullable=False, comment="다른 것, JSON / what differs, JSON"),
    Column(
        "skipped", Text, nullable=False, comment="견주지 못한 것, JSON / what could not be, JSON"
    ),
    comment="사용량 대조 결과 / usage compared with what others know, by day",
)
