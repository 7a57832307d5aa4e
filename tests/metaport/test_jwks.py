import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import OKPAlgorithm, RSAAlgorithm

from chatd.grants import read_grants
from metaport.jwks import DOCUMENT_BYTES, JwksKeys, KeyUndecided, KeyUnknown, parse
from metaport.tokens import TokenExpired, TokenInvalid, Tokens, TokenUndecided, Trust

NOW = 1_800_000_000.0
SECRET = "0123456789abcdef" * 3
ED = Ed25519PrivateKey.generate()
RSA = generate_private_key(65537, 2048)
SHORT_RSA = generate_private_key(65537, 1024)


def jwk(key: Ed25519PrivateKey | RSAPrivateKey, kid: str | None, **more: Any) -> dict[str, Any]:
    algorithm = OKPAlgorithm if isinstance(key, Ed25519PrivateKey) else RSAAlgorithm
    entry = json.loads(algorithm.to_jwk(key.public_key()))
    return entry | ({} if kid is None else {"kid": kid}) | more


def document(*entries: Any) -> bytes:
    return json.dumps({"keys": entries}).encode()


def signed(key: Any, algorithm: str, kid: str | None = None, **claims: Any) -> str:
    body = {"sub": "u1", "exp": NOW + 60} | claims
    return jwt.encode(body, key, algorithm, headers=None if kid is None else {"kid": kid})


