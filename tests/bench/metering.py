"""`make bench-metering`: what counting, shipping and reporting cost; figures, a table, plots.

- count     facts a second on one core: counted, drained each 1,000, encoded
- hub       counting as a share of a loaded hub's CPU: the hub's own log counted again, batch by
            batch, beside the CPU time the hub took for it
- ship      ledger rows a second into PostgreSQL and SQLite, sums kept; beside it plain INSERT
- report    a month's report from the sums, at 1 and 5 million rows of detail
"""

import argparse
import asyncio
import random
import resource
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import uvloop
from sqlalchemy import text

from chatd.facts import MessageAccepted
from loadtest import plots
from loadtest.launch import running
from loadtest.results import Figures, Result, machine
from loadtest.statistics import Spread
from loadtest.target import Target
from loadtest.websocket import Client
from metaport.chat_journal import ChatJournal, messages_of
from metaport.db.engine import sqlite_url
from metaport.db.ledger import SqlLedger, open_ledger
from metaport.log import Log, read
from metaport.usage_log import USAGE, UsageLog, usage_record
from metering.events import Checkpoint, Session, SessionRow, Subject, UsageRow
from metering.message_tally import MessageTallies
from metering.meters import METERS, SESSION_METERS, VOICE_SECONDS
from metering.pricebook import default_price_book
from metering.report import build_report
from metering.windows import month_period, open_zone
from tests.bench.postgres import PostgresServer

NOVEMBER = month_period("2026-11", open_zone("Asia/Seoul"))
FACTS = 1_000_000
DRAINED_EVERY = 1_000
SHIPPED, BATCH = 300_000, 10_000
SPOKEN = 50_000
EVENTS = 2_000
DETAIL = (1_000_000, 5_000_000)
ROOMS = 1_000
LAGO = Spread(10_000, 10_000, 10_000)


