"""Usage by window with its sums by hour, day and month, and how far each log has been read."""

from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, Column, Index, Numeric, Table, Text

from metaport.db.personal import Personal, personal, settles
from metaport.db.tables import metadata

# Sums of what 64 bits hold may need more; SQLite has no integer beyond them.
SUM = Numeric(38, 0).with_variant(BigInteger(), "sqlite")


def _window(name: str, comment: str, **options: Any) -> Table[Any]:
    # The window comes first in the key: a month is then one stretch of the table, for reading as
    # for dropping, and it is what PostgreSQL is partitioned by.
    return Table(
        name,
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
        Column(
            "user_id",
            Text,
            primary_key=True,
            info=personal(Personal.PERSON),
            comment="사용자, 없으면 빈 값 / user, empty if none",
        ),
        Column(
            "quantity",
            BigInteger,
            nullable=False,
            comment="누적 수량: 건, 초, 바이트 / cumulative quantity: messages, seconds, bytes",
        ),
        CheckConstraint("quantity >= 0", name="quantity_not_negative"),
        comment=comment,
        info=settles("window_start_s"),
        sqlite_with_rowid=False,
        **options,
    )


usage_window = _window(
    "usage_window",
    "구간별 사용량 / usage by window; the greatest quantity of a key is the truth",
    postgresql_partition_by="RANGE (window_start_s)",
)
Index("usage_window_by_user", usage_window.c.user_id, usage_window.c.window_start_s)

# Whether a row has been counted cannot be told once its details are dropped.
usage_late = _window(
    "usage_late",
    "상세를 지운 뒤에 도착하여 합계에 넣지 않은 사용량 / usage that came after the details of its "
    "time were dropped, in no sum",
)


usage_session = Table(
    "usage_session",
    metadata,
    Column(
        "window_start_s",
        BigInteger,
        primary_key=True,
        autoincrement=False,
        comment="900초 구간의 시작, UTC 초 / start of the 900 s window, Unix seconds",
    ),
    Column(
        "began_s",
        BigInteger,
        primary_key=True,
        autoincrement=False,
        comment="참여가 시작된 때, UTC 초 / when the session began, Unix seconds",
    ),
    Column("session", Text, primary_key=True, comment="참여 / session: a stay in a room's media"),
    Column("meter", Text, primary_key=True, comment="계량 항목 / meter"),
    Column("node", Text, primary_key=True, comment="센 서버 / node that counted"),
    Column("boot", Text, primary_key=True, comment="서버의 기동 회차 / boot of that node"),
    Column("quantity", BigInteger, nullable=False, comment="누적 초 / cumulative seconds"),
    CheckConstraint("quantity >= 0", name="quantity_not_negative"),
    comment="참여별 사용량 / seconds by session, which usage_window has by user",
    postgresql_partition_by="RANGE (window_start_s)",
    sqlite_with_rowid=False,
)
# A session that goes on over a border is looked up on its other side.
Index("usage_session_by_session", usage_session.c.session, usage_session.c.window_start_s)


def _rollup(name: str, start: str, comment: str) -> Table[Any]:
    return Table(
        name,
        metadata,
        Column("start_s", BigInteger, primary_key=True, autoincrement=False, comment=start),
        Column("meter", Text, primary_key=True, comment="계량 항목 / meter"),
        Column("app", Text, primary_key=True, comment="앱 / app, see metering.events.place_of"),
        Column(
            "space", Text, primary_key=True, comment="공간, 없으면 빈 값 / space, empty if none"
        ),
        Column("room", Text, primary_key=True, comment="방, 없으면 빈 값 / room, empty if none"),
        Column(
            "quantity", SUM, nullable=False, comment="수량의 합 / sum of the quantities of windows"
        ),
        CheckConstraint("quantity >= 0", name="quantity_not_negative"),
        comment=comment,
        sqlite_with_rowid=False,
    )


usage_hour = _rollup(
    "usage_hour",
    "UTC 시(時)의 시작, UTC 초 / start of the hour of UTC, Unix seconds",
    "시간별 합계 / sums of usage_window by hour",
)
usage_day = _rollup(
    "usage_day",
    "장부 시간대의 날의 시작, UTC 초 / start of the day in the ledger's zone, Unix seconds",
    "날별 합계 / sums of usage_window by day",
)
usage_month = _rollup(
    "usage_month",
    "장부 시간대의 달의 시작, UTC 초 / start of the month in the ledger's zone, Unix seconds",
    "달별 합계 / sums of usage_window by month",
)

active_user = Table(
    "active_user",
    metadata,
    Column(
        "month_start_s",
        BigInteger,
        primary_key=True,
        autoincrement=False,
        comment="장부 시간대의 달의 시작, UTC 초 / start of the month in the ledger's zone",
    ),
    Column(
        "user_id",
        Text,
        primary_key=True,
        info=personal(Personal.PERSON),
        comment="사용자 / user",
    ),
    comment="달마다 사용량이 있는 사용자 / users with any usage, by month",
    sqlite_with_rowid=False,
)

usage_gauge = Table(
    "usage_gauge",
    metadata,
    Column(
        "at_s",
        BigInteger,
        primary_key=True,
        autoincrement=False,
        comment="잰 시각, UTC 초 / when it was measured, Unix seconds",
    ),
    Column("meter", Text, primary_key=True, comment="계량 항목 / meter"),
    Column("node", Text, primary_key=True, comment="잰 서버 / node that measured"),
    Column("boot", Text, primary_key=True, comment="서버의 기동 회차 / boot of that node"),
    Column("quantity", BigInteger, nullable=False, comment="그때의 크기 / how much at that time"),
    CheckConstraint("quantity >= 0", name="quantity_not_negative"),
    comment="더하지 않고 가장 큰 값을 보는 계량 / what is not added up but has a peak",
    sqlite_with_rowid=False,
)

ledger_setting = Table(
    "ledger_setting",
    metadata,
    Column(
        "name", Text, primary_key=True, comment="이름: zone, detail_from_s / name of the setting"
    ),
    Column("value", Text, nullable=False, comment="값 / its value"),
    comment="합계의 시간대, 상세가 남은 때 / the zone of the sums, since when details are kept",
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
