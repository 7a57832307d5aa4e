import json
from itertools import count

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatd.bus import Draft, LocalBus, Retention
from chatd.errors import TOO_MANY_ROOMS, FactsRefused, Refused
from chatd.facts import MessageAccepted, MonotonicTime, RoomOpened
from chatd.wire import JSON, Since


class Listener:
    """Keeps what a bus says; `refusal` makes it refuse to store."""

    def __init__(self):
        self.publications = []
        self.receipts = []
        self.refusals = []
        self.facts = []
        self.refusal = None
        self.fault = None
        self.while_storing = lambda: None

    def ordered(self, publications, receipts):
        self.while_storing()
        if self.refusal is not None:
            raise self.refusal
        self.publications += publications
        self.receipts += receipts
        self.facts += [
            MessageAccepted(
                p.message.room,
                p.epoch,
                p.message.offset,
                p.message.id,
                p.message.from_,
                p.message.name,
                p.message.at,
                p.message.body,
                p.key,
            )
            for p in publications
        ]
        if self.fault is not None:
            raise self.fault

    def refused(self, drafts, refusal):
        self.refusals += [(draft.request_id, refusal.retry_after_ms) for draft in drafts]

    def opened(self, fact):
        self.facts.append(fact)


class Bus:
    """A `LocalBus` with a listener and epochs that can be told."""

    def __init__(self, clock, **retention):
        epochs = count(1)
        self.clock = clock
        self.local = LocalBus(
            clock=clock,
            retention=Retention(**retention),
            new_epoch=lambda: f"e{next(epochs)}",
        )
        self.listener = Listener()
        self.local.listen(self.listener)
        self._ids = count(1)

    def draft(self, body="x", *, room="r", user="u", key=None):
        return Draft(room, user, user.title(), body, key, None, next(self._ids))

    def say(self, *bodies, room="r", **options):
        if isinstance(self.page(room=room), Refused):
            raise AssertionError("no room")
        self.local.publish([self.draft(body, room=room, **options) for body in bodies])
        return self.listener.receipts[-len(bodies) :]

    def page(self, since=None, history=0, room="r"):
        pages = []
        self.local.read(room, since, history, pages.append)
        return pages[0]

    def bodies(self, since=None, history=0, room="r"):
        entries = self.page(since, history, room).entries
        return [msgpack.unpackb(entry.packed)["body"] for entry in entries]


@pytest.fixture
def bus(clock):
    return Bus(clock)


def test_a_new_room_has_offset_0_and_an_epoch_that_is_told_once(bus):
    page = bus.page()
    assert (page.epoch, page.offset, page.recovered, list(page.entries)) == ("e1", 0, False, [])
    assert bus.page().epoch == "e1"
    assert bus.listener.facts == [RoomOpened("r", "e1", 0)]


def test_offsets_are_dense_from_1_in_each_room(bus):
    bus.page(room="a")
    bus.page(room="b")
    bus.local.publish([bus.draft(room=room) for room in ("a", "b", "a", "a", "b")])
    places = [(p.message.room, p.message.offset) for p in bus.listener.publications]
    assert places == [("a", 1), ("b", 1), ("a", 2), ("a", 3), ("b", 2)]
    assert len({p.message.id for p in bus.listener.publications}) == 5


def test_a_publication_is_a_whole_message_frame(bus, clock):
    bus.say("안녕", user="visitor")
    publication = bus.listener.publications[0]
    assert msgpack.unpackb(publication.packed) == {
        "t": "message",
        "room": "r",
        "offset": 1,
        "id": "e1-1",
        "from": "visitor",
        "name": "Visitor",
        "at": int(clock.utc * 1000),
        "body": "안녕",
    }


@pytest.mark.parametrize(
    ("since", "recovered", "bodies"),
    [
        (Since("e1", 3), True, []),
        (Since("e1", 1), True, ["b", "c"]),
        (Since("e1", 0), True, ["a", "b", "c"]),
        (Since("e1", 4), False, []),
        (Since("e1", 2**53 - 1), False, []),
        (Since("e2", 3), False, []),
        (Since("", 0), False, []),
    ],
)
def test_recovered_is_everything_after_since_or_nothing(bus, since, recovered, bodies):
    bus.say("a", "b", "c")
    page = bus.page(since, history=2)
    assert (page.recovered, page.offset) == (recovered, 3)
    assert bus.bodies(since, history=2) == bodies


def test_since_in_an_empty_room(bus):
    bus.page()
    assert bus.page(Since("e1", 0)).recovered
    assert not bus.page(Since("e1", 1)).recovered


