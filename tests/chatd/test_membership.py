"""Kinds of rooms, seats, and membership that nobody asked for."""

import pytest

from chatd.bus import LocalBus
from chatd.errors import Refused
from chatd.facts import MessageAccepted, RoomOpened
from chatd.grants import Rights, to
from chatd.limits import Limits
from chatd.room_book import MemoryRoomBook, RoomSettings, direct_room
from chatd.session import Identity
from tests.chatd.station import until

GUEST = frozenset({"guest"})


@pytest.fixture
def book():
    return MemoryRoomBook()


@pytest.fixture
def house(build, book):
    return build(limits=Limits().lifted(), book=book)


def kinds(frames):
    return [frame["t"] for frame in frames]


def test_a_private_room_takes_those_it_names_and_those_whose_token_does(house, book):
    book.put(RoomSettings("office", kind="private", users=("member",)))
    house.tokens.identities["envoy"] = Identity("envoy", "Envoy", rooms=to("office"))
    house.tokens.identities["other"] = Identity("other", "Other", rooms=to("hall"))
    assert house.visitor("member").ask(t="join", room="office")["t"] == "joined"
    assert house.visitor("envoy").ask(t="join", room="office")["t"] == "joined"
    assert house.visitor("visitor").ask(t="join", room="office")["reason"] == "not_invited"
    assert house.visitor("other").ask(t="join", room="office")["reason"] == "forbidden"


def test_a_direct_room_takes_its_two_users_and_nobody_waits_in_it_before(house, book):
    room = direct_room("ann", "ben")
    house.tokens.identities["envoy"] = Identity("envoy", "Envoy", rooms=to("**"))
    envoy = house.visitor("envoy")
    assert envoy.ask(t="join", room=room)["reason"] == "not_invited"
    book.put(RoomSettings(room, kind="direct", users=("ann", "ben")))
    assert envoy.ask(t="join", room=room)["reason"] == "not_invited"
    ann, ben = house.visitor("ann", room), house.visitor("ben", room)
    ann.ask(t="send", room=room, body="hi")
    assert [frame["body"] for frame in ben.hear()] == ["hi"]


def test_guests_are_kept_to_the_rooms_that_are_theirs(build, book):
    house = build(book=book, guest_rooms=to("plaza/*"))
    house.tokens.identities["guest"] = Identity("guest", "Guest", GUEST)
    book.put(RoomSettings("plaza/members", guests=False))
    guest, member = house.visitor("guest"), house.visitor("member")
    assert guest.ask(t="join", room="plaza/1")["t"] == "joined"
    for room in ("plaza/members", "hall"):
        assert guest.ask(t="join", room=room)["reason"] == "no_guests"
        assert member.ask(t="join", room=room)["t"] == "joined"


def test_a_room_takes_so_many_users_whatever_their_connections(house, book):
    book.put(RoomSettings("booth", capacity=2))
    first, second = house.visitor("ann", "booth"), house.visitor("ben", "booth")
    tab = house.visitor("ann")
    assert tab.ask(t="join", room="booth")["t"] == "joined"
    full = house.visitor("eve").ask(t="join", room="booth")
    assert (full["code"], full["reason"], full["retry_after_ms"]) == (115, "room_full", 5000)
    assert second.ask(t="join", room="booth")["t"] == "joined", "who is in joins again"
    house.hub.disconnected(first.client)
    assert house.visitor("eve").ask(t="join", room="booth")["reason"] == "room_full"
    house.hub.disconnected(tab.client)
    assert house.visitor("eve").ask(t="join", room="booth")["t"] == "joined"
    eve = Identity("eve", "Eve")
    house.hub.admit(eve, "booth", Rights.PUBLISH, attends=True)
    with pytest.raises(Refused, match="room_full"):
        house.hub.admit(Identity("kim", "Kim"), "booth", Rights.PUBLISH, attends=True)
    house.hub.admit(Identity("kim", "Kim"), "booth", Rights.READ)


class SlowBus(LocalBus):
    """Answers reads when told to."""

    def __init__(self, **options):
        super().__init__(**options)
        self.waiting = []

    def read(self, room, since, history, answer):
        self.waiting.append(lambda: LocalBus.read(self, room, since, history, answer))

    def answer(self):
        waiting, self.waiting = self.waiting, []
        for each in waiting:
            each()


def test_the_last_seat_is_given_once_although_two_wait_for_the_bus(build, book, clock):
    bus = SlowBus(clock=clock)
    house = build(book=book, bus=bus, clock=clock)
    book.put(RoomSettings("booth", capacity=1))
    ann, ben = house.visitor("ann"), house.visitor("ben")
    for visitor in (ann, ben):
        visitor.say(t="join", id=1, room="booth")
    bus.answer()
    assert [ann.hear()[0]["t"], ben.hear()[0]["reason"]] == ["joined", "room_full"]
    assert "booth" not in ben.client.rooms
    ann.ask(t="leave", room="booth")
    assert len(house.hub._rooms) == 0


