"""People of several processes in one room: lists, counts, values, and a process that dies."""

import pytest

from chatd.limits import Limits
from chatd.neighbours import ANSWER_S, PEOPLE, Neighbours
from chatd.signals import LocalSignals


class Street:
    """Several hubs on one clock, that tell each other by signals."""

    def __init__(self, build, clock):
        self.build, self.clock = build, clock
        self.signals = None
        self.living = []
        self.houses = {}
        self._soon = []
        self._timers = []

    def open(self, process, **limits):
        """Start a hub."""
        own = LocalSignals() if self.signals is None else self.signals.beside()
        self.signals = self.signals or own
        neighbours = Neighbours(
            own,
            process,
            lambda: [other for other in self.living if other != process],
            soon=self._soon.append,
            later=lambda delay_s, call: self._timers.append((self.clock.now + delay_s, call)),
            now=self.clock.monotonic,
        )
        self.living.append(process)
        house = self.build(
            clock=self.clock, neighbours=neighbours, limits=Limits(**limits).lifted()
        )
        house.neighbours, house.signals = neighbours, own
        self.houses[process] = house
        return house

    def settle(self):
        """Let all of them do what they would do next."""
        while self._soon:
            soon, self._soon[:] = list(self._soon), []
            for call in soon:
                call()
            for house in self.houses.values():
                house.settle()

    def elapse(self, seconds):
        """Let time pass for all of them."""
        self.clock.advance(seconds)
        due = [call for at, call in self._timers if at <= self.clock.now]
        self._timers = [timer for timer in self._timers if timer[0] > self.clock.now]
        for call in due:
            call()
        for house in self.houses.values():
            house.elapse(0)
        self.settle()

    def kill(self, process):
        """End a hub without a word, and let the registry say so."""
        house = self.houses.pop(process)
        house.signals.unhear(PEOPLE)
        self.living.remove(process)
        for other in self.houses.values():
            other.neighbours.gone(process)
        self.settle()


@pytest.fixture
def street(build, clock):
    return Street(build, clock)


def enter(street, house, user, room="r", **options):
    """Join a room with presence; return the visitor and what `joined` said."""
    visitor = house.visitor(user)
    visitor.say(t="join", id=1, room=room, presence=True, **options)
    street.settle()
    heard = visitor.hear()
    street.settle()
    return visitor, next(frame for frame in heard if frame["t"] == "joined")


def names(joined):
    return sorted(person["user"] for person in joined["members"])


def told(visitor):
    return [
        (f["event"], f.get("user"), f.get("count")) for f in visitor.hear() if f["t"] == "presence"
    ]


def test_the_first_of_a_hub_is_told_of_everybody_elsewhere(street):
    a, b = street.open("a"), street.open("b")
    first, _ = enter(street, a, "ann")
    enter(street, a, "ben")
    first.hear()
    _, joined = enter(street, b, "cleo")
    assert (names(joined), joined["count"]) == (["ann", "ben", "cleo"], 3)
    assert told(first) == [("joined", "cleo", None)]
    assert (a.hub.present("r"), b.hub.present("r")) == (3, 3)


def test_who_leaves_or_disconnects_is_gone_everywhere(street):
    a, b = street.open("a"), street.open("b")
    watcher, _ = enter(street, a, "ann")
    ben, _ = enter(street, b, "ben")
    cleo, _ = enter(street, b, "cleo")
    watcher.hear()
    ben.ask(t="leave", room="r")
    street.settle()
    b.hub.disconnected(cleo.client)
    street.settle()
    assert told(watcher) == [("left", "ben", None), ("left", "cleo", None)]
    assert a.hub.present("r") == 1


def test_a_person_on_two_hubs_is_one_and_leaves_with_the_last(street):
    a, b = street.open("a"), street.open("b")
    watcher, _ = enter(street, a, "ann")
    here, _ = enter(street, a, "ben")
    there, _ = enter(street, b, "ben")
    assert told(watcher) == [("joined", "ben", None)]
    a.hub.disconnected(here.client)
    street.settle()
    assert told(watcher) == []
    b.hub.disconnected(there.client)
    street.settle()
    assert told(watcher) == [("left", "ben", None)]


def test_people_of_a_dead_hub_disappear(street):
    a, b = street.open("a"), street.open("b")
    watcher, _ = enter(street, a, "ann")
    for user in ("ben", "cleo"):
        enter(street, b, user)
    watcher.hear()
    street.kill("b")
    assert sorted(told(watcher)) == [("left", "ben", None), ("left", "cleo", None)]
    assert a.hub.present("r") == 1


def test_one_that_speaks_and_never_was_in_the_registry_is_taken_for_dead(street, clock):
    a, b = street.open("a"), street.open("b")
    street.living.remove("b")
    watcher, _ = enter(street, a, "ann")
    enter(street, b, "ben")
    assert told(watcher) == [("joined", "ben", None)]
    clock.advance(30)
    a.hub.tick()
    assert told(watcher) == [("left", "ben", None)]


def test_a_draining_hub_sends_its_people_elsewhere_without_a_word(street):
    a, b = street.open("a"), street.open("b")
    watcher, _ = enter(street, a, "ann")
    ben, _ = enter(street, b, "ben")
    watcher.hear()
    b.hub.draining = True
    b.hub.disconnected(ben.client)
    street.settle()
    enter(street, a, "ben")
    street.kill("b")
    assert told(watcher) == []
    assert a.hub.present("r") == 2


