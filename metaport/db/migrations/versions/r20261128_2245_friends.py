"""Friends, requests to be, and blocks."""

import sqlalchemy as sa
from alembic import op

revision = "r20261128_2245_friends"
down_revision = "r20261128_2204_spaces"


def upgrade() -> None:
    op.create_table(
        "friendship",
        sa.Column(
            "pair",
            sa.Text,
            nullable=False,
            comment="두 사람의 해시, 쌍마다 한 줄 / hash of the two, one row a pair",
        ),
        sa.Column("asker", sa.Text, nullable=False, comment="신청한 사람 / who asked"),
        sa.Column("asked", sa.Text, nullable=False, comment="신청받은 사람 / who was asked"),
        sa.Column(
            "asked_at_s",
            sa.BigInteger,
            nullable=False,
            comment="신청한 시각, UTC 초 / when it was asked, Unix seconds",
        ),
        sa.Column(
            "accepted_at_s",
            sa.BigInteger,
            comment="받아들인 시각, UTC 초 / "
            "when it was accepted, Unix seconds; none while it waits",
        ),
        sa.CheckConstraint("asker <> asked", name=op.f("friendship_of_two")),
        sa.CheckConstraint("length(pair) = 64", name=op.f("friendship_pair_is_sha256")),
        sa.PrimaryKeyConstraint("pair"),
        comment="친구 관계와 친구 신청 / friends, and requests to be",
    )
    op.create_index("friendship_by_asker", "friendship", ["asker"])
    op.create_index("friendship_by_asked", "friendship", ["asked"])
    op.create_table(
        "block",
        sa.Column("blocker", sa.Text, nullable=False, comment="차단한 사람 / who blocks"),
        sa.Column("blocked", sa.Text, nullable=False, comment="차단된 사람 / who is blocked"),
        sa.Column(
            "at_s",
            sa.BigInteger,
            nullable=False,
            comment="차단한 시각, UTC 초 / when it was blocked, Unix seconds",
        ),
        sa.CheckConstraint("blocker <> blocked", name=op.f("block_of_another")),
        sa.PrimaryKeyConstraint("blocker", "blocked"),
        comment="차단 / who blocks whom",
    )
    op.create_index("block_by_blocked", "block", ["blocked"])


def downgrade() -> None:
    op.drop_table("block")
    op.drop_table("friendship")