def test_while_nothing_is_known_of_rooms_nobody_enters_and_nobody_is_sent_out(house, book):
    member = house.visitor("member", "hall")
    book.away = True
    refused = house.visitor("visitor").ask(t="join", room="hall")
    assert (refused["reason"], refused["retry_after_ms"]) == ("rooms_away", 2000)
    member.ask(t="refresh", token="member")
    assert member.ask(t="send", room="hall", body="still here")["t"] == "sent"


def test_what_is_laid_down_later_holds_for_those_who_are_in(house, book):
    ann, eve = house.visitor("ann", "office"), house.visitor("eve", "office")
    eve.ask(t="join", room="office", presence=True)
    book.put(RoomSettings("office", kind="private", users=("ann",)))
    assert eve.hear() == [{"t": "left", "room": "office", "reason": "not_invited"}]
    assert ann.hear() == []
    ann.ask(t="send", room="office", body="between us")
    assert eve.hear() == []
    assert eve.ask(t="send", room="office", body="?")["reason"] == "not_joined"


def test_a_token_that_opens_less_takes_out_of_rooms_and_rights(house):
    everything = Identity("ann", "Ann")
    less = Identity("ann", "Ann", rooms=to("hall", rights=Rights.READ))
    house.tokens.identities |= {"everything": everything, "less": less}
    ann = house.visitor("everything", "hall", "attic")
    ann.say(t="refresh", id=1, token="less")
    assert [(f["t"], f.get("reason")) for f in ann.hear()] == [
        ("refreshed", None),
        ("left", "forbidden"),
    ]
    assert ann.ask(t="send", room="hall", body="x")["reason"] == "forbidden"
    ann.say(t="refresh", id=2, token="everything")
    ann.hear()
    assert ann.ask(t="send", room="hall", body="x")["t"] == "sent"


def test_a_user_is_in_the_rooms_of_the_token_and_of_the_book_without_asking(house, book, codec):
    book.put(RoomSettings("team", kind="private", users=("ann",), subscribed=True))
    house.tokens.identities["ann"] = Identity("ann", "Ann", subscriptions=("news", "team", "a b"))
    ann = house.connect(codec)
    ann.say(t="hello", token="ann", v=1)
    frames = ann.hear()
    assert kinds(frames)[0] == "welcome"
    assert [(f["t"], f["room"], "id" in f) for f in frames[1:]] == [
        ("joined", "news", False),
        ("joined", "team", False),
    ]
    house.visitor("host", "news").ask(t="send", room="news", body="hot")
    assert [frame["body"] for frame in ann.hear()] == ["hot"]


def test_what_must_not_be_joined_is_not_subscribed_to_either(house, book):
    book.put(RoomSettings("office", kind="private", users=("ben",)))
    house.tokens.identities["ann"] = Identity("ann", "Ann", subscriptions=("office",))
    ann = house.visitor("ann")
    house.hub.subscribe("ann", "office")
    assert ann.hear() == []
    assert ann.client.rooms == {}


def test_a_platform_brings_people_in_and_takes_them_out(house, book):
    tabs = [house.visitor("ann"), house.visitor("ann", "hall")]
    ben = house.visitor("ben")
    house.hub.subscribe("ann", "hall")
    assert [kinds(tab.hear()) for tab in tabs] == [["joined"], []]
    house.hub.unsubscribe("ann", "hall")
    house.hub.unsubscribe("ann", "hall")
    expected = [{"t": "left", "room": "hall", "reason": "unsubscribed"}]
    assert [tab.hear() for tab in tabs] == [expected, expected]
    book.put(RoomSettings("team", kind="private", users=("ben",), subscribed=True))
    assert kinds(ben.hear()) == ["joined"]
    book.remove("team")
    assert ben.hear() == [], "the room is public now"


def test_no_more_rooms_without_asking_than_with(build):
    house = build(limits=Limits(rooms=2))
    house.tokens.identities["ann"] = Identity("ann", "Ann", subscriptions=("a", "b", "c"))
    assert sorted(house.visitor("ann").client.rooms) == ["a", "b"]


async def test_who_is_sent_out_is_out_of_the_media_too(build, book):
    class Sfu:
        def __init__(self):
            self.asked = []

        async def request(self, client, frame):
            self.asked.append(frame["t"])
            return {"t": frame["t"], "room": frame["room"]}

        def closed(self, client):
            pass

    sfu = Sfu()
    house = build(book=book, media=sfu)
    ann = house.visitor("ann", "stage")
    ann.say(t="media.join", id=1, room="stage")
    book.put(RoomSettings("stage", kind="private"))
    await until(lambda: sfu.asked == ["media.join", "media.leave"], "a leave")


# Ephemeral rooms


