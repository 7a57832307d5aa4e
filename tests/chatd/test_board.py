from hypothesis import given
from hypothesis import strategies as st

from chatd.board import Board, value_bytes
from chatd.wire import JSON, MSGPACK, UserState


def test_changes_are_told_once_with_the_last_value():
    board = Board()
    board.put("u", "position", [1])
    board.put("u", "position", [2])
    board.put("v", "typing", True)
    board.put("v", "typing", None)
    assert board.take_changes() == [UserState("u", "position", [2]), UserState("v", "typing", None)]
    assert board.take_changes() == []
    assert board.everything() == [UserState("u", "position", [2])]


def test_the_same_value_again_is_told_and_nothing_taken_away_is_not():
    board = Board()
    board.put("u", "typing", True)
    board.take_changes()
    board.put("u", "typing", True)
    board.put("u", "status", None)
    assert board.take_changes() == [UserState("u", "typing", True)]


def test_who_is_forgotten_shows_nothing():
    board = Board()
    board.put("u", "a", 1)
    board.put("u", "b", 2)
    board.take_changes()
    board.forget("u")
    assert board.take_changes() == [UserState("u", "a", None), UserState("u", "b", None)]
    assert (board.everything(), board.size_bytes, board.kinds("u")) == ([], 0, ())


def test_onlookers_stand_by_codec_and_go_with_their_lateness():
    board = Board()
    board.look("m", MSGPACK, "outbox m")
    board.look("j", JSON, "outbox j")
    board.late.add("j")
    board.look_away("j")
    assert list(board.onlookers()) == [(MSGPACK, {"m": "outbox m"})]
    assert board.late == set()


puts = st.lists(
    st.tuples(st.sampled_from("uv"), st.sampled_from("ab"), st.none() | st.text(max_size=9)),
    max_size=60,
)


@given(puts, st.integers(1, 9))
def test_who_hears_every_change_knows_everything(puts, every):
    board, known = Board(), {}
    for number, put in enumerate([*puts, ("u", "a", None)]):
        board.put(*put)
        if number % every == 0 or number == len(puts):
            for state in board.take_changes():
                known.pop((state.user, state.kind), None)
                if state.value is not None:
                    known[state.user, state.kind] = state.value
    shown = board.everything()
    assert {(state.user, state.kind): state.value for state in shown} == known
    assert board.size_bytes == sum(value_bytes(s.user, s.kind, s.value) for s in shown)
