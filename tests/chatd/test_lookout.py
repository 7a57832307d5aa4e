"""Who is online, asked and watched; and what a crowd costs."""

import pytest

from chatd.limits import Limits
from chatd.online import OFFLINE_AFTER_S


@pytest.fixture
def house(build):
    return build(limits=Limits(watched_users=3).lifted())


def pass_time(house, seconds):
    """Let time pass in steps of a tick."""
    for _ in range(int(seconds / 0.5)):
        house.elapse(0.5)
        house.hub.tick()
    house.elapse(0.25)


def watch(visitor, *users):
    return visitor.ask(t="online", users=list(users), watch=True)["users"]


def test_asked_once_nothing_is_told_later(house, codec):
    house.visitor("ben")
    ann = house.visitor("ann", codec=codec)
    answer = ann.ask(t="online", users=["ben", "eve", "ann"])
    assert answer["users"] == {"ben": True, "eve": False, "ann": True}
    house.visitor("eve")
    pass_time(house, 1)
    assert ann.hear() == []


def test_who_watches_hears_of_the_first_tab_and_of_the_last(house, codec):
    ann = house.visitor("ann", codec=codec)
    assert watch(ann, "ben") == {"ben": False}
    tabs = [house.visitor("ben"), house.visitor("ben", "hall")]
    pass_time(house, 0.5)
    assert ann.hear() == [{"t": "online", "users": {"ben": True}}]
    house.hub.disconnected(tabs[0].client)
    pass_time(house, 2 * OFFLINE_AFTER_S)
    assert ann.hear() == []
    house.hub.disconnected(tabs[1].client)
    pass_time(house, OFFLINE_AFTER_S - 1)
    assert ann.hear() == []
    pass_time(house, 1)
    assert ann.hear() == [{"t": "online", "users": {"ben": False}}]


def test_a_page_that_is_loaded_again_is_no_news(house):
    ann, ben = house.visitor("ann"), house.visitor("ben")
    assert watch(ann, "ben") == {"ben": True}
    house.hub.disconnected(ben.client)
    house.elapse(OFFLINE_AFTER_S - 1)
    assert ann.ask(t="online", users=["ben"])["users"] == {"ben": True}
    house.visitor("ben")
    pass_time(house, 2 * OFFLINE_AFTER_S)
    assert ann.hear() == []


def test_a_list_takes_the_place_of_the_one_before(house):
    ann = house.visitor("ann")
    watch(ann, "ben", "eve")
    watch(ann, "eve", "kim")
    for user in ("ben", "eve", "kim"):
        house.visitor(user)
    pass_time(house, 0.5)
    assert ann.hear() == [{"t": "online", "users": {"eve": True, "kim": True}}]
    watch(ann)
    house.visitor("ben")
    assert ann.hear() == []
    lookout = house.hub._lookout
    assert (lookout._watchers, lookout._watched) == ({}, {})


def test_who_is_gone_is_not_told_and_not_remembered(house):
    ann = house.visitor("ann")
    watch(ann, "ben", "eve")
    house.visitor("ben")
    house.hub.disconnected(ann.client)
    pass_time(house, 1)
    lookout = house.hub._lookout
    assert (lookout._watchers, lookout._watched, lookout._changes) == ({}, {}, {})
    pass_time(house, 2 * OFFLINE_AFTER_S)
    assert house.hub._online._here == {"ben"}


def test_too_many_users_or_none_that_can_be_are_refused(house):
    ann = house.visitor("ann")
    for users in (["a", "b", "c", "d"], [""], ["x" * 129]):
        assert ann.ask(t="online", users=users, watch=True)["reason"] == "bad_request"
    assert ann.ask(t="online", users="ben")["reason"] == "bad_request"


def test_while_everybody_is_sent_away_nobody_is_told(house):
    ann, ben = house.visitor("ann"), house.visitor("ben")
    watch(ann, "ben")
    house.hub.draining = True
    house.hub.disconnected(ben.client)
    pass_time(house, 2 * OFFLINE_AFTER_S)
    assert ann.hear() == []


def test_what_is_asked_counts_as_a_join(build):
    house = build(limits=Limits(join_burst=2, join_per_s=1))
    ann = house.visitor("ann")
    answers = [ann.ask(t="online", users=["ben"]) for _ in range(3)]
    assert [answer["t"] for answer in answers] == ["online", "online", "error"]
    assert answers[2]["limit"] == "join"


def test_five_thousand_who_come_are_not_told_of_each_other_one_by_one(build):
    """Named to each other they would be 12.5 million frames, and as many when they go."""
    house = build(limits=Limits().lifted())
    people = []
    for number in range(5000):
        visitor = house.visitor(f"v{number}")
        visitor.say(t="join", id=1, room="hall", presence=True)
        people.append(visitor)
        if number % 500 == 499:
            house.settle()
            house.elapse(0.5)
            house.hub.tick()
    house.settle()
    heard = [len(visitor.pipe.take_frames()) for visitor in people]
    named = house.hub.limits.presence_members
    counts = 10
    assert sum(heard) <= 2 * 5000 + named * named / 2 + counts * 5000
    late = house.visitor("late").ask(t="join", room="hall", presence=True)
    assert late["count"] == 5001
    assert "members" not in late
    assert [person["user"] for person in late["sample"][:2]] == ["late", "v4999"]
    assert len(late["sample"]) == 20
