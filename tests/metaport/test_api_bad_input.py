"""Bad input over REST: each is refused with its documented problem; nothing is stored."""

import base64
import gzip
import hashlib
import hmac
import json
import time
from dataclasses import replace

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from sqlalchemy import func, select

from metaport.api.app import BODY_BYTES, OPERATIONS
from metaport.api.problems import TITLES
from metaport.db.engine import connect
from metaport.db.tables.room import room_settings
from metaport.db.tables.webhook import webhook_endpoint
from metaport.tokens import Tokens
from tests.metaport import test_compose
from tests.metaport.test_api_authorisation import address_of
from tests.metaport.test_compose import SECRET, bearer, exactly, serving

config = test_compose.config


@pytest.fixture
async def hub(config):
    """A hub without rate limits: what is bad is to be refused for what it is."""
    async with serving(replace(config, profile="bench")) as session:
        yield session


ADMIN = {"user": "ann", "roles": ["admin", "operator", "moderator"]}
WITH_BODY = [each for each in OPERATIONS if each.body is not None]
STORED = (room_settings, webhook_endpoint)


@pytest.fixture(autouse=True)
async def _nothing_is_stored(hub, config):
    yield
    engine = connect(config.database_url)
    async with engine.connect() as connection:
        for table in STORED:
            rows = await connection.scalar(select(func.count()).select_from(table))
            assert rows == 0, table.name
    await engine.dispose()
    async with hub.get("/readyz") as answer:
        assert answer.status == 200


async def refused(answer, *statuses):
    """Check that an answer is a documented problem; return its reason."""
    body = await answer.read()
    assert answer.status in statuses, (answer.method, answer.url, answer.status, body[:200])
    assert answer.content_type == "application/problem+json", (answer.url, answer.content_type)
    problem = json.loads(body)
    reason = problem["type"].removeprefix("/problems/")
    assert TITLES[reason][0] == problem["status"] == answer.status
    assert problem["request_id"] == answer.headers["X-Request-Id"]
    return reason


NAMES = (
    "room", "url", "name", "user", "password", "refresh_token", "event", "kind", "before",
    "capacity", "users", "enabled", "events", "body", "reason", "seconds", "rotate", "to",
)  # fmt: skip
BODIES = {
    "nothing": b"",
    "no JSON": b"{",
    "a number": b"7",
    "a text": b'"x"',
    "a list": b"[]",
    "null": b"null",
    "bad UTF-8": b'{"room": "\xff\xfe", "url": "\xc0\xaf", "name": "\xed\xa0\x80"}',
    "UTF-16": '{"room":"x"}'.encode("utf-16"),
    "a byte order mark": b'\xef\xbb\xbf{"room":"x"}',
    "deep lists": b"[" * 60_000 + b"]" * 60_000,
    "deep maps": b'{"a":' * 40_000 + b"1" + b"}" * 40_000,
    "not a number": b'{"capacity": NaN, "room": "x"}',
    "two documents": b'{"room":"x"}{"room":"y"}',
    "wrong types": json.dumps(
        {name: [{}] for name in NAMES}
    ).encode(),
}  # fmt: skip


async def test_a_body_that_does_not_fit_is_a_400_everywhere(hub, config):
    headers = bearer(**ADMIN) | {"Content-Type": "application/json"}
    for operation in WITH_BODY:
        url = exactly(config, address_of(operation.path))
        # Sign-ins are throttled whatever the profile is.
        bodies = list(BODIES.values())[:3] if "/auth/login" in operation.path else BODIES.values()
        for body in bodies:
            async with hub.request(operation.method, url, data=body, headers=headers) as answer:
                if body == b"" and "/participants/" in operation.path and answer.status == 200:
                    continue  # nothing need be said of whom the path names
                # Some look first for what they change, or whether they are open at all.
                await refused(answer, 400, 403, 404)


async def test_a_body_over_the_limit_is_a_413_however_it_comes(hub):
    whole = b'{"room": "' + b"x" * BODY_BYTES + b'"}'

    async def pieces():
        for place in range(0, len(whole), 10_000):
            yield whole[place : place + 10_000]

    bomb = gzip.compress(b'{"room": "' + b"x" * 50_000_000)
    for data, more in ((whole, {}), (pieces(), {}), (bomb, {"Content-Encoding": "gzip"})):
        headers = bearer(**ADMIN) | more | {"Content-Type": "application/json"}
        async with hub.post("/api/v1/rooms", data=data, headers=headers) as answer:
            assert await refused(answer, 413) == "too-large"


async def test_an_encoding_that_is_none_is_refused(hub):
    for encoding in ("gzip", "deflate"):
        headers = bearer(**ADMIN) | {"Content-Encoding": encoding}
        async with hub.post("/api/v1/rooms", data=b"{}", headers=headers) as answer:
            # The parser of HTTP may answer by itself, before there is a request.
            assert answer.status == 400


def part(value):
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def by_hand(header, claims, key=b"", digest=hashlib.sha256):
    signed = f"{part(header)}.{part(claims)}"
    mac = hmac.new(key, signed.encode(), digest).digest() if key else b""
    return f"{signed}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"


