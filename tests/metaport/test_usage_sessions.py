"""Sessions from the SFU's facts to a priced month: each is rounded as a whole, wherever it was."""

import random
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path

import pytest

from metaport.db.engine import sqlite_url
from metaport.db.ledger import SqlLedger, open_ledger
from metaport.db.periods import Periods
from metaport.log import Log
from metaport.media_journal import MediaJournal
from metaport.usage import LedgerReports, Shipper
from metaport.usage_log import UsageLog
from metaport.usage_periods import price_book_text
from metaport.usage_transfer import export_usage, import_usage
from metering.errors import PriceMissing
from metering.events import Checkpoint, Session, SessionRow, Subject, UsageRow
from metering.ledger import Ledger, MemoryLedger
from metering.meters import METERS, VIDEO_SECONDS_HD, VOICE_SECONDS
from metering.pricebook import PriceBook, read_price_book
from metering.rating.rounding import Piece
from metering.report import Report, build_report
from metering.windows import month_period, open_zone
from sfu.facts import ParticipantInterval

SEOUL = open_zone("Asia/Seoul")
NOVEMBER, DECEMBER = (month_period(month, SEOUL) for month in ("2026-11", "2026-12"))
AFTER = DECEMBER.end_s + 60.0
KEY = b"k" * 32
MINUTE_UP = ', round = { to = "minute", way = "up", of = "session" }'


def book_text(rounding: str = MINUTE_UP) -> str:
    """Return the shipped book with voice at 0.6 won a minute, each session rounded up."""
    text, _ = price_book_text(None)
    voice = f'"{VOICE_SECONDS}" = {{ price = 6, per = "minute"{rounding} }}'
    return "\n".join(
        voice if line.startswith(f'"{VOICE_SECONDS}"') else line for line in text.splitlines()
    )


BOOK = read_price_book(book_text(), "book.toml")


@pytest.fixture(params=["sqlite", "postgresql"])
async def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[SqlLedger]:
    sqlite = sqlite_url(tmp_path / "ledger.db")
    opened = await open_ledger(
        sqlite if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    )
    yield opened
    await opened.close()


class Sfus:
    """SFUs that each write what happens to a log of their own; `ship` brings it to a ledger."""

    def __init__(self, folder: Path, now_s: float) -> None:
        self.now_s = now_s
        self._folder = folder
        self.logs: dict[str, Path] = {}
        self._open: dict[str, tuple[Log, MediaJournal]] = {}

    def tell(self, sfu: str, session: str, start_s: int, end_s: int, *, pixels: int = 0) -> None:
        """Have an SFU write down a stretch of a participation, whose name tells when it began."""
        if sfu not in self._open:
            self.logs[sfu] = self._folder / sfu
            log = Log(self.logs[sfu])
            usage = UsageLog(log, sfu, lambda: self.now_s)
            self._open[sfu] = log, MediaJournal(usage)
        began_s = int(session.partition("@")[2] or start_s)
        interval = ParticipantInterval(
            "call", "visitor", "p", pixels, start_s * 1000, end_s * 1000, session, began_s * 1000
        )
        self._open[sfu][1].commit([interval])

    def die(self, sfu: str) -> None:
        """End an SFU's process: the next one counts in a boot of its own."""
        self._open.pop(sfu)[0].close()

    async def ship(self, ledger: Ledger) -> None:
        """Bring everything to the ledger, and then again from the beginning."""
        for _ in range(2):
            shipper = Shipper(ledger, self.logs)
            await shipper.ship()
            shipper.close()


def voice(report: Report) -> tuple[int, int, Decimal]:
    """Return what was measured of voice, what of it is paid, and the amount."""
    lines = [line for line in report.lines if line.id.meter == VOICE_SECONDS]
    return (
        sum(line.quantity for line in lines),
        sum(line.rated for line in lines),
        sum((line.amount for line in lines), Decimal(0)),
    )


async def month(ledger: Ledger, name: str, book: PriceBook = BOOK) -> tuple[int, int, Decimal]:
    return voice(await build_report(ledger, book, name, "Asia/Seoul", AFTER))


async def test_livekits_connections_of_10_and_70_seconds_are_3_minutes(
    ledger: SqlLedger, tmp_path: Path
) -> None:
    sfus, at_s = Sfus(tmp_path, AFTER), NOVEMBER.start_s + 40_000
    sfus.tell("sfu", "a", at_s, at_s + 10)
    sfus.tell("sfu", "b", at_s, at_s + 70)
    await sfus.ship(ledger)
    assert await month(ledger, "2026-11") == (80, 180, 18)


async def test_a_session_over_windows_midnights_nodes_and_deaths_is_one(
    ledger: SqlLedger, tmp_path: Path
) -> None:
    """70 s: cut by windows and midnight, by a death of its SFU, and by its move to another one."""
    sfus, at_s = Sfus(tmp_path, AFTER), NOVEMBER.start_s + 86_400 - 10
    session = f"s@{at_s}"
    sfus.tell("sfu", session, at_s, at_s + 20)
    sfus.die("sfu")
    sfus.tell("sfu", session, at_s + 25, at_s + 50)
    sfus.tell("sfu-1", session, at_s + 50, at_s + 75)
    await sfus.ship(ledger)
    assert await month(ledger, "2026-11") == (70, 120, 12)


