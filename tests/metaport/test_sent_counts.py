"""Counts of Redis into the ledger: repeated, interrupted, by several; each message once."""

import pytest

from chatd.redis_link import RedisSilent
from chatd.redis_options import Kept
from chatd.redis_script import WINDOW_S, SentCount
from metaport.sent_counts import REDIS, SentShipper
from metering.errors import LedgerUnavailable
from metering.events import Checkpoint
from metering.ledger import MemoryLedger

NOW_S = 1_790_000_100
WINDOW = NOW_S // WINDOW_S * WINDOW_S


class Counts:
    """What Redis has counted, and who is the first hub."""

    def __init__(self):
        self.now_s = NOW_S
        self.found = {}
        self.away = False
        self.first = True
        self.asked = []

    def say(self, user="u", room="r", window_s=WINDOW, generation="g", *, count=1, size=0):
        key = (generation, room, user, window_s)
        counted, sizes = self.found.get(key, (0, 0))
        self.found[key] = (counted + count, sizes + size)

    def utc_s(self):
        return self.now_s

    async def sent_counts(self, since_s, until_s):
        if self.away:
            raise RedisSilent("gone")
        self.asked.append((since_s, until_s))
        return [
            SentCount(*key, *totals)
            for key, totals in self.found.items()
            if since_s <= key[3] < until_s
        ]


class DyingLedger(MemoryLedger):
    """A ledger that goes away while `away` is set."""

    away = False

    async def upsert(self, rows, checkpoint=None, sessions=()):
        if self.away:
            raise LedgerUnavailable("away")
        await super().upsert(rows, checkpoint, sessions)


@pytest.fixture
def counts():
    return Counts()


@pytest.fixture
def ledger():
    return DyingLedger()


async def sent(ledger):
    return (await ledger.totals(0, 2**40)).get("chat.messages_sent", 0)


async def test_what_was_counted_is_in_the_ledger_and_only_changes_are_written(counts, ledger):
    shipper = SentShipper(counts, ledger, counts)
    counts.say(count=3)
    counts.say(user="v")
    assert await shipper.ship() == 2
    assert await shipper.ship() == 0
    counts.say()
    assert await shipper.ship() == 1
    assert await sent(ledger) == 5
    assert await ledger.as_of() == NOW_S - 1


async def test_bytes_come_with_their_messages_and_are_told_to_nobody_else(counts, ledger):
    told = []
    shipper = SentShipper(counts, ledger, counts, said=told.append)
    counts.say(count=2, size=70)
    assert await shipper.ship() == 2
    counts.say(size=0)
    assert await shipper.ship() == 1
    counts.say(size=5)
    await SentShipper(counts, ledger, counts).ship()
    assert await ledger.totals(0, 2**40) == {"chat.messages_sent": 4, "chat.text_bytes_in": 75}
    assert [dict(rooms) for rooms in told if rooms] == [{"r": 2}, {"r": 1}]


async def test_bytes_that_a_hub_of_the_version_before_left_are_carried_and_nothing_else(
    counts, ledger
):
    counts.say(count=2, size=70)
    counts.now_s += 20 * 86_400
    counts.say(window_s=counts.now_s // WINDOW_S * WINDOW_S, size=5)
    await ledger.upsert([], Checkpoint(REDIS, str(counts.now_s - 3 * WINDOW_S), counts.now_s))
    ledger.away = True
    shipper = SentShipper(counts, ledger, counts)
    with pytest.raises(LedgerUnavailable):
        await shipper.ship()
    ledger.away = False
    await shipper.ship()
    # The messages of that window it had shipped: its details may be gone by now.
    assert await ledger.totals(0, 2**40) == {"chat.messages_sent": 1, "chat.text_bytes_in": 75}
    counts.asked.clear()
    await SentShipper(counts, ledger, counts).ship()
    assert len(counts.asked) == 1


async def test_two_hubs_and_a_restart_count_nothing_twice(counts, ledger):
    counts.say(count=3)
    for _ in range(2):
        await SentShipper(counts, ledger, counts).ship()
        await SentShipper(counts, ledger, counts).ship()
        counts.say()
    await SentShipper(counts, ledger, counts).ship()
    assert await sent(ledger) == 5


async def test_a_new_generation_counts_on_beside_the_lost_one(counts, ledger):
    shipper = SentShipper(counts, ledger, counts)
    counts.say(count=5)
    await shipper.ship()
    counts.found.clear()
    counts.say(generation="after a loss", count=2)
    await shipper.ship()
    assert await sent(ledger) == 7


async def test_windows_counted_while_the_ledger_was_away_for_days_are_read(counts, ledger):
    shipper = SentShipper(counts, ledger, counts)
    await shipper.ship()
    ledger.away = True
    for day in range(10):
        counts.say(window_s=WINDOW + day * 86_400)
    counts.now_s += 10 * 86_400
    with pytest.raises(LedgerUnavailable):
        await shipper.ship()
    assert await ledger.as_of() == NOW_S - 1
    ledger.away = False
    await SentShipper(counts, ledger, counts).ship()
    assert await sent(ledger) == 10
    assert await ledger.as_of() == counts.now_s - 1


async def test_a_count_that_comes_late_into_a_past_window_is_read(counts, ledger):
    shipper = SentShipper(counts, ledger, counts)
    await shipper.ship()
    counts.now_s = WINDOW + WINDOW_S + 1
    counts.say(window_s=WINDOW)
    await shipper.ship()
    assert await sent(ledger) == 1


async def test_only_the_windows_that_may_change_are_read(counts, ledger):
    shipper = SentShipper(counts, ledger, counts)
    await shipper.ship()
    counts.asked.clear()
    await shipper.ship()
    assert counts.asked == [(WINDOW - 2 * WINDOW_S, NOW_S + WINDOW_S)]


async def test_nothing_is_complete_before_redis_was_read(counts, ledger):
    shipper = SentShipper(counts, ledger, counts)
    await shipper.announce()
    await ledger.upsert([], Checkpoint("hub", "1", NOW_S))
    assert await ledger.as_of() == NOW_S - Kept().sent_s
    await shipper.ship()
    assert await ledger.as_of() == NOW_S - 1
    await SentShipper(counts, ledger, counts).announce()
    assert await ledger.as_of() == NOW_S - 1


async def test_an_absent_redis_leaves_the_ledger_as_it_was(counts, ledger):
    shipper = SentShipper(counts, ledger, counts)
    counts.say()
    counts.away = True
    with pytest.raises(RedisSilent):
        await shipper.ship()
    assert await ledger.checkpoint(REDIS) is None
