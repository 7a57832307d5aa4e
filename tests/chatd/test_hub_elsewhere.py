"""The hub over a bus whose order is made elsewhere: others' messages, lost places, absence."""

from chatd.bus import Publication, Receipt
from chatd.errors import BUS_AWAY, PLACE_LOST, BusAway, Refused
from chatd.facts import MessageAccepted, MessagesDelivered
from chatd.limits import Limits
from chatd.wire import MSGPACK, Message


def publication(house, offset, body, *, own=False, room="r"):
    """Make what the bus would bring: a message with its place."""
    at_ms = int(house.clock.utc * 1000)
    message = Message(room, offset, f"e-{offset}", "far", "Far", at_ms, body)
    return Publication("e", None, message, MSGPACK.encode(message), own=own)


def test_a_message_of_another_process_is_delivered_and_not_kept_twice(house, clock):
    visitors = [house.visitor(f"v{n}", "r") for n in range(3)]
    house.hub.ordered([publication(house, 1, "a")], [])
    assert [frame["body"] for v in visitors for frame in v.hear()] == ["a"] * 3
    assert house.kept(MessageAccepted) == []
    (fact,) = house.kept(MessagesDelivered)
    assert (fact.room, fact.user, fact.count) == ("r", "far", 3)
    assert house.hub.counters.messages_in == 0
    assert house.hub.counters.messages_out == 3


def test_a_message_nobody_here_hears_is_no_fact(house):
    house.visitor("visitor", "other")
    house.hub.ordered([publication(house, 1, "a")], [])
    assert house.kept(MessagesDelivered) == []


def test_ours_that_was_delivered_before_its_receipt_is_kept_once_and_acknowledged(house):
    visitor = house.visitor("visitor", "r")
    house.hub.ordered([publication(house, 1, "a")], [])
    visitor.hear()
    visitor.say(t="send", id=7, room="r", body="a")
    draft = house.hub._drafts.pop()
    unkept = publication(house, 1, "a", own=True)
    house.hub.ordered([], [Receipt(draft, 1, "e-1", 5, unkept)])
    (sent,) = visitor.hear()
    assert (sent["t"], sent["id"], sent["offset"]) == ("sent", 7, 1)
    (fact,) = house.kept(MessageAccepted)
    assert (fact.room, fact.offset, fact.user, fact.body, fact.delivered) == ("r", 1, "far", "a", 0)


def test_those_who_lost_their_place_hear_nothing_more_and_are_closed(house):
    visitor, other = house.visitor("visitor", "r", "s"), house.visitor("other", "s")
    house.hub.lapsed("r")
    house.hub.ordered([publication(house, 1, "of the new epoch")], [])
    assert visitor.hear() == []
    assert visitor.pipe.closed is PLACE_LOST
    assert other.pipe.closed is None
    assert house.hub.counters.closes[PLACE_LOST.code] == 1
    house.hub.lapsed("r")
    house.hub.lapsed("nobody's")


def test_thousands_who_lost_their_place_are_closed_in_waves(build, clock):
    house = build(clock=clock, limits=Limits().lifted())
    visitors = [house.visitor(f"v{n}", "r") for n in range(300)]
    house.hub.lapsed("r")
    assert sum(v.pipe.closed is not None for v in visitors) < len(visitors)
    house.hub.ordered([publication(house, 1, "of the new epoch")], [])
    house.settle()
    assert all(v.pipe.closed is PLACE_LOST for v in visitors)
    assert all(v.hear() == [] for v in visitors)
    assert house.hub.counters.rooms == 0


def test_somebody_who_is_joining_is_not_sent_away(house):
    answers = []
    house.bus.read = lambda room, since, history, answer: answers.append(answer)
    visitor = house.connect()
    visitor.say(t="hello", token="visitor", v=1)
    visitor.say(t="join", id=1, room="r")
    visitor.hear()
    house.hub.lapsed("r")
    house.settle()
    assert visitor.pipe.closed is None
    assert len(answers) == 1


def test_a_bus_that_is_away_is_told_and_nobody_is_closed(house):
    visitor = house.visitor("visitor", "r")
    draft_ids = []

    def refuse(drafts):
        draft_ids.extend(draft.request_id for draft in drafts)
        house.hub.refused(drafts, BusAway("Redis does not answer", 2000))

    house.bus.publish = refuse
    house.bus.read = lambda room, since, history, answer: answer(
        Refused(BUS_AWAY, retry_after_ms=2000)
    )
    error = visitor.ask(t="send", room="r", body="a", key="k")
    assert (error["reason"], error["retry_after_ms"]) == ("bus_away", 2000)
    error = visitor.ask(t="join", room="s")
    assert (error["reason"], error["retry_after_ms"]) == ("bus_away", 2000)
    assert visitor.pipe.closed is None
    assert house.hub.counters.rooms == 1
