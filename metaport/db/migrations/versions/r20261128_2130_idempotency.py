"""Answers of requests that are not done twice."""

import sqlalchemy as sa
from alembic import op

revision = "r20261128_2130_idempotency"
down_revision = "r20261128_2115_sessions"


def upgrade() -> None:
    op.create_table(
        "api_idempotency",
        sa.Column("caller", sa.Text, primary_key=True, comment="요청한 사용자 / user who asked"),
        sa.Column(
            "key_hash",
            sa.Text,
            primary_key=True,
            comment="Idempotency-Key의 SHA-256 / SHA-256 of the Idempotency-Key",
        ),
        sa.Column(
            "request_hash",
            sa.Text,
            nullable=False,
            comment="요청의 SHA-256: 메서드, 경로, 본문 / SHA-256 of method, path and body",
        ),
        sa.Column(
            "claimed_by",
            sa.Text,
            nullable=False,
            comment="처리 중인 요청의 id / id of the request that does it",
        ),
        sa.Column(
            "claimed_at_s",
            sa.BigInteger,
            nullable=False,
            comment="처리를 시작한 시각, UTC 초 / when it was begun, Unix seconds",
        ),
        sa.Column(
            "status",
            sa.Integer,
            comment="HTTP 상태, 처리 중에는 없음 / none while under way",
        ),
        sa.Column(
            "answer",
            sa.LargeBinary,
            comment="봉인된 답, 비밀이 있을 수 있음 / the answer, sealed: it may hold a secret",
        ),
        comment="같은 Idempotency-Key의 요청에 돌려줄 답 / answers told again to repeats",
    )
    op.create_index("api_idempotency_by_time", "api_idempotency", ["claimed_at_s"])


def downgrade() -> None:
    op.drop_table("api_idempotency")
