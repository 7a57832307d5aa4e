"""The contract of `metering.ledger.Ledger`, over memory, SQLite and PostgreSQL alike."""

import asyncio
import itertools
import random
import sqlite3
import unicodedata
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from metaport.db.engine import connect, sqlite_url
from metaport.db.errors import DatabaseError
from metaport.db.ledger import SqlLedger, open_ledger
from metering.errors import LedgerUnavailable, PeriodError
from metering.events import Checkpoint, Subject, UsageRow
from metering.ledger import LARGEST_QUANTITY, Ledger, MemoryLedger
from metering.meters import EGRESS_BYTES, MESSAGES_SENT, PEAK_USERS, VOICE_SECONDS
from metering.windows import month_period
from tests.metering.cases import FACTOR

LOBBY = Subject("lobby", "visitor")
WINDOW = 1_795_000_500 // 900 * 900
ALWAYS = (0, 2**40)


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
async def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Ledger]:
    if request.param == "memory":
        yield MemoryLedger()
        return
    if request.param == "sqlite":
        url = sqlite_url(tmp_path / "ledger.db")
    else:
        url = request.getfixturevalue("postgres_url")
    opened = await open_ledger(url)
    yield opened
    await opened.close()


def row(
    quantity: int,
    *,
    node: str = "hub",
    boot: str = "1",
    meter: str = MESSAGES_SENT,
    subject: Subject = LOBBY,
    window: int = WINDOW,
) -> UsageRow:
    return UsageRow(node, boot, meter, subject, window, quantity)


async def test_an_empty_ledger_knows_nothing(ledger: Ledger) -> None:
    assert await ledger.totals(*ALWAYS) == {}
    assert await ledger.by_subject(*ALWAYS) == {}
    assert await ledger.checkpoint("hub") is None
    assert await ledger.as_of() is None


async def test_the_greatest_quantity_of_an_identity_is_kept(ledger: Ledger) -> None:
    await ledger.upsert([row(3)])
    await ledger.upsert([row(7)])
    await ledger.upsert([row(5)])
    assert await ledger.totals(*ALWAYS) == {MESSAGES_SENT: 7}


async def test_an_identity_may_come_twice_in_one_call(ledger: Ledger) -> None:
    await ledger.upsert([row(2), row(9), row(4)])
    assert await ledger.totals(*ALWAYS) == {MESSAGES_SENT: 9}


async def test_every_part_of_the_identity_adds_up(ledger: Ledger) -> None:
    await ledger.upsert(
        [
            row(1),
            row(10, node="hub-2"),
            row(100, boot="2"),
            row(1_000, subject=Subject("lobby", "host")),
            row(10_000, subject=Subject("hall", "visitor")),
            row(100_000, window=WINDOW + 900),
            row(5, meter=VOICE_SECONDS),
        ]
    )
    assert await ledger.totals(*ALWAYS) == {MESSAGES_SENT: 111_111, VOICE_SECONDS: 5}


async def test_the_end_of_a_stretch_is_not_in_it(ledger: Ledger) -> None:
    await ledger.upsert([row(1, window=WINDOW - 900), row(2), row(4, window=WINDOW + 900)])
    assert await ledger.totals(WINDOW, WINDOW + 900) == {MESSAGES_SENT: 2}
    assert await ledger.by_subject(WINDOW, WINDOW + 900) == {(MESSAGES_SENT, LOBBY): 2}
    assert await ledger.totals(WINDOW, WINDOW) == {}


async def test_usage_is_found_by_room_and_by_user(ledger: Ledger) -> None:
    hall, host = Subject("hall", "visitor"), Subject("lobby", "host")
    await ledger.upsert([row(1), row(2, node="sfu"), row(4, subject=hall), row(8, subject=host)])
    assert await ledger.by_subject(*ALWAYS) == {
        (MESSAGES_SENT, LOBBY): 3,
        (MESSAGES_SENT, hall): 4,
        (MESSAGES_SENT, host): 8,
    }
    assert await ledger.by_subject(*ALWAYS, user="host") == {(MESSAGES_SENT, host): 8}
    assert await ledger.by_subject(*ALWAYS, room="hall") == {(MESSAGES_SENT, hall): 4}
    assert await ledger.by_subject(*ALWAYS, room="hall", user="host") == {}


