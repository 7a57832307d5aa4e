import asyncio
import math
from itertools import pairwise

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatd.bus import LocalBus
from chatd.errors import DRAINING, SLOW_READER, FactsRefused, MediaRefused
from chatd.facts import (
    ConnectionTime,
    MemoryFacts,
    MessageAccepted,
    MessagesRecovered,
    RoomOpened,
)
from chatd.grants import Rights, to
from chatd.limits import Limits
from chatd.session import Identity
from chatd.wire import CODECS


def bodies(frames):
    return [frame["body"] for frame in frames if frame["t"] == "message"]


def kinds(frames):
    return [frame["t"] for frame in frames]


# Hello


def test_welcome_tells_who_one_is_and_what_one_may(house, codec):
    visitor = house.connect(codec)
    visitor.say(t="hello", token="visitor", v=1)
    (welcome,) = visitor.hear()
    assert welcome["t"] == "welcome"
    assert welcome["user"] == {"id": "visitor", "name": "Visitor"}
    assert welcome["session"] == visitor.client.session
    assert welcome["ping_s"] == 25
    assert welcome["limits"]["body_bytes"] == house.hub.limits.body_bytes
    assert house.hub.sessions() == [visitor.client.session]
    assert house.hub.client(visitor.client.session) is visitor.client


@pytest.mark.parametrize(
    ("payload", "reason", "code"),
    [
        (b"\xc1", "bad_frame", 4200),
        (msgpack.packb({"t": "ping"}), "hello_expected", 4201),
        (msgpack.packb({"t": "hello", "token": "forged", "v": 1}), "bad_token", 4202),
        (msgpack.packb({"t": "hello", "token": "expired", "v": 1}), "token_expired", 4203),
        (msgpack.packb({"t": "hello", "token": "u", "v": 9}), "unsupported_version", 4204),
    ],
)
def test_a_bad_beginning_is_told_and_closed(house, payload, reason, code):
    visitor = house.connect()
    visitor.say_bytes(payload)
    (error,) = visitor.hear()
    assert (error["t"], error["reason"]) == ("error", reason)
    assert (visitor.pipe.closed.code, visitor.pipe.closed.reason) == (code, reason)
    assert house.hub.counters.errors[reason] == 1
    assert house.hub.counters.closes[code] == 1
    assert house.hub.sessions() == []
    visitor.say(t="hello", token="u", v=1)
    assert visitor.hear() == []


def test_garbage_later_closes_too_and_the_others_notice_nothing(house):
    visitor, host = house.visitor("visitor", "r"), house.visitor("host", "r")
    visitor.say_bytes(b"\xff\xff")
    assert visitor.hear()[0]["reason"] == "bad_frame"
    assert visitor.pipe.closed.code == 4200
    assert house.hub.counters.bad_frames == 1
    host.say(t="send", id=1, room="r", body="still here")
    assert bodies(host.hear()) == ["still here"]


# Joining and sending


def test_a_message_reaches_every_member_the_sender_too(house):
    visitors = [house.visitor(f"v{n}", "r", codec=CODECS[n % 2]) for n in range(4)]
    outsider = house.visitor("outsider", "other")
    visitors[0].say(t="send", id=7, room="r", body={"글": "안녕"})
    heard = [visitor.hear() for visitor in visitors]
    assert kinds(heard[0]) == ["sent", "message"]
    sent, message = heard[0]
    assert sent == {
        "t": "sent",
        "id": 7,
        "room": "r",
        "offset": 1,
        "message_id": message["id"],
        "at": message["at"],
    }
    assert message["from"] == "v0"
    assert message["body"] == {"글": "안녕"}
    assert all(frames == [message] for frames in heard[1:])
    assert outsider.hear() == []
    assert house.hub.counters.messages_in == 1
    assert house.hub.counters.messages_out == 4


def test_everything_of_an_iteration_is_one_write_of_the_same_bytes(house):
    speaker = house.visitor("speaker", "r")
    listeners = [house.visitor(f"v{n}", "r") for n in range(3)]
    for listener in listeners:
        listener.pipe.writes = 0
    for number in range(5):
        speaker.say(t="send", id=number, room="r", body=str(number))
    house.settle()
    assert [listener.pipe.writes for listener in listeners] == [1, 1, 1]
    assert listeners[0].pipe.data == listeners[1].pipe.data
    assert bodies(listeners[2].hear()) == list("01234")