def test_a_gap_older_than_what_is_kept_is_not_recovered(clock):
    bus = Bus(clock, room_messages=3)
    bus.say(*"abcde")
    assert bus.bodies(Since("e1", 2)) == ["c", "d", "e"]
    page = bus.page(Since("e1", 1))
    assert not page.recovered
    assert list(page.entries) == []


def test_history_is_the_last_n(bus):
    bus.say("a", "b", "c")
    assert bus.bodies(history=2) == ["b", "c"]
    assert bus.bodies(history=99) == ["a", "b", "c"]
    assert bus.bodies(history=0) == []
    assert not bus.page(history=99).recovered


def test_at_least_1000_messages_can_be_recovered(bus):
    for _ in range(101):
        bus.say(*["x"] * 10)
    page = bus.page(Since("e1", 10))
    assert page.recovered
    assert len(page.entries) == 1000


def test_at_least_512_kib_can_be_recovered(bus):
    bus.say(*["한" * 5000] * 40)
    page = bus.page(Since("e1", 0))
    assert page.recovered
    assert sum(len(entry.packed) for entry in page.entries) > 512 * 1024


def test_the_first_body_with_a_key_wins(bus, clock):
    (first,) = bus.say("first", key="k")
    clock.advance(299)
    (repeat,) = bus.say("second", key="k")
    assert (repeat.offset, repeat.message_id, repeat.at_ms) == (1, first.message_id, first.at_ms)
    assert bus.bodies(history=9) == ["first"]
    assert len(bus.listener.publications) == 1


def test_a_key_repeated_in_the_same_batch_has_one_place(bus):
    receipts = bus.say("first", "second", key="k")
    assert [receipt.offset for receipt in receipts] == [1, 1]
    assert receipts[0].draft.request_id != receipts[1].draft.request_id


def test_a_key_is_of_a_user_and_a_room(bus):
    bus.say("a", key="k", user="u")
    bus.say("b", key="k", user="v")
    bus.say("c", key="k", user="u", room="other")
    assert len(bus.listener.publications) == 3


def test_a_key_means_nothing_after_5_minutes(bus, clock):
    bus.say("a", key="k")
    clock.advance(300)
    (receipt,) = bus.say("b", key="k")
    assert receipt.offset == 2


def test_expired_keys_are_forgotten_and_live_ones_kept(bus, clock):
    bus.say("a", key="old")
    clock.advance(200)
    bus.say("b", key="new")
    clock.advance(150)
    bus.local.sweep(clock.now)
    assert [r.offset for key in ("old", "new") for r in bus.say("c", key=key)] == [3, 2]


def test_a_clock_that_is_set_forgets_no_key(bus, clock):
    """Keys expired by the wall clock: set 6 minutes on between a message and its repeat, the
    message was accepted, delivered and billed twice."""
    (first,) = bus.say("a", key="k")
    clock.utc += 400
    bus.local.sweep(clock.now)
    (again,) = bus.say("a", key="k")
    assert (again.offset, again.at_ms) == (first.offset, first.at_ms)
    assert len(bus.listener.publications) == 1
    clock.utc -= 4000
    clock.now += 300
    assert bus.say("a", key="k")[0].offset == 2


def test_what_cannot_be_delivered_is_kept_when_it_is_stored(bus):
    """History and the heads of the next log segment stayed behind what was acknowledged, and
    offsets were given twice once the older segment was gone."""
    bus.page()
    bus.listener.fault = RuntimeError("a bug of ours, after the commit")
    with pytest.raises(RuntimeError):
        bus.local.publish([bus.draft("a")])
    bus.listener.fault = None
    assert bus.bodies(Since("e1", 0)) == ["a"]
    assert bus.local.heads() == [RoomOpened("r", "e1", 1)]
    assert bus.say("b")[0].offset == 2


def test_a_refused_batch_has_not_happened(bus):
    bus.say("a", key="k1")
    bus.listener.refusal = FactsRefused("full", retry_after_ms=777)
    bus.local.publish([bus.draft("b", key="k2"), bus.draft("c"), bus.draft("a", key="k1")])
    assert bus.listener.refusals == [(2, 777), (3, 777), (4, 777)]
    bus.listener.refusal = None
    assert bus.page().offset == 1
    (again,) = bus.say("b again", key="k2")
    assert again.offset == 2
    assert bus.bodies(Since("e1", 0)) == ["a", "b again"]


