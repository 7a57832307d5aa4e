"""Usage by window, and how far each log has been read."""

import sqlalchemy as sa
from alembic import op

revision = "r20261109_0900_usage"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "usage_window",
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
        comment="구간별 사용량 / usage by window; the greatest quantity of a key is the truth",
        sqlite_with_rowid=False,
    )
    op.create_index("usage_window_by_user", "usage_window", ["user_id", "window_start_s"])
    op.create_table(
        "reader_checkpoint",
        sa.Column("reader", sa.Text, primary_key=True, comment="읽는 프로세스 / reader of a log"),
        sa.Column("position", sa.Text, nullable=False, comment="읽은 위치 / position in that log"),
        sa.Column(
            "at_s",
            sa.BigInteger,
            nullable=False,
            comment="이 시각 이전은 모두 반영됨, UTC 초 / all before this Unix second is kept",
        ),
        comment="사용량 기록을 어디까지 옮겼는지 / how far usage has been carried into the ledger",
    )


def downgrade() -> None:
    op.drop_table("reader_checkpoint")
    op.drop_table("usage_window")
    op.drop_table("schema_version", if_exists=True)
