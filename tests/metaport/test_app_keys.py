"""Tokens of the backends of apps: bound to the app whose key signed them, whatever they say."""

import hmac
import json
from base64 import urlsafe_b64encode

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from chatd.grants import rights_in
from metaport.app_keys import AppKey, AppKeyBook, AppKeySecrets, public_key
from metaport.revocation import Revocations, of_token_id
from metaport.tokens import TokenInvalid, TokenRevoked, Tokens, TokenUndecided

NOW = 1_800_000_000.0
OWN = "0123456789abcdef" * 3
SECRETS = AppKeySecrets("k" * 48)
PRIVATE = Ed25519PrivateKey.generate()
JWK = jwt.algorithms.OKPAlgorithm.to_jwk(PRIVATE.public_key())
GUMI = AppKey("ak_gumi", "gumi", "HS256", None, 0)
PLAIN = AppKey("ak_plain", "default", "HS256", None, 0)
ASYMMETRIC = AppKey("ak_ed", "gumi", "EdDSA", JWK, 0)


def book(*keys):
    made = AppKeyBook(SECRETS)
    made.take(keys)
    return made


tokens = Tokens(OWN, apps=book(GUMI, PLAIN, ASYMMETRIC))


def signed(key=GUMI, algorithm="HS256", secret=None, headers=None, **claims):
    secret = secret or SECRETS.of(key.app, key.id)
    body = {"sub": "hong", "exp": NOW + 60} | claims
    return jwt.encode(body, secret, algorithm, headers={"kid": key.id} | (headers or {}))


def by_hmac(header, secret):
    """Sign as an attacker would who takes a public key for a secret; libraries refuse to."""
    parts = [header, {"sub": "hong", "exp": NOW + 60}]
    said = b".".join(urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in parts)
    mac = urlsafe_b64encode(hmac.digest(secret, said, "sha256")).rstrip(b"=")
    return (said + b"." + mac).decode()


def test_users_and_rooms_are_the_apps():
    claims = tokens.verify(signed(name="홍", roles=["member"]), NOW)
    assert (claims.user, claims.name, claims.app) == ("gumi:hong", "홍", "gumi")
    assert rights_in("gumi:hall", claims.rooms)
    assert rights_in("gumi:fair/stage/1", claims.rooms)
    for elsewhere in ("hall", "gumi", "gumi/hall", "busan:hall", "fair/gumi:hall"):
        assert not rights_in(elsewhere, claims.rooms)
    assert tokens.verify(signed(sub="gumi:hong"), NOW).user == "gumi:hong"


def test_of_the_default_app_they_have_their_own_names():
    claims = tokens.verify(signed(PLAIN), NOW)
    assert (claims.user, claims.app, claims.rooms) == ("hong", "default", None)


@pytest.mark.parametrize(
    ("key", "claims"),
    [
        (GUMI, {"rooms": ["busan:hall"]}),
        (GUMI, {"rooms": ["**"]}),
        (GUMI, {"rooms": [{"room": "hall"}]}),
        (GUMI, {"rooms": [{"can": ["read"]}]}),
        (GUMI, {"rooms": "gumi:hall"}),
        (GUMI, {"rooms": 7}),
        (GUMI, {"subscribe": ["hall"]}),
        (GUMI, {"subscribe": 7}),
        (GUMI, {"roles": ["admin"]}),
        (GUMI, {"roles": ["supervisor"]}),
        (GUMI, {"roles": "admin"}),
        (GUMI, {"sub": 7}),
        (GUMI, {"use": "refresh"}),
        (GUMI, {"use": "access"}),
        (PLAIN, {"sub": "admin"}),
        (PLAIN, {"sub": "gumi:hong"}),
        (PLAIN, {"sub": "guest-1"}),
        (PLAIN, {"roles": ["operator"]}),
    ],
)
def test_what_an_app_cannot_give_is_refused(key, claims):
    with pytest.raises(TokenInvalid):
        tokens.verify(signed(key, **claims), NOW)


def test_what_an_app_claims_of_places_and_sessions_is_not_believed():
    claims = tokens.verify(signed(app="busan", sid="s_1", turn=3, jti="s_1.x"), NOW)
    assert (claims.app, claims.session) == ("gumi", None)
    assert claims.token_id == "ak_gumi.s_1.x"


def test_no_key_is_good_for_another_app_or_algorithm():
    for forged in (
        signed(secret=SECRETS.of("busan", GUMI.id)),
        signed(secret=OWN),
        by_hmac({"alg": "HS256", "kid": ASYMMETRIC.id}, JWK.encode()),
        signed(ASYMMETRIC, "HS256"),
        signed(headers={"kid": "ak_none"}),
        signed(headers={"crit": ["exp"]}),
        jwt.encode({"sub": "hong", "exp": NOW + 60}, None, "none", headers={"kid": GUMI.id}),
    ):
        with pytest.raises(TokenInvalid):
            tokens.verify(forged, NOW)
    assert tokens.verify(signed(ASYMMETRIC, "EdDSA", secret=PRIVATE), NOW).user == "gumi:hong"
    # And what an app's key signed under no name is nobody's.
    with pytest.raises(TokenInvalid):
        tokens.verify(
            jwt.encode({"sub": "hong", "exp": NOW + 60}, SECRETS.of("gumi", GUMI.id), "HS256"), NOW
        )


def test_a_rotated_key_holds_until_it_ends_and_a_revoked_one_no_longer():
    apps = book(AppKey("ak_gumi", "gumi", "HS256", None, 0, ends_at_s=int(NOW) + 10))
    rotated = Tokens(OWN, apps=apps)
    rotated.verify(signed(), NOW + 9)
    with pytest.raises(TokenRevoked):
        rotated.verify(signed(), NOW + 10)


def test_until_the_keys_are_known_nothing_is_decided():
    with pytest.raises(TokenUndecided):
        Tokens(OWN, apps=AppKeyBook(SECRETS)).verify(signed(), NOW)


def test_everything_a_key_signed_or_a_session_was_given_is_taken_back_at_once():
    revocations = Revocations()
    revocations.add(of_token_id("ak_gumi", NOW))
    revocations.add(of_token_id("s_1", NOW))
    assert revocations.covers("gumi:hong", "ak_gumi.", 0)
    assert revocations.covers("u", "s_1.abc", 0)
    assert not revocations.covers("u", "s_12.abc", 0)
    revocations.add(of_token_id("abc", NOW))
    assert not revocations.covers("u", "abc.def", 0)


@pytest.mark.parametrize(
    ("algorithm", "jwk"),
    [
        ("EdDSA", "{"),
        ("EdDSA", "[]"),
        ("EdDSA", "{}"),
        ("RS256", JWK),
        ("HS256", json.dumps({"kty": "oct", "k": "AAAA"})),
        ("EdDSA", jwt.algorithms.OKPAlgorithm.to_jwk(PRIVATE)),
        ("EdDSA", "[" * 10_000),
    ],
)
def test_only_a_public_key_of_its_algorithm_is_taken(algorithm, jwk):
    with pytest.raises(ValueError, match="JWK"):
        public_key(algorithm, jwk)