def test_joined_comes_before_any_message_and_the_next_one_follows_it(house):
    speaker = house.visitor("speaker", "r")
    late = house.visitor("late")
    speaker.say(t="send", id=1, room="r", body="a")
    late.say(t="join", id=1, room="r")
    speaker.say(t="send", id=2, room="r", body="b")
    frames = late.hear()
    assert kinds(frames) == ["joined", "message", "message"]
    assert [frames[0]["offset"], frames[1]["offset"], frames[2]["offset"]] == [0, 1, 2]


def test_recovery_returns_whole_message_frames_in_order(house, codec):
    speaker = house.visitor("speaker", "r", codec=codec)
    live = []
    for text in ("a", "b", "c"):
        speaker.say(t="send", id=1, room="r", body=text)
        live += [frame for frame in speaker.hear() if frame["t"] == "message"]
    epoch = speaker.ask(t="join", room="r")["epoch"]
    for reader_codec in CODECS:
        reader = house.visitor("reader", codec=reader_codec)
        joined = reader.ask(t="join", room="r", since={"epoch": epoch, "offset": 1})
        assert joined["recovered"] is True
        assert joined["messages"] == live[1:]
        assert joined["offset"] == 3
    assert (
        house.kept(MessagesRecovered)
        == [MessagesRecovered("r", "reader", 2, int(house.clock.utc * 1000))] * 2
    )
    assert house.hub.counters.recovered == 4


def test_without_since_one_gets_the_history_asked_for(house):
    speaker = house.visitor("speaker", "r")
    for text in "abc":
        speaker.say(t="send", id=1, room="r", body=text)
    reader = house.visitor("reader")
    joined = reader.ask(t="join", room="r", history=2)
    assert joined["recovered"] is False
    assert bodies(joined["messages"]) == ["b", "c"]
    assert reader.ask(t="join", room="r")["messages"] == []
    assert bodies(reader.ask(t="join", room="r", history=2**50)["messages"]) == list("abc")


def test_joining_twice_is_a_resync_and_delivers_once(house):
    visitor = house.visitor("visitor", "r")
    visitor.say(t="send", id=1, room="r", body="a")
    visitor.hear()
    again = visitor.ask(t="join", room="r", history=1)
    assert bodies(again["messages"]) == ["a"]
    visitor.say(t="send", id=2, room="r", body="b")
    assert kinds(visitor.hear()) == ["sent", "message"]
    assert [fact.delivered for fact in house.kept(MessageAccepted)] == [1, 1]


def test_leaving_twice_is_left_and_leaving_ends_messages(house):
    visitor, host = house.visitor("visitor", "r"), house.visitor("host", "r")
    assert visitor.ask(t="leave", room="r")["t"] == "left"
    assert visitor.ask(t="leave", room="r")["t"] == "left"
    assert visitor.ask(t="leave", room="never joined")["t"] == "left"
    host.say(t="send", id=1, room="r", body="a")
    assert visitor.hear() == []
    assert house.kept(MessageAccepted)[0].delivered == 1


def test_sending_to_a_room_not_joined_is_refused_and_stays_open(house):
    house.visitor("host", "r")
    visitor = house.visitor("visitor")
    assert visitor.ask(t="send", room="r", body="x")["reason"] == "not_joined"
    assert visitor.pipe.closed is None
    assert visitor.ask(t="join", room="r")["t"] == "joined"


def test_a_grant_is_checked(house):
    house.tokens.identities["narrow"] = Identity("narrow", "Narrow", rooms=to("lobby/*"))
    visitor = house.visitor("narrow")
    assert visitor.ask(t="join", room="hall")["reason"] == "forbidden"
    assert visitor.ask(t="join", room="lobby/1")["t"] == "joined"


def test_who_may_only_read_says_and_shows_nothing(house):
    reading = Identity("reader", "Reader", rooms=to("news", rights=Rights.READ) + to("hall"))
    house.tokens.identities["reader"] = reading
    reader, host = house.visitor("reader", "news", "hall"), house.visitor("host", "news")
    assert reader.ask(t="send", room="news", body="x")["reason"] == "forbidden"
    assert reader.ask(t="state", room="news", kind="typing", value=True)["reason"] == "forbidden"
    assert reader.ask(t="send", room="hall", body="x")["t"] == "sent"
    host.ask(t="send", room="news", body="hot")
    assert bodies(reader.hear()) == ["hot"]
    assert reader.ask(t="history", room="news")["messages"][0]["body"] == "hot"


