"""Whatever comes between: no gap, no duplicate, all of it or nothing."""

import msgpack
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from chatd.bus import LocalBus, Page, Publication, Retention
from chatd.history import Entry
from chatd.limits import Limits
from chatd.presence import Roster
from chatd.recovery import settle
from chatd.wire import MSGPACK, Message, Since
from tests.chatd.conftest import HandClock, House


def message(offset):
    return Message("r", offset, f"m{offset}", "u", "U", 0, str(offset))


def entry(offset):
    return Entry(offset, MSGPACK.encode(message(offset)))


def publication(epoch, offset):
    return Publication(epoch, None, message(offset), MSGPACK.encode(message(offset)))


offsets = st.integers(0, 12)


@given(st.data())
def test_what_a_join_is_told_is_whole_or_says_that_it_is_not(data):
    """`lag` messages were published before the page was read, or are missing after it."""
    top, kept, history = (data.draw(offsets, label=name) for name in ("top", "kept", "history"))
    seen = data.draw(st.none() | offsets, label="seen")
    lag, count = data.draw(st.integers(-3, 3), label="lag"), data.draw(st.integers(0, 6))
    changed = data.draw(st.none() | st.integers(0, 6), label="changed")
    since = None if seen is None else Since("e1", seen)
    oldest = max(1, top - kept + 1)
    if since is None:
        entries = [entry(n) for n in range(max(oldest, top - history + 1), top + 1)]
        page = Page("e1", top, False, entries if history else ())
    else:
        recovered = oldest - 1 <= seen <= top
        entries = [entry(n) for n in range(seen + 1, top + 1)] if recovered else ()
        page = Page("e1", top, recovered, entries)
    first = max(1, top + 1 - lag)
    held = [publication("e1", first + n) for n in range(count)]
    if changed is not None and changed < count:
        held[changed:] = [publication("e2", n + 1) for n in range(count - changed)]
    told = settle(page, held, since, history)
    numbers = [each.offset for each in told.entries]
    assert numbers == sorted(set(numbers)), "in order, each once"
    assert numbers == list(range(told.offset - len(numbers) + 1, told.offset + 1)), "up to the top"
    if held:
        last = held[-1]
        expected = max((top, "e1"), (last.message.offset, last.epoch)) if last.epoch == "e1" else (
            last.message.offset, "e2",
        )  # fmt: skip
        assert (told.offset, told.epoch) == expected
    else:
        assert (told.offset, told.epoch) == (top, "e1")
    if since is None:
        assert not told.recovered
        assert len(numbers) <= max(history, 0)
    elif told.recovered:
        assert told.epoch == "e1"
        assert numbers == list(range(seen + 1, told.offset + 1))
    else:
        assert numbers == []


class StaleBus(LocalBus):
    """Reads at once and answers later, as a bus behind a network does."""

    def __init__(self, **options):
        super().__init__(**options)
        self.answers = []

    def read(self, room, since, history, answer):
        super().read(room, since, history, lambda page: self.answers.append((answer, page)))


class Follower:
    """A client as the protocol tells it to behave: it keeps what it has seen, in order."""

    def __init__(self, house, name):
        self.house, self.name = house, name
        self.visitor = house.visitor(name)
        self.joined = self.asked = False
        self.epoch, self.offset = None, 0
        self.seen = {}
        self.lost = 0

    def join(self):
        since = None if self.epoch is None else {"epoch": self.epoch, "offset": self.offset}
        fields = {"since": since} if since else {"history": 3}
        self.visitor.say(t="join", id=1, room="r", **fields)
        self.asked, self.joined = True, False

    def reconnect(self):
        self.house.hub.disconnected(self.visitor.client)
        self.visitor = self.house.visitor(self.name)
        self.joined = self.asked = False

    def leave(self):
        self.visitor.say(t="leave", id=2, room="r")

    def listen(self):
        for frame in self.visitor.hear():
            if frame["t"] == "joined":
                self._take_joined(frame)
            elif frame["t"] == "left":
                self.joined = self.asked = False
            elif frame["t"] == "message":
                assert self.joined, "a message before joined"
                assert frame["offset"] == self.offset + 1, "a gap, or a message again"
                self._take(frame)

    def _take_joined(self, frame):
        self.asked, self.joined = False, True
        if frame["recovered"]:
            numbers = [each["offset"] for each in frame["messages"]]
            assert frame["epoch"] == self.epoch
            assert numbers == list(range(self.offset + 1, frame["offset"] + 1))
        elif self.epoch is not None:
            self.lost += 1
        for each in frame["messages"]:
            self._take(each)
        self.epoch, self.offset = frame["epoch"], frame["offset"]

    def _take(self, frame):
        self.offset = frame["offset"]
        assert self.seen.setdefault(frame["offset"], frame["body"]) == frame["body"]