def test_an_ephemeral_room_is_forgotten_five_minutes_after_everybody(house, book):
    book.put(RoomSettings("fair", persistent=False))
    ann = house.visitor("ann", "fair")
    assert ann.ask(t="send", room="fair", body="x", key="k")["offset"] == 1
    (fact,) = house.kept(MessageAccepted)
    assert fact.ephemeral
    since = {"epoch": fact.epoch, "offset": 0}
    house.hub.disconnected(ann.client)
    house.elapse(200)
    house.hub.tick()
    back = house.visitor("ann")
    assert back.ask(t="join", room="fair", since=since)["recovered"] is True
    house.elapse(400)
    house.hub.tick()
    assert back.ask(t="join", room="fair", since=since)["recovered"] is True, "somebody is there"
    back.ask(t="leave", room="fair")
    house.elapse(299)
    house.hub.tick()
    assert house.bus.history_bytes > 0
    house.elapse(1)
    house.hub.tick()
    assert house.bus.history_bytes == 0
    joined = back.ask(t="join", room="fair", since=since, history=10)
    assert (joined["recovered"], joined["messages"], joined["offset"]) == (False, [], 0)
    assert joined["epoch"] != fact.epoch


def test_a_forgotten_room_stays_forgotten_after_a_restart(build, book, clock):
    book.put(RoomSettings("fair", persistent=False))
    house = build(book=book, clock=clock)
    ann = house.visitor("ann", "fair")
    ann.ask(t="send", room="fair", body="x")
    ann.ask(t="leave", room="fair")
    house.elapse(300)
    house.hub.tick()
    house.settle()
    restarted = LocalBus(clock=clock)
    restarted.restore(f for f in house.facts.kept if isinstance(f, MessageAccepted | RoomOpened))
    assert restarted.history_bytes == 0


def test_an_ephemeral_room_that_was_alive_at_a_restart_is_forgotten_later(build, book, clock):
    book.put(RoomSettings("fair", persistent=False))
    house = build(book=book, clock=clock)
    house.visitor("ann", "fair").ask(t="send", room="fair", body="x")
    house.settle()
    restarted = LocalBus(clock=clock)
    restarted.restore(f for f in house.facts.kept if isinstance(f, MessageAccepted | RoomOpened))
    house = build(book=book, clock=clock, bus=restarted)
    assert restarted.history_bytes > 0
    house.elapse(300)
    house.hub.tick()
    assert restarted.history_bytes == 0


def test_a_room_that_is_made_persistent_keeps_what_is_said_from_then_on(house, book):
    book.put(RoomSettings("fair", persistent=False))
    ann = house.visitor("ann", "fair")
    ann.ask(t="send", room="fair", body="x")
    book.put(RoomSettings("fair"))
    ann.ask(t="send", room="fair", body="y")
    assert [fact.ephemeral for fact in house.kept(MessageAccepted)] == [True, False]


def test_who_leaves_and_joins_again_before_the_bus_answers_misses_nothing(build, clock):
    """The answer to the first join was taken for the second's: what came between was lost."""

    class StaleBus(SlowBus):
        def read(self, room, since, history, answer):
            LocalBus.read(
                self, room, since, history, lambda page: self.waiting.append(lambda: answer(page))
            )

    bus = StaleBus(clock=clock)
    house = build(bus=bus, clock=clock)
    speaker, late = house.visitor("speaker"), house.visitor("late")
    speaker.say(t="join", id=1, room="r")
    bus.answer()
    late.say(t="join", id=1, room="r")
    late.say(t="leave", id=2, room="r")
    speaker.say(t="send", id=2, room="r", body="between")
    house.settle()
    late.say(t="join", id=3, room="r", history=1)
    bus.answer()
    told = late.hear()
    assert [(f["t"], f["id"]) for f in told] == [("left", 2), ("error", 1), ("joined", 3)]
    assert (told[2]["offset"], told[2]["messages"][0]["body"]) == (1, "between")


@pytest.mark.parametrize("limits", [Limits(), Limits(joins_burst=1, joins_per_s=10)])
def test_a_client_that_asks_while_it_is_subscribed_gets_its_own_answer(build, clock, limits):
    """It was told that a join is under way: an SDK that comes back joins its rooms at once."""
    bus = SlowBus(clock=clock)
    house = build(bus=bus, clock=clock, limits=limits)
    house.visitor("first").say(t="join", id=1, room="r")
    house.tokens.identities["ann"] = Identity("ann", "Ann", subscriptions=("r",))
    ann = house.connect()
    ann.say(t="hello", token="ann", v=1)
    ann.say(t="join", id=7, room="r", presence=True)
    ann.say(t="join", id=8, room="r")
    for _ in range(3):
        house.elapse(1)
        bus.answer()
    told = ann.hear()
    assert [(f["t"], f.get("id")) for f in told] == [("welcome", None), ("error", 8), ("joined", 7)]
    assert told[2]["count"] == 2
