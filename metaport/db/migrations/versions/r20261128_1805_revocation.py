"""Tokens taken back before their time."""

import sqlalchemy as sa
from alembic import op

revision = "r20261128_1805_revocation"
down_revision = "r20261128_1800_revisions"


def upgrade() -> None:
    op.create_table(
        "token_revocation",
        sa.Column(
            "serial",
            sa.BigInteger().with_variant(sa.Integer, "sqlite"),
            primary_key=True,
            comment="기록 순번 / order of entry",
        ),
        sa.Column(
            "kind",
            sa.Text,
            nullable=False,
            comment="token 또는 user / token: one by its id; user: all of a user's",
        ),
        sa.Column(
            "subject", sa.Text, nullable=False, comment="토큰 id 또는 사용자 / id of token or user"
        ),
        sa.Column(
            "before_ms",
            sa.BigInteger,
            nullable=False,
            comment="이 시각 전에 발급된 것, UTC 밀리초 / issued before, Unix milliseconds",
        ),
        sa.Column(
            "until_s",
            sa.BigInteger,
            nullable=False,
            comment="이 시각 뒤에는 지워도 됨, UTC 초 / may be forgotten then, Unix seconds",
        ),
        sa.Column(
            "at_s",
            sa.BigInteger,
            nullable=False,
            comment="취소한 시각, UTC 초 / when, Unix seconds",
        ),
        comment="만료 전에 취소된 토큰 / tokens taken back before their time",
    )


def downgrade() -> None:
    op.drop_table("token_revocation")
