"""From local logs to a ledger, through failures."""

import asyncio

import pytest

from metaport.log import Log, LogCorrupt
from metaport.media_journal import MediaJournal
from metaport.usage import LedgerReports, Shipper
from metaport.usage_log import UsageLog
from metering.errors import LedgerUnavailable
from metering.ledger import MemoryLedger
from metering.meters import PEAK_USERS
from metering.pricebook import default_price_book
from sfu.facts import ParticipantInterval

AT_MS = 1_790_000_000_000
MONTH = "2026-09"  # of AT_MS, in Asia/Seoul


class FailingLedger(MemoryLedger):
    """A ledger whose database is away while `away` is set."""

    away = False

    async def upsert(self, rows, checkpoint=None, sessions=()):
        if self.away:
            raise LedgerUnavailable("away")
        await super().upsert(rows, checkpoint, sessions)


@pytest.fixture
def sfu(tmp_path):
    log = Log(tmp_path / "sfu", segment_bytes=4_096)
    yield MediaJournal(UsageLog(log, "sfu", lambda: AT_MS / 1000))
    log.close()


def talk(journal, second, user="visitor"):
    start_ms = AT_MS + second * 1000
    journal.commit([ParticipantInterval("lobby", user, "p", 0, start_ms, start_ms + 1000)])


async def voice(ledger):
    return (await ledger.totals(0, 2**40)).get("voice.participant_seconds", 0)


async def test_what_is_written_arrives_once_however_often_it_is_shipped(tmp_path, sfu):
    ledger = MemoryLedger()
    shipper = Shipper(ledger, {"sfu": tmp_path / "sfu"})
    for second in range(100):
        talk(sfu, second)
        if second % 7 == 0:
            await shipper.ship()
    await shipper.ship()
    assert await voice(ledger) == 100
    # A new shipper that lost its place reads everything again.
    ledger._checkpoints.clear()
    again = Shipper(ledger, {"sfu": tmp_path / "sfu"})
    await again.ship()
    assert await voice(ledger) == 100
    assert again.lag_bytes() == {"sfu": 0}
    shipper.close()
    again.close()


async def test_an_outage_of_the_ledger_loses_nothing(tmp_path, sfu):
    ledger = FailingLedger()
    shipper = Shipper(ledger, {"sfu": tmp_path / "sfu"})
    talk(sfu, 0)
    await shipper.ship()
    ledger.away = True
    for second in range(1, 50):
        talk(sfu, second)
    with pytest.raises(LedgerUnavailable):
        await shipper.ship()
    ledger.away = False
    await shipper.ship()
    assert await voice(ledger) == 50
    shipper.close()


async def test_a_log_that_does_not_exist_yet_is_waited_for(tmp_path):
    shipper = Shipper(MemoryLedger(), {"sfu": tmp_path / "none"})
    assert await shipper.ship() == 0


async def test_a_visit_and_its_month_are_priced_from_the_same_ledger(tmp_path, sfu):
    ledger = MemoryLedger()
    shipper = Shipper(ledger, {"sfu": tmp_path / "sfu"})
    for second in range(60):
        talk(sfu, second)
        talk(sfu, second, "host")
    await shipper.ship()
    shipper.close()
    reports = LedgerReports(ledger, default_price_book, "Asia/Seoul")
    visit = await reports.visit("visitor", AT_MS / 1000 + 60)
    assert [(line["meter"], line["quantity"]) for line in visit["lines"]] == [
        ("voice.participant_seconds", 60)
    ]
    month = await reports.month(MONTH, AT_MS / 1000 + 60)
    seconds = {line.id.meter: line.quantity for line in month.lines}
    assert seconds["voice.participant_seconds"] == 120
    assert month.subtotal + month.vat == month.total


class SlowLedger(FailingLedger):
    """A ledger that calls `during` while a transaction is under way."""

    def __init__(self):
        super().__init__()
        self.during = lambda: None

    async def upsert(self, rows, checkpoint=None, sessions=()):
        self.during()
        await asyncio.sleep(0)
        await super().upsert(rows, checkpoint, sessions)


async def test_only_what_is_in_the_ledger_is_dropped_from_the_logs(tmp_path, sfu):
    """Trimming by what was merely read lost usage when the transaction then failed."""
    directory = tmp_path / "sfu"
    ledger = SlowLedger()
    shipper = Shipper(ledger, {"sfu": directory})
    talk(sfu, 0)
    await shipper.ship()
    for second in range(1, 200):
        talk(sfu, second)
    segments = sorted(directory.glob("*.log"))
    assert len(segments) > 2

    def trim_and_fail():
        shipper.trim({})
        ledger.away = True

    ledger.during = trim_and_fail
    with pytest.raises(LedgerUnavailable):
        await shipper.ship()
    assert sorted(directory.glob("*.log")) == segments
    ledger.during, ledger.away = (lambda: None), False
    await shipper.ship()
    assert await voice(ledger) == 200
    shipper.trim({"sfu": int(segments[1].stem)})
    assert sorted(directory.glob("*.log")) == segments[1:]
    shipper.trim({})
    assert sorted(directory.glob("*.log")) == segments[-1:]
    talk(sfu, 200)
    await shipper.ship()
    assert await voice(ledger) == 201
    shipper.close()