def test_a_hub_that_does_not_answer_delays_a_join_for_a_second_at_most(street):
    a = street.open("a")
    street.living.append("deaf")
    visitor = a.visitor("ann")
    visitor.say(t="join", id=1, room="r", presence=True)
    street.settle()
    assert visitor.hear() == []
    street.elapse(ANSWER_S)
    assert [frame["t"] for frame in visitor.hear()] == ["joined"]


def test_who_leaves_while_the_others_are_asked_has_left(street):
    a = street.open("a")
    street.living.append("deaf")
    visitor = a.visitor("ann")
    visitor.say(t="join", id=1, room="r")
    visitor.say(t="leave", id=2, room="r")
    street.elapse(ANSWER_S)
    assert [(f["t"], f["id"], f.get("reason")) for f in visitor.hear()] == [
        ("error", 1, "not_joined"),
        ("left", 2, None),
    ]
    assert a.hub.counters.rooms == 0


def test_news_that_were_missed_are_made_up_for(street):
    a, b = street.open("a"), street.open("b")
    watcher, _ = enter(street, a, "ann")
    enter(street, b, "ben")
    watcher.hear()
    hears = a.signals._heard.pop(PEOPLE)
    gone, _ = enter(street, b, "cleo")
    b.hub.disconnected(gone.client)
    enter(street, b, "dora")
    a.signals._heard[PEOPLE] = hears
    assert told(watcher) == []
    enter(street, b, "emil")
    street.settle()
    assert sorted(told(watcher)) == [("joined", "dora", None), ("joined", "emil", None)]
    assert a.hub.present("r") == 4


def test_a_connection_that_was_lost_is_made_up_for_in_both_directions(street):
    a, b = street.open("a"), street.open("b")
    at_a, _ = enter(street, a, "ann")
    at_b, _ = enter(street, b, "ben")
    heard = {house: house.signals._heard.pop(PEOPLE) for house in (a, b)}
    enter(street, a, "cleo")
    enter(street, b, "dora")
    for visitor in (at_a, at_b):
        visitor.hear()
    for house, hears in heard.items():
        house.signals._heard[PEOPLE] = hears
    for house in heard:
        house.neighbours._regained()
    street.settle()
    assert told(at_a) == [("joined", "dora", None)]
    assert told(at_b) == [("joined", "cleo", None)]


def test_a_room_too_big_to_name_has_one_count_over_all_hubs(street):
    a, b = street.open("a", presence_members=5), street.open("b", presence_members=5)
    for number in range(4):
        enter(street, a, f"a{number}")
    _, joined = enter(street, b, "b0")
    assert joined["count"] == 5
    watcher, joined = enter(street, b, "b1")
    assert (joined["count"], joined.get("members")) == (6, None)
    enter(street, a, "a4")
    watcher.hear()
    for house in (a, b):
        house.hub.tick()
    assert told(watcher) == [("count", None, 7)]


def test_thousands_are_told_in_pieces(street):
    a, b = street.open("a"), street.open("b")
    for number in range(1200):
        a.hub.attach("r", f"u{number}", "U")
    street.settle()
    enter(street, b, "ben")
    assert b.hub.present("r") == 1201
    assert a.hub.present("r") == 1201


def test_what_one_shows_is_seen_elsewhere_and_goes_with_the_person(street):
    a, b = street.open("a"), street.open("b")
    ann, _ = enter(street, a, "ann", state=True)
    ben, _ = enter(street, b, "ben", state=True)
    ann.hear()
    ben.say(t="state", room="r", kind="pos", value=[1, 2])
    b.settle()
    ben.say(t="state", room="r", kind="pos", value=[3, 4])
    b.settle()
    street.elapse(0.1)
    street.elapse(0.1)
    seen = [f for f in ann.hear() if f["t"] == "states"]
    assert [f["states"] for f in seen] == [[{"user": "ben", "kind": "pos", "value": [3, 4]}]]
    b.hub.disconnected(ben.client)
    street.settle()
    street.elapse(0.1)
    seen = [f for f in ann.hear() if f["t"] == "states"]
    assert [f["states"] for f in seen] == [[{"user": "ben", "kind": "pos", "value": None}]]


def test_who_comes_later_is_shown_what_was_shown_before(street):
    a, b = street.open("a"), street.open("b")
    ann, _ = enter(street, a, "ann", state=True)
    ann.say(t="state", room="r", kind="mood", value="glad")
    street.elapse(0.1)
    ben, joined = enter(street, b, "ben", state=True)
    street.elapse(0.1)
    seen = [*joined["states"], *(s for f in ben.hear() if f["t"] == "states" for s in f["states"])]
    assert {"user": "ann", "kind": "mood", "value": "glad"} in seen


def test_a_hub_alone_asks_nobody(street):
    a = street.open("a")
    told_by_a = []
    street.signals.beside().hear(PEOPLE, told_by_a.append)
    visitor = a.visitor("ann")
    visitor.say(t="join", id=1, room="r", presence=True)
    assert [frame["t"] for frame in visitor.hear()] == ["joined"]
