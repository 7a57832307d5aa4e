"""From local logs to a ledger, through failures."""

import pytest

from metaport.log import Log
from metaport.media_journal import MediaJournal
from metaport.usage import LedgerReports, Shipper, this_month
from metaport.usage_log import UsageLog
from metering.errors import LedgerUnavailable
from metering.ledger import MemoryLedger
from metering.pricebook import default_price_book
from sfu.facts import ParticipantInterval

AT_MS = 1_790_000_000_000
MONTH = this_month("Asia/Seoul", AT_MS / 1000)


class FailingLedger(MemoryLedger):
    """A ledger whose database is away while `away` is set."""

    away = False

    async def upsert(self, rows, checkpoint=None):
        if self.away:
            raise LedgerUnavailable("away")
        await super().upsert(rows, checkpoint)


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
    reports = LedgerReports(ledger, default_price_book(), "Asia/Seoul")
    visit = await reports.visit("visitor", AT_MS / 1000 + 60)
    assert [(line["meter"], line["quantity"]) for line in visit["lines"]] == [
        ("voice.participant_seconds", 60)
    ]
    month = await reports.month(MONTH, AT_MS / 1000 + 60)
    seconds = {line.id.meter: line.quantity for line in month.lines}
    assert seconds["voice.participant_seconds"] == 120
    assert month.subtotal + month.vat == month.total