def tokens():
    now = int(time.time())
    claims = {"sub": "ann", "roles": ["admin"], "exp": now + 60, "iat": now, "use": "access"}
    good = Tokens(SECRET).mint("ann", "Ann", roles=["admin"], ttl_s=60)
    header, body, signature = good.split(".")
    public = rsa.generate_private_key(65537, 2048).public_key()
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    yield "expired", Tokens(SECRET).mint("ann", "Ann", roles=["admin"], ttl_s=-3600)
    yield "not yet", jwt.encode(claims | {"nbf": now + 3600}, SECRET, "HS256")
    yield "another secret", Tokens("x" * 40).mint("ann", "Ann", roles=["admin"], ttl_s=60)
    yield "no algorithm", by_hand({"alg": "none", "typ": "JWT"}, claims)
    yield "No algorithm", by_hand({"alg": "None"}, claims)
    yield "no algorithm, our signature", f"{part({'alg': 'none'})}.{body}.{signature}"
    yield "a public key as secret", by_hand({"alg": "HS256", "kid": "k"}, claims, pem)
    yield "RS256 with our secret", by_hand({"alg": "RS256"}, claims, SECRET.encode())
    yield "a longer hash", by_hand({"alg": "HS512"}, claims, SECRET.encode(), hashlib.sha512)
    yield "an empty secret", by_hand({"alg": "HS256"}, claims, b"\0")
    yield "a key by path", by_hand({"alg": "HS256", "kid": "../../dev/null"}, claims, b"\0")
    yield "a key of its own", by_hand({"alg": "RS256", "jwk": {"kty": "oct"}}, claims, b"x")
    yield "critical", by_hand({"alg": "HS256", "crit": ["x"], "x": 1}, claims, SECRET.encode())
    yield "other claims", f"{header}.{part(claims | {'sub': 'eve'})}.{signature}"
    yield "cut", good[:-4]
    yield "no end", jwt.encode({"sub": "ann", "roles": ["admin"]}, SECRET, "HS256")
    yield "nobody", jwt.encode({"exp": now + 60, "roles": ["admin"]}, SECRET, "HS256")
    yield "an end that is none", jwt.encode(claims | {"exp": "soon"}, SECRET, "HS256")
    yield (
        "for renewal only",
        Tokens(SECRET).mint_refresh("ann", "Ann", roles=["admin"], ttl_s=60, now=now),
    )
    yield "long", good + "A" * 6_000
    yield "parts", "a.b.c.d.e"
    yield "no base64", "한.글.토큰".encode().hex() + ".%%.!!"


async def test_a_token_that_is_not_good_is_a_401(hub):
    for name, token in tokens():
        headers = {"Authorization": f"Bearer {token}"}
        expected = "token-expired" if name == "expired" else "bad-token"
        for method, path, body in (
            ("POST", "/api/v1/rooms", {"room": "x"}),
            ("POST", "/api/v1/webhooks", {"url": "https://example.kr/"}),
            ("GET", "/api/v1/usage/report?month=2026-11", None),
        ):
            async with hub.request(method, path, json=body, headers=headers) as answer:
                assert await refused(answer, 401) == expected, name
                assert answer.headers["WWW-Authenticate"] == "Bearer"


PATHS = (
        "/api/v1/rooms/%00", "/api/v1/rooms/%ff%fe", "/api/v1/rooms/%c0%af", "/api/v1/rooms/%zz",
        "/api/v1/rooms/..%2f..%2fetc%2fpasswd", "/api/v1/rooms/" + "x" * 6_000,
        "/api/v1/rooms/x%0d%0aSet-Cookie:a=b", "/api/v1//rooms", "/API/v1/rooms",
        "/api/v1/rooms/", "/api/v1/%72ooms%2f", "/api/v2/rooms", "/api/v1/rooms;x=1",
        "/api/v1/webhooks/..%2f..%2fstatus", "/static/..%2f..%2f..%2fpyproject.toml",
        "/static/%2e%2e/%2e%2e/cli.py", "/static/....//cli.py", "/sdk/%5c..%5c..%5cx.js",
        "/static/base.css%00.html", "/problems/%2e%2e",
    )  # fmt: skip


async def test_a_path_that_leads_nowhere_leads_nowhere(hub, config):
    for path in PATHS:
        async with hub.get(exactly(config, path), headers=bearer(**ADMIN)) as answer:
            await refused(answer, 400, 404)
            assert "Set-Cookie" not in answer.headers


QUERIES = (
    "limit=0", "limit=-1", "limit=1e3", "limit=99999999999999999999", "limit=", "limit=1&limit=2",
     "after=../x", "after=%00", "after=%ff", "after=" + "A" * 4_000, "fields=%00", "fields=a.b.c",
)  # fmt: skip


async def test_a_query_that_does_not_fit_is_a_400(hub, config):
    for query in QUERIES:
        url = exactly(config, f"/api/v1/rooms?{query}")
        async with hub.get(url, headers=bearer(**ADMIN)) as answer:
            await refused(answer, 400)


async def test_a_method_nobody_serves_is_a_405_that_names_the_others(hub):
    for method, path in (("PUT", "/api/v1/rooms"), ("TRACE", "/api/v1/rooms")):
        async with hub.request(method, path, headers=bearer(**ADMIN)) as answer:
            assert await refused(answer, 405) == "method-not-allowed"
            assert "GET" in answer.headers["Allow"]