def test_an_idle_room_without_messages_is_forgotten_and_one_with_messages_is_not(bus, clock):
    bus.page(room="empty")
    bus.page(room="wanted")
    bus.local.subscribe("wanted")
    bus.say("x", room="spoken")
    clock.advance(301)
    bus.local.sweep(clock.now)
    assert bus.local.rooms == 2
    assert bus.page(room="spoken").offset == 1
    bus.local.unsubscribe("wanted")
    bus.local.sweep(clock.now)
    assert bus.local.rooms == 2
    clock.advance(301)
    bus.local.sweep(clock.now)
    assert bus.local.rooms == 1


def test_there_is_a_last_room(clock):
    bus = Bus(clock, rooms=2)
    bus.page(room="a")
    bus.page(room="b")
    assert bus.page(room="c").refusal is TOO_MANY_ROOMS
    assert bus.page(room="a") is not None


def test_over_the_total_the_room_quiet_longest_loses_messages_but_not_its_place(clock):
    bus = Bus(clock, total_bytes=700)
    bus.say("x" * 250, room="old")
    clock.advance(10)
    bus.say("x" * 250, room="new")
    clock.advance(299)
    bus.say("x" * 250, room="newest")
    bus.local.sweep(clock.now)
    assert bus.bodies(history=9, room="old") == []
    assert bus.page(room="old").offset == 1
    assert not bus.page(Since("e1", 0), room="old").recovered
    assert bus.page(Since("e1", 1), room="old").recovered
    assert len(bus.bodies(history=9, room="new")) == 1
    assert bus.local.history_bytes <= 700


def test_what_spoke_within_5_minutes_is_recoverable_whatever_the_total(clock):
    bus = Bus(clock, total_bytes=100)
    bus.say("x" * 250)
    clock.advance(299)
    bus.local.sweep(clock.now)
    assert bus.page(Since("e1", 0)).recovered


def restored(bus, facts=None, boot=""):
    after = Bus(bus.clock)
    after.local.restore(bus.listener.facts if facts is None else facts, boot)
    return after


def test_a_restart_goes_on_with_epoch_offsets_keys_and_messages(bus):
    bus.say("a", {"b": [1]}, room="r", key=None)
    (keyed,) = bus.say("c", key="k")
    bus.page(room="empty")
    after = restored(bus)
    page = after.page(Since("e1", 1))
    assert (page.epoch, page.offset, page.recovered) == ("e1", 3, True)
    assert after.bodies(Since("e1", 1)) == [{"b": [1]}, "c"]
    assert [entry.packed for entry in page.entries] == [
        publication.packed for publication in bus.listener.publications[1:]
    ]
    (repeat,) = after.say("c again", key="k")
    assert (repeat.offset, repeat.message_id) == (keyed.offset, keyed.message_id)
    assert after.say("d")[0].offset == 4
    assert after.page(Since("e2", 0), room="empty").recovered


def test_a_restart_forgets_keys_that_have_expired(bus, clock):
    bus.say("a", key="k")
    clock.advance(301)
    assert restored(bus).say("b", key="k")[0].offset == 2


def test_a_restart_takes_a_log_from_the_future_as_of_now(bus, clock):
    bus.say("a", key="k")
    clock.utc -= 3600
    after = restored(bus)
    assert after.say("b", key="k")[0].offset == 1
    clock.advance(300)
    assert after.say("b", key="k")[0].offset == 2


def test_a_clock_that_was_set_across_a_restart_expires_no_key(bus, clock):
    """Two hours forward while the hub was down: every key of its log was 2 hours old, and what
    was sent again with one stood in the room twice."""
    told = MonotonicTime("boot", int(clock.now * 1000))
    bus.say("a", key="k")
    clock.advance(200)
    clock.utc += 7200
    facts = [told, *bus.listener.facts]
    after = restored(bus, facts, "boot")
    assert after.say("b", key="k")[0].offset == 1
    clock.advance(101)
    assert after.say("c", key="k")[0].offset == 2
    assert restored(bus, facts, "another boot").say("b", key="k")[0].offset == 2
    assert restored(bus, facts, "").say("b", key="k")[0].offset == 2


def test_a_log_that_begins_with_heads_goes_on_from_them(bus):
    bus.say("a", "b")
    heads = bus.local.heads()
    assert heads == [RoomOpened("r", "e1", 2)]
    before = len(bus.listener.facts)
    bus.say("c")
    after = restored(bus, [*heads, *bus.listener.facts[before:]])
    assert after.bodies(Since("e1", 2)) == ["c"]
    assert not after.page(Since("e1", 1)).recovered


