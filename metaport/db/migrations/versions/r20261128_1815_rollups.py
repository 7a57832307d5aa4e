"""Sums of usage by hour, day and month; windows partitioned by month on PostgreSQL.

The sums are made when a program first opens the ledger, because they depend on its zone.
"""

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "r20261128_1815_rollups"
down_revision = "r20261128_1805_revocation"

SUM = sa.Numeric(38, 0).with_variant(sa.BigInteger(), "sqlite")
KEY = "window_start_s, node, boot, meter, room, user_id"


def upgrade() -> None:
    _windows_again(partitioned=True)
    _window(
        "usage_late",
        "상세를 지운 뒤에 도착하여 합계에 넣지 않은 사용량 / usage that came after the details of "
        "its time were dropped, in no sum",
    )
    _rollup(
        "usage_hour",
        "UTC 시(時)의 시작, UTC 초 / start of the hour of UTC, Unix seconds",
        "시간별 합계 / sums of usage_window by hour",
    )
    _rollup(
        "usage_day",
        "장부 시간대의 날의 시작, UTC 초 / start of the day in the ledger's zone, Unix seconds",
        "날별 합계 / sums of usage_window by day",
    )
    _rollup(
        "usage_month",
        "장부 시간대의 달의 시작, UTC 초 / start of the month in the ledger's zone, Unix seconds",
        "달별 합계 / sums of usage_window by month",
    )
    op.create_table(
        "active_user",
        sa.Column(
            "month_start_s",
            sa.BigInteger,
            primary_key=True,
            autoincrement=False,
            comment="장부 시간대의 달의 시작, UTC 초 / start of the month in the ledger's zone",
        ),
        sa.Column("user_id", sa.Text, primary_key=True, comment="사용자 / user"),
        comment="달마다 사용량이 있는 사용자 / users with any usage, by month",
        sqlite_with_rowid=False,
    )
    op.create_table(
        "usage_gauge",
        sa.Column(
            "at_s",
            sa.BigInteger,
            primary_key=True,
            autoincrement=False,
            comment="잰 시각, UTC 초 / when it was measured, Unix seconds",
        ),
        sa.Column("meter", sa.Text, primary_key=True, comment="계량 항목 / meter"),
        sa.Column("node", sa.Text, primary_key=True, comment="잰 서버 / node that measured"),
        sa.Column(
            "boot", sa.Text, primary_key=True, comment="서버의 기동 회차 / boot of that node"
        ),
        sa.Column(
            "quantity",
            sa.BigInteger,
            nullable=False,
            comment="그때의 크기 / how much at that time",
        ),
        sa.CheckConstraint("quantity >= 0", name=op.f("usage_gauge_quantity_not_negative")),
        comment="더하지 않고 가장 큰 값을 보는 계량 / what is not added up but has a peak",
        sqlite_with_rowid=False,
    )
    op.create_table(
        "ledger_setting",
        sa.Column(
            "name",
            sa.Text,
            primary_key=True,
            comment="이름: zone, detail_from_s / name of the setting",
        ),
        sa.Column("value", sa.Text, nullable=False, comment="값 / its value"),
        comment="합계의 시간대, 상세가 남은 때 / the zone of the sums, since when details are kept",
    )


def downgrade() -> None:
    for table in (
        "ledger_setting",
        "usage_gauge",
        "active_user",
        "usage_month",
        "usage_day",
        "usage_hour",
        "usage_late",
    ):
        op.drop_table(table)
    _windows_again(partitioned=False)


def _windows_again(*, partitioned: bool) -> None:
    """Make usage_window anew and move its rows."""
    op.drop_index("usage_window_by_user", "usage_window")
    op.rename_table("usage_window", "usage_window_before")
    postgres = op.get_context().dialect.name == "postgresql"
    if postgres:
        op.execute("ALTER INDEX usage_window_pkey RENAME TO usage_window_before_pkey")
    _window(
        "usage_window",
        "구간별 사용량 / usage by window; the greatest quantity of a key is the truth",
        checked=partitioned,
        partitioned=partitioned,
    )
    op.create_index("usage_window_by_user", "usage_window", ["user_id", "window_start_s"])
    if postgres and partitioned:
        _partitions()
    op.execute(
        f"INSERT INTO usage_window ({KEY}, quantity) "
        f"SELECT {KEY}, quantity FROM usage_window_before"
    )
    op.drop_table("usage_window_before")


def _partitions() -> None:
    starts = op.get_bind().scalars(
        sa.text("SELECT DISTINCT window_start_s FROM usage_window_before")
    )
    months = {datetime.fromtimestamp(s, UTC).strftime("%Y-%m") for s in starts}
    for month in sorted(months):
        year, number = map(int, month.split("-"))
        first = datetime(year, number, 1, tzinfo=UTC)
        after = datetime(year + number // 12, number % 12 + 1, 1, tzinfo=UTC)
        op.execute(
            f"CREATE TABLE usage_window_{first:%Y%m} PARTITION OF usage_window "
            f"FOR VALUES FROM ({int(first.timestamp())}) TO ({int(after.timestamp())})"
        )


def _window(name: str, comment: str, *, checked: bool = True, partitioned: bool = False) -> None:
    by_month: dict[str, Any] = {"postgresql_partition_by": "RANGE (window_start_s)"}
    op.create_table(
        name,
        sa.Column(
            "window_start_s",
            sa.BigInteger,
            primary_key=True,
            autoincrement=False,
            comment="900초 구간의 시작, UTC 초 / start of the 900 s window, Unix seconds",
        ),
        sa.Column("node", sa.Text, primary_key=True, comment="센 서버 / node that counted"),
        sa.Column(
            "boot", sa.Text, primary_key=True, comment="서버의 기동 회차 / boot of that node"
        ),
        sa.Column("meter", sa.Text, primary_key=True, comment="계량 항목 / meter"),
        sa.Column(
            "room", sa.Text, primary_key=True, comment="방, 없으면 빈 값 / room, empty if none"
        ),
        sa.Column(
            "user_id",
            sa.Text,
            primary_key=True,
            comment="사용자, 없으면 빈 값 / user, empty if none",
        ),
        sa.Column(
            "quantity",
            sa.BigInteger,
            nullable=False,
            comment="누적 수량: 건, 초, 바이트 / cumulative quantity: messages, seconds, bytes",
        ),
        *(
            [sa.CheckConstraint("quantity >= 0", name=op.f(f"{name}_quantity_not_negative"))]
            if checked
            else []
        ),
        comment=comment,
        sqlite_with_rowid=False,
        **(by_month if partitioned else {}),
    )


def _rollup(name: str, start: str, comment: str) -> None:
    op.create_table(
        name,
        sa.Column("start_s", sa.BigInteger, primary_key=True, autoincrement=False, comment=start),
        sa.Column("meter", sa.Text, primary_key=True, comment="계량 항목 / meter"),
        sa.Column(
            "app", sa.Text, primary_key=True, comment="앱 / app, see metering.events.place_of"
        ),
        sa.Column(
            "space", sa.Text, primary_key=True, comment="공간, 없으면 빈 값 / space, empty if none"
        ),
        sa.Column(
            "room", sa.Text, primary_key=True, comment="방, 없으면 빈 값 / room, empty if none"
        ),
        sa.Column(
            "quantity", SUM, nullable=False, comment="수량의 합 / sum of the quantities of windows"
        ),
        sa.CheckConstraint("quantity >= 0", name=op.f(f"{name}_quantity_not_negative")),
        comment=comment,
        sqlite_with_rowid=False,
    )