class Clock:
    """The monotonic clock of the policy, turned by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def keys() -> JwksKeys:
    known = JwksKeys(refresh_s=300, interval_s=10)
    known.receive(parse(document(jwk(ED, "ed"), jwk(RSA, "rsa"))), 99.0, 99.0)
    return known


def tokens(keys: JwksKeys, clock: Clock, **trust: Any) -> Tokens:
    return Tokens(SECRET, trust=Trust(keys, **trust), monotonic=clock)


@pytest.mark.parametrize(("key", "algorithm", "kid"), [(ED, "EdDSA", "ed"), (RSA, "RS256", "rsa")])
def test_tokens_of_another_signer_are_verified(
    keys: JwksKeys, clock: Clock, key: Any, algorithm: str, kid: str
) -> None:
    ours = tokens(keys, clock)
    token = signed(key, algorithm, kid, rooms=["plaza/*"], jti="t1", iat=NOW - 5)
    claims = ours.verify(token, NOW)
    assert (claims.user, claims.token_id) == ("u1", "t1")
    assert claims.rooms == read_grants(["plaza/*"])
    assert claims.issued_at == NOW - 5
    # Without a key id there is only one key it can be.
    assert ours.verify(signed(key, algorithm), NOW).user == "u1"


def public_pem() -> bytes:
    return RSA.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def hmac_with_public_key(kid: str) -> str:
    """The classic confusion: the public key as the secret of HS256; PyJWT refuses to sign it."""
    head = jwt.utils.base64url_encode(json.dumps({"alg": "HS256", "kid": kid}).encode())
    body = jwt.utils.base64url_encode(json.dumps({"sub": "u1", "exp": NOW + 60}).encode())
    algorithm = jwt.get_algorithm_by_name("HS256")
    signature = algorithm.sign(head + b"." + body, public_pem())
    return b".".join([head, body, jwt.utils.base64url_encode(signature)]).decode()


@pytest.mark.parametrize(
    "token",
    [
        signed(RSA, "RS512", "rsa"),
        signed(RSA, "PS256", "rsa"),
        signed(generate_private_key(65537, 2048), "RS256", "rsa"),
        signed(Ed25519PrivateKey.generate(), "EdDSA", "ed"),
        signed("another secret" * 4, "HS256", "ed"),
        hmac_with_public_key("rsa"),
        hmac_with_public_key("ed"),
        jwt.encode({"sub": "u1", "exp": NOW + 60}, None, "none", headers={"kid": "ed"}),
        jwt.encode(
            {"sub": "u1", "exp": NOW + 60}, ED, "EdDSA", headers={"kid": "ed", "crit": ["x"]}
        ),
        signed(ED, "EdDSA", "ed", use="refresh"),
        signed(ED, "EdDSA", "ed", exp=float("nan")),
        signed(ED, "EdDSA", "ed", nbf=NOW + 91),
        signed(ED, "EdDSA", "ed", jti=7),
    ],
)
def test_what_only_looks_like_the_signers_is_invalid(
    keys: JwksKeys, clock: Clock, token: str
) -> None:
    with pytest.raises(TokenInvalid):
        tokens(keys, clock).verify(token, NOW)
    with pytest.raises(TokenInvalid):
        tokens(keys, clock).verify_refresh(token, NOW)


def test_a_key_is_never_taken_for_another_algorithm(keys: JwksKeys, clock: Clock) -> None:
    """An RS256 token that names the Ed25519 key waits for a key, and is never let in."""
    with pytest.raises(TokenUndecided):
        tokens(keys, clock).verify(signed(RSA, "RS256", "ed"), NOW)


def test_without_a_key_set_only_the_secret_counts() -> None:
    with pytest.raises(TokenInvalid):
        Tokens(SECRET).verify(signed(ED, "EdDSA", "ed"), NOW)


def test_issuer_and_audience_are_asked_for_where_configured(keys: JwksKeys, clock: Clock) -> None:
    ours = tokens(keys, clock, issuer="https://login", audience="chat")
    good = {"iss": "https://login", "aud": ["web", "chat"]}
    assert ours.verify(signed(ED, "EdDSA", "ed", **good), NOW).user == "u1"
    for wrong in ({}, good | {"iss": "x"}, good | {"aud": "chatter"}, good | {"aud": None}):
        with pytest.raises(TokenInvalid):
            ours.verify(signed(ED, "EdDSA", "ed", **wrong), NOW)
    # The server's own tokens are not the signer's.
    assert ours.verify(ours.mint("u2", ttl_s=60, now=NOW), NOW).user == "u2"


@pytest.mark.parametrize("off_s", [-75, -60, 0, 60, 75])
def test_a_hub_whose_clock_is_off_accepts_good_tokens(
    keys: JwksKeys, clock: Clock, off_s: float
) -> None:
    """Minted for half a minute, used at once, at a hub beside the signer."""
    life = {"iat": NOW, "nbf": NOW, "exp": NOW + 30}
    for key, algorithm, kid in ((ED, "EdDSA", "ed"), (SECRET, "HS256", None)):
        claims = tokens(keys, clock).verify(signed(key, algorithm, kid, **life), NOW + off_s)
        assert claims.expires_at > NOW + off_s
    late = signed(ED, "EdDSA", "ed", exp=NOW)
    with pytest.raises(TokenExpired):
        tokens(keys, clock).verify(late, NOW + 90)


def test_keys_are_rotated_by_their_id_and_asked_for_once_in_an_interval(
    keys: JwksKeys, clock: Clock
) -> None:
    ours, rotated = tokens(keys, clock), Ed25519PrivateKey.generate()
    token = signed(rotated, "EdDSA", "next")
    assert not keys.due(clock.now)
    with pytest.raises(TokenUndecided) as undecided:
        ours.verify(token, NOW)
    assert undecided.value.retry_after_s == 10  # 9 s of the interval are left, and a second more
    assert not keys.due(clock.now)
    clock.now = 109.0
    assert keys.due(clock.now)
    keys.receive(parse(document(jwk(ED, "ed"), jwk(rotated, "next"))), clock.now, clock.now + 0.1)
    assert ours.verify(token, NOW).user == "u1"
    # The key it replaced is gone, and nobody fetches for what was not in the newer set.
    old = signed(RSA, "RS256", "rsa")
    with pytest.raises(TokenUndecided):
        ours.verify(old, NOW)
    clock.now = 120.0
    keys.receive(parse(document(jwk(rotated, "next"))), clock.now, clock.now)
    clock.now = 121.0
    for _ in range(3):
        with pytest.raises(TokenInvalid):
            ours.verify(old, NOW)
    assert not keys.due(clock.now + 100)
    assert keys.due(clock.now + 300)


def test_made_up_key_ids_make_no_more_fetches_and_are_not_remembered_for_ever(
    keys: JwksKeys, clock: Clock
) -> None:
    for number in range(3000):
        with pytest.raises(KeyUndecided):
            keys.find("EdDSA", f"made-up-{number}", clock.now)
    assert len(keys._unknown) == 1024
    clock.now = 110.0
    assert keys.due(clock.now)
    keys.failed(clock.now)
    assert not keys.due(clock.now + 9.9)
    assert keys.find("EdDSA", "ed", clock.now)
    with pytest.raises(KeyUndecided):
        keys.find("EdDSA", "made-up-2999", clock.now + 1)
    keys.receive(parse(document(jwk(ED, "ed"))), 120.0, 120.0)
    with pytest.raises(KeyUnknown):
        keys.find("EdDSA", "made-up-2999", 120.0)


def test_a_set_of_an_earlier_run_serves_until_there_is_a_newer_one() -> None:
    keys = JwksKeys(300, 10)
    keys.recall(parse(document(jwk(ED, "ed"))))
    assert keys.find("EdDSA", "ed", 1.0)
    assert keys.due(1.0)
    keys.receive((), 1.0, 1.0)
    keys.recall(parse(document(jwk(ED, "ed"))))
    with pytest.raises(KeyUndecided):
        keys.find("EdDSA", "ed", 2.0)


def test_what_is_no_verification_key_is_left_out() -> None:
    private = json.loads(OKPAlgorithm.to_jwk(ED)) | {"kid": "private"}
    found = parse(
        document(
            jwk(ED, "good", alg="EdDSA", use="sig"),
            jwk(ED, "encrypts", use="enc"),
            jwk(RSA, "other", alg="RS512"),
            jwk(SHORT_RSA, "short"),
            {"kty": "oct", "k": "AAAA", "kid": "shared", "alg": "HS256"},
            {"kty": "OKP", "crv": "X25519", "x": "AAAA", "kid": "agrees"},
            {"kty": "RSA", "n": 7, "e": "AQAB", "kid": "broken"},
            private,
            {"kid": ["no", "text"]},
            "nothing",
        )
    )
    assert [key.kid for key in found] == ["good"]


@pytest.mark.parametrize(
    "bad", [b"", b"[]", b"{}", b'{"keys": {}}', b"\xff", b"[" * 100_000, b" " * DOCUMENT_BYTES * 2]
)
def test_what_is_no_key_set_is_refused(bad: bytes) -> None:
    with pytest.raises(ValueError, match=r"key set|JSON|Expecting|decode|Extra"):
        parse(bad)
