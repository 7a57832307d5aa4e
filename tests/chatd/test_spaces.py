"""Spaces: when they are open, how many fit in, what they show."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from chatd.opening_hours import DAYS, Stretch, fault_of, is_open, opens_at
from chatd.spaces import MemorySpaces, SpaceSettings, merged, space_of, with_state

SEOUL = "Asia/Seoul"
WORK = (Stretch(("mon", "tue", "wed", "thu", "fri"), "09:00", "18:00"),)
NIGHT = (Stretch(("fri", "sat"), "22:00", "02:00"),)


def at(text, zone=SEOUL):
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()


@pytest.mark.parametrize(
    ("hours", "when", "opens"),
    [
        (WORK, "2026-11-27T08:59:59", "2026-11-27T09:00"),  # a Friday
        (WORK, "2026-11-27T09:00", None),
        (WORK, "2026-11-27T17:59:59", None),
        (WORK, "2026-11-27T18:00", "2026-11-30T09:00"),
        (NIGHT, "2026-11-28T01:59", None),  # since Friday evening
        (NIGHT, "2026-11-28T02:00", "2026-11-28T22:00"),
        (NIGHT, "2026-11-29T01:00", None),
        (NIGHT, "2026-11-30T01:00", "2026-12-04T22:00"),
        ((Stretch(("mon",), "00:00", "00:00"),), "2026-11-30T23:59", None),
        ((Stretch(("mon",), "00:00", "00:00"),), "2026-12-01T00:00", "2026-12-07T00:00"),
        ((), "2026-11-30T01:00", None),
    ],
)
def test_it_is_open_within_its_hours_and_tells_when_it_opens(hours, when, opens):
    assert is_open(hours, SEOUL, at(when)) == (opens is None)
    assert opens_at(hours, SEOUL, at(when)) == (None if opens is None else at(opens))


def test_hours_are_of_a_zone_also_where_its_clocks_change():
    hours = (Stretch(DAYS, "09:00", "10:00"),)
    # Summer time begins in New York on 8 March 2026: nine o'clock is another hour of UTC then.
    before = datetime(2026, 3, 7, 14, 30, tzinfo=UTC).timestamp()
    after = datetime(2026, 3, 8, 13, 30, tzinfo=UTC).timestamp()
    assert is_open(hours, "America/New_York", before)
    assert is_open(hours, "America/New_York", after)
    assert not is_open(hours, SEOUL, before)


@pytest.mark.parametrize(
    ("hours", "zone"),
    [
        (WORK, "Asia/Nowhere"), (WORK, "../etc"), ((Stretch((), "09:00", "10:00"),), SEOUL),
        ((Stretch(("day",), "09:00", "10:00"),), SEOUL), (WORK * 40, SEOUL),
        ((Stretch(("mon",), "9:00", "10:00"),), SEOUL),
    ],
)  # fmt: skip
def test_hours_that_mean_nothing_are_told(hours, zone):
    assert fault_of(hours, zone)
    assert fault_of(WORK, SEOUL) is None


def test_a_room_is_in_the_space_its_name_says():
    assert space_of("world/1/lobby") == space_of("world/1/a/b") == "1"
    assert [space_of(room) for room in ("hall", "world/1", "world//x", "world/1/", "w/1/x")] == [
        None
    ] * 5


def test_a_merge_patch_is_that_of_the_rfc():
    """The examples of RFC 7396, appendix A, that concern maps."""
    for target, patch, result in [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ]:
        assert merged(target, patch) == result


@pytest.fixture
def spaces():
    return MemorySpaces(SpaceSettings("1", capacity=2))


@pytest.fixture
def house(build, spaces):
    return build(spaces=spaces)


def test_a_space_takes_so_many_users_whatever_their_rooms(house):
    ann, ben = house.visitor("ann", "world/1/lobby"), house.visitor("ben", "world/1/garden")
    eve = house.visitor("eve")
    error = eve.ask(t="join", room="world/1/lobby")
    assert (error["reason"], error["retry_after_ms"]) == ("room_full", 5_000)
    assert ann.ask(t="join", room="world/1/garden")["t"] == "joined"
    assert house.visitor("ben").ask(t="join", room="world/1/lobby")["t"] == "joined"
    assert eve.ask(t="join", room="world/2/lobby")["t"] == "joined"
    house.hub.disconnected(ann.client)
    assert eve.ask(t="join", room="world/1/lobby")["t"] == "joined"
    assert ben.hear() == []


def test_who_is_in_at_closing_time_is_sent_out_and_comes_back_when_it_opens(house, spaces):
    hours = (Stretch(DAYS, "09:00", "18:00"),)
    spaces.put(SpaceSettings("1", hours=hours))
    house.clock.utc = at("2026-11-27T17:59")
    eve = house.visitor("eve", "world/1/lobby", "hall")
    house.hub.tick()
    assert eve.hear() == []
    house.elapse(60)
    house.hub.tick()
    (left,) = eve.hear()
    assert (left["room"], left["reason"]) == ("world/1/lobby", "space_closed")
    error = eve.ask(t="join", room="world/1/lobby")
    opens_ms = int(at("2026-11-28T09:00") * 1000)
    assert (error["code"], error["opens_at"]) == (122, opens_ms)
    assert error["retry_after_ms"] == 15 * 3600 * 1000
    house.elapse(15 * 3600)
    assert house.visitor("eve").ask(t="join", room="world/1/lobby")["t"] == "joined"


def test_a_space_that_is_closed_by_hand_does_not_say_when_it_opens(house, spaces):
    eve = house.visitor("eve", "world/1/lobby")
    spaces.put(SpaceSettings("1", closed=True))
    assert eve.hear()[0]["reason"] == "space_closed"
    error = eve.ask(t="join", room="world/1/lobby")
    assert "opens_at" not in error
    assert "retry_after_ms" not in error
    spaces.remove("1")
    assert eve.ask(t="join", room="world/1/lobby")["t"] == "joined"


def test_who_asked_is_shown_the_state_and_each_change_once(house, spaces):
    eve, ann = house.visitor("eve"), house.visitor("ann", "world/1/lobby")
    for room in ("world/1/lobby", "world/1/garden"):
        eve.say(t="join", id=1, room=room, space=True)
    assert [frame["t"] for frame in eve.hear()] == ["joined", "space", "joined", "space"]
    spaces.put(with_state(spaces.settings("1"), {"weather": {"rain": 1}}))
    assert eve.hear() == [
        {"t": "space", "space": "1", "revision": 1, "state": {"weather": {"rain": 1}}}
    ]
    assert ann.hear() == []
    spaces.put(with_state(spaces.settings("1"), {"weather": None}))
    assert eve.hear()[0]["state"] == {}
    eve.ask(t="leave", room="world/1/lobby")
    eve.ask(t="leave", room="world/1/garden")
    spaces.put(with_state(spaces.settings("1"), {"a": 1}))
    assert eve.hear() == []
