"""Refresh tokens rotate: whatever is presented in whatever order, one line of turns goes on."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metaport.session_turns import GRACE_S, Session, Verdict, judge, take

NOW = 1_800_000_000
FRESH = Session("s_1", "u", "default", None, 0, NOW, NOW, NOW + 1000, "")


@pytest.mark.parametrize(
    ("turn", "after_s", "verdict"),
    [
        (5, 0, Verdict.TURN),
        (4, GRACE_S - 1, Verdict.AGAIN),
        (4, GRACE_S, Verdict.REUSED),
        (3, 0, Verdict.REUSED),
        (6, 0, Verdict.TURN),  # the database is from a backup
        (5, 1000, Verdict.OVER),
    ],
)
def test_a_token_is_good_once_and_again_only_while_its_answer_may_be_lost(turn, after_s, verdict):
    assert judge(FRESH._replace(turn=5), turn, NOW + after_s) is verdict


@given(
    st.lists(st.tuples(st.integers(0, 12), st.integers(0, 2 * GRACE_S)), min_size=1, max_size=40)
)
def test_no_order_of_uses_branches_or_revives_a_session(uses):
    """`told` are the tokens a holder may have; only those are presented."""
    session, now, told, reused = FRESH, float(NOW), {0}, False
    for wanted, wait_s in uses:
        now += wait_s
        turn = sorted(told)[wanted % len(told)]
        before = session
        verdict, session = take(session, turn, now, expires_at_s=int(now) + 1000, address="")
        if before.ended_at_s is not None or now >= before.expires_at_s:
            assert verdict is Verdict.OVER
            assert session == before
            continue
        if verdict is Verdict.TURN:
            assert turn == max(told)  # never an older one
            assert session.turn == turn + 1
            told.add(session.turn)
        elif verdict is Verdict.AGAIN:
            assert session == before  # no second line
            assert turn == before.turn - 1
            assert now < before.turned_at_s + GRACE_S
        else:
            assert verdict is Verdict.REUSED
            assert turn < before.turn
            reused = True
        assert (session.ended_at_s is not None) is reused
