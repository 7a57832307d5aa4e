"""Sign-in with OpenID Connect: by a certified provider, and against tokens and answers that lie."""

import asyncio
import json
import re
import time
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import aiohttp
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from yarl import URL

from metaport.api.cookies import NAME
from metaport.config import Oidc
from metaport.jwks import JwksKeys, parse
from metaport.openid import (
    OpenIdClient,
    OpenIdError,
    Subject,
    authorization_url,
    local_path,
    new_attempt,
    read_discovery,
    read_id_token,
)
from metaport.tokens import Tokens
from tests.metaport import test_compose
from tests.metaport.test_compose import SECRET, bearer, free_port, serving

config = test_compose.config
INSTALLED = Path("build/openid").resolve()
ISSUER = "https://id.example.kr"
NOW = 1_800_000_000.0


def key_pair():
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    jwk = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(private.public_key()))
    return private, jwk | {"kid": "k1", "use": "sig", "alg": "RS256"}


PRIVATE, JWK = key_pair()
OTHER, _ = key_pair()


def id_token(key=PRIVATE, algorithm="RS256", headers=None, without=(), **claims):
    body = {"iss": ISSUER, "sub": "s1", "aud": "metaport", "exp": NOW + 60, "iat": NOW,
            "nonce": "n1"} | claims  # fmt: skip
    for claim in without:
        del body[claim]
    return jwt.encode(body, key, algorithm, headers={"kid": "k1"} | (headers or {}))


def read(token, now=NOW):
    keys = JwksKeys(60, 1)
    keys.receive(parse(json.dumps({"keys": [JWK]}).encode()), 1e12, 1e12)
    return read_id_token(token, keys, issuer=ISSUER, client_id="metaport", nonce="n1", now=now)


def test_an_id_token_tells_whom_it_speaks_for():
    assert read(id_token()) == Subject(ISSUER, "s1", None, None)
    told = {"name": "길동", "email": "g@example.kr"}
    assert read(id_token(**told)).email is None
    assert read(id_token(**told, email_verified="true")).email is None
    assert read(id_token(**told, email_verified=True)) == Subject(
        ISSUER, "s1", "길동", "g@example.kr"
    )
    assert read(id_token(aud=["metaport", "x"], azp="metaport")).subject == "s1"


@pytest.mark.parametrize(
    "token",
    [
        id_token(iss="https://evil.example"),
        id_token(aud="another"),
        id_token(aud=["metaport", "another"]),
        id_token(aud=["metaport", "another"], azp="another"),
        id_token(azp="another"),
        id_token(aud=[]),
        id_token(nonce="n2"),
        id_token(nonce=None),
        id_token(without=["nonce"]),
        id_token(without=["exp"]),
        id_token(without=["sub"]),
        id_token(without=["iat"]),
        id_token(exp=NOW - 91),
        id_token(iat=NOW + 91),
        id_token(exp="soon"),
        id_token(sub=""),
        id_token(sub="x" * 256),
        id_token(OTHER),
        id_token(headers={"kid": "k2"}),
        id_token(headers={"crit": ["exp"]}),
        id_token("x" * 64, "HS256"),
        id_token(None, "none"),
        id_token(PRIVATE, "RS512"),
        id_token()[:-8] + "AAAAAAAA",
        "",
        "a.b.c",
        "\u2603",
    ],
)
def test_a_token_that_is_not_for_us_and_now_is_nobodys(token):
    with pytest.raises(OpenIdError):
        read(token)


@pytest.mark.parametrize(
    ("path", "leads_to"),
    [("/console", "/console"), ("/a?b=c", "/a?b=c"), ("//evil.example", "/"),
     ("https://evil.example", "/"), ("/\\evil.example", "/"), ("/a\r\nb", "/"), ("", "/")],
)  # fmt: skip
def test_one_comes_back_to_this_server_only(path, leads_to):
    assert local_path(path) == leads_to
    assert new_attempt(b"x" * 96, path).return_to == leads_to


@pytest.mark.parametrize("document", [b"{", b"[]", b"{}", b"\xff", b'{"issuer": 1}'])
def test_a_discovery_document_that_is_none_is_refused(document):
    with pytest.raises(OpenIdError):
        read_discovery(document, ISSUER)
    endpoints = dict.fromkeys(
        ("authorization_endpoint", "token_endpoint", "jwks_uri"), "https://evil.example"
    )
    with pytest.raises(OpenIdError):
        read_discovery(json.dumps(endpoints | {"issuer": "https://evil.example"}).encode(), ISSUER)


