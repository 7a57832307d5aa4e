"""How far webhook events have been read from each log."""

import sqlalchemy as sa
from alembic import op

revision = "r20261128_2135_webhook_checkpoint"
down_revision = "r20261128_2130_idempotency"


def upgrade() -> None:
    op.create_table(
        "webhook_checkpoint",
        sa.Column("reader", sa.Text, primary_key=True, comment="읽는 기록 / log that is read"),
        sa.Column(
            "position",
            sa.BigInteger,
            nullable=False,
            comment="읽은 위치 / position up to which its events are put",
        ),
        comment="기록에서 사건을 어디까지 읽었는지 / how far events have been read from each log",
    )


def downgrade() -> None:
    op.drop_table("webhook_checkpoint")