def test_a_refreshed_connection_goes_on(house, clock):
    for token, lasts_s in (("brief", 60), ("renewed", 600)):
        identity = Identity("brief", "Brief", expires_at=house.clock.time() + lasts_s)
        house.tokens.identities[token] = identity
    visitor = house.visitor("brief", "r")
    house.clock.advance(59)
    assert visitor.ask(t="refresh", token="renewed") == {
        "t": "refreshed",
        "id": 1,
        "expires_in": 541,
    }
    house.clock.advance(1)
    visitor.client.state.heard(house.clock.now)
    house.hub.handle_timeout(visitor.client)
    assert visitor.pipe.closed is None
    assert visitor.ask(t="send", room="r", body="still here")["offset"] == 1
    assert visitor.ask(t="refresh", token="forged")["reason"] == "token_refused"
    assert visitor.pipe.closed is None


def test_rooms_of_a_connection_are_bounded(build):
    house = build(limits=Limits(rooms=2))
    visitor = house.visitor("visitor", "a", "b")
    assert visitor.ask(t="join", room="c")["reason"] == "too_many_rooms"
    assert visitor.ask(t="join", room="a")["t"] == "joined"
    visitor.ask(t="leave", room="a")
    assert visitor.ask(t="join", room="c")["t"] == "joined"


def test_ping_is_answered(house):
    visitor = house.visitor("visitor")
    visitor.say(t="ping")
    assert visitor.hear() == [{"t": "pong"}]


def test_unknown_types_are_refused_with_their_id_and_stay_open(house):
    visitor = house.visitor("visitor")
    assert visitor.ask(t="nope")["reason"] == "unknown_type"
    assert visitor.pipe.closed is None


def test_over_the_rate_one_is_told_when_to_come_back(build):
    house = build()
    visitor = house.visitor("visitor", "r")
    for number in range(41):
        visitor.say(t="send", id=number, room="r", body="x")
    (error,) = [frame for frame in visitor.hear() if frame["t"] == "error"]
    assert (error["reason"], error["id"]) == ("rate_limited", 40)
    house.clock.advance(error["retry_after_ms"] / 1000)
    assert visitor.ask(t="send", room="r", body="x")["t"] == "sent"


def test_a_bug_of_ours_is_internal_and_ends_nothing(house, caplog, monkeypatch):
    visitor = house.visitor("visitor")

    def fail(room):
        raise ZeroDivisionError("secret detail")

    monkeypatch.setattr(house.bus, "subscribe", fail)
    visitor.say(t="join", id=1, room="r")
    (error,) = visitor.hear()
    assert error["reason"] == "internal"
    assert "secret" not in str(error)
    assert "secret detail" in caplog.text
    visitor.say(t="ping")
    assert kinds(visitor.hear()) == ["pong"]


# Keys and facts


def test_a_repeated_key_is_delivered_and_counted_once(house):
    visitor, other = house.visitor("visitor", "r"), house.visitor("other", "r")
    first = visitor.ask(t="send", room="r", body="a", key="k")
    again = visitor.ask(t="send", room="r", body="b", key="k")
    assert {**first, "id": 0} == {**again, "id": 0}
    assert bodies(other.hear()) == ["a"]
    assert len(house.kept(MessageAccepted)) == 1
    assert house.hub.counters.messages_in == 1


def test_a_key_works_across_connections_and_after_a_restart(build, clock):
    house = build(clock=clock)
    first = house.visitor("visitor", "r").ask(t="send", room="r", body="a", key="k")
    bus = LocalBus(clock=clock)
    bus.restore(house.facts.kept)
    after = build(clock=clock, bus=bus)
    visitor = after.visitor("visitor", "r")
    again = visitor.ask(t="send", room="r", body="a", key="k")
    assert again["message_id"] == first["message_id"]
    assert after.kept(MessageAccepted) == []
    assert visitor.ask(t="send", room="r", body="b")["offset"] == 2


def test_facts_are_committed_before_anything_leaves(build, clock):
    class Watchful(MemoryFacts):
        pipes = ()
        seen = ()

        def commit(self, facts):
            super().commit(facts)
            if any(type(fact) is MessageAccepted for fact in facts):
                self.seen = [pipe.data for pipe in self.pipes]

    facts = Watchful()
    house = build(clock=clock, facts=facts)
    visitor, other = house.visitor("visitor", "r"), house.visitor("other", "r")
    facts.pipes = (visitor.pipe, other.pipe)
    visitor.say(t="send", id=1, room="r", body="a", key="k")
    house.settle()
    assert facts.seen == [b"", b""]
    assert kinds(visitor.hear()) == ["sent", "message"]
    joined = other.ask(t="join", room="r", history=1)
    (fact,) = house.kept(MessageAccepted)
    assert fact == MessageAccepted(
        "r",
        joined["epoch"],
        1,
        joined["messages"][0]["id"],
        "visitor",
        "Visitor",
        int(clock.utc * 1000),
        "a",
        "k",
        2,
    )


