"""Counters since midnight in Seoul, told over HTTP while people talk."""

import asyncio
import time

import pytest

from metaport.db.ledger import SqlLedger, open_ledger
from metaport.usage import LedgerReports
from metering.events import Checkpoint, Subject, UsageRow
from tests.metaport import test_compose
from tests.metaport.test_moderation_api import heard, joined, say
from tests.metaport.test_rooms_api import ask

config = test_compose.config
hub = test_compose.hub

# 00:30 in Seoul; in UTC it is still the day before.
NOW = 1_795_015_800


async def test_what_is_said_is_counted_within_seconds(hub):
    async with joined(hub, "eve") as eve:
        await say(eve, "!")
        await heard(eve)
        async with asyncio.timeout(30):
            while True:
                _, told = await ask(hub, "GET", "/api/v1/usage/live?by=room&key=hall")
                if told["total"].get("chat.messages_sent"):
                    break
                await asyncio.sleep(0.1)
    assert told["total"]["chat.messages_sent"] == 1
    assert told["total"]["chat.messages_delivered"] == 1
    assert [each["key"] for each in told["counters"]] == ["hall"]
    assert (told["zone"], told["since"] % 86_400_000) == ("Asia/Seoul", 15 * 3_600_000)
    assert abs(told["as_of"] / 1000 - time.time()) < 60


async def test_the_day_begins_at_midnight_in_seoul(tmp_path):
    ledger = await open_ledger(f"sqlite:///{tmp_path / 'usage.db'}")
    rows = [
        UsageRow("hub-0", "b", "voice.participant_seconds", Subject(room, "u"), at_s, 7)
        for room, at_s in (("a", NOW - 1_860), ("a", NOW - 1_800), ("game:x", NOW - 60))
    ]
    await ledger.upsert(rows, Checkpoint("hub-0", "1", NOW))
    reports = LedgerReports(ledger, lambda: pytest.fail("not priced"), "Asia/Seoul")
    today = await reports.today("room", NOW)
    assert (today.since_s, today.as_of_s) == (NOW - 1_800, NOW)
    assert {key: dict(used) for key, used in today.used.items()} == {
        "a": {"voice.participant_seconds": 7},
        "game:x": {"voice.participant_seconds": 7},
    }
    assert set((await reports.today("app", NOW)).used) == {"default", "game"}
    assert isinstance(ledger, SqlLedger)
    await ledger.close()
