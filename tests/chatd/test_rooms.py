from hypothesis import given
from hypothesis import strategies as st

from chatd.bus import Publication
from chatd.rooms import Room
from chatd.wire import CODECS, JSON, MSGPACK, Message

HELD = Publication("e", None, Message("r", 1, "e-1", "u", "U", 0, "x"), b"")


def live(room):
    return {member: codec for codec, members in room.audiences() for member in members}


def test_a_member_is_held_for_until_admitted():
    room = Room("r", 10)
    room.prepare("m")
    assert not room.empty
    assert (room.is_joining("m"), room.is_live("m"), room.listeners) == (True, False, 0)
    room.hold([HELD])
    assert room.admit("m", JSON, "outbox") == [HELD]
    assert (room.is_joining("m"), room.is_live("m"), room.listeners) == (False, True, 1)
    assert live(room) == {"m": JSON}


def test_a_member_that_joins_again_is_not_live_meanwhile():
    room = Room("r", 10)
    room.admit("m", JSON, "outbox")
    room.prepare("m")
    assert room.listeners == 0
    room.admit("m", JSON, "outbox")
    assert room.listeners == 1


def test_guests_keep_a_room_without_being_written_to():
    room = Room("r", 10)
    assert room.empty
    room.guests += 1
    assert not room.empty
    assert room.listeners == 0


def test_dismissing_forgets_everything_and_may_be_repeated():
    room = Room("r", 10)
    room.admit("m", MSGPACK, "outbox")
    room.watch("m", MSGPACK, "outbox")
    room.dismiss("m")
    room.dismiss("m")
    assert room.empty
    assert list(room.watchers()) == []


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["prepare", "admit", "dismiss", "watch", "unwatch"]), st.integers(0, 5)
        ),
        max_size=60,
    )
)
def test_a_member_is_in_at_most_one_group_and_audiences_are_who_is_live(moves):
    room = Room("r", 10)
    joining, members, watchers = set(), set(), set()
    for move, member in moves:
        codec = CODECS[member % 2]
        if move == "prepare":
            room.prepare(member)
            joining.add(member)
            members.discard(member)
        elif move == "admit":
            room.admit(member, codec, f"outbox {member}")
            joining.discard(member)
            members.add(member)
        elif move == "dismiss":
            room.dismiss(member)
            for group in (joining, members, watchers):
                group.discard(member)
        elif move == "watch":
            room.watch(member, codec, f"outbox {member}")
            watchers.add(member)
        else:
            room.unwatch(member)
            watchers.discard(member)
        assert live(room) == {member: CODECS[member % 2] for member in members}
        assert {m for _, group in room.watchers() for m in group} == watchers
        assert room.listeners == len(members)
        assert room.empty == (not joining and not members)