def test_an_iteration_commits_once(house):
    visitors = [house.visitor(f"v{n}", "r") for n in range(5)]
    before = house.facts.commits
    for visitor in visitors:
        visitor.say(t="send", id=1, room="r", body="x")
    house.settle()
    assert house.facts.commits == before + 1


def test_what_is_refused_has_not_happened_and_may_be_sent_again(house):
    visitor, other = house.visitor("visitor", "r"), house.visitor("other", "r")
    house.facts.refusal = FactsRefused("disk full", retry_after_ms=3000)
    error = visitor.ask(t="send", room="r", body="a", key="k")
    assert (error["reason"], error["retry_after_ms"]) == ("storage_full", 3000)
    assert other.hear() == []
    house.facts.refusal = None
    sent = visitor.ask(t="send", room="r", body="a", key="k")
    assert sent["offset"] == 1
    assert bodies(other.hear()) == ["a"]
    assert house.hub.counters.messages_in == 1
    assert house.hub.counters.commits_refused == 1


def test_a_facts_port_that_breaks_is_a_refusal(house, caplog):
    visitor = house.visitor("visitor", "r")
    house.facts.refusal = OSError("no space left")
    assert visitor.ask(t="send", room="r", body="a")["reason"] == "storage_full"
    house.facts.refusal = None
    assert visitor.ask(t="send", room="r", body="a")["offset"] == 1
    assert "the facts port failed" in caplog.text


def test_usage_that_was_refused_is_kept_until_it_is_stored(house, clock):
    house.facts.refusal = FactsRefused()
    visitor = house.visitor("visitor", "r")
    house.clock.advance(3)
    house.hub.disconnected(visitor.client)
    house.settle()
    house.hub.tick()
    house.settle()
    assert house.facts.kept == []
    house.facts.refusal = None
    house.clock.advance(2)
    house.hub.tick()
    assert [type(f) for f in house.kept(RoomOpened) + house.kept(ConnectionTime)] == [
        RoomOpened,
        ConnectionTime,
    ]
    assert house.hub.busy is False


def test_connection_time_is_checkpointed_while_open_and_complete_at_the_end(house):
    start_ms = int(house.clock.utc * 1000)
    visitor = house.visitor("visitor")
    for _ in range(30):
        house.clock.advance(0.5)
        house.hub.tick()
        kept = house.kept(ConnectionTime)
        told_ms = kept[-1].end_ms if kept else start_ms
        assert house.clock.utc * 1000 - told_ms <= 5000
    house.clock.advance(0.25)
    house.hub.disconnected(visitor.client)
    house.hub.finish()
    facts = house.kept(ConnectionTime)
    assert facts[0].start_ms == start_ms
    assert all(a.end_ms == b.start_ms for a, b in pairwise(facts))
    assert facts[-1].end_ms == start_ms + 15_250


def test_settled_is_up_to_when_all_is_told(house):
    """A statement said 8 s ago whatever was known, and too much while the log refused."""
    utc_ms = int(house.clock.utc * 1000)
    settled = house.hub.settled_ms
    assert settled(utc_ms) == utc_ms
    visitor = house.visitor("visitor", "r")
    house.clock.advance(3)
    assert settled(utc_ms + 3000) == utc_ms
    house.facts.refusal = FactsRefused()
    house.clock.advance(1)
    house.hub.tick()
    house.settle()
    assert settled(utc_ms + 4000) == utc_ms
    house.facts.refusal = None
    house.clock.advance(2)
    house.hub.tick()
    house.settle()
    assert settled(utc_ms + 6000) == utc_ms + 4000
    house.hub.disconnected(visitor.client)
    house.settle()
    assert settled(utc_ms + 6000) == utc_ms + 6000


def test_finish_keeps_the_time_of_those_still_connected(house):
    house.visitor("visitor")
    house.clock.advance(1.5)
    house.hub.finish()
    (fact,) = house.kept(ConnectionTime)
    assert fact.end_ms - fact.start_ms == 1500


# Presence


