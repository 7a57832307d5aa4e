"""Every message of every room."""

from sqlalchemy import BigInteger, Column, Index, Table, Text, UniqueConstraint

from metaport.db.personal import Personal, personal
from metaport.db.tables import metadata

# Epochs of a room are compared by `ordinal`: an epoch is a random name.
room_epoch = Table(
    "room_epoch",
    metadata,
    Column("room", Text, primary_key=True, comment="방 / room"),
    Column("epoch", Text, primary_key=True, comment="번호 체계 / numbering of its messages"),
    Column(
        "ordinal",
        BigInteger,
        nullable=False,
        comment="방에서 나타난 순서, 1부터 / its order of appearance in the room, from 1",
    ),
    UniqueConstraint("room", "ordinal", name="room_epoch_in_order"),
    comment="방마다 메시지 번호 체계의 순서 / the numberings of a room's messages, in order",
)

message = Table(
    "message",
    metadata,
    Column("room", Text, primary_key=True, comment="방 / room"),
    Column("epoch", Text, primary_key=True, comment="번호 체계 / numbering, see room_epoch"),
    # Not "offset", which is a word of SQL.
    Column(
        "message_offset",
        BigInteger,
        primary_key=True,
        autoincrement=False,
        comment="번호 체계 안의 번호, 1부터 빈틈없이 / place in its epoch: dense, from 1",
    ),
    Column("message_id", Text, nullable=False, comment="메시지 식별자 / id of the message"),
    Column(
        "user_id",
        Text,
        nullable=False,
        info=personal(Personal.PERSON),
        comment="보낸 사용자 / user who sent it",
    ),
    Column(
        "name",
        Text,
        nullable=False,
        info=personal(Personal.NAME),
        comment="보낼 때의 표시 이름 / name shown at the time",
    ),
    Column(
        "at_ms",
        BigInteger,
        nullable=False,
        comment="받은 시각, UTC 밀리초 / when it was accepted, Unix milliseconds",
    ),
    # Not JSONB: it refuses U+0000 in a string and does not keep a document as it was.
    Column(
        "body",
        Text,
        nullable=False,
        info=personal(Personal.CONTENT),
        comment="내용, JSON / what it says, as JSON",
    ),
    Index("message_by_time", "at_ms"),
    comment="지난 대화 전체 / every message of every room",
)

# Apart from `reader_checkpoint`: the least of those says up to when figures of usage are complete,
# and a history that lags must not hold a statement back.
history_checkpoint = Table(
    "history_checkpoint",
    metadata,
    Column("reader", Text, primary_key=True, comment="읽는 프로세스 / reader of a log"),
    Column("position", BigInteger, nullable=False, comment="읽은 위치 / position in that log"),
    comment="지난 대화를 어디까지 옮겼는지 / how far messages have been carried into history",
)
