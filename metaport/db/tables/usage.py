"""Usage by window, and how far it has been carried into the ledger."""

from sqlalchemy import BigInteger, Column, Index, Table, Text

from metaport.db.tables import metadata

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