def test_only_those_who_asked_see_who_comes_and_goes(house):
    watcher, plain = house.visitor("watcher"), house.visitor("plain", "r")
    joined = watcher.ask(t="join", room="r", presence=True)
    assert joined["members"] == [
        {"user": "plain", "name": "Plain"},
        {"user": "watcher", "name": "Watcher"},
    ]
    assert joined["count"] == 2
    visitor = house.visitor("visitor", "r")
    second = house.visitor("visitor", "r")
    event = {"t": "presence", "room": "r", "user": "visitor", "name": "Visitor"}
    assert watcher.hear() == [{**event, "event": "joined"}]
    house.hub.disconnected(second.client)
    assert watcher.hear() == []
    visitor.ask(t="leave", room="r")
    assert watcher.hear() == [{**event, "event": "left"}]
    assert plain.hear() == []
    assert "members" not in plain.ask(t="join", room="r")


def test_a_resync_without_presence_ends_it(house):
    watcher = house.visitor("watcher")
    watcher.ask(t="join", room="r", presence=True)
    watcher.ask(t="join", room="r")
    house.visitor("visitor", "r")
    assert watcher.hear() == []


def test_a_big_room_is_counted(build):
    house = build(limits=Limits(presence_members=2).lifted())
    watcher = house.visitor("watcher")
    watcher.ask(t="join", room="r", presence=True)
    house.visitor("a", "r")
    b = house.visitor("b", "r")
    assert [frame["event"] for frame in watcher.hear()] == ["joined", "count"]
    late = house.visitor("late")
    joined = late.ask(t="join", room="r", presence=True)
    assert joined["count"] == 4
    assert "members" not in joined
    house.hub.tick()
    count = {"t": "presence", "room": "r", "event": "count"}
    assert watcher.hear() == [{**count, "count": 4}]
    house.hub.tick()
    assert watcher.hear() == []
    for visitor in (late, b):
        house.hub.disconnected(visitor.client)
    house.hub.tick()
    assert watcher.hear() == [{**count, "count": 2}]


def test_people_without_a_chat_connection_are_present(house):
    watcher = house.visitor("watcher")
    watcher.ask(t="join", room="r", presence=True)
    attendance = house.hub.attach("r", "camera", "Camera")
    assert [frame["event"] for frame in watcher.hear()] == ["joined"]
    watcher.say(t="send", id=5, room="r", body="x")
    house.settle()
    assert house.kept(MessageAccepted)[0].delivered == 1
    watcher.hear()
    attendance.detach()
    attendance.detach()
    assert [frame["event"] for frame in watcher.hear()] == ["left"]


def test_a_room_with_only_guests_is_kept_and_then_dropped(house):
    attendance = house.hub.attach("r", "camera", "Camera")
    assert house.hub.counters.rooms == 1
    attendance.detach()
    assert house.hub.counters.rooms == 0
    assert not house.hub.busy


def test_while_everyone_is_sent_away_nobody_is_told_who_goes(house):
    watcher = house.visitor("watcher")
    watcher.ask(t="join", room="r", presence=True)
    visitor = house.visitor("visitor", "r")
    watcher.hear()
    house.hub.draining = True
    house.hub.close(visitor.client, DRAINING)
    assert watcher.hear() == []


# Readers and time


def test_a_slow_reader_is_closed_and_recovers_the_rest(build):
    house = build(limits=Limits(outbox_bytes=10_000).lifted())
    speaker, slow = house.visitor("speaker", "r"), house.visitor("slow", "r")
    epoch = slow.ask(t="join", room="r")["epoch"]
    slow.pipe.stuck = True
    for _ in range(15):
        speaker.say(t="send", id=1, room="r", body="x" * 1000)
        house.settle()
    assert slow.pipe.closed is SLOW_READER
    assert bodies(speaker.hear()) == ["x" * 1000] * 15
    heard = [frame for frame in slow.hear() if frame["t"] == "message"]
    delivered = sum(fact.delivered for fact in house.kept(MessageAccepted))
    assert delivered == 15 + len(heard)
    back = house.visitor("slow")
    joined = back.ask(t="join", room="r", since={"epoch": epoch, "offset": heard[-1]["offset"]})
    assert joined["recovered"] is True
    assert len(heard) + len(joined["messages"]) == 15


def test_a_big_recovery_on_a_slow_line_is_no_slow_reader(build):
    house = build(limits=Limits(outbox_bytes=10_000).lifted())
    speaker = house.visitor("speaker", "r")
    for _ in range(50):
        speaker.say(t="send", id=1, room="r", body="x" * 1000)
        speaker.hear()
    slow = house.visitor("slow")
    slow.pipe.stuck = True
    slow.ask(t="join", room="r", history=50)
    speaker.say(t="send", id=1, room="r", body="live")
    house.settle()
    assert slow.pipe.closed is None


