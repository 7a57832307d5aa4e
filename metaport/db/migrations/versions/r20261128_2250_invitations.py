"""Invitations into private rooms, and who has come by them."""

import sqlalchemy as sa
from alembic import op

revision = "r20261128_2250_invitations"
down_revision = "r20261128_2245_friends"


def upgrade() -> None:
    op.create_table(
        "invitation",
        sa.Column("id", sa.Text, nullable=False, comment="초대의 id / id of the invitation"),
        sa.Column(
            "digest",
            sa.Text,
            nullable=False,
            comment="초대 코드의 SHA-256 / hash of the code, which is not kept",
        ),
        sa.Column("room", sa.Text, nullable=False, comment="방 / room"),
        sa.Column(
            "max_uses", sa.Integer, nullable=False, comment="쓸 수 있는 사람 수 / people it is for"
        ),
        sa.Column("uses", sa.Integer, nullable=False, comment="쓴 사람 수 / people who came by it"),
        sa.Column("made_by", sa.Text, nullable=False, comment="초대한 사람 / who made it"),
        sa.Column(
            "made_at_s",
            sa.BigInteger,
            nullable=False,
            comment="만든 시각, UTC 초 / when it was made, Unix seconds",
        ),
        sa.Column(
            "expires_at_s",
            sa.BigInteger,
            nullable=False,
            comment="끝나는 시각, UTC 초 / when it ends, Unix seconds",
        ),
        sa.Column("revoked_by", sa.Text, comment="거둔 사람 / who took it back"),
        sa.CheckConstraint("max_uses >= 1", name=op.f("invitation_is_for_somebody")),
        sa.CheckConstraint("uses >= 0 AND uses <= max_uses", name=op.f("invitation_uses_bounded")),
        sa.CheckConstraint("expires_at_s > made_at_s", name=op.f("invitation_ends_later")),
        sa.CheckConstraint("length(digest) = 64", name=op.f("invitation_digest_is_sha256")),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("digest", name=op.f("invitation_unique_digest")),
        comment="방 초대 / invitations into rooms",
    )
    op.create_index("invitation_by_room", "invitation", ["room", "id"])
    op.create_table(
        "invitation_use",
        sa.Column("invitation", sa.Text, nullable=False, comment="초대 / invitation"),
        sa.Column("user_id", sa.Text, nullable=False, comment="들어온 사람 / who came by it"),
        sa.Column(
            "at_s",
            sa.BigInteger,
            nullable=False,
            comment="쓴 시각, UTC 초 / when it was used, Unix seconds",
        ),
        sa.ForeignKeyConstraint(
            ["invitation"],
            ["invitation.id"],
            name=op.f("invitation_use_invitation_fkey"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("invitation", "user_id"),
        comment="초대를 쓴 사람 / who came by an invitation",
    )


def downgrade() -> None:
    op.drop_table("invitation_use")
    op.drop_table("invitation")
