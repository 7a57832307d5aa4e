"""Paging over a room's past: hot, archived, and while the archive is away."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatd import paging
from chatd.archive import MemoryArchive
from chatd.bus import LocalBus, Retention
from chatd.errors import INTERNAL, RATE_LIMITED
from chatd.facts import MemoryFacts, MessageAccepted, MessagesRecovered
from chatd.limits import Limits
from chatd.wire import MSGPACK, Message


class ArchivingFacts(MemoryFacts):
    """Facts that are in the archive as soon as they are committed."""

    def __init__(self):
        super().__init__()
        self.archive = MemoryArchive()

    def commit(self, facts):
        super().commit(facts)
        for fact in facts:
            if isinstance(fact, MessageAccepted):
                self.archive.keep(fact.epoch, archived(fact))


def archived(fact):
    return Message(
        fact.room, fact.offset, fact.id, fact.user, fact.name, fact.at_ms, fact.body
    )  # fmt: skip


class Hall:
    """A house with an archive and a bus that keeps only a few messages hot."""

    def __init__(self, build, clock, *, hot=3, archive=True):
        self.facts = ArchivingFacts()
        self.archive = self.facts.archive
        bus = LocalBus(clock=clock, retention=Retention(room_messages=hot))
        self.house = build(
            clock=clock,
            facts=self.facts,
            bus=bus,
            archive=self.archive if archive else None,
            limits=Limits().lifted(),
        )

    def fill(self, codec, count):
        visitor = self.house.visitor("visitor", "hall", codec=codec)
        self.epoch = visitor.ask(t="join", room="hall")["epoch"]
        for number in range(count):
            visitor.ask(t="send", room="hall", body=f"{number + 1}")
        return visitor


async def ask(visitor, request_id=900, **wish):
    """Ask for a page of the hall and wait for the answer, from wherever it comes."""
    visitor.say(t="history", id=request_id, room="hall", **wish)
    async with asyncio.timeout(5):
        while True:
            for frame in visitor.hear():
                if frame.get("id") == request_id:
                    return frame
            await asyncio.sleep(0)


def bodies(page):
    return [frame["body"] for frame in page["messages"]]


@pytest.fixture
def hall(build, clock):
    return Hall(build, clock)


async def test_what_is_hot_comes_at_once_and_without_the_archive(hall, codec):
    visitor = hall.fill(codec, 5)
    hall.archive.away = True
    page = visitor.ask(t="history", room="hall", limit=2)
    assert (page["t"], page["room"], page["epoch"]) == ("history", "hall", hall.epoch)
    assert (bodies(page), page["more"]) == (["4", "5"], True)
    page = visitor.ask(t="history", room="hall", limit=2, before={"epoch": hall.epoch, "offset": 5})
    assert bodies(page) == ["3", "4"]
    page = visitor.ask(t="history", room="hall", after={"epoch": hall.epoch, "offset": 3})
    assert (bodies(page), page["more"]) == (["4", "5"], False)


async def test_entries_are_whole_message_frames_wherever_they_come_from(hall, codec):
    visitor = hall.fill(codec, 5)
    live = visitor.ask(t="join", room="hall", history=3)["messages"]
    (hot,) = (await ask(visitor, limit=1))["messages"]
    assert hot == live[-1]
    place = {"epoch": hall.epoch, "offset": 4}
    cold = (await ask(visitor, before=place, limit=3))["messages"]
    assert cold[-1] == live[0]
    assert [set(frame) for frame in cold] == [set(hot)] * 3


async def test_older_ones_come_from_the_archive(hall, codec):
    visitor = hall.fill(codec, 9)
    page = await ask(visitor, before={"epoch": hall.epoch, "offset": 5}, limit=3)
    assert (bodies(page), page["more"]) == (["2", "3", "4"], True)
    page = await ask(visitor, before={"epoch": hall.epoch, "offset": 2}, limit=3)
    assert (bodies(page), page["more"]) == (["1"], False)
    page = await ask(visitor, after={"epoch": hall.epoch, "offset": 0}, limit=2)
    assert (bodies(page), page["more"]) == (["1", "2"], True)


async def test_a_page_half_hot_is_filled_from_the_archive(hall):
    visitor = hall.fill(MSGPACK, 9)
    assert bodies(await ask(visitor, limit=5)) == ["5", "6", "7", "8", "9"]


async def test_while_the_archive_is_away_a_short_page_is_better_than_none(hall):
    visitor = hall.fill(MSGPACK, 9)
    hall.archive.away = True
    page = await ask(visitor, limit=5)
    assert (bodies(page), page["more"]) == (["7", "8", "9"], True)
    error = await ask(visitor, before={"epoch": hall.epoch, "offset": 5})
    assert (error["t"], error["reason"]) == ("error", "history_away")
    assert error["retry_after_ms"] > 0
    hall.archive.away = False
    assert bodies(await ask(visitor, before={"epoch": hall.epoch, "offset": 3})) == ["1", "2"]


async def test_an_archive_that_does_not_answer_is_given_up(hall, monkeypatch):
    visitor = hall.fill(MSGPACK, 9)

    async def never(*_):
        await asyncio.get_running_loop().create_future()

    monkeypatch.setattr(hall.archive, "before", never)
    monkeypatch.setattr(paging, "ARCHIVE_TIMEOUT_S", 0.01)
    error = await ask(visitor, before={"epoch": hall.epoch, "offset": 5})
    assert error["reason"] == "history_away"


async def test_an_archive_that_fails_is_an_internal_error(hall, monkeypatch):
    visitor = hall.fill(MSGPACK, 9)

    async def broken(*_):
        raise RuntimeError("a bug")

    monkeypatch.setattr(hall.archive, "before", broken)
    error = await ask(visitor, before={"epoch": hall.epoch, "offset": 5})
    assert error["reason"] == INTERNAL.reason


async def test_one_connection_asks_the_archive_for_a_few_pages_at_once(hall):
    visitor = hall.fill(MSGPACK, 9)
    place = {"epoch": hall.epoch, "offset": 5}
    for number in range(paging.AT_ONCE):
        visitor.say(t="history", id=500 + number, room="hall", before=place)
    error = await ask(visitor, before=place)
    assert error["reason"] == RATE_LIMITED.reason
    other = hall.house.visitor("host", "hall")
    assert bodies(await ask(other, before=place, limit=1)) == ["4"]


async def test_an_epoch_before_this_one_is_read_on_from_its_end(build, clock):
    hall = Hall(build, clock)
    visitor = hall.fill(MSGPACK, 2)
    for offset in (1, 2):
        message = Message("hall", offset, f"old-{offset}", "host", "Host", 1, f"old {offset}")
        hall.archive._rooms["hall"] = {
            "old": {**hall.archive._rooms["hall"].get("old", {}), offset: message},
            hall.epoch: hall.archive._rooms["hall"][hall.epoch],
        }
    page = await ask(visitor, limit=9)
    assert (page["epoch"], bodies(page), page["more"]) == (hall.epoch, ["1", "2"], True)
    page = await ask(visitor, before={"epoch": hall.epoch, "offset": 1})
    assert (page["epoch"], bodies(page), page["more"]) == ("old", ["old 1", "old 2"], False)
    page = await ask(visitor, after={"epoch": "old", "offset": 1}, limit=1)
    assert (bodies(page), page["more"]) == (["old 2"], True)
    page = await ask(visitor, after={"epoch": "old", "offset": 2}, limit=9)
    assert (page["epoch"], bodies(page), page["more"]) == (hall.epoch, ["1", "2"], False)


def test_without_an_archive_the_past_ends_where_the_hot_end_begins(build, clock):
    hall = Hall(build, clock, archive=False)
    visitor = hall.fill(MSGPACK, 5)
    page = visitor.ask(t="history", room="hall", limit=9)
    assert (bodies(page), page["more"]) == (["3", "4", "5"], True)
    page = visitor.ask(t="history", room="hall", before={"epoch": hall.epoch, "offset": 3})
    assert (page["messages"], page["more"]) == ([], False)


def test_paging_wants_membership_and_one_direction(house, codec):
    visitor = house.visitor("visitor", codec=codec)
    assert visitor.ask(t="history", room="hall")["reason"] == "not_joined"
    visitor.ask(t="join", room="hall")
    place = {"epoch": "e", "offset": 1}
    error = visitor.ask(t="history", room="hall", before=place, after=place)
    assert error["reason"] == "bad_request"
    for limit in (0, -1, "5", None):
        assert visitor.ask(t="history", room="hall", limit=limit)["reason"] == "bad_request"


def test_pages_are_limited_like_joins(build, clock):
    house = build(clock=clock, limits=Limits(join_burst=2))
    visitor = house.visitor("visitor", "hall")
    assert visitor.ask(t="history", room="hall")["t"] == "history"
    assert visitor.ask(t="history", room="hall")["reason"] == "rate_limited"


async def test_messages_read_back_are_counted_as_recovered(hall):
    visitor = hall.fill(MSGPACK, 9)
    await ask(visitor, limit=2)
    await ask(visitor, before={"epoch": hall.epoch, "offset": 4}, limit=9)
    await ask(visitor, before={"epoch": hall.epoch, "offset": 1})
    facts = hall.house.kept(MessagesRecovered)
    assert [(fact.room, fact.user, fact.count) for fact in facts] == [
        ("hall", "visitor", 2),
        ("hall", "visitor", 3),
    ]
    assert hall.house.hub.counters.recovered == 5


async def test_who_has_gone_is_not_answered_and_not_counted(hall):
    visitor = hall.fill(MSGPACK, 9)
    visitor.say(t="history", id=1, room="hall", before={"epoch": hall.epoch, "offset": 5})
    hall.house.hub.disconnected(visitor.client)
    await asyncio.gather(*hall.house.hub._pager._tasks)
    assert hall.house.kept(MessagesRecovered) == []


@settings(max_examples=60, deadline=None)
@given(
    hot=st.integers(1, 12),
    count=st.integers(0, 12),
    limits=st.lists(st.integers(1, 6), min_size=1, max_size=3),
)
async def test_pages_joined_are_the_whole(build, hot, count, limits):
    """Whatever is hot and however large the pages: both ways, no gap and no duplicate."""
    hall = Hall(build, type(build().clock)(), hot=hot)
    visitor = hall.fill(MSGPACK, count)
    whole = [f"{number + 1}" for number in range(count)]
    back, wish, turn = [], {}, 0
    while (page := await ask(visitor, limit=limits[turn % len(limits)], **wish))["messages"]:
        back[:0] = bodies(page)
        first = page["messages"][0]["offset"]
        wish, turn = {"before": {"epoch": page["epoch"], "offset": first}}, turn + 1
    assert back == whole
    on, offset = [], 0
    while True:
        place = {"epoch": hall.epoch, "offset": offset}
        page = await ask(visitor, after=place, limit=limits[turn % len(limits)])
        on += bodies(page)
        turn += 1
        if not page["more"]:
            break
        offset = page["messages"][-1]["offset"]
    assert on == whole


async def test_a_page_is_cut_to_what_one_answer_may_hold(build, clock, monkeypatch):
    monkeypatch.setattr(paging, "PAGE_MESSAGES", 2)
    hall = Hall(build, clock)
    visitor = hall.fill(MSGPACK, 9)
    assert bodies(await ask(visitor, limit=2**40)) == ["8", "9"]
    place = {"epoch": hall.epoch, "offset": 5}
    assert bodies(await ask(visitor, before=place, limit=2**40)) == ["3", "4"]
