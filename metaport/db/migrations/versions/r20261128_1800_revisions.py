"""Numbered versions become revisions; the way back writes the numbers that programs then read."""

import time

import sqlalchemy as sa
from alembic import op

revision = "r20261128_1800_revisions"
down_revision = "r20261119_0900_history"


def upgrade() -> None:
    op.drop_table("schema_version", if_exists=True)


def downgrade() -> None:
    versions = op.create_table(
        "schema_version",
        sa.Column("version", sa.Integer, primary_key=True, comment="스키마 판 / schema version"),
        sa.Column(
            "applied_at_s",
            sa.BigInteger,
            nullable=False,
            comment="적용 시각, UTC 초 / when it was applied, seconds since the Unix epoch",
        ),
        comment="이 데이터베이스에 적용된 스키마 판 / versions of the schema applied here",
    )
    at_s = int(time.time())
    op.bulk_insert(versions, [{"version": n, "applied_at_s": at_s} for n in (1, 2)])
