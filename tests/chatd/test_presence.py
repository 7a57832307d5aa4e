from hypothesis import given
from hypothesis import strategies as st

from chatd.presence import Roster
from chatd.wire import Person, Presence


def test_the_first_connection_of_a_user_comes_in_and_the_last_goes_out():
    roster = Roster(10)
    assert roster.enter("r", "u", "U") == Presence("r", "joined", "u", "U")
    assert roster.enter("r", "u", "U") is None
    assert roster.exit("r", "u") is None
    assert roster.count == 1
    assert roster.exit("r", "u") == Presence("r", "left", "u", "U")
    assert roster.count == 0


def test_members_are_named_once_each():
    roster = Roster(10)
    for user in ("u", "v", "u"):
        roster.enter("r", user, user.upper())
    assert roster.members() == [Person("u", "U"), Person("v", "V")]


def test_a_room_over_the_bound_is_counted_and_counts_are_told_when_they_change():
    roster = Roster(2)
    roster.enter("r", "a", "A")
    roster.enter("r", "b", "B")
    assert not roster.crowded
    assert roster.enter("r", "c", "C") == Presence("r", "count", count=3)
    assert roster.crowded
    assert roster.members() is None
    assert roster.enter("r", "d", "D") is None
    assert roster.settle("r") == Presence("r", "count", count=4)
    assert roster.settle("r") is None
    assert roster.exit("r", "d") is None
    assert roster.settle("r") == Presence("r", "count", count=3)


def test_names_come_back_when_the_room_is_clearly_smaller():
    roster = Roster(10)
    for number in range(11):
        roster.enter("r", f"u{number}", "N")
    roster.exit("r", "u10")
    roster.exit("r", "u9")
    assert roster.settle("r") == Presence("r", "count", count=9)
    roster.exit("r", "u8")
    told = roster.settle("r")
    assert (told.event, told.count, len(told.members)) == ("members", 8, 8)
    assert not roster.crowded
    assert roster.exit("r", "u0").event == "left"
    assert roster.settle("r") is None


@given(st.lists(st.tuples(st.booleans(), st.sampled_from("abcdefgh")), max_size=80))
def test_who_follows_the_frames_knows_who_is_there(moves):
    """Up to the bound by name, above it by number, at each settling."""
    roster = Roster(4)
    connections = dict.fromkeys("abcdefgh", 0)
    known, named, count = set(), True, 0
    for comes, user in moves:
        told = []
        if comes:
            told.append(roster.enter("r", user, user))
            connections[user] += 1
        elif connections[user]:
            told.append(roster.exit("r", user))
            connections[user] -= 1
        told.append(roster.settle("r"))
        for frame in filter(None, told):
            if frame.event == "joined":
                known.add(frame.user)
            elif frame.event == "left":
                known.remove(frame.user)
            elif frame.event == "members":
                known, named = {person.user for person in frame.members}, True
            else:
                named, count = False, frame.count
        present = {user for user, number in connections.items() if number}
        assert roster.count == len(present)
        assert known == present if named else count == len(present)