@asynccontextmanager
async def providing(redirect_uri):
    """Run the provider; yields its address."""
    if not INSTALLED.exists():
        pytest.fail("oidc-provider is missing: `make servers` installs it", pytrace=False)
    port = free_port()
    script = Path(__file__).with_name("openid_provider.mjs")
    process = await asyncio.create_subprocess_exec(
        "node", str(script), str(INSTALLED), str(port), redirect_uri,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        async with asyncio.timeout(60):
            while (line := await process.stdout.readline()) != b"ready\n":
                assert line, "the provider has ended"
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        await process.wait()


@pytest.fixture
async def openid(config):
    """A hub that signs in with the provider, and a browser for both."""
    redirect = f"http://127.0.0.1:{config.http.port}/api/v1/auth/oidc/callback"
    async with providing(redirect) as issuer:
        oidc = Oidc(issuer, "metaport", "a secret of / the client", redirect)
        async with serving(replace(config, oidc=oidc)) as hub:
            yield hub, oidc


@asynccontextmanager
async def browser():
    jar = aiohttp.CookieJar(unsafe=True)
    async with aiohttp.ClientSession(cookie_jar=jar) as session:
        yield session


async def follow(session, where, person):
    """Go where the browser is sent, sign in and consent; return the way back, not yet gone."""
    form = None
    for _ in range(12):
        if "/api/v1/auth/oidc/callback" in str(where):
            return where
        method = "GET" if form is None else "POST"
        async with session.request(method, where, data=form, allow_redirects=False) as answer:
            form = None
            if answer.status in (302, 303):
                where = answer.url.join(URL(answer.headers["Location"], encoded=True))
                continue
            page = await answer.text()
            prompt = re.search(r'name="prompt" value="(\w+)"', page)
            assert prompt, (answer.status, page)
            where = answer.url.join(URL(re.search(r'action="([^"]+)"', page)[1]))
            form = {"prompt": prompt[1], "login": person, "password": "any"}
    raise AssertionError("no way back")


async def set_out(session, hub, person, return_to="/console"):
    start = hub._base_url.joinpath("api/v1/auth/oidc").with_query(return_to=return_to)
    return await follow(session, start, person)


async def come_back(session, where):
    async with session.get(where, allow_redirects=False) as answer:
        body = {} if answer.status == 302 else await answer.json(content_type=None)
        return answer.status, body.get("type", answer.headers.get("Location"))


def twisted(where, **changes):
    """Return the way back with parts of its query changed, or left out where None."""
    query = dict(parse_qsl(urlsplit(str(where)).query)) | changes
    kept = urlencode({key: value for key, value in query.items() if value is not None})
    return URL(f"{str(where).partition('?')[0]}?{kept}", encoded=True)


async def test_somebody_signs_in_once_approved_and_every_twist_is_refused(openid):
    hub, oidc = openid
    failed = (502, "/problems/openid-failed")
    async with browser() as session, browser() as stranger:
        back = await set_out(session, hub, "gildong")
        assert parse_qs(urlsplit(str(back)).query)["iss"] == [oidc.issuer]
        for twist in (
            {"state": "x"},
            {"state": None},
            {"iss": "https://evil.example"},
            {"error": "access_denied"},
            {"code": None},
            {"code": "made-up"},
        ):
            assert await come_back(session, twisted(back, **twist)) == failed, twist
        # Another browser did not begin this: its owner must not end up in this account.
        assert await come_back(stranger, back) == failed
        assert await come_back(session, back) == (403, "/problems/account-pending")
        # The same code again.
        assert await come_back(session, back) == failed
        admin = bearer(user="admin", roles=["admin"])
        async with hub.get("/api/v1/users?state=pending", headers=admin) as answer:
            (user,) = (await answer.json())["users"]
        assert (user["name"], user["email"]) == ("gildong 님", "gildong@example.kr")
        async with hub.post(f"/api/v1/users/{user['id']}/approve", headers=admin) as answer:
            assert answer.status == 200
        back = await set_out(session, hub, "gildong")
        assert await come_back(session, back) == (302, "/console")
        async with session.get(hub._base_url.joinpath("api/v1/me")) as answer:
            assert (await answer.json())["id"] == user["id"]
        names = {cookie.key for cookie in session.cookie_jar}
        assert NAME in names
        assert "metaport-openid" not in names


async def test_the_provider_holds_the_code_against_its_verifier(openid):
    _, oidc = openid
    client = OpenIdClient(oidc)
    async with browser() as session:
        for number, (changes, fine) in enumerate(
            [
                ({}, True),
                ({"verifier": "another" * 8}, False),
                ({"verifier": ""}, False),
                ({"nonce": "another"}, False),
            ]
        ):
            attempt = new_attempt(bytes([number]) * 96, "/")
            where = authorization_url(await client.provider(), oidc, attempt)
            back = await follow(session, where, "unverified")
            code = parse_qs(urlsplit(str(back)).query)["code"][0]
            exchanged = client.exchange(code, attempt._replace(**changes), time.time())
            if fine:
                subject = await exchanged
                assert (subject.subject, subject.email) == ("unverified", None)
            else:
                with pytest.raises(OpenIdError):
                    await exchanged


async def test_a_provider_that_is_away_or_none_says_so(config):
    async with serving(config) as hub, hub.get("/api/v1/auth/oidc") as answer:
        assert answer.status == 404
    redirect = "http://127.0.0.1/x"
    away = Oidc(f"http://127.0.0.1:{free_port()}", "metaport", None, redirect, trusted=True)
    async with serving(replace(config, oidc=away)) as hub:
        async with hub.get("/api/v1/auth/oidc") as answer:
            assert answer.status == 502
        sealed = Tokens(SECRET).seal("device", {"state": "s"}, ttl_s=60, now=time.time())
        headers = {"Cookie": f"metaport-openid={sealed}"}
        path = "/api/v1/auth/oidc/callback?code=x&state=s"
        async with hub.get(path, headers=headers) as answer:
            assert answer.status == 502
