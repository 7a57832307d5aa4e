"""Tables, with what they hold said in Korean and English in the database itself."""

from sqlalchemy import BigInteger, Column, Index, Integer, MetaData, Table, Text, UniqueConstraint

# Raised with every change below, which gets a step in `upgrades`; a database that is ahead of it is
# refused.
VERSION = 2

metadata = MetaData()

schema_version = Table(
    "schema_version",
    metadata,
    Column("version", Integer, primary_key=True, comment="스키마 판 / schema version"),
    Column(
        "applied_at_s",
        BigInteger,
        nullable=False,
        comment="적용 시각, UTC 초 / when it was applied, seconds since the Unix epoch",
    ),
    comment="이 데이터베이스에 적용된 스키마 판 / versions of the schema applied here",
)

# The window comes first in the key: a month is then one stretch of the table, for reading as for
# dropping, and PostgreSQL can later be partitioned by it without another key.
usage_window = Table(
    "usage_window",
    metadata,
    Column(
        "window_start_s",
        BigInteger,
        primary_key=True,
        autoincrement=False,
        comment="900초 구간의 시작, UTC 초 / start of the 900 s window, Unix seconds",
    ),
    Column("node", Text, primary_key=True, comment="센 서버 / node that counted"),
    Column("boot", Text, primary_key=True, comment="서버의 기동 회차 / boot of that node"),
    Column("meter", Text, primary_key=True, comment="계량 항목 / meter"),
    Column("room", Text, primary_key=True, comment="방, 없으면 빈 값 / room, empty if none"),
    Column("user_id", Text, primary_key=True, comment="사용자, 없으면 빈 값 / user, empty if none"),
    Column(
        "quantity",
        BigInteger,
        nullable=False,
        comment="누적 수량: 건, 초, 바이트 / cumulative quantity: messages, seconds, bytes",
    ),
    Index("usage_window_by_user", "user_id", "window_start_s"),
    comment="구간별 사용량 / usage by window; the greatest quantity of a key is the truth",
    sqlite_with_rowid=False,
)

reader_checkpoint = Table(
    "reader_checkpoint",
    metadata,
    Column("reader", Text, primary_key=True, comment="읽는 프로세스 / reader of a log"),
    Column("position", Text, nullable=False, comment="읽은 위치 / position in that log"),
    Column(
        "at_s",
        BigInteger,
        nullable=False,
        comment="이 시각 이전은 모두 반영됨, UTC 초 / all before this Unix second is kept",
    ),
    comment="사용량 기록을 어디까지 옮겼는지 / how far usage has been carried into the ledger",
)

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
    Column("user_id", Text, nullable=False, comment="보낸 사용자 / user who sent it"),
    Column("name", Text, nullable=False, comment="보낼 때의 표시 이름 / name shown at the time"),
    Column(
        "at_ms",
        BigInteger,
        nullable=False,
        comment="받은 시각, UTC 밀리초 / when it was accepted, Unix milliseconds",
    ),
    # Not JSONB: it refuses U+0000 in a string and does not keep a document as it was.
    Column("body", Text, nullable=False, comment="내용, JSON / what it says, as JSON"),
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