def test_queue_bytes_are_what_slow_readers_leave(house):
    slow = house.visitor("slow", "r")
    assert house.hub.counters.queue_bytes == 0
    slow.pipe.stuck = True
    slow.say(t="send", id=1, room="r", body="x" * 1000)
    house.settle()
    assert 1000 < house.hub.counters.queue_bytes < 1200


def test_pings_and_silence(house):
    visitor = house.visitor("visitor", "r")
    house.clock.advance(25)
    assert house.hub.handle_timeout(visitor.client) == 25
    assert visitor.hear() == [{"opcode": 9, "payload": b""}]
    house.clock.advance(65)
    house.hub.handle_timeout(visitor.client)
    assert visitor.pipe.closed.reason == "silent"
    assert house.hub.counters.rooms == 0


def test_counters_of_the_present_go_back_to_zero(house):
    visitors = [house.visitor(f"v{n}", "r", f"own{n}") for n in range(3)]
    assert (house.hub.counters.connections, house.hub.counters.rooms) == (3, 4)
    for visitor in visitors:
        house.hub.disconnected(visitor.client)
        house.hub.disconnected(visitor.client)
    assert (house.hub.counters.connections, house.hub.counters.rooms) == (0, 0)
    assert house.hub.counters.connections_total == 3


# A bus that answers later


class LateBus(LocalBus):
    """Reads at once and answers when told: a bus behind a network."""

    def __init__(self, **options):
        super().__init__(**options)
        self.late = []

    def read(self, room, since, history, answer):
        super().read(room, since, history, lambda page: self.late.append((answer, page)))

    def answer(self):
        late, self.late = self.late, []
        for answer, page in late:
            answer(page)


@pytest.fixture
def late_house(build, clock):
    return build(clock=clock, bus=LateBus(clock=clock), limits=Limits().lifted())


def joined_late(house, user, room):
    visitor = house.visitor(user, room)
    house.bus.answer()
    visitor.hear()
    return visitor


def test_what_is_published_while_joining_is_in_joined(late_house):
    speaker = joined_late(late_house, "speaker", "r")
    epoch = late_house.bus.heads()[0].epoch
    visitor = late_house.visitor("visitor")
    visitor.say(t="join", id=1, room="r", since={"epoch": epoch, "offset": 0})
    speaker.say(t="send", id=1, room="r", body="meanwhile")
    assert visitor.hear() == []
    late_house.bus.answer()
    (joined,) = visitor.hear()
    assert (joined["offset"], joined["recovered"]) == (1, True)
    assert bodies(joined["messages"]) == ["meanwhile"]
    speaker.say(t="send", id=2, room="r", body="then")
    assert [frame["offset"] for frame in visitor.hear()] == [2]
    assert [fact.delivered for fact in late_house.kept(MessageAccepted)] == [1, 2]


def test_sending_and_joining_wait_for_the_answer(late_house):
    visitor = late_house.visitor("visitor")
    visitor.say(t="join", id=1, room="r")
    visitor.say(t="send", id=2, room="r", body="x")
    visitor.say(t="join", id=3, room="r")
    reasons = [(frame["id"], frame["reason"]) for frame in visitor.hear()]
    assert reasons == [(2, "not_joined"), (3, "bad_request")]
    late_house.bus.answer()
    assert kinds(visitor.hear()) == ["joined"]


def test_leaving_before_the_answer_ends_the_join(late_house):
    visitor = late_house.visitor("visitor")
    visitor.say(t="join", id=1, room="r")
    visitor.say(t="leave", id=2, room="r")
    late_house.bus.answer()
    left, error = visitor.hear()
    assert (left["t"], left["id"]) == ("left", 2)
    assert (error["reason"], error["id"]) == ("not_joined", 1)
    assert late_house.hub.counters.rooms == 0


def test_going_before_the_answer_leaves_nothing(late_house):
    visitor = late_house.visitor("visitor")
    visitor.say(t="join", id=1, room="r")
    late_house.hub.disconnected(visitor.client)
    late_house.bus.answer()
    assert visitor.hear() == []
    assert late_house.hub.counters.rooms == 0


# Media


