"""Messages whose hub died over them: found in Redis, copied once, and nothing else touched."""

import pytest

from chatd.facts import MessageAccepted
from chatd.redis_link import RedisSilent
from chatd.room_book import RoomsAway, RoomSettings
from chatd.wire import Message, Since
from metaport.db.engine import connect, sqlite_url
from metaport.db.messages import SqlMessages
from metaport.history_audit import MESSAGES_A_LOOK, PATIENCE_S, HistoryAudit

KEPT = 1000


class Redis:
    """Streams of rooms, trimmed by hand."""

    def __init__(self):
        self.kept = {}
        self.away = False
        self.asked = []

    def say(self, room="plaza", epoch="e", count=1):
        stream = self.kept.setdefault(room, [])
        first = stream[-1].offset + 1 if stream else 1
        stream += [
            Message(room, n, f"{epoch}-{n}", "u", "U", 1_790_000_000_000 + n, f"body {n}")
            for n in range(first, first + count)
        ]

    async def ends(self, rooms):
        if self.away:
            raise RedisSilent("gone")
        self.asked.append(list(rooms))
        return {r: (self.kept[r][0], self.kept[r][-1]) for r in rooms if self.kept.get(r)}

    async def between(self, room, first, last):
        return [m for m in self.kept[room] if first <= m.offset <= last]


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
async def store(tmp_path):
    engine = connect(sqlite_url(tmp_path / "m.db"))
    yield SqlMessages(engine)
    await engine.dispose()


class Auditing:
    def __init__(self, store):
        self.redis, self.store, self.clock = Redis(), store, Clock()
        self.book = {}
        self.book_away = False
        self.first = True
        self.audit = self.begin()

    def begin(self):
        return HistoryAudit(
            self.redis,
            self.store,
            self.settings,
            first=lambda: self.first,
            room_messages=KEPT,
            now=self.clock,
        )

    def settings(self, room):
        if self.book_away:
            raise RoomsAway
        return self.book.get(room)

    def said(self, count=1, room="plaza"):
        self.redis.say(room, count=count)
        self.audit.said({room: count})

    async def written(self, *offsets, room="plaza", epoch="e"):
        """Have a living hub's writer bring some into the database."""
        facts = [
            MessageAccepted(room, epoch, n, f"{epoch}-{n}", "u", "U", 5, f"body {n}")
            for n in offsets
        ]
        await self.store.upsert(facts, "hub", 1)

    async def offsets(self, room="plaza"):
        stretch = await self.store.before(room, None, 1000)
        return [message.offset for message in stretch.messages]


@pytest.fixture
def auditing(store):
    return Auditing(store)


async def test_what_a_hub_died_over_is_copied_once_its_writer_must_have_come(auditing):
    auditing.said(3)
    await auditing.written(1, 3)
    assert await auditing.audit.look() == 0
    assert await auditing.offsets() == [1, 3]

    auditing.clock.now += PATIENCE_S
    assert await auditing.audit.look() == 1
    assert await auditing.offsets() == [1, 2, 3]
    [message] = (await auditing.store.after("plaza", Since("e", 1), 1)).messages
    assert message == auditing.redis.kept["plaza"][1]
    assert await auditing.audit.look() == 0
    assert auditing.audit.copied == 1


async def test_a_late_writer_is_waited_for(auditing):
    auditing.said(3)
    assert await auditing.audit.look() == 0
    await auditing.written(1, 2, 3)
    auditing.clock.now += PATIENCE_S
    assert await auditing.audit.look() == 0
    assert auditing.audit.copied == 0


async def test_what_is_about_to_be_trimmed_is_copied_at_once(auditing):
    auditing.said(KEPT)
    await auditing.written(*range(2, KEPT + 1))
    assert await auditing.audit.look() == 1
    assert (await auditing.offsets())[0] == 1


async def test_what_was_trimmed_before_is_counted_and_not_waited_for_again(auditing):
    auditing.said(2)
    await auditing.written(1)
    await auditing.audit.look()
    del auditing.redis.kept["plaza"][:2]
    auditing.redis.say(epoch="e")
    auditing.redis.kept["plaza"] = [Message("plaza", 3, "e-3", "u", "U", 7, "body 3")]
    auditing.audit.said({"plaza": 1})
    auditing.clock.now += PATIENCE_S
    assert await auditing.audit.look() == 1
    assert (auditing.audit.copied, auditing.audit.trimmed) == (1, 1)
    assert await auditing.offsets() == [1, 3]
    await auditing.audit.look()
    assert auditing.redis.asked[-1] == ["plaza"]
    assert auditing.audit.trimmed == 1


async def test_what_is_deleted_after_it_was_seen_stays_deleted(auditing):
    auditing.said(2)
    await auditing.written(1, 2)
    await auditing.audit.look()
    await auditing.store.forget(10, 100)
    auditing.said(1)
    await auditing.written(3)
    auditing.clock.now += PATIENCE_S
    await auditing.audit.look()
    assert await auditing.offsets() == [3]


async def test_a_message_that_came_meanwhile_is_not_replaced(auditing):
    await auditing.written(1)
    await auditing.store.add([MessageAccepted("plaza", "e", 1, "e-1", "u", "U", 5, "other")])
    assert [m.body for m in (await auditing.store.before("plaza", None, 9)).messages] == ["body 1"]


async def test_rooms_that_keep_nothing_are_left_out_and_unknown_ones_wait(auditing):
    auditing.book["game"] = RoomSettings("game", persistent=False)
    auditing.said(2, "game")
    auditing.book_away = True
    with pytest.raises(RoomsAway):
        await auditing.audit.look()
    auditing.book_away = False
    await auditing.audit.look()
    auditing.clock.now += PATIENCE_S
    assert await auditing.audit.look() == 0
    assert await auditing.offsets("game") == []


async def test_an_outage_of_redis_loses_no_room_from_the_list(auditing):
    auditing.said(1)
    auditing.redis.away = True
    with pytest.raises(RedisSilent):
        await auditing.audit.look()
    auditing.redis.away = False
    await auditing.audit.look()
    auditing.clock.now += PATIENCE_S
    assert await auditing.audit.look() == 1


async def test_only_the_first_hub_looks_and_the_next_begins_anew(auditing):
    auditing.said(1)
    auditing.first = False
    auditing.clock.now += PATIENCE_S
    assert await auditing.audit.look() == 0
    auditing.first = True
    assert await auditing.audit.look() == 0, "it was not told of any room"
    assert auditing.redis.asked == []


async def test_one_look_copies_no_more_than_it_may(auditing):
    auditing.said(KEPT)
    auditing.clock.now += PATIENCE_S
    copied = []
    while sum(copied) < KEPT:
        copied.append(await auditing.audit.look())
        auditing.clock.now += PATIENCE_S
        assert len(copied) < 10
    assert max(copied) <= MESSAGES_A_LOOK
    assert await auditing.offsets() == list(range(1, KEPT + 1))


async def test_a_new_epoch_is_compared_from_its_beginning(auditing):
    auditing.said(2)
    await auditing.written(1, 2)
    await auditing.audit.look()
    auditing.redis.kept.clear()
    auditing.redis.say(epoch="f")
    auditing.audit.said({"plaza": 1})
    await auditing.audit.look()
    auditing.clock.now += PATIENCE_S
    assert await auditing.audit.look() == 1
    stretch = await auditing.store.before("plaza", None, 9)
    assert (stretch.epoch, [m.offset for m in stretch.messages]) == ("f", [1])