async def test_a_session_over_the_border_of_months_costs_what_it_costs_in_one_piece(
    ledger: SqlLedger, tmp_path: Path
) -> None:
    sfus, end_s = Sfus(tmp_path, AFTER), NOVEMBER.end_s
    sfus.tell("sfu", f"s@{end_s - 10}", end_s - 10, end_s + 60)
    sfus.tell("sfu", f"t@{end_s - 70}", end_s - 70, end_s + 20)
    await sfus.ship(ledger)
    november, december = await month(ledger, "2026-11"), await month(ledger, "2026-12")
    # 10 s are a minute and 70 s of t are two; in December the first grows to two, t stays.
    assert november == (80, 180, 18)
    assert december == (80, 60, 6)


async def test_meters_of_a_session_are_rounded_apart(ledger: SqlLedger, tmp_path: Path) -> None:
    sfus, at_s = Sfus(tmp_path, AFTER), NOVEMBER.start_s
    sfus.tell("sfu", "s", at_s, at_s + 30)
    sfus.tell("sfu", "s", at_s + 30, at_s + 90, pixels=921_600)
    sfus.tell("sfu", "s", at_s + 90, at_s + 125)
    await sfus.ship(ledger)
    assert await month(ledger, "2026-11") == (65, 120, 12)
    assert await ledger.sessions(*NOVEMBER, METERS) == {
        VOICE_SECONDS: [Piece(65)],
        VIDEO_SECONDS_HD: [Piece(60)],
    }


async def test_seconds_of_no_known_session_are_not_priced_by_a_guess(ledger: SqlLedger) -> None:
    row = UsageRow("sfu", "1", VOICE_SECONDS, Subject("call", "visitor"), NOVEMBER.start_s, 61)
    await ledger.upsert([row])
    with pytest.raises(PriceMissing, match=r"of no session .*voice.participant_seconds \(61\)"):
        await month(ledger, "2026-11")
    exact = read_price_book(
        book_text(', round = { to = "minute", way = "exact", of = "session" }'), "exact.toml"
    )
    assert await month(ledger, "2026-11", exact) == (61, 61, 6)


async def test_a_closed_month_keeps_what_its_sessions_came_to(
    ledger: SqlLedger, tmp_path: Path
) -> None:
    sfus, end_s = Sfus(tmp_path, AFTER), NOVEMBER.end_s
    sfus.tell("sfu", f"s@{end_s - 10}", end_s - 10, end_s + 60)
    await sfus.ship(ledger)
    periods = Periods(ledger, KEY)
    closed = await periods.close("2026-11", book_text(), "book.toml", by="담당", now=AFTER)
    [kept] = closed.sessions
    assert kept == (*NOVEMBER, VOICE_SECONDS, (Piece(10),))
    # What comes later, and the loss of the details, change nothing.
    sfus.tell("sfu", f"late@{end_s - 900}", end_s - 900, end_s - 800)
    await sfus.ship(ledger)
    await ledger.drop_details(end_s)
    reports = LedgerReports(ledger, lambda: BOOK, "Asia/Seoul", periods=periods)
    assert voice(await reports.month("2026-11", AFTER)) == (10, 60, 6)
    assert await periods.verify("2026-11") == closed.digest
    # A correction is as a session of its own, taken back as it was given.
    more = await periods.correct("2026-11", VOICE_SECONDS, 70, reason="r", person="p", now=AFTER)
    less = await periods.correct("2026-11", VOICE_SECONDS, -70, reason="r", person="p", now=AFTER)
    assert (more.amount, less.amount) == (12, -12)


async def test_an_export_carries_sessions_and_closed_months_to_the_same_digest(
    tmp_path: Path,
) -> None:
    sfus, end_s = Sfus(tmp_path, AFTER), NOVEMBER.end_s
    sfus.tell("sfu", f"s@{end_s - 10}", end_s - 10, end_s + 60)
    digests, files = [], [tmp_path / "1.jsonl", tmp_path / "2.jsonl"]
    for number, path in enumerate(files):
        ledger = await open_ledger(sqlite_url(tmp_path / f"{number}.db"))
        periods = Periods(ledger, KEY)
        if number:
            await import_usage(ledger, periods, files[0])
            await import_usage(ledger, periods, files[0])
        else:
            await sfus.ship(ledger)
            await ledger.upsert([], Checkpoint("sfu", "1", int(AFTER)))
            await periods.close("2026-11", book_text(), "book.toml", by="담당", now=AFTER)
        with path.open("wb") as file:
            digests.append((await export_usage(ledger, periods, file)).digest)
        assert await month(ledger, "2026-12") == (60, 60, 6)
        await ledger.close()
    assert digests[0] == digests[1]


async def test_sql_tells_of_sessions_what_memory_does(ledger: SqlLedger) -> None:
    lot = random.Random(7)
    for turn in range(20):
        memory = MemoryLedger()
        rows = []
        for _ in range(60):
            start_s = NOVEMBER.end_s + 900 * lot.randint(-40, 40)
            session = Session(0, f"{turn}-{lot.randint(0, 9)}")
            meter = lot.choice([VOICE_SECONDS, VIDEO_SECONDS_HD])
            rows.append(
                SessionRow(f"n{turn}", lot.choice("12"), meter, session, start_s, lot.randint(0, 9))
            )
        await memory.upsert([], None, rows)
        async with ledger.writer() as connection:
            await connection.exec_driver_sql("DELETE FROM usage_session")
        await ledger.upsert([], None, rows[:30])
        await ledger.upsert([], None, rows)
        for period in (NOVEMBER, DECEMBER):
            assert await ledger.sessions(*period, METERS) == await memory.sessions(*period, METERS)