class Sfu:
    """Answers every request with what it was, and keeps what it learned."""

    def __init__(self):
        self.asked = []
        self.closings = []
        self.refusal = None

    async def request(self, client, frame):
        self.asked.append((client.session, client.identity.user_id, frame))
        if self.refusal is not None:
            raise self.refusal
        return {"t": frame["t"] + "ed", "room": frame.get("room")}

    def closed(self, client):
        self.closings.append(client.session)


async def carried(visitor):
    """Let the relay's task run, then hear."""
    for _ in range(5):
        await asyncio.sleep(0)
    return visitor.hear()


@pytest.fixture
def sfu():
    return Sfu()


@pytest.fixture
def studio(build, sfu):
    return build(media=sfu, limits=Limits(media_pending=3).lifted())


async def test_media_frames_are_carried_whole_and_answered_with_their_id(studio, sfu):
    visitor = studio.visitor("visitor", "r")
    visitor.say(t="media.join", id=5, room="r", resume={"x": [1.5, "글"]})
    assert await carried(visitor) == [{"t": "media.joined", "room": "r", "id": 5}]
    frame = {"t": "media.join", "id": 5, "room": "r", "resume": {"x": [1.5, "글"]}}
    assert sfu.asked == [(visitor.client.session, "visitor", frame)]


async def test_media_needs_the_room_but_for_leaving(studio):
    visitor = studio.visitor("visitor")
    assert visitor.ask(t="media.join", room="r")["reason"] == "not_joined"
    visitor.say(t="media.leave", id=9, room="r")
    assert kinds(await carried(visitor)) == ["media.leaveed"]


async def test_a_media_refusal_keeps_its_code(studio, sfu):
    sfu.refusal = MediaRefused(301, "bad_sdp", "not SDP", 250)
    visitor = studio.visitor("visitor", "r")
    visitor.say(t="media.publish", id=5, room="r", sdp="?")
    assert await carried(visitor) == [
        {
            "t": "error",
            "id": 5,
            "code": 301,
            "reason": "bad_sdp",
            "message": "not SDP",
            "retry_after_ms": 250,
        }
    ]


async def test_leaving_the_room_leaves_its_media(studio, sfu):
    visitor = studio.visitor("visitor", "r")
    visitor.say(t="media.join", id=1, room="r")
    visitor.say(t="leave", id=2, room="r")
    assert sorted(kinds(await carried(visitor))) == ["left", "media.joined"]
    assert sfu.asked[-1][2] == {"t": "media.leave", "room": "r"}


async def test_the_end_of_the_connection_is_told_to_media_once(studio, sfu):
    visitor = studio.visitor("visitor", "r")
    visitor.say(t="media.join", id=1, room="r")
    await carried(visitor)
    plain = studio.visitor("plain", "r")
    for client in (visitor.client, plain.client):
        studio.hub.disconnected(client)
        studio.hub.disconnected(client)
    assert sfu.closings == [visitor.client.session]
    visitor.client.push({"t": "media.offer"})
    assert visitor.hear() == []


async def test_pushed_frames_reach_the_client(studio, codec):
    visitor = studio.visitor("visitor", codec=codec)
    visitor.client.push({"t": "media.speakers", "speakers": []})
    assert visitor.hear() == [{"t": "media.speakers", "speakers": []}]


async def test_media_frames_do_not_pile_up(studio):
    visitor = studio.visitor("visitor", "r")
    for number in range(5):
        visitor.say(t="media.join", id=number, room="r")
    errors = [frame for frame in visitor.hear() if frame["t"] == "error"]
    assert [error["reason"] for error in errors] == ["rate_limited"] * 2
    assert all(error["retry_after_ms"] for error in errors)


def test_without_media_it_is_refused(house):
    visitor = house.visitor("visitor", "r")
    assert visitor.ask(t="media.join", room="r")["reason"] == "no_media"


# Everything at once

USERS, ROOMS = "abc", ["r", "s"]
moves = st.lists(
    st.one_of(
        st.tuples(st.just("connect"), st.sampled_from(USERS), st.sampled_from(CODECS)),
        st.tuples(st.just("join"), st.integers(0, 5), st.sampled_from(ROOMS)),
        st.tuples(st.just("leave"), st.integers(0, 5), st.sampled_from(ROOMS)),
        st.tuples(st.just("send"), st.integers(0, 5), st.sampled_from(ROOMS)),
        st.tuples(st.just("drop"), st.integers(0, 5), st.none()),
        st.tuples(st.just("garbage"), st.integers(0, 5), st.binary(max_size=20)),
        st.tuples(st.just("refuse"), st.booleans(), st.none()),
        st.tuples(st.just("settle"), st.none(), st.none()),
        st.tuples(st.just("pass"), st.floats(0, 10), st.none()),
    ),
    max_size=60,
)


