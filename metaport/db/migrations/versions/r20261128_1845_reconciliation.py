"""What a day's figures were compared with, and what differed."""

import sqlalchemy as sa
from alembic import op

revision = "r20261128_1845_reconciliation"
down_revision = "r20261128_1835_periods"


def upgrade() -> None:
    op.create_table(
        "reconciliation",
        sa.Column(
            "day", sa.Text, primary_key=True, comment="날, 예: 2026-11-28 / day, such as 2026-11-28"
        ),
        sa.Column(
            "checked_at_s",
            sa.BigInteger,
            nullable=False,
            comment="견준 때, UTC 초 / when, Unix seconds",
        ),
        sa.Column(
            "compared", sa.Text, nullable=False, comment="견준 수, JSON / how many, by check, JSON"
        ),
        sa.Column(
            "differences", sa.Text, nullable=False, comment="다른 것, JSON / what differs, JSON"
        ),
        sa.Column(
            "skipped",
            sa.Text,
            nullable=False,
            comment="견주지 못한 것, JSON / what could not be, JSON",
        ),
        comment="사용량 대조 결과 / usage compared with what others know, by day",
    )


def downgrade() -> None:
    op.drop_table("reconciliation")
