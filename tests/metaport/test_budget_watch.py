"""Thresholds of the contract are told once, whoever looks however often."""

import asyncio
from datetime import UTC, datetime

import pytest

from metaport.budget_watch import BudgetWatch
from metaport.db.engine import open_engine, sqlite_url
from metaport.db.ledger import SqlLedger
from metaport.db.webhooks import Endpoint, SqlWebhooks
from metaport.shared_reports import KEPT_S, SharedReports
from metaport.spending_caps import SpendingCaps
from metaport.usage import LedgerReports
from metering.events import Checkpoint, Subject, UsageRow
from metering.meters import MESSAGES_SENT
from metering.pricebook import load_price_book

NOW = datetime(2026, 11, 20, tzinfo=UTC).timestamp()
CONTRACT = """title_ko = "계약"
title_en = "Contract"
amount = 7700
start = 2026-11-01
end = 2026-11-30
"""


@pytest.fixture
async def watched(tmp_path):
    engine = await open_engine(sqlite_url(tmp_path / "m.db"))
    path = tmp_path / "contract.toml"
    path.write_text(CONTRACT)
    ledger, webhooks = SqlLedger(engine, "Asia/Seoul"), SqlWebhooks(engine)
    reports = LedgerReports(ledger, load_price_book, "Asia/Seoul")
    await webhooks.add(Endpoint("we_1", "http://127.0.0.1/", ("budget.*",), True, 1, 0), "a", NOW)

    async def say(total):
        """Have said `total` messages this month; each costs 0.007 won, 0.0077 with VAT."""
        row = UsageRow("hub", "1", MESSAGES_SENT, Subject("lobby", "v"), 1_794_999_600, total)
        await ledger.upsert([row], Checkpoint("hub", "1", int(NOW)))

    yield BudgetWatch(path, reports, webhooks, lambda: NOW), webhooks, say, path
    await engine.dispose()


async def told(webhooks):
    return sorted(
        int(delivery.event_id.rpartition("/")[2])
        for delivery in await webhooks.deliveries("we_1", None, 10)
    )


async def test_each_threshold_is_told_once(watched):
    watch, webhooks, say, _ = watched
    await say(499_000)
    assert await watch.look() == 0
    await say(500_000)  # 3,500 + 350 = 3,850 of 7,700
    assert await watch.look() == 1
    assert await watch.look() == 0
    assert await told(webhooks) == [50]
    await say(1_100_000)
    assert await watch.look() == 2
    assert await told(webhooks) == [50, 80, 100]


async def test_another_amount_is_another_contract(watched):
    watch, webhooks, say, path = watched
    await say(500_000)
    assert await watch.look() == 1
    path.write_text(CONTRACT.replace("7700", "7000"))
    assert await watch.look() == 1
    assert await told(webhooks) == [50, 50]


async def test_a_contract_that_breaks_is_told_and_watched_again_when_mended(watched):
    watch, webhooks, say, path = watched
    await say(500_000)
    path.write_text("amount = -")
    assert await watch.look() == 0
    assert "line 1" in watch.failing
    path.write_text(CONTRACT)
    assert await watch.look() == 1
    assert watch.failing is None
    assert await told(webhooks) == [50]


async def test_without_a_contract_there_is_nothing_to_watch(watched):
    _, webhooks, _, _ = watched
    watch = BudgetWatch(None, None, webhooks, lambda: NOW)
    await watch.run()
    assert await watch.look() == 0


async def test_the_budget_and_the_caps_look_at_the_month_once(watched):
    watch, webhooks, say, path = watched
    await say(500_000)
    path.write_text(CONTRACT + '[[cap]]\napp = "default"\nwon = 3850\n')
    now = [NOW]
    reports = SharedReports(watch._reports._ledger, load_price_book, "Asia/Seoul")
    budget = BudgetWatch(path, reports, webhooks, lambda: now[0])
    caps = SpendingCaps(path, reports, "Asia/Seoul", lambda: now[0])
    told_now, _ = await asyncio.gather(budget.look(), caps.look())
    assert told_now == 1
    assert caps.refuses_messages("lobby")
    assert reports.priced == 1
    now[0] += KEPT_S
    await say(1_100_000)
    assert await budget.look() == 2
    await caps.look()
    assert reports.priced == 2