def count(figures: Figures) -> None:
    """Count messages on this core by CPU time, with few and with many people talking."""
    for people in (20, 900):
        facts = [
            (f"plaza/room-{n % 180 % people}", f"user-{n % people:04d}",
             NOVEMBER.start_s * 1000 + n // 10, 1, 5, 120, 600)
            for n in range(FACTS)
        ]  # fmt: skip
        tallies = MessageTallies()
        began = time.process_time()
        for start in range(0, FACTS, DRAINED_EVERY):
            tallies.count(facts[start : start + DRAINED_EVERY])
            usage_record("hub", 0, (), "boot", tallies.drain())
        figures.add(
            "facts counted", f"{people} people", "/s", FACTS / (time.process_time() - began)
        )


async def hub(figures: Figures, seconds: float = 12.0) -> None:
    """Load a hub (36 rooms of 5), then count the messages of its log again in the same batches."""
    with tempfile.TemporaryDirectory(prefix="metaport-bench-") as folder:
        data = Path(folder) / "data"
        async with running(data, {"METAPORT_PROFILE": "bench"}) as server:
            target = Target(server.url, server)
            senders = await _crowd(target)
            before = target.cpu_seconds("hub") or 0.0
            end = time.monotonic() + seconds
            await asyncio.gather(*(_talk(sender, room, end) for sender, room in senders))
            spent = (target.cpu_seconds("hub") or 0.0) - before
        counted, messages, batches = _counted_again(data / "log" / "hub", Path(folder) / "again")
        axis = f"{messages:,} messages, {messages / batches:.1f} a batch"
        figures.add("hub's CPU for a message", axis, "µs", spent / messages * 1e6)
        figures.add("counting of it", axis, "µs", counted / messages * 1e6)
        figures.add("counting, share of the hub", "36 rooms of 5", "%", counted / spent * 100)


async def _crowd(target: Target) -> list[tuple[Client, str]]:
    senders = []
    for number in range(180):
        token, _ = await target.token(f"member {number}")
        client = await Client.enter(target.url, token)
        room = f"plaza/{number // 5}"
        await client.request("join", room=room)
        senders.append((client, room))
    return senders


async def _talk(client: Client, room: str, end: float) -> None:
    while time.monotonic() < end:
        await client.request("send", room=room, body="x" * 120)


def _counted_again(directory: Path, scratch: Path) -> tuple[float, int, int]:
    """Return the CPU seconds of counting a log's messages, how many, in how many batches."""
    batches: list[list[MessageAccepted]] = []
    batch: list[MessageAccepted] = []
    for _, record in read(directory):
        if facts := messages_of(record):
            batch += facts
        elif record[:1] == USAGE and batch:
            batches.append(batch)
            batch = []
    journal = ChatJournal(UsageLog(log := Log(scratch), "hub", time.time))
    tallies = MessageTallies()
    began = time.process_time()
    for facts in batches:
        tallies.count([journal._count(fact) for fact in facts])
        usage_record("hub", 0, (), "boot", tallies.drain())
    spent = time.process_time() - began
    log.close()
    return spent, sum(map(len, batches)), len(batches)


async def ship(figures: Figures, name: str, ledger: SqlLedger) -> None:
    """Upsert rows, half of them new and half that grow, with sums and checkpoint."""
    rows = list(_rows())
    for start in range(0, len(rows), BATCH):  # what will grow stands
        await ledger.upsert(rows[start : start + BATCH : 2])
    rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.perf_counter()
    for start in range(0, len(rows), BATCH):
        some = rows[start : start + BATCH]
        await ledger.upsert(some, Checkpoint("hub", str(start), NOVEMBER.start_s))
    took = time.perf_counter() - began
    figures.add("ledger rows shipped, sums kept", name, "rows/s", len(rows) / took)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - rss
    figures.add("memory grown while shipping", name, "KiB", float(grown))


async def ship_sessions(figures: Figures, name: str, ledger: SqlLedger) -> None:
    """Upsert the seconds of voice, each row with its session's, and others without, in turns."""
    took = {"with their sessions": 0.0, "alone": 0.0}
    for start in range(0, SPOKEN, BATCH):
        for number, how in enumerate(took):
            # Hours of their own, so that all are new.
            rows = [
                UsageRow(
                    "sfu",
                    f"boot-{number}",
                    VOICE_SECONDS,
                    Subject(f"plaza/room-{n % 180}", f"user-{n % 900:04d}"),
                    NOVEMBER.start_s + n // 900 * 900,
                    n % 900,
                )
                for n in range(start, start + BATCH)
            ]
            sessions = [
                SessionRow(
                    row.node,
                    row.boot,
                    row.meter,
                    Session(row.window_start_s, f"s-{start + n:09x}{number}"),
                    row.window_start_s,
                    row.quantity,
                )
                for n, row in enumerate(rows if how == "with their sessions" else ())
            ]
            began = time.perf_counter()
            await ledger.upsert(rows, None, sessions)
            took[how] += time.perf_counter() - began
    for how, seconds in took.items():
        figures.add(f"rows of seconds shipped, {how}", name, "rows/s", SPOKEN / seconds)


def _rows() -> Iterator[UsageRow]:
    chance = random.Random(1)
    meters = list(METERS)
    for number in range(SHIPPED):
        user = number % 900
        yield UsageRow(
            "hub",
            f"boot-{number // 90_000}",
            meters[number // 900 % 4],
            Subject(f"plaza/room-{user % 180}", f"user-{user:04d}"),
            NOVEMBER.start_s + number // 3_600 % 25 * 900,
            chance.randrange(1, 10**6),
        )


async def insert_each(figures: Figures, name: str, ledger: SqlLedger) -> None:
    """Write one event a transaction, as a meter without a log must."""
    driver_sql = (
        "INSERT INTO event (at_s, meter, room, user_id, quantity) VALUES "
        "(1790000000, 'chat.messages_sent', 'plaza/1', 'user', 1)"
    )
    async with ledger.engine.begin() as connection:
        await connection.exec_driver_sql(
            "CREATE TABLE IF NOT EXISTS event "
            "(at_s BIGINT, meter TEXT, room TEXT, user_id TEXT, quantity BIGINT)"
        )
    began = time.perf_counter()
    async with ledger.engine.connect() as connection:
        for _ in range(EVENTS):
            await connection.exec_driver_sql(driver_sql)
            await connection.commit()
    took = time.perf_counter() - began
    figures.add("plain INSERT, one an event", name, "events/s", EVENTS / took)


async def report(figures: Figures, name: str, ledger: SqlLedger) -> None:
    """Make a month's report, with usage by day, room and app, as detail grows."""
    held = 0
    for rows in DETAIL:
        await _fill(ledger, held, rows)
        held = rows
        took = []
        for _ in range(5):
            began = time.perf_counter()
            await build_report(
                ledger, default_price_book(), "2026-11", "Asia/Seoul", 2e9, details=True
            )
            took.append((time.perf_counter() - began) * 1e3)
        axis = f"{name}, {rows // 10**6} million rows"
        figures.add("a month's report with details", axis, "ms", statistics.median(took))
        began = time.perf_counter()
        await build_report(ledger, default_price_book(), "2026-11", "Asia/Seoul", 2e9)
        figures.add("a month's report", axis, "ms", (time.perf_counter() - began) * 1e3)


async def report_sessions(figures: Figures, name: str, ledger: SqlLedger) -> None:
    """Read what each session of a month came to, for a price that rounds each."""
    on_postgres = ledger.engine.dialect.name == "postgresql"
    numbers = (
        f"generate_series(0, {DETAIL[0] - 1}) AS n"
        if on_postgres
        else "(WITH RECURSIVE s(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM s "
        f"WHERE n < {DETAIL[0] - 1}) SELECT n FROM s)"
    )
    # Two windows each, 350 sessions a window; the first of them began the month before.
    async with ledger.engine.begin() as connection:
        if on_postgres:
            await connection.exec_driver_sql(
                "CREATE TABLE usage_session_fill PARTITION OF usage_session "
                f"FOR VALUES FROM ({NOVEMBER.start_s - 900}) TO ({NOVEMBER.end_s})"
            )
        await connection.exec_driver_sql(
            "INSERT INTO usage_session "
            "(window_start_s, began_s, session, meter, node, boot, quantity) "
            f"SELECT {NOVEMBER.start_s} + (n / 700 + n % 2 - 1) * 900, "
            f"{NOVEMBER.start_s} + (n / 700 - 1) * 900, 's-' || (n / 2), "
            f"'{VOICE_SECONDS}', 'sfu', 'b', n % 900 FROM {numbers}"
        )
    if on_postgres:
        async with ledger.engine.connect() as connection:
            await connection.execution_options(isolation_level="AUTOCOMMIT")
            await connection.exec_driver_sql("VACUUM ANALYZE usage_session")
    began = time.perf_counter()
    await ledger.sessions(*NOVEMBER, SESSION_METERS)
    axis = f"{name}, {DETAIL[0] // 2:,} sessions"
    figures.add("what sessions came to", axis, "ms", (time.perf_counter() - began) * 1e3)


async def _fill(ledger: SqlLedger, held: int, rows: int) -> None:
    """Put detail rows into the table itself, and have the sums made again."""
    on_postgres = ledger.engine.dialect.name == "postgresql"
    numbers = (
        f"generate_series({held}, {rows - 1}) AS n"
        if on_postgres
        else f"(WITH RECURSIVE s(n) AS (SELECT {held} UNION ALL SELECT n + 1 FROM s "
        f"WHERE n < {rows - 1}) SELECT n FROM s)"
    )
    # A window holds 2,000 rows, each of a user of its own, in 1,000 rooms; 2,500 windows a month.
    fill = (
        "INSERT INTO usage_window (window_start_s, node, boot, meter, room, user_id, quantity) "
        f"SELECT {NOVEMBER.start_s} + n / 2000 * 900, 'hub', 'b', 'chat.messages_sent', "
        f"'plaza/' || (n % {ROOMS}), 'user-' || (n % 2000), 1 + n % 97 FROM {numbers}"
    )
    async with ledger.engine.begin() as connection:
        if on_postgres and not held:
            await connection.execute(
                text(
                    "CREATE TABLE usage_window_fill PARTITION OF usage_window "
                    f"FOR VALUES FROM ({NOVEMBER.start_s}) TO ({NOVEMBER.end_s})"
                )
            )
        await connection.exec_driver_sql(fill)
        await connection.exec_driver_sql("DELETE FROM ledger_setting WHERE name = 'zone'")
    await ledger.prepare()
    if on_postgres:
        async with ledger.engine.connect() as connection:
            await connection.execution_options(isolation_level="AUTOCOMMIT")
            await connection.exec_driver_sql("VACUUM ANALYZE")


@asynccontextmanager
async def ledgers() -> AsyncIterator[Callable[[str], Awaitable[SqlLedger]]]:
    """Lend ledgers by name, each on an empty database."""
    server = PostgresServer()
    with tempfile.TemporaryDirectory(prefix="metaport-bench-") as folder:
        opened: list[SqlLedger] = []

        async def lend(name: str) -> SqlLedger:
            at = server.url
            if name == "SQLite":
                at = sqlite_url(Path(folder) / f"{len(opened)}.db")
            ledger = await open_ledger(at)
            if name == "PostgreSQL":
                async with ledger.engine.begin() as connection:
                    await connection.exec_driver_sql(
                        "TRUNCATE usage_window, usage_hour, usage_day, usage_month, active_user"
                    )
            opened.append(ledger)
            return ledger

        try:
            yield lend
        finally:
            for ledger in opened:
                await ledger.close()
            server.remove()


async def measure(parts: list[str], repeats: int, figures: Figures) -> None:
    """Measure the chosen parts; databases take turns within a repeat."""
    for _ in range(repeats):
        if "count" in parts:
            count(figures)
        if "hub" in parts:
            await hub(figures)
        if "ship" in parts:
            async with ledgers() as lend:
                for name in ("PostgreSQL", "SQLite"):
                    ledger = await lend(name)
                    await ship(figures, name, ledger)
                    await insert_each(figures, name, ledger)
                    await ship_sessions(figures, name, ledger)
    if "report" in parts:
        async with ledgers() as lend:
            for name in ("PostgreSQL", "SQLite"):
                ledger = await lend(name)
                await report(figures, name, ledger)
                await report_sessions(figures, name, ledger)


def plot(figures: Figures, folder: Path) -> None:
    """Draw what was shipped beside its references, and how reports grow."""
    found: dict[tuple[str, str], Spread] = {(f.name, f.axis): f.spread for f in figures.all()}
    databases = ["PostgreSQL", "SQLite"]
    shipped = "ledger rows shipped, sums kept"
    if (shipped, "PostgreSQL") in found:
        series: dict[str, list[Spread | None]] = {
            shipped: [found.get((shipped, name)) for name in databases],
            "plain INSERT, one an event": [
                found.get(("plain INSERT, one an event", name)) for name in databases
            ],
            "Lago, published (PostgreSQL)": [LAGO, None],
        }
        bars = plots.Bars("Rows a second into the ledger", databases, series)
        plots.write(bars, folder / "metering-shipping.svg")
    reported = "a month's report with details"
    if any(name == reported for name, _ in found):
        sizes = [f"{rows // 10**6} million rows" for rows in DETAIL]
        times: dict[str, list[Spread | None]] = {
            name: [found.get((reported, f"{name}, {size}")) for size in sizes] for name in databases
        }
        bars = plots.Bars("A month's report, ms", sizes, times)
        plots.write(bars, folder / "metering-report.svg")


NOTES = (
    "Facts: messages of four meters each (sent, delivered, bytes in and out); CPU time.",
    "Share of the hub: the messages of the hub's own log counted again in the batches they came "
    "in, against all CPU time the hub took while they were sent.",
    f"Shipping: {BATCH:,} rows a transaction with sums by hour, day and month, the month's users "
    "and the checkpoint; half the rows are new and half grow. fsync is on.",
    "Lago: 10,000 events a second on one PostgreSQL, as its documentation publishes; not measured "
    "here.",
)


def main() -> None:
    """Run the chosen parts and write their results."""
    parser = argparse.ArgumentParser(prog="bench-metering", description=__doc__)
    every = ["count", "hub", "ship", "report"]
    parser.add_argument("parts", nargs="*", default=every, metavar="count|hub|ship|report")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("loadtest/results"))
    arguments = parser.parse_args()
    figures, measured_on = Figures(), machine()
    uvloop.run(measure(arguments.parts, arguments.repeats, figures))
    chosen = "" if arguments.parts == every else f' PARTS="{" ".join(arguments.parts)}"'
    command = f"make bench-metering{chosen} REPEATS={arguments.repeats}"
    result = Result("metering", figures.all(), NOTES, command, measured_on)
    result.write(arguments.out)
    plot(figures, arguments.out)
    print(result.as_markdown())


if __name__ == "__main__":
    main()