class Ledger:
    """Follows every client and checks what each may rely on."""

    def __init__(self, house):
        self.house = house
        self.people = []
        self.positions = {}
        self.delivered = 0
        self.acknowledged = {}

    def hear(self):
        for person in self.people:
            for frame in person.hear():
                getattr(self, "on_" + frame["t"], lambda *_: None)(person, frame)

    def on_joined(self, person, frame):
        seen = self.positions.get((frame["room"], frame["epoch"]), 0)
        assert frame["offset"] <= max(seen, self.top(frame["room"]))
        person.at = {**getattr(person, "at", {}), frame["room"]: frame["offset"]}
        assert not frame["recovered"] or frame["messages"] is not None

    def on_message(self, person, frame):
        assert frame["offset"] == person.at[frame["room"]] + 1, "dense for everyone"
        person.at[frame["room"]] = frame["offset"]
        self.delivered += 1

    def on_sent(self, person, frame):
        place = (frame["room"], frame["offset"])
        assert place not in self.acknowledged
        self.acknowledged[place] = frame["message_id"]

    def top(self, room):
        return max((head.offset for head in self.house.bus.heads() if head.room == room), default=0)


@settings(max_examples=60)
@given(moves)
def test_offsets_acknowledgements_and_counts_agree_for_everyone(build, moves):
    house = build(limits=Limits().lifted())
    ledger = Ledger(house)
    number = 0
    for move, who, what in moves:
        number += 1
        person = ledger.people[who % len(ledger.people)] if _names_somebody(move, ledger) else None
        if move == "connect":
            ledger.people.append(house.visitor(who, codec=what))
        elif move == "refuse":
            house.facts.refusal = FactsRefused() if who else None
        elif move == "settle":
            ledger.hear()
        elif move == "pass":
            house.clock.advance(who)
            house.hub.tick()
        elif person is None:
            continue
        elif move == "drop":
            house.settle()
            house.hub.disconnected(person.client)
        elif move == "garbage":
            ledger.hear()
            person.say_bytes(what)
        elif move == "send":
            person.say(t="send", id=number, room=what, body="x")
        else:
            person.say(t=move, id=number, room=what)
    house.facts.refusal = None
    house.clock.advance(10)
    ledger.hear()
    house.hub.finish()
    accepted = house.kept(MessageAccepted)
    assert {(f.room, f.offset): f.id for f in accepted} == ledger.acknowledged
    assert sum(fact.delivered for fact in accepted) == ledger.delivered
    assert house.hub.counters.messages_out == ledger.delivered
    assert math.isfinite(house.hub.counters.queue_bytes)


def _names_somebody(move, ledger):
    return bool(ledger.people) and move in {"join", "leave", "send", "drop", "garbage"}


def test_whoever_is_signed_out_is_told_and_closed_and_the_others_talk_on(house):
    banned, visitor = house.visitor("banned", "hall"), house.visitor("visitor", "hall")
    assert house.hub.sign_out(lambda identity: identity.user_id == "banned") == 1
    assert [(f["t"], f["reason"]) for f in banned.hear()] == [("error", "token_revoked")]
    assert banned.pipe.closed.code == 4205
    assert visitor.ask(t="send", room="hall", body="still here")["t"] == "sent"
    assert house.hub.sign_out(lambda identity: identity.user_id == "banned") == 0


def test_a_refresh_that_cannot_be_judged_yet_says_when_to_try_again(house):
    visitor = house.visitor("visitor")
    refused = visitor.ask(t="refresh", token="of a new key")
    assert (refused["reason"], refused["retry_after_ms"]) == ("token_refused", 1000)
    assert visitor.ask(t="refresh", token="revoked")["reason"] == "token_refused"
    assert visitor.pipe.closed is None


def test_a_hidden_tab_that_answers_once_a_minute_stays(build):
    """Browsers let timers of hidden tabs run once a minute; a lost one makes it 70 s and more."""
    house = build()
    visitor = house.visitor("visitor", "r")
    for _ in range(5):
        for _ in range(70):
            house.clock.advance(1)
            house.hub.handle_timeout(visitor.client)
        assert visitor.pipe.closed is None
        visitor.client.state.heard(house.clock.now)
    house.hub.push(visitor.client, {"t": "still here"})
    assert visitor.hear()[-1] == {"t": "still here"}
