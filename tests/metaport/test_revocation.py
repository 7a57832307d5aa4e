from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metaport.revocation import KEPT_S, Revocation, Revocations, of_token, of_token_id, of_user
from metaport.tokens import Claims, TokenRevoked, Tokens

NOW = 1_800_000_000.0


def claims(user: str = "u1", token_id: str | None = "t1", issued_at: float = NOW) -> Claims:
    return Claims(user, user, frozenset(), None, NOW + 60, (), token_id, issued_at)


@pytest.fixture
def revocations() -> Revocations:
    return Revocations()


def test_one_token_is_taken_back_and_others_hold(revocations: Revocations) -> None:
    assert revocations.add(of_token(claims(), NOW))
    assert revocations.covers("u1", "t1", NOW)
    assert not revocations.covers("u1", "t2", NOW)
    assert not revocations.covers("u1", None, NOW)


def test_a_user_is_signed_out_everywhere_and_may_sign_in_again_at_once() -> None:
    """In the same second, too: minted tokens tell their issue to the millisecond."""
    revocations = Revocations()
    tokens = Tokens("x" * 32, revoked=lambda c: revocations.covers(c.user, c.token_id, c.issued_at))
    access, refresh = (
        mint("u1", ttl_s=60, now=NOW + 0.3) for mint in (tokens.mint, tokens.mint_refresh)
    )
    revocations.add(of_user("u1", NOW + 0.5, NOW + 0.5))
    for verify, old in ((tokens.verify, access), (tokens.verify_refresh, refresh)):
        with pytest.raises(TokenRevoked):
            verify(old, NOW + 1)
    assert tokens.verify(tokens.mint("u1", ttl_s=60, now=NOW + 0.7), NOW + 1).user == "u1"
    assert tokens.verify(tokens.mint("u2", ttl_s=60, now=NOW), NOW + 1).user == "u2"


def test_a_token_that_does_not_tell_its_age_is_the_oldest(revocations: Revocations) -> None:
    revocations.add(of_user("u1", NOW - 1e6, NOW))
    assert revocations.covers("u1", None, 0.0)
    assert not revocations.covers("u1", None, NOW)


def test_repeats_say_nothing_new_and_the_later_moment_wins(revocations: Revocations) -> None:
    assert revocations.add(of_user("u1", NOW, NOW))
    assert not revocations.add(of_user("u1", NOW - 9, NOW))
    assert not revocations.add(of_user("u1", NOW, NOW))
    assert revocations.add(of_user("u1", NOW + 1, NOW + 1))
    assert len(revocations) == 1
    assert revocations.covers("u1", None, NOW)


def test_what_can_void_nothing_any_more_is_forgotten(revocations: Revocations) -> None:
    revocations.add(of_token(claims(), NOW))
    revocations.add(of_token_id("t2", NOW))
    revocations.add(of_user("u1", NOW, NOW))
    assert revocations.forget(NOW + 60) == 0
    assert revocations.forget(NOW + 60 + 3600) == 1
    assert revocations.forget(NOW + KEPT_S) == 2
    assert list(revocations) == []


def test_a_token_without_an_id_cannot_be_told_from_others() -> None:
    with pytest.raises(ValueError, match="jti"):
        of_token(claims(token_id=None), NOW)


MOMENTS = st.integers(1, 50).map(float)
ENTRIES = st.builds(
    Revocation, st.sampled_from(["token", "user"]), st.sampled_from(["a", "b"]), MOMENTS, MOMENTS
)


@given(st.lists(ENTRIES), st.randoms())
def test_the_order_in_which_hubs_hear_makes_no_difference(
    entries: list[Revocation], random: object
) -> None:
    def after(order: Iterable[Revocation]) -> set[Revocation]:
        known = Revocations()
        for entry in order:
            known.add(entry)
        return set(known)

    shuffled = list(entries)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert after(entries) == after(shuffled) == after([*entries, *shuffled])
