"""Every message of every room."""

import sqlalchemy as sa
from alembic import op

revision = "r20261119_0900_history"
down_revision = "r20261109_0900_usage"


def upgrade() -> None:
    op.create_table(
        "room_epoch",
        sa.Column("room", sa.Text, primary_key=True, comment="방 / room"),
        sa.Column(
            "epoch", sa.Text, primary_key=True, comment="번호 체계 / numbering of its messages"
        ),
        sa.Column(
            "ordinal",
            sa.BigInteger,
            nullable=False,
            comment="방에서 나타난 순서, 1부터 / its order of appearance in the room, from 1",
        ),
        sa.UniqueConstraint("room", "ordinal", name="room_epoch_in_order"),
        comment="방마다 메시지 번호 체계의 순서 / the numberings of a room's messages, in order",
    )
    op.create_table(
        "message",
        sa.Column("room", sa.Text, primary_key=True, comment="방 / room"),
        sa.Column(
            "epoch", sa.Text, primary_key=True, comment="번호 체계 / numbering, see room_epoch"
        ),
        sa.Column(
            "message_offset",
            sa.BigInteger,
            primary_key=True,
            autoincrement=False,
            comment="번호 체계 안의 번호, 1부터 빈틈없이 / place in its epoch: dense, from 1",
        ),
        sa.Column(
            "message_id", sa.Text, nullable=False, comment="메시지 식별자 / id of the message"
        ),
        sa.Column("user_id", sa.Text, nullable=False, comment="보낸 사용자 / user who sent it"),
        sa.Column(
            "name", sa.Text, nullable=False, comment="보낼 때의 표시 이름 / name shown at the time"
        ),
        sa.Column(
            "at_ms",
            sa.BigInteger,
            nullable=False,
            comment="받은 시각, UTC 밀리초 / when it was accepted, Unix milliseconds",
        ),
        sa.Column("body", sa.Text, nullable=False, comment="내용, JSON / what it says, as JSON"),
        comment="지난 대화 전체 / every message of every room",
    )
    op.create_index("message_by_time", "message", ["at_ms"])
    op.create_table(
        "history_checkpoint",
        sa.Column("reader", sa.Text, primary_key=True, comment="읽는 프로세스 / reader of a log"),
        sa.Column(
            "position", sa.BigInteger, nullable=False, comment="읽은 위치 / position in that log"
        ),
        comment="지난 대화를 어디까지 옮겼는지 / how far messages have been carried into history",
    )


def downgrade() -> None:
    op.drop_table("history_checkpoint")
    op.drop_table("message")
    op.drop_table("room_epoch")
    if sa.inspect(op.get_bind()).has_table("schema_version"):
        op.execute("DELETE FROM schema_version WHERE version = 2")
