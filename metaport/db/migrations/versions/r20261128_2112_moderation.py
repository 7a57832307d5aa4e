"""What moderators have done."""

import sqlalchemy as sa
from alembic import op

revision = "r20261128_2112_moderation"
down_revision = "r20261128_2106_identity"


def upgrade() -> None:
    op.create_table(
        "moderation_act",
        sa.Column(
            "revision",
            sa.BigInteger,
            autoincrement=False,
            nullable=False,
            comment="조치의 순번, 1부터 / order of acts, from 1",
        ),
        sa.Column(
            "act",
            sa.Text,
            nullable=False,
            comment="조치: mute, unmute, kick, ban, unban, remove, move, expel / what was done",
        ),
        sa.Column(
            "room", sa.Text, nullable=False, comment="방 또는 방 이름의 무늬 / room, or a pattern"
        ),
        sa.Column("user_id", sa.Text, comment="대상 사용자 / whom it concerns"),
        sa.Column("what", sa.Text, comment="음소거한 것, JSON / what is muted, JSON"),
        sa.Column(
            "until_ms",
            sa.BigInteger,
            comment="언제까지, UTC 밀리초 / until when, Unix milliseconds",
        ),
        sa.Column(
            "epoch", sa.Text, comment="지운 메시지의 번호 체계 / epoch of the removed message"
        ),
        sa.Column(
            "message_offset",
            sa.BigInteger,
            comment="지운 메시지의 번호 / offset of the removed message",
        ),
        sa.Column("to_room", sa.Text, comment="옮긴 방 / room somebody was moved to"),
        sa.Column(
            "note", sa.Text, nullable=False, comment="까닭, 대상에게 보임 / why, told to the user"
        ),
        sa.Column("done_by", sa.Text, nullable=False, comment="조치한 사용자 / user who did it"),
        sa.Column(
            "at_ms",
            sa.BigInteger,
            nullable=False,
            comment="조치한 시각, UTC 밀리초 / when it was done, Unix milliseconds",
        ),
        sa.CheckConstraint(
            "(act = 'move') = (to_room IS NOT NULL)", name=op.f("moderation_act_move_names_a_room")
        ),
        sa.CheckConstraint(
            "(act = 'remove') = (epoch IS NOT NULL AND message_offset IS NOT NULL)",
            name=op.f("moderation_act_remove_names_a_message"),
        ),
        sa.CheckConstraint(
            "act = 'remove' OR user_id IS NOT NULL", name=op.f("moderation_act_concerns_somebody")
        ),
        sa.CheckConstraint(
            "act IN ('mute', 'unmute', 'kick', 'ban', 'unban', 'remove', 'move', 'expel')",
            name=op.f("moderation_act_act_known"),
        ),
        sa.PrimaryKeyConstraint("revision"),
        comment="운영자의 조치 기록 / acts of moderators",
    )
    op.create_index("moderation_act_by_room", "moderation_act", ["room", "revision"])
    op.create_index("moderation_act_by_user", "moderation_act", ["user_id", "revision"])


def downgrade() -> None:
    op.drop_table("moderation_act")
