"""Rates beyond a connection's own, and joins of everybody at once."""

from itertools import count

import pytest

from chatd.bus import Publication
from chatd.limits import Limits
from chatd.session import Identity
from chatd.wire import CODECS, MSGPACK, Message

PACED = Limits(
    send_per_s=100, send_burst=100, user_send_per_s=1, user_send_burst=3,
    room_send_per_s=1, room_send_burst=5,
)  # fmt: skip
STORMY = Limits(joins_per_s=100, joins_burst=2, joins_waiting=3)


def send(visitor, room="r"):
    return visitor.ask(t="send", room=room, body="x")


def test_two_tabs_share_what_their_user_may_send(build):
    house = build(limits=PACED)
    tabs = [house.visitor("ann", "r", codec=codec) for codec in CODECS]
    assert [send(tabs[n % 2])["t"] for n in range(3)] == ["sent"] * 3
    refused = send(tabs[1])
    assert (refused["reason"], refused["limit"]) == ("rate_limited", "user_send")
    assert refused["retry_after_ms"] == 1001
    house.hub.disconnected(tabs[0].client)
    back = house.visitor("ann", "r")
    assert send(back)["limit"] == "user_send", "coming back fills nothing"
    house.elapse(1.001)
    assert send(back)["t"] == "sent"
    assert house.hub.counters.limited == {"user_send": 2}


def test_a_room_takes_no_more_than_it_bears_from_all_together(build):
    house = build(limits=PACED)
    crowd = [house.visitor(f"v{n}", "r", "other") for n in range(3)]
    house.elapse(1)
    told = [send(crowd[n % 3]) for n in range(7)]
    assert [frame["t"] for frame in told] == ["sent"] * 5 + ["error"] * 2
    assert told[-1]["limit"] == "room_send"
    assert send(crowd[0], "other")["t"] == "sent", "what a room refuses is not counted elsewhere"


def test_joins_over_the_pace_wait_their_turn_in_order(build):
    house = build(limits=STORMY)
    people = [house.visitor(f"v{n}") for n in range(6)]
    for person in people:
        person.say(t="join", id=1, room="hall")
    heard = [person.hear() for person in people]
    assert [frames[0]["t"] if frames else None for frames in heard] == [
        "joined", "joined", None, None, None, "error",
    ]  # fmt: skip
    assert (heard[5][0]["limit"], heard[5][0]["retry_after_ms"] >= 2000) == ("joins", True)
    people[2].say(t="join", id=2, room="hall")
    assert people[2].hear()[0]["reason"] == "bad_request"
    assert people[3].ask(t="leave", room="hall")["t"] == "left"
    house.hub.disconnected(people[4].client)
    house.elapse(0.02)
    assert [frame["t"] for frame in people[2].hear()] == ["joined"]
    house.elapse(0.1)
    assert people[3].hear() == []
    assert house.hub._membership._queue._waiting == {}
    assert people[5].ask(t="join", room="hall")["t"] == "joined"


def test_what_a_late_turn_refuses_is_told(build):
    house = build(limits=STORMY)
    people = [house.visitor(f"v{n}") for n in range(3)]
    for person in people:
        person.say(t="join", id=7, room="hall")
    house.tokens.identities["narrow"] = Identity("v2", "V2", rooms=())
    people[2].say(t="refresh", id=8, token="narrow")
    assert [(f["t"], f.get("reason")) for f in people[2].hear()] == [
        ("refreshed", None),
        ("left", "forbidden"),
    ]
    house.elapse(0.1)
    assert people[2].hear() == []


@pytest.mark.parametrize("good", [True, False])
def test_it_is_told_once_whether_the_hello_was_good(build, good):
    house, told = build(), []
    visitor = house.connect()
    visitor.client.greeted = told.append
    visitor.say(t="hello", token="ann" if good else "forged", v=1)
    house.settle()
    house.hub.disconnected(visitor.client)
    assert told == [good]


def test_who_goes_before_hello_has_not_proved_good(build):
    house, told = build(), []
    visitor = house.connect()
    visitor.client.greeted = told.append
    house.hub.disconnected(visitor.client)
    assert told == [False]


def elsewhere(house, room, user, count):
    """Have another process tell of messages."""
    said = []
    for _ in range(count):
        offset = next(house.offsets)
        message = Message(room, offset, f"e-{offset}", user, user, 0, "x")
        said.append(Publication("e", None, message, MSGPACK.encode(message), own=False))
    house.hub.ordered(said, [])


def test_what_other_processes_let_through_counts_here_too(build):
    """With n hubs a room took n times its rate, and its users n times theirs."""
    house = build(limits=PACED)
    house.offsets = count(1)
    ann, bob = house.visitor("ann", "r"), house.visitor("bob", "r")
    elsewhere(house, "r", "ann", 3)
    ann.hear()
    assert send(ann)["limit"] == "user_send"
    assert [send(bob)["t"] for _ in range(2)] == ["sent"] * 2
    assert send(bob)["limit"] == "room_send"
    elsewhere(house, "r", "carl", 2)
    bob.hear()
    refused = send(bob)
    assert (refused["limit"], refused["retry_after_ms"]) == ("room_send", 3001)


def test_what_is_owed_is_a_burst_at_most(build):
    house = build(limits=PACED)
    house.offsets = count(1)
    bob = house.visitor("bob", "r")
    elsewhere(house, "r", "carl", 100)
    bob.hear()
    assert send(bob)["retry_after_ms"] == 6001
    house.elapse(6.01)
    assert send(bob)["t"] == "sent"