async def test_a_busy_log_does_not_keep_the_other_one_waiting(tmp_path, sfu):
    """A process that writes during every transaction was shipped forever, and it alone."""
    busy = Log(tmp_path / "hub")
    chat = MediaJournal(UsageLog(busy, "hub", lambda: AT_MS / 1000))
    ledger = SlowLedger()
    ledger.during = lambda: talk(chat, 0, "host")
    talk(chat, 0, "host")
    talk(sfu, 0)
    shipper = Shipper(ledger, {"hub": busy.directory, "sfu": tmp_path / "sfu"})
    async with asyncio.timeout(5):
        await shipper.ship()
    assert await ledger.checkpoint("sfu") is not None
    shipper.close()
    busy.close()


async def test_a_damaged_log_does_not_keep_the_other_one_waiting(tmp_path, sfu):
    broken = Log(tmp_path / "hub")
    chat = MediaJournal(UsageLog(broken, "hub", lambda: AT_MS / 1000))
    talk(chat, 0, "host")
    whole = broken.position
    talk(chat, 1, "host")
    talk(chat, 2, "host")
    broken.close()
    [segment] = broken.directory.glob("*.log")
    with segment.open("r+b") as file:
        file.seek(whole + 12)
        file.write(b"\xff\xff")
    talk(sfu, 0)
    ledger = MemoryLedger()
    shipper = Shipper(ledger, {"hub": broken.directory, "sfu": tmp_path / "sfu"})
    assert await shipper.ship() > 0  # up to the damage
    talk(sfu, 1)
    with pytest.raises(LogCorrupt):
        await shipper.ship()
    assert await voice(ledger) == 3
    assert set(shipper.lag_bytes()) == {"hub", "sfu"}
    assert shipper.lag_bytes()["hub"] > 0
    shipper.close()


async def test_a_ledger_restored_from_a_backup_gets_what_is_left(tmp_path, sfu, caplog):
    """Its position had been trimmed, and nothing was shipped ever again."""
    ledger = MemoryLedger()
    shipper = Shipper(ledger, {"sfu": tmp_path / "sfu"})
    talk(sfu, 0)
    await shipper.ship()
    backup = dict(ledger._checkpoints)
    for second in range(1, 200):
        talk(sfu, second)
    await shipper.ship()
    shipper.trim({})
    shipper.close()
    ledger._checkpoints = backup
    talk(sfu, 200)
    again = Shipper(ledger, {"sfu": tmp_path / "sfu"})
    await again.ship()
    assert "usage is lost" in caplog.text
    assert await voice(ledger) == 201  # totals are cumulative: the last one says it all
    assert again.lag_bytes() == {"sfu": 0}
    again.close()


async def test_the_time_of_figures_does_not_move_while_the_ledger_is_away(tmp_path):
    now = AT_MS / 1000
    log = Log(tmp_path / "sfu")
    journal = MediaJournal(UsageLog(log, "sfu", lambda: now))
    ledger = FailingLedger()
    shipper = Shipper(ledger, {"sfu": log.directory})
    talk(journal, 0)
    await shipper.ship()
    before = dict(shipper.as_of_s)
    ledger.away = True
    now += 60
    talk(journal, 1)
    with pytest.raises(LedgerUnavailable):
        await shipper.ship()
    assert shipper.as_of_s == before
    assert shipper.lag_bytes()["sfu"] > 0
    ledger.away = False
    await shipper.ship()
    assert shipper.as_of_s["sfu"] == before["sfu"] + 60
    assert shipper.lag_bytes() == {"sfu": 0}
    shipper.close()
    log.close()


async def test_peak_users_are_told_at_whole_minutes_and_once(tmp_path):
    log = Log(tmp_path / "hub")
    usage = UsageLog(log, "hub", lambda: float(AT_MS // 1000 // 60 * 60))
    usage.gauge(PEAK_USERS, AT_MS // 1000 // 60 * 60, 5)
    usage.write()
    usage.write()
    ledger = MemoryLedger()
    shipper = Shipper(ledger, {"hub": log.directory})
    await shipper.ship()
    assert (
        await ledger.peak(PEAK_USERS, AT_MS // 1000 // 60 * 60, AT_MS // 1000 // 60 * 60 + 60) == 5
    )
    assert await ledger.totals(0, 2**40) == {}
    shipper.close()
    log.close()


async def test_a_loaded_loop_ships_less_often(tmp_path, sfu, monkeypatch):
    monkeypatch.setattr("metaport.usage.SHIP_EVERY_S", 0.0)
    monkeypatch.setattr("metaport.usage.SHIP_LOADED_EVERY_S", 1e6)
    ledger, loaded = MemoryLedger(), False
    shipper = Shipper(ledger, {"sfu": tmp_path / "sfu"}, lambda: loaded)
    task = asyncio.create_task(shipper.run())
    async with asyncio.timeout(30):
        for second in range(2):
            talk(sfu, second)
            while await voice(ledger) != second + 1:  # noqa: ASYNC110 - MemoryLedger tells nobody
                await asyncio.sleep(0)
    loaded = True
    for _ in range(20):
        await asyncio.sleep(0)
    talk(sfu, 2)
    for _ in range(20):
        await asyncio.sleep(0)
    assert await voice(ledger) == 2
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    shipper.close()
