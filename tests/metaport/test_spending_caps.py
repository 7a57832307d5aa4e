"""Caps: what they refuse, what they leave alone, and that they neither open nor close unseen."""

from datetime import UTC, datetime

import pytest

from metaport.db.engine import open_engine, sqlite_url
from metaport.db.ledger import SqlLedger
from metaport.spending_caps import SpendingCaps
from metaport.usage import LedgerReports
from metering.errors import LedgerUnavailable
from metering.events import Checkpoint, Subject, UsageRow
from metering.meters import MESSAGES_SENT
from metering.pricebook import load_price_book

NOW = datetime(2026, 11, 20, tzinfo=UTC).timestamp()
AT_S = 1_794_999_600
HEAD = """title_ko = "계약"
title_en = "Contract"
amount = 12650000
start = 2026-11-01
end = 2026-11-30
"""
LOBBY = '[[cap]]\nroom = "fair:hall/1"\nwon = 77\n'
FAIR = '[[cap]]\napp = "fair"\nwon = 154\nrefuse = ["media"]\n'


class Reports(LedgerReports):
    """Reports of a ledger that may be away."""

    away = False

    async def month(self, month, now, *, details=False, by=None):
        if self.away:
            raise LedgerUnavailable("away")
        return await super().month(month, now, details=details, by=by)


@pytest.fixture
async def capped(tmp_path):
    engine = await open_engine(sqlite_url(tmp_path / "m.db"))
    path = tmp_path / "contract.toml"
    path.write_text(HEAD + LOBBY + FAIR)
    ledger = SqlLedger(engine, "Asia/Seoul")
    reports = Reports(ledger, load_price_book, "Asia/Seoul")
    caps = SpendingCaps(path, reports, "Asia/Seoul", lambda: NOW)

    async def say(room, total, at_s=AT_S):
        """Have said `total` messages in a room; 10,000 cost 70 won, 77 with VAT."""
        row = UsageRow("hub", "1", MESSAGES_SENT, Subject(room, "v"), at_s, total)
        await ledger.upsert([row], Checkpoint("hub", "1", int(NOW)))
        await caps.look()

    yield caps, say, reports, path
    await engine.dispose()


def refused(caps, room):
    return caps.refuses_messages(room), caps.refuses_media(room)


async def test_a_room_that_has_cost_its_cap_is_refused_and_no_other(capped):
    caps, say, _, _ = capped
    await say("fair:hall/1", 9_900)
    assert refused(caps, "fair:hall/1") == (False, False)
    await say("fair:hall/1", 10_000)
    assert refused(caps, "fair:hall/1") == (True, True)
    assert refused(caps, "fair:hall/2") == refused(caps, "lobby") == (False, False)


async def test_an_app_is_the_sum_of_its_rooms_and_refuses_what_its_cap_says(capped):
    caps, say, _, _ = capped
    await say("fair:hall/2", 12_000)
    await say("fair:hall/3", 8_000)
    assert refused(caps, "fair:hall/9") == (False, True)
    assert refused(caps, "lobby") == (False, False)


async def test_another_months_cost_counts_for_nothing(capped):
    caps, say, _, _ = capped
    await say("fair:hall/1", 10_000, AT_S - 40 * 86_400)
    assert refused(caps, "fair:hall/1") == (False, False)


async def test_a_cap_that_is_raised_lets_go(capped):
    caps, say, _, path = capped
    await say("fair:hall/1", 10_000)
    assert caps.refuses_messages("fair:hall/1")
    path.write_text(HEAD + LOBBY.replace("77", "78"))
    await caps.look()
    assert refused(caps, "fair:hall/1") == (False, False)


async def test_while_the_ledger_is_away_what_was_known_holds(capped):
    caps, say, reports, path = capped
    await say("fair:hall/1", 10_000)
    reports.away = True
    await caps.look()
    assert caps.failing == "away"
    assert caps.refuses_messages("fair:hall/1")
    reports.away = False
    path.write_text("amount = -")
    await caps.look()
    assert "line 1" in caps.failing
    assert caps.refuses_messages("fair:hall/1")


async def test_a_cap_of_nothing_refuses_from_the_start(capped):
    caps, say, _, path = capped
    path.write_text(HEAD + '[[cap]]\napp = "default"\nwon = 0\n')
    await say("fair:hall/1", 1)
    assert refused(caps, "lobby") == (True, True)
    assert refused(caps, "fair:hall/1") == (False, False)


async def test_without_a_contract_nothing_is_refused(capped):
    _, _, reports, _ = capped
    caps = SpendingCaps(None, reports, "Asia/Seoul", lambda: NOW)
    await caps.run()
    await caps.look()
    assert refused(caps, "lobby") == (False, False)
