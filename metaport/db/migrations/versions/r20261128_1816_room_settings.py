"""What is laid down about rooms."""

import sqlalchemy as sa
from alembic import op

revision = "r20261128_1816_room_settings"
down_revision = "r20261128_1815_rollups"


def upgrade() -> None:
    op.create_table(
        "room_settings",
        sa.Column("room", sa.Text, primary_key=True, comment="방 / room"),
        sa.Column(
            "kind",
            sa.Text,
            nullable=False,
            comment="public, private, direct: 누구나, 초대받은 사람, 두 사람 / who may enter",
        ),
        sa.Column(
            "persistent",
            sa.Boolean,
            nullable=False,
            comment="대화를 데이터베이스에 남기는지 / whether its messages are kept in SQL",
        ),
        sa.Column(
            "capacity",
            sa.Integer,
            comment="동시에 들어갈 수 있는 사람 수, 없으면 제한 없음 / "
            "users at once, null is no bound",
        ),
        sa.Column(
            "users", sa.Text, nullable=False, comment="초대받은 사용자, JSON / invited users, JSON"
        ),
        sa.Column(
            "guests",
            sa.Boolean,
            nullable=False,
            comment="손님 입장 허용 / whether guests may enter",
        ),
        sa.Column(
            "subscribed",
            sa.Boolean,
            nullable=False,
            comment="초대받은 사용자는 요청 없이 들어가 있는지 / "
            "whether users are in without asking",
        ),
        sa.Column(
            "removed",
            sa.Boolean,
            nullable=False,
            comment="설정이 지워졌는지 / whether nothing is laid down any more",
        ),
        sa.Column(
            "revision",
            sa.BigInteger,
            nullable=False,
            comment="모든 방을 통틀어 변경 순번 / order of changes over all rooms",
        ),
        sa.Column(
            "changed_by", sa.Text, nullable=False, comment="바꾼 사용자 / user who changed it"
        ),
        sa.Column(
            "changed_at_s",
            sa.BigInteger,
            nullable=False,
            comment="바꾼 시각, UTC 초 / when it was changed, Unix seconds",
        ),
        comment="방의 종류와 규칙 / kinds and rules of rooms",
    )
    op.create_index("room_settings_by_revision", "room_settings", ["revision"], unique=True)


def downgrade() -> None:
    op.drop_table("room_settings")
