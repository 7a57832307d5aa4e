"""Usage by session; what a closed month had been compared with; comparisons of several machines."""

import sqlalchemy as sa
from alembic import op

revision = "r20261128_2115_sessions"
down_revision = "r20261128_2112_moderation"

COMPARED = "day, checked_at_s, compared, differences, skipped"


def upgrade() -> None:
    op.create_table(
        "usage_session",
        sa.Column(
            "window_start_s",
            sa.BigInteger,
            primary_key=True,
            autoincrement=False,
            comment="900초 구간의 시작, UTC 초 / start of the 900 s window, Unix seconds",
        ),
        sa.Column(
            "began_s",
            sa.BigInteger,
            primary_key=True,
            autoincrement=False,
            comment="참여가 시작된 때, UTC 초 / when the session began, Unix seconds",
        ),
        sa.Column(
            "session", sa.Text, primary_key=True, comment="참여 / session: a stay in a room's media"
        ),
        sa.Column("meter", sa.Text, primary_key=True, comment="계량 항목 / meter"),
        sa.Column("node", sa.Text, primary_key=True, comment="센 서버 / node that counted"),
        sa.Column(
            "boot", sa.Text, primary_key=True, comment="서버의 기동 회차 / boot of that node"
        ),
        sa.Column(
            "quantity", sa.BigInteger, nullable=False, comment="누적 초 / cumulative seconds"
        ),
        sa.CheckConstraint("quantity >= 0", name=op.f("usage_session_quantity_not_negative")),
        comment="참여별 사용량 / seconds by session, which usage_window has by user",
        postgresql_partition_by="RANGE (window_start_s)",
        sqlite_with_rowid=False,
    )
    op.create_index("usage_session_by_session", "usage_session", ["session", "window_start_s"])
    for name, comment in (
        (
            "sessions",
            "참여별로 올림한 시간, JSON / what sessions came to where they are rounded, JSON",
        ),
        (
            "reconciled",
            "마감 때의 대조 결과, JSON / what had been compared when it was closed, JSON",
        ),
    ):
        op.add_column(
            "closed_month",
            sa.Column(name, sa.Text, nullable=False, server_default="[]", comment=comment),
        )
    _comparisons_again(
        sa.Column(
            "node",
            sa.Text,
            primary_key=True,
            comment="대조한 서버 / first hub of the machine that compared",
        )
    )
    op.execute(
        f"INSERT INTO reconciliation (node, {COMPARED}) "
        f"SELECT 'hub', {COMPARED} FROM reconciliation_before"
    )
    op.drop_table("reconciliation_before")


def downgrade() -> None:
    _comparisons_again()
    op.execute(
        f"INSERT INTO reconciliation ({COMPARED}) "
        f"SELECT {COMPARED} FROM reconciliation_before AS r "
        "WHERE node = (SELECT min(node) FROM reconciliation_before AS s WHERE s.day = r.day)"
    )
    op.drop_table("reconciliation_before")
    op.drop_column("closed_month", "reconciled")
    op.drop_column("closed_month", "sessions")
    op.drop_table("usage_session")


def _comparisons_again(*node: sa.Column[str]) -> None:
    """Make reconciliation anew, beside what it was."""
    op.rename_table("reconciliation", "reconciliation_before")
    if op.get_context().dialect.name == "postgresql":
        op.execute("ALTER INDEX reconciliation_pkey RENAME TO reconciliation_before_pkey")
    op.create_table(
        "reconciliation",
        sa.Column(
            "day", sa.Text, primary_key=True, comment="날, 예: 2026-11-28 / day, such as 2026-11-28"
        ),
        *node,
        sa.Column(
            "checked_at_s",
            sa.BigInteger,
            nullable=False,
            comment="견준 때, UTC 초 / when, Unix seconds",
        ),
        sa.Column(
            "compared",
            sa.Text,
            nullable=False,
            comment="견준 수, JSON / how many, by check, JSON",
        ),
        sa.Column(
            "differences",
            sa.Text,
            nullable=False,
            comment="다른 것, JSON / what differs, JSON",
        ),
        sa.Column(
            "skipped",
            sa.Text,
            nullable=False,
            comment="견주지 못한 것, JSON / what could not be, JSON",
        ),
        comment="사용량 대조 결과 / usage compared with what others know, by day",
    )
