"""Moderation at the hub: banned, kicked, muted, moved, removed; and what the server says."""

import pytest

from chatd.bus import Receipt
from chatd.errors import FactsRefused, Refused
from chatd.facts import MessageAccepted
from chatd.moderation import EVERYWHERE, MemoryModeration, Removal, Sanction
from chatd.podium import Speech
from chatd.room_book import MemoryRoomBook, RoomSettings


@pytest.fixture
def book():
    return MemoryModeration()


@pytest.fixture
def house(build, book):
    rooms = MemoryRoomBook(RoomSettings("office", "private", users=("host",)))
    return build(moderation=book, book=rooms)


def until(house, seconds):
    return int((house.clock.time() + seconds) * 1000)


def test_a_sanction_covers_the_rooms_of_its_pattern_as_long_as_it_lasts(book):
    book.put(Sanction("world/1/**", "eve", until_ms=2_000, kicked=True))
    book.put(Sanction("hall", "eve"))
    assert book.barred("eve", "world/1/lobby", 1_999).kicked
    assert book.barred("eve", "world/1/lobby", 2_000) is None
    assert book.barred("eve", "world/2/lobby", 0) is None
    assert book.barred("eve", "hall", 10**15) == Sanction("hall", "eve")
    assert book.barred("ann", "hall", 0) is None
    assert book.barred_everywhere("eve", 0) is None
    book.forget(2_000)
    assert book.barred("eve", "world/1/lobby", 0) is None
    book.lift("hall", "eve", mutes=False)
    book.lift("hall", "eve", mutes=False)
    assert book.barred("eve", "hall", 0) is None


def test_of_two_that_keep_out_the_longer_one_is_told(book):
    book.put(Sanction("hall", "eve", until_ms=5_000))
    book.put(Sanction("**", "eve", until_ms=9_000))
    assert book.barred("eve", "hall", 0).until_ms == 9_000
    assert book.barred_everywhere("eve", 0).until_ms == 9_000
    assert book.barred_everywhere("eve", 9_000) is None


def test_a_kick_does_not_end_a_ban(book):
    book.put(Sanction("hall", "eve"))
    book.put(Sanction("hall", "eve", until_ms=1_000, kicked=True))
    assert book.barred("eve", "hall", 2_000) == Sanction("hall", "eve")
    book.lift("hall", "eve", mutes=False)
    assert book.barred("eve", "hall", 0) is None


def test_what_is_muted_adds_up_and_is_no_ban(book):
    book.put(Sanction("hall", "eve", 5_000, frozenset({"text"})))
    book.put(Sanction("**", "eve", 9_000, frozenset({"audio"}), by="host"))
    silence = book.silence("eve", "hall", 0)
    assert silence == Sanction("hall", "eve", 9_000, frozenset({"text", "audio"}), by="host")
    assert book.silence("eve", "hall", 5_000).what == {"audio"}
    assert book.barred("eve", "hall", 0) is None
    assert book.barred_everywhere("eve", 0) is None


def test_who_is_kicked_leaves_and_may_come_back_after_the_time(house, book):
    eve, ann = house.visitor("eve", "hall"), house.visitor("ann", "hall")
    second = house.visitor("eve", "hall", "yard")
    book.put(Sanction("hall", "eve", until(house, 60), by="host", note="천천히", kicked=True))
    left = {
        "t": "left", "room": "hall", "reason": "kicked", "retry_after_ms": 60_000,
        "by": "host", "note": "천천히",
    }  # fmt: skip
    assert eve.hear() == second.hear() == [left]
    assert ann.hear() == []
    error = eve.ask(t="join", room="hall")
    assert (error["reason"], error["retry_after_ms"]) == ("banned", 60_000)
    assert second.ask(t="send", room="yard", body="here still")["t"] == "sent"
    house.elapse(60)
    assert eve.ask(t="join", room="hall")["t"] == "joined"


def test_who_is_banned_stays_out_until_it_is_lifted(house, book):
    eve = house.visitor("eve", "world/1/lobby")
    book.put(Sanction("world/1/**", "eve"))
    assert eve.hear() == [{"t": "left", "room": "world/1/lobby", "reason": "banned"}]
    house.elapse(10**6)
    error = eve.ask(t="join", room="world/1/lobby")
    assert error["code"] == 121
    assert "retry_after_ms" not in error
    assert eve.ask(t="join", room="world/2/lobby")["t"] == "joined"
    book.lift("world/1/**", "eve", mutes=False)
    assert eve.ask(t="join", room="world/1/lobby")["t"] == "joined"


def test_who_is_sent_away_from_the_server_is_closed_and_told_for_how_long(house, book):
    eve = house.visitor("eve", "hall")
    book.put(Sanction(EVERYWHERE, "eve", until(house, 5), note="잠시 쉬세요"))
    (error,) = eve.hear()
    assert (error["reason"], error["message"]) == ("kicked", "잠시 쉬세요")
    assert error["retry_after_ms"] == 5_000
    assert eve.pipe.closed.code == 4103
    again = house.visitor("eve")
    assert again.pipe.closed.code == 4103
    house.elapse(5)
    assert house.visitor("eve", "hall").pipe.closed is None
    book.put(Sanction(EVERYWHERE, "eve"))
    assert house.visitor("eve").pipe.closed.code == 4206
    assert house.hub.users == 0


