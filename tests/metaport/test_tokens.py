import base64
import json

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatd.grants import Rights, to
from metaport.tokens import (
    REMEMBERED,
    REMEMBERED_CHARACTERS,
    Claims,
    TokenError,
    TokenExpired,
    TokenInvalid,
    TokenRevoked,
    Tokens,
)

SECRET = "0123456789abcdef" * 3
NOW = 1_800_000_000.0
tokens = Tokens(SECRET)


def platform_token(**claims: object) -> str:
    """Sign as a platform's own backend would, with any JWT library."""
    return jwt.encode({"sub": "u1", "exp": NOW + 60} | claims, SECRET, "HS256")


def test_what_is_minted_is_verified() -> None:
    minted = tokens.mint(
        "u1", "방문자", roles={"visitor", "moderator"}, rooms=["plaza/*"], ttl_s=60, now=NOW
    )
    assert tokens.verify(minted, NOW) == Claims(
        "u1", "방문자", frozenset({"visitor", "moderator"}), to("plaza/*"), NOW + 60
    )


def test_a_platform_says_what_may_be_done_where_and_which_rooms_one_is_in() -> None:
    token = platform_token(
        rooms=["plaza", {"room": "news/**", "can": ["read"]}], subscribe=["plaza", "news/1"]
    )
    claims = tokens.verify(token, NOW)
    assert claims.rooms == to("plaza") + to("news/**", rights=Rights.READ)
    assert claims.subscriptions == ("plaza", "news/1")


def test_a_pattern_that_is_none_is_not_minted() -> None:
    with pytest.raises(ValueError, match="pattern"):
        tokens.mint("u1", rooms=["no spaces"], ttl_s=60)


def test_without_a_name_the_id_is_shown_and_without_rooms_any_is_meant() -> None:
    claims = tokens.verify(tokens.mint("u1", ttl_s=60, now=NOW), NOW)
    assert (claims.name, claims.roles, claims.rooms) == ("u1", frozenset(), None)
    assert tokens.verify(tokens.mint("u1", rooms=[], ttl_s=60, now=NOW), NOW).rooms == ()


def test_a_token_holds_until_its_time_is_over() -> None:
    minted = tokens.mint("u1", ttl_s=60, now=NOW)
    tokens.verify(minted, NOW + 59.9)
    with pytest.raises(TokenExpired):
        tokens.verify(minted, NOW + 60)


def test_two_tokens_are_never_the_same() -> None:
    assert tokens.mint("u1", ttl_s=60, now=NOW) != tokens.mint("u1", ttl_s=60, now=NOW)


def test_access_and_refresh_are_not_taken_for_each_other() -> None:
    access, refresh = (mint("u1", ttl_s=60, now=NOW) for mint in (tokens.mint, tokens.mint_refresh))
    assert tokens.verify_refresh(refresh, NOW).user == "u1"
    with pytest.raises(TokenInvalid):
        tokens.verify(refresh, NOW)
    with pytest.raises(TokenInvalid):
        tokens.verify_refresh(access, NOW)


def test_an_expired_refresh_token_is_expired() -> None:
    with pytest.raises(TokenExpired):
        tokens.verify_refresh(tokens.mint_refresh("u1", ttl_s=1, now=NOW), NOW + 1)


def test_a_platform_may_mint_with_the_same_secret() -> None:
    claims = tokens.verify(platform_token(aud="other", iat=NOW + 9, nbf=NOW + 9), NOW)
    assert claims == Claims("u1", "u1", frozenset(), None, NOW + 60)


def unsigned(claims: dict[str, object]) -> str:
    parts = [{"alg": "none", "typ": "JWT"}, claims]
    encoded = [base64.urlsafe_b64encode(json.dumps(p).encode()).rstrip(b"=") for p in parts]
    return b".".join([*encoded, b""]).decode()


@pytest.mark.parametrize(
    "token",
    [
        "",
        "not a token",
        "a.b.c",
        "\ud800",
        Tokens("another secret" * 4).mint("u1", ttl_s=60, now=NOW),
        unsigned({"sub": "u1", "exp": NOW + 60}),
        jwt.encode({"sub": "u1", "exp": NOW + 60}, SECRET * 2, "HS512"),
        jwt.encode({"exp": NOW + 60}, SECRET, "HS256"),
        jwt.encode({"sub": "u1"}, SECRET, "HS256"),
        platform_token(sub=""),
        platform_token(sub="a\nb"),
        platform_token(sub="x" * 129),
        platform_token(exp="tomorrow"),
        platform_token(exp=True),
        platform_token(name=7),
        platform_token(roles="admin"),
        platform_token(roles=[1]),
        platform_token(rooms={"plaza": 1}),
        platform_token(rooms=["no spaces"]),
        platform_token(rooms=[{"room": "plaza", "can": "read"}]),
        platform_token(subscribe="plaza"),
        platform_token(subscribe=["plaza/*"]),
    ],
)
def test_what_is_not_one_of_ours_is_invalid(token: str) -> None:
    with pytest.raises(TokenInvalid):
        tokens.verify(token, NOW)


@given(st.text(max_size=60))
def test_no_text_raises_anything_but_a_token_error(token: str) -> None:
    with pytest.raises(TokenError):
        tokens.verify(token, NOW)


@pytest.mark.parametrize("user", ["", " ", "a\x1b[31m", "x" * 129])
def test_a_user_id_that_cannot_be_shown_is_not_minted(user: str) -> None:
    with pytest.raises(ValueError, match="a user or name"):
        tokens.mint(user, ttl_s=60)


def test_a_token_seen_before_is_asked_for_its_use_its_time_and_its_revocation() -> None:
    taken: set[str] = set()
    own = Tokens(SECRET, revoked=lambda claims: claims.user in taken)
    minted = own.mint("u1", ttl_s=60, now=NOW)
    assert own.verify(minted, NOW) == own.verify(minted, NOW + 1)
    with pytest.raises(TokenInvalid, match="refresh"):
        own.verify_refresh(minted, NOW)
    with pytest.raises(TokenExpired):
        own.verify(minted, NOW + 60)
    with pytest.raises(TokenInvalid):
        own.verify(minted[:-2] + ("AA" if minted[-2:] != "AA" else "BA"), NOW)
    taken.add("u1")
    with pytest.raises(TokenRevoked):
        own.verify(minted, NOW)


def test_a_token_seen_before_ends_with_the_secret_that_signed_it() -> None:
    own = Tokens(SECRET)
    minted, shared = own.mint("u1", ttl_s=60, now=NOW), platform_token()
    for token in (minted, shared):
        own.verify(token, NOW)
    own.use_secrets("another secret " * 3, [SECRET])
    for token in (minted, shared):
        own.verify(token, NOW)
    own.use_secrets("another secret " * 3)
    for token in (minted, shared):
        with pytest.raises(TokenInvalid):
            own.verify(token, NOW)


def test_of_tokens_seen_before_a_bounded_number_is_remembered() -> None:
    own = Tokens(SECRET)
    for number in range(REMEMBERED + 10):
        own.verify(platform_token(sub=f"u{number}"), NOW)
    own.verify(platform_token(name="n" * 60, jti="j" * REMEMBERED_CHARACTERS), NOW)
    assert len(own._read_before) == REMEMBERED