def test_heads_in_the_middle_of_a_log_change_nothing(bus):
    bus.say("a", "b", key="k")
    bus.listener.facts += bus.local.heads()
    bus.say("c")
    assert restored(bus).bodies(Since("e1", 0)) == ["a", "c"]


def test_heads_taken_while_a_batch_is_stored_do_not_count_it(bus):
    """A log that rotated inside a commit told offsets of messages that stood behind it, and
    the replay then skipped those messages."""
    bus.say("a")
    bus.listener.while_storing = lambda: bus.listener.facts.extend(bus.local.heads())
    bus.say("b", "c")
    assert restored(bus).bodies(Since("e1", 0)) == ["a", "b", "c"]


def test_records_read_twice_are_one_message(bus):
    bus.say("a", "b")
    after = restored(bus, bus.listener.facts * 2)
    assert after.bodies(Since("e1", 0)) == ["a", "b"]
    assert after.page().offset == 2


def test_a_room_with_a_new_epoch_in_the_log_starts_anew(bus):
    bus.say("a")
    facts = [*bus.listener.facts, RoomOpened("r", "e9", 0)]
    after = restored(bus, facts)
    assert (after.page().epoch, after.page().offset) == ("e9", 0)
    assert after.local.history_bytes == 0


def test_json_clients_recover_the_same_messages(bus):
    bus.say({"글": "안녕"})
    (entry,) = bus.page(Since("e1", 0)).entries
    assert json.loads(entry.payload(JSON))["body"] == {"글": "안녕"}


steps = st.lists(
    st.one_of(
        st.tuples(
            st.just("say"),
            st.lists(
                st.tuples(
                    st.sampled_from("rs"), st.sampled_from("uv"), st.sampled_from([None, "k"])
                ),
                min_size=1,
                max_size=4,
            ),
        ),
        st.tuples(st.just("refuse"), st.integers(1, 3)),
        st.tuples(st.just("restart"), st.none()),
        st.tuples(st.just("wait"), st.floats(0, 400)),
    ),
    max_size=25,
)


class LooseClock:
    """Of the property test's own: hypothesis shares fixtures between examples."""

    def __init__(self):
        self.now, self.utc = 0.0, 1_790_000_000.0

    def monotonic(self):
        return self.now

    def time(self):
        return self.utc


class Model:
    """What must be true of a bus, kept with lists and dicts."""

    def __init__(self):
        self.clock = LooseClock()
        self.bus = Bus(self.clock)
        self.bodies = {room: [] for room in "rs"}
        self.epochs = {room: self.bus.page(room=room).epoch for room in "rs"}
        self.keys = {}

    def say(self, names):
        drafts = [self.bus.draft(self.clock.utc, room=r, user=u, key=k) for r, u, k in names]
        self.bus.local.publish(drafts)
        for receipt in self.bus.listener.receipts[-len(drafts) :]:
            self.expect(receipt)

    def expect(self, receipt):
        draft = receipt.draft
        name = (draft.room, draft.user, draft.key)
        at_ms = int(self.clock.utc * 1000)
        if draft.key and name in self.keys and at_ms - self.keys[name][1] < 300_000:
            assert receipt.offset == self.keys[name][0]
            return
        self.bodies[draft.room].append(draft.body)
        assert receipt.offset == len(self.bodies[draft.room])
        self.keys[name] = (receipt.offset, at_ms)

    def refuse(self, drafts):
        self.bus.listener.refusal = FactsRefused()
        self.bus.local.publish([self.bus.draft(key="k") for _ in range(drafts)])
        self.bus.listener.refusal = None

    def restart(self, _):
        facts = self.bus.listener.facts
        self.bus = restored(self.bus)
        self.bus.listener.facts += facts

    def wait(self, seconds):
        self.clock.now += seconds
        self.clock.utc += seconds
        # A room is kept while it has a member.
        for room in "rs":
            self.bus.local.subscribe(room)
        self.bus.local.sweep(self.clock.now)

    def check(self):
        for room, bodies in self.bodies.items():
            page = self.bus.page(Since(self.epochs[room], 0), room=room)
            assert (page.offset, page.recovered) == (len(bodies), True)
            assert self.bus.bodies(Since(self.epochs[room], 0), room=room) == bodies


@given(steps)
def test_whatever_happens_places_are_dense_keys_count_once_and_all_is_recovered(steps):
    model = Model()
    for step, argument in steps:
        getattr(model, step)(argument)
        model.check()