def test_who_is_muted_hears_but_is_not_heard_and_knows_who_and_why(house, book):
    eve, ann = house.visitor("eve", "hall", "yard"), house.visitor("ann", "hall")
    what = frozenset({"text", "audio"})
    book.put(Sanction("hall", "eve", until(house, 30), what, "host", "도배"))
    assert eve.hear() == [
        {
            "t": "muted", "room": "hall", "what": ["audio", "text"],
            "until": until(house, 30), "by": "host", "note": "도배",
        }
    ]  # fmt: skip
    error = eve.ask(t="send", room="hall", body="!")
    assert (error["reason"], error["retry_after_ms"]) == ("muted", 30_000)
    assert eve.ask(t="send", room="yard", body="!")["t"] == "sent"
    assert ann.ask(t="send", room="hall", body="?")["t"] == "sent"
    assert [frame["body"] for frame in eve.hear()] == ["?"]
    # Told again to whoever comes back, after the answer.
    back = house.visitor("eve")
    back.say(t="join", id=1, room="hall")
    assert [frame["t"] for frame in back.hear()] == ["joined", "muted"]
    house.elapse(30)
    assert eve.ask(t="send", room="hall", body="!")["t"] == "sent"
    assert back.ask(t="send", room="hall", body="!")["t"] == "sent"


def test_a_mute_that_is_lifted_is_told(house, book):
    eve = house.visitor("eve", "hall")
    book.put(Sanction("hall", "eve", None, frozenset({"text"})))
    eve.hear()
    book.lift("hall", "eve", mutes=True)
    assert eve.hear() == [{"t": "muted", "room": "hall", "what": []}]
    assert eve.ask(t="send", room="hall", body="!")["t"] == "sent"


def test_only_voice_muted_may_write(house, book):
    eve = house.visitor("eve", "hall")
    book.put(Sanction("hall", "eve", None, frozenset({"audio"})))
    assert eve.ask(t="send", room="hall", body="!")["t"] == "sent"


def test_a_removed_message_is_told_and_read_no_more(house, book, codec):
    ann = house.visitor("ann", "hall", codec=codec)
    for body in ("one", "two", "three"):
        ann.say(t="send", id=1, room="hall", body=body)
    epoch = ann.hear()[0]["message_id"].split("-")[0]
    ann.hear()
    book.remove(Removal("hall", epoch, 2, "host", "욕설"))
    told = {"t": "removed", "room": "hall", "epoch": epoch, "offset": 2, "id": f"{epoch}-2"}
    assert ann.hear() == [told | {"by": "host", "note": "욕설"}]
    book.remove(Removal("hall", epoch, 2))
    assert ann.hear() == []
    ben = house.visitor("ben", codec=codec)
    joined = ben.ask(t="join", room="hall", since={"epoch": epoch, "offset": 0})
    assert [message["body"] for message in joined["messages"]] == ["one", None, "three"]
    assert joined["messages"][1]["removed"] is True
    assert joined["recovered"] is True
    assert joined["removed"] == [2]
    page = ben.ask(t="history", room="hall")
    assert [message.get("removed") for message in page["messages"]] == [None, True, None]


def test_people_are_moved_to_another_room_with_all_their_connections(house):
    eve, second = house.visitor("eve", "hall"), house.visitor("eve", "hall")
    other = house.visitor("eve", "yard")
    assert house.hub.bailiff.move("eve", "hall", "quiet", "host", "") == (2, 0, None)
    for visitor in (eve, second):
        left, joined = visitor.hear()
        assert left == {
            "t": "left", "room": "hall", "reason": "moved", "to": "quiet", "by": "host",
        }  # fmt: skip
        assert (joined["t"], joined["room"], "id" in joined) == ("joined", "quiet", False)
    assert other.hear() == []
    assert house.hub.connections_of("eve", "quiet") == 2


def test_nobody_is_moved_where_they_may_not_be(house):
    eve = house.visitor("eve", "hall")
    assert house.hub.bailiff.move("eve", "hall", "office", "host", "") == (0, 1, "not_invited")
    assert house.hub.bailiff.move("eve", "hall", "no room", "host", "") == (0, 1, "bad_room")
    assert eve.hear() == []
    assert house.hub.connections_of("eve", "hall") == 1


def say(house, room="hall", body="공지", key=None):
    outcomes = []
    house.hub.say(Speech(room, "server", "운영자", body, key, outcomes.append))
    house.settle()
    return outcomes


def test_what_the_server_says_is_ordered_stored_and_counted_like_any_message(house):
    ann = house.visitor("ann", "hall")
    ann.ask(t="send", room="hall", body="hi")
    (receipt,) = say(house)
    assert (type(receipt), receipt.offset) == (Receipt, 2)
    (message,) = ann.hear()
    assert (message["from"], message["name"], message["body"]) == ("server", "운영자", "공지")
    accepted = house.kept(MessageAccepted)[-1]
    assert (accepted.user, accepted.offset, accepted.delivered) == ("server", 2, 1)


def test_the_server_says_a_key_once_also_where_nobody_is(house):
    first, again = say(house, "empty", key="k"), say(house, "empty", "another", key="k")
    assert first[0].offset == again[0].offset == 1
    assert len(house.kept(MessageAccepted)) == 1
    assert house.hub.room_names() == []


def test_what_the_server_cannot_say_it_is_told(house):
    for room, body in (("no room", "x"), ("hall", 7), ("hall", "x" * 20_000)):
        with pytest.raises(Refused):
            say(house, room, body)
    house.facts.refusal = FactsRefused("full")
    (outcome,) = say(house)
    assert isinstance(outcome, FactsRefused)
    house.facts.refusal = None
    assert say(house)[0].offset == 1


def test_it_is_known_who_is_here_by_how_many_connections(house):
    house.visitor("eve", "hall")
    house.visitor("eve", "hall")
    house.visitor("ann", "hall", "yard")
    assert house.hub.people_in("hall") == {"eve": ("Eve", 2), "ann": ("Ann", 1)}
    assert house.hub.people_in("nowhere") == {}
    assert house.hub.connections_of("eve", "**") == 2
    assert sorted(house.hub.room_names()) == ["hall", "yard"]