class Recovery(RuleBasedStateMachine):
    """Two who follow, one who speaks, and a bus that answers when it likes."""

    def __init__(self):
        super().__init__()
        clock = HandClock()
        self.bus = StaleBus(clock=clock, retention=Retention(room_messages=5))
        self.house = House(clock=clock, bus=self.bus, limits=Limits().lifted())
        self.speaker = self.house.visitor("speaker")
        self.speaker.say(t="join", id=0, room="r")
        self.answer()
        self.speaker.hear()
        self.followers = [Follower(self.house, name) for name in ("a", "b")]
        self.said = 0

    which = st.integers(0, 1)

    @rule(count=st.integers(1, 4))
    def say(self, count):
        for _ in range(count):
            self.said += 1
            self.speaker.say(t="send", id=self.said, room="r", body=str(self.said))
        self.speaker.hear()

    @rule(which=which)
    def join(self, which):
        if not self.followers[which].asked:
            self.followers[which].join()

    @rule(which=which)
    def leave(self, which):
        self.followers[which].leave()

    @rule(which=which)
    def reconnect(self, which):
        self.followers[which].reconnect()

    @precondition(lambda self: self.bus.answers)
    @rule(at=st.integers(0, 5))
    def answer(self, at=0):
        answer, page = self.bus.answers.pop(at % len(self.bus.answers))
        answer(page)

    @invariant()
    def nobody_sees_a_gap(self):
        for follower in self.followers:
            follower.listen()
            assert all(body == str(offset) for offset, body in follower.seen.items())

    def teardown(self):
        while self.bus.answers:
            self.answer()
        self.nobody_sees_a_gap()
        for follower in self.followers:
            if follower.joined:
                assert follower.offset == self.said, "who is in has everything up to the last"
        rooms = self.house.hub._rooms
        assert len(rooms) == 1
        for follower in self.followers:
            self.house.hub.disconnected(follower.visitor.client)
        self.house.hub.disconnected(self.speaker.client)
        assert len(rooms) == 0, "nothing is left behind"


TestRecovery = Recovery.TestCase
TestRecovery.settings = settings(max_examples=40, stateful_step_count=40)


moves = st.lists(st.tuples(st.booleans(), st.integers(0, 7), st.booleans()), max_size=60)


@given(moves, st.integers(0, 5))
def test_who_watches_from_the_start_knows_who_is_there(moves, max_named):
    roster, here = Roster(max_named), {}
    members, count = {}, 0
    for comes, number, settles in moves:
        user = f"u{number}"
        if comes:
            told = roster.enter("r", user, user.title())
            here[user] = here.get(user, 0) + 1
        elif here.get(user):
            told = roster.exit("r", user)
            here[user] -= 1
        else:
            continue
        news = [told, roster.settle("r") if settles else None]
        for each in filter(None, news):
            packed = msgpack.unpackb(MSGPACK.encode(each))
            match packed["event"]:
                case "joined":
                    members[packed["user"]] = packed["name"]
                case "left":
                    del members[packed["user"]]
                case "members":
                    members = {each["user"]: each["name"] for each in packed["members"]}
            count = packed.get("count", len(members))
        present = {user for user, connections in here.items() if connections}
        assert roster.count == len(present)
        if not roster.crowded:
            assert set(members) == present
            assert roster.sample() is None
        else:
            assert roster.members() is None
            assert {person.user for person in roster.sample()} <= present
            if settles:
                assert count == len(present)