async def test_an_empty_room_is_a_room_of_its_own(ledger: Ledger) -> None:
    nowhere = Subject("", "visitor")
    await ledger.upsert([row(1, subject=nowhere), row(2)])
    assert await ledger.by_subject(*ALWAYS, room="") == {(MESSAGES_SENT, nowhere): 1}


async def test_names_are_kept_to_the_byte(ledger: Ledger) -> None:
    """Case, trailing blanks, composed and decomposed Hangul, and quotes are different names."""
    decomposed = unicodedata.normalize("NFD", "한글")
    names = ["한글", decomposed, "a", "A", "a ", "'; drop table usage_window; --", "🎉", ""]
    rows = [row(2**n, subject=Subject(name, name)) for n, name in enumerate(names)]
    await ledger.upsert(rows)
    assert await ledger.by_subject(*ALWAYS) == {
        (MESSAGES_SENT, Subject(name, name)): 2**n for n, name in enumerate(names)
    }


async def test_sums_may_exceed_what_one_row_can_hold(ledger: Ledger) -> None:
    most = LARGEST_QUANTITY // 2
    await ledger.upsert([row(most, meter=EGRESS_BYTES), row(most, meter=EGRESS_BYTES, boot="2")])
    assert await ledger.totals(*ALWAYS) == {EGRESS_BYTES: 2 * most}


@pytest.mark.parametrize(
    "refused",
    [
        row(-1),
        row(LARGEST_QUANTITY + 1),
        row(1, subject=Subject("nul\0", "visitor")),
        row(1, subject=Subject("lobby", "\ud800")),
    ],
)
async def test_a_row_no_database_holds_is_refused_with_all_that_came_with_it(
    ledger: Ledger, refused: UsageRow
) -> None:
    with pytest.raises(ValueError, match=r"cannot be kept|no database keeps"):
        await ledger.upsert([row(1), refused], Checkpoint("hub", "9", WINDOW))
    assert await ledger.totals(*ALWAYS) == {}
    assert await ledger.checkpoint("hub") is None


async def test_a_checkpoint_comes_with_its_rows(ledger: Ledger) -> None:
    await ledger.upsert([row(1)], Checkpoint("hub", "120", WINDOW + 3))
    assert await ledger.checkpoint("hub") == "120"
    await ledger.upsert([], Checkpoint("hub", "120", WINDOW + 8))
    await ledger.upsert([row(2)])
    assert await ledger.checkpoint("hub") == "120"
    assert await ledger.as_of() == WINDOW + 8


async def test_figures_are_as_old_as_the_reader_that_is_furthest_behind(ledger: Ledger) -> None:
    await ledger.upsert([], Checkpoint("hub", "1", WINDOW + 20))
    await ledger.upsert([], Checkpoint("sfu", "1", WINDOW + 10))
    assert await ledger.as_of() == WINDOW + 10
    await ledger.upsert([], Checkpoint("sfu", "2", WINDOW + 30))
    assert await ledger.as_of() == WINDOW + 20


async def test_writers_of_the_same_rows_do_not_block_each_other_for_good(ledger: Ledger) -> None:
    rows = [row(n, subject=Subject(f"room {n}", "visitor")) for n in range(1, 201)]
    shuffled = [random.Random(seed).sample(rows, len(rows)) for seed in range(6)]
    await asyncio.gather(*(ledger.upsert(some) for some in shuffled))
    assert await ledger.totals(*ALWAYS) == {MESSAGES_SENT: 200 * 201 // 2}


# Cases of a property, and how many of them share their transactions: those are what takes time.
CASES, ABREAST = 1_000 * FACTOR, 100


def history(lot: random.Random, start_s: int) -> list[UsageRow]:
    """Rows of different identities whose quantities only grow, as a process writes them."""
    identities = {
        (
            lot.choice(["hub", "sfu"]),
            lot.choice("12"),
            lot.choice([MESSAGES_SENT, VOICE_SECONDS]),
            lot.choice([LOBBY, Subject("hall", "host")]),
            start_s + lot.randint(0, 3) * 900,
        ): None
        for _ in range(lot.randint(0, 6))
    }
    rows = []
    for identity in identities:
        growth = [lot.randint(0, 10**6) for _ in range(lot.randint(1, 4))]
        rows += [UsageRow(*identity, total) for total in itertools.accumulate(growth)]
    return rows


def pieces(rows: list[UsageRow], lot: random.Random) -> list[list[UsageRow]]:
    """Bring rows into another order, some of them again, and cut them anywhere."""
    order = rows + lot.choices(rows, k=lot.randint(0, 5)) if rows else []
    lot.shuffle(order)
    cut = []
    while order:
        size = lot.randint(1, len(order))
        cut.append(order[:size])
        order = order[size:]
    return cut


async def test_order_grouping_and_replay_change_nothing(ledger: Ledger) -> None:
    """Each case has a stretch of time of its own in the same ledger."""
    for first in range(0, CASES, ABREAST):
        numbers = range(first, first + ABREAST)
        expected: dict[int, dict[str, int]] = {}
        brought = []
        for number in numbers:
            lot, start_s = random.Random(f"order {number}"), WINDOW + number * 10 * 900
            rows = history(lot, start_s)
            sums: Counter[str] = Counter()
            for key, quantity in {row[:-1]: row.quantity for row in rows}.items():
                sums[key[2]] += quantity
            expected[start_s] = {row.meter: sums[row.meter] for row in rows}
            brought.append(pieces(rows, lot))
        for at_once in itertools.zip_longest(*brought, fillvalue=[]):
            await ledger.upsert([row for piece in at_once for row in piece])
        for number, (start_s, sums_of) in zip(numbers, expected.items(), strict=True):
            found = await ledger.totals(start_s, start_s + 9 * 900)
            assert found == sums_of, f"with random.Random('order {number}')"


ZONES = ("Asia/Seoul", "UTC", "Europe/Berlin", "Asia/Kathmandu")
# Cases in one of them meet what others have left there.
ERAS, ERA_DAYS = 8, 100


def sparse(lot: random.Random, number: int, start_s: int) -> list[UsageRow]:
    """Rows over three months around borders of months, in places and of users of all kinds."""
    return [
        UsageRow(
            # One identity has one quantity, and cases have none in common.
            f"{number}-{lot.choice(['hub', 'sfu'])}",
            f"{number}-{at}",
            lot.choice([MESSAGES_SENT, VOICE_SECONDS, PEAK_USERS]),
            Subject(
                lot.choice(["", "lobby", "shop:a/b"]), lot.choice(["", "u", f"u{number % 50}"])
            ),
            start_s + lot.randint(0, ERA_DAYS * 96) * 900,
            lot.choice([0, 1, lot.randint(0, 10**12)]),
        )
        for at in range(lot.randint(0, 12))
    ]


def stretch(lot: random.Random, start_s: int) -> tuple[int, int]:
    """Return a month of some zone, or whole hours."""
    if lot.random() < 1 / 3:
        day = datetime.fromtimestamp(start_s, UTC) + timedelta(days=lot.randint(0, ERA_DAYS))
        return month_period(f"{day:%Y-%m}", ZoneInfo(lot.choice(ZONES)))
    hours = sorted(lot.choices(range(-2, ERA_DAYS * 24 + 2), k=2))
    first_s = start_s // 3600 * 3600
    return first_s + hours[0] * 3600, first_s + hours[1] * 3600


READINGS: list[Callable[[Ledger, int, int], Awaitable[object]]] = [
    lambda ledger, start_s, end_s: ledger.totals(start_s, end_s),
    lambda ledger, start_s, end_s: ledger.by_place(start_s, end_s),
    lambda ledger, start_s, end_s: ledger.active_users(start_s, end_s),
    lambda ledger, start_s, end_s: ledger.peak(PEAK_USERS, start_s, end_s),
]


async def test_sums_agree_with_those_from_windows_alone(database_url: str) -> None:
    """The ledger in memory adds up windows; the others read months, days and hours."""
    ledger, eras = await open_ledger(database_url), [MemoryLedger() for _ in range(ERAS)]
    for first in range(0, CASES, ABREAST):
        numbers = range(first, first + ABREAST)
        rows: list[UsageRow] = []
        lots = {number: random.Random(f"sums {number}") for number in numbers}
        starts = {number: WINDOW + number % ERAS * (ERA_DAYS + 40) * 86_400 for number in numbers}
        for number, lot in lots.items():
            its = sparse(lot, number, starts[number])
            await eras[number % ERAS].upsert(its)
            rows += its
        for some in (rows, rows[::2], rows[::-1]):
            await ledger.upsert(some)
        for number, lot in lots.items():
            plain, period = eras[number % ERAS], stretch(lot, starts[number])
            # One of them a case: with what others left there, each is asked hundreds of times.
            read = lot.choice(READINGS)
            found, expected = await read(ledger, *period), await read(plain, *period)
            assert found == expected, f"with random.Random('sums {number}')"
    await ledger.close()


async def test_a_ledger_is_added_up_again_for_another_zone(database_url: str) -> None:
    border = month_period("2026-12", ZoneInfo("Asia/Seoul")).start_s
    first = await open_ledger(database_url)
    await first.upsert(
        [row(1, window=border - 900), row(2, window=border), row(4, window=border + 40_000)]
    )
    assert await first.active_users(*month_period("2026-12", first.zone)) == 1
    await first.close()
    second = await open_ledger(database_url, "UTC")
    december = month_period("2026-12", second.zone)
    assert await second.totals(*december) == {MESSAGES_SENT: 4}
    await second.upsert([row(5, window=border + 40_000), row(1, window=border - 900)])
    assert await second.totals(*december) == {MESSAGES_SENT: 5}
    assert await second.totals(*ALWAYS) == {MESSAGES_SENT: 8}
    await second.close()


async def test_sums_outlive_the_details(database_url: str) -> None:
    ledger = await open_ledger(database_url)
    december = month_period("2026-12", ledger.zone)
    old, new = december.start_s - 10 * 86_400, december.start_s
    await ledger.upsert([row(1, window=old), row(2, window=new)])
    await ledger.drop_details(new)
    await ledger.drop_details(old)  # what is dropped stays dropped
    assert await _scalar(ledger, "SELECT count(*) FROM usage_window") == 1
    assert await ledger.totals(*ALWAYS) == {MESSAGES_SENT: 3}
    assert await ledger.totals(old // 3600 * 3600, new) == {MESSAGES_SENT: 1}
    assert await ledger.by_subject(new, new + 900) == {(MESSAGES_SENT, LOBBY): 2}
    for question in (ledger.by_subject(old, new), ledger.totals(old // 3600 * 3600 + 900, new)):
        with pytest.raises(PeriodError, match="no longer kept"):
            await question
    await ledger.close()
    with pytest.raises(DatabaseError, match=r"set usage\.zone back"):
        await open_ledger(database_url, "UTC")


async def test_a_replay_of_what_was_dropped_is_set_aside_and_counted_by_nobody(
    database_url: str,
) -> None:
    ledger = await open_ledger(database_url)
    old = WINDOW - 90 * 86_400
    await ledger.upsert([row(7, window=old)])
    await ledger.drop_details(WINDOW)
    await ledger.upsert([row(7, window=old), row(9, window=old), row(8, window=old), row(1)])
    assert await ledger.totals(*ALWAYS) == {MESSAGES_SENT: 8}
    assert await _scalar(ledger, "SELECT sum(quantity) FROM usage_late") == 9
    await ledger.close()


async def test_postgresql_keeps_each_month_in_a_partition_of_its_own(postgres_url: str) -> None:
    ledger = await open_ledger(postgres_url)
    october = WINDOW - 40 * 86_400
    await ledger.upsert([row(1, window=october), row(1), row(1, window=WINDOW + 40 * 86_400)])
    count = "SELECT count(*) FROM pg_inherits WHERE inhparent = 'usage_window'::regclass"
    assert await _scalar(ledger, count) == 3
    await ledger.drop_details(WINDOW)
    assert await _scalar(ledger, count) == 2
    await ledger.upsert([row(2, window=WINDOW + 80 * 86_400)])
    assert await _scalar(ledger, count) == 3
    await ledger.close()


async def test_a_write_that_fails_after_making_a_partition_can_be_tried_again(
    postgres_url: str,
) -> None:
    ledger = await open_ledger(postgres_url)
    await _execute(ledger, "ALTER TABLE reader_checkpoint RENAME TO elsewhere")
    for _ in range(2):
        with pytest.raises(LedgerUnavailable):
            await ledger.upsert([row(1)], Checkpoint("hub", "1", WINDOW))
    await _execute(ledger, "ALTER TABLE elsewhere RENAME TO reader_checkpoint")
    await ledger.upsert([row(1)], Checkpoint("hub", "1", WINDOW))
    assert await ledger.totals(*ALWAYS) == {MESSAGES_SENT: 1}
    await ledger.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return sqlite_url(tmp_path / "ledger.db")
    url: str = request.getfixturevalue("postgres_url")
    return url


async def test_what_was_kept_is_there_when_opened_again(database_url: str) -> None:
    first = await open_ledger(database_url)
    await first.upsert([row(12)], Checkpoint("hub", "44", WINDOW))
    await first.close()
    second = await open_ledger(database_url)
    assert await second.totals(*ALWAYS) == {MESSAGES_SENT: 12}
    assert await second.checkpoint("hub") == "44"
    await second.close()


async def test_a_report_is_read_while_another_process_writes(database_url: str) -> None:
    writer, reader = await open_ledger(database_url), await open_ledger(database_url)
    for quantity in range(1, 6):
        await writer.upsert([row(quantity)])
        assert await reader.totals(*ALWAYS) == {MESSAGES_SENT: quantity}
    await reader.close()
    await writer.close()


async def test_several_thousand_rows_go_in_one_call(database_url: str) -> None:
    ledger = await open_ledger(database_url)
    rows = [row(n, subject=Subject("lobby", f"visitor {n}")) for n in range(10_000)]
    await ledger.upsert(rows, Checkpoint("hub", "1", WINDOW))
    assert await ledger.totals(*ALWAYS) == {MESSAGES_SENT: sum(range(10_000))}
    await ledger.close()


async def test_rows_and_checkpoint_stand_or_fall_together(tmp_path: Path) -> None:
    """The checkpoint's table is gone, so it cannot be kept; its rows must not be either."""
    ledger = await open_ledger(sqlite_url(tmp_path / "ledger.db"))
    await _execute(ledger, "ALTER TABLE reader_checkpoint RENAME TO elsewhere")
    with pytest.raises(LedgerUnavailable):
        await ledger.upsert([row(1)], Checkpoint("hub", "1", WINDOW))
    assert await ledger.totals(*ALWAYS) == {}
    await ledger.close()


async def test_a_server_that_went_away_is_told_and_used_again_when_it_is_back(
    postgres_server: Any, postgres_url: str
) -> None:
    ledger = await open_ledger(postgres_url)
    await ledger.upsert([row(1)], Checkpoint("hub", "1", WINDOW))
    postgres_server.stop()
    try:
        with pytest.raises(LedgerUnavailable):
            await ledger.upsert([row(2)], Checkpoint("hub", "2", WINDOW))
        with pytest.raises(LedgerUnavailable):
            await ledger.totals(*ALWAYS)
    finally:
        postgres_server.start()
    assert await ledger.checkpoint("hub") == "1"
    await ledger.upsert([row(2)], Checkpoint("hub", "2", WINDOW))
    assert await ledger.totals(*ALWAYS) == {MESSAGES_SENT: 2}
    await ledger.close()


async def test_a_database_that_is_away_at_first_is_used_once_it_is_there(tmp_path: Path) -> None:
    ledger = SqlLedger(connect(sqlite_url(tmp_path / "later" / "ledger.db")))
    for _ in range(3):
        with pytest.raises(LedgerUnavailable, match="unable to open"):
            await ledger.checkpoint("hub")
    (tmp_path / "later").mkdir()
    assert await ledger.checkpoint("hub") is None
    await ledger.upsert([row(1)], Checkpoint("hub", "1", WINDOW))
    assert await ledger.totals(*ALWAYS) == {MESSAGES_SENT: 1}
    await ledger.close()


async def test_a_transaction_waits_for_no_reader(tmp_path: Path) -> None:
    """A report that takes its time must not hold up what is shipped."""
    path = tmp_path / "ledger.db"
    ledger = await open_ledger(sqlite_url(path))
    await ledger.upsert([row(1)])
    with closing(sqlite3.connect(path)) as report:
        report.execute("BEGIN")
        query = "SELECT sum(quantity) FROM usage_window"
        assert report.execute(query).fetchone() == (1,)
        await ledger.upsert([row(2)], Checkpoint("hub", "2", WINDOW))
        assert report.execute(query).fetchone() == (1,)  # what it began with
    assert await ledger.totals(*ALWAYS) == {MESSAGES_SENT: 2}
    await ledger.close()


async def _scalar(ledger: SqlLedger, query: str) -> int:
    async with ledger.engine.begin() as connection:
        return int((await connection.exec_driver_sql(query)).scalar_one())


async def _execute(ledger: SqlLedger, statement: str) -> None:
    async with ledger.engine.begin() as connection:
        await connection.exec_driver_sql(statement)
