"""Accounts, sessions, roles and apps over HTTP, and what they do to those who are connected."""

import asyncio
import itertools
import json
import time
from dataclasses import replace
from ipaddress import ip_network

import jwt
import pytest

from metaport.api import signing_in
from metaport.session_turns import GRACE_S
from metaport.tokens import Tokens
from tests.metaport import test_compose
from tests.metaport.test_compose import SECRET, bearer, serving

PASSWORD = "나무 아래 자전거 둘"


@pytest.fixture
def config(tmp_path):
    made = test_compose.config.__wrapped__(tmp_path)
    return replace(made, accounts=replace(made.accounts, register=True))


hub = test_compose.hub


async def ask(hub, method, path, *, token=None, headers=None, **body):
    sent = {"json": body} if body or method in ("POST", "PATCH") else {}
    given = dict(headers or {})
    if token is not None:
        given["Authorization"] = f"Bearer {token}"
    async with hub.request(method, f"/api/v1{path}", headers=given, **sent) as answer:
        told = await answer.read()
        return answer.status, json.loads(told) if told else None


def staff(user="admin", roles=("admin",)):
    return bearer(user=user, roles=list(roles))["Authorization"].removeprefix("Bearer ")


async def registered(hub, name="gildong", approved=True):
    """Return the id of a new account."""
    status, told = await ask(
        hub, "POST", "/auth/register", user=name, password=PASSWORD, name="길동"
    )
    assert status == 201, told
    if approved:
        status, _ = await ask(hub, "POST", f"/users/{told['id']}/approve", token=staff())
        assert status == 200
    return told["id"]


async def signed_in(hub, name="gildong", **fields):
    status, told = await ask(hub, "POST", "/auth/login", user=name, password=PASSWORD, **fields)
    assert status == 200, told
    return told


def reason(answer):
    status, told = answer
    return status, told["type"].removeprefix("/problems/")


async def closed(socket):
    """Wait until the server closes a connection; return its code."""
    while not (await asyncio.wait_for(socket.receive(), 10)).type.name.startswith("CLOS"):
        continue
    return socket.close_code


async def welcomed(hub, token):
    socket = await hub.ws_connect("/ws", protocols=["metaport.v1.json"])
    await socket.send_json({"t": "hello", "token": token, "v": 1})
    assert (await socket.receive_json())["t"] == "welcome"
    return socket


async def test_nobody_has_an_account_without_another_persons_approval(hub):
    user = await registered(hub, approved=False)
    wrong = await ask(hub, "POST", "/auth/login", user="gildong", password="wrong password")
    nobody = await ask(hub, "POST", "/auth/login", user="nobody", password="wrong password")
    strip = {"request_id"}
    assert {k: v for k, v in wrong[1].items() if k not in strip} == {
        k: v for k, v in nobody[1].items() if k not in strip
    }
    assert reason(wrong) == (401, "bad-credentials")
    waits = await ask(hub, "POST", "/auth/login", user="gildong", password=PASSWORD)
    assert reason(waits) == (403, "account-pending")
    own = await ask(hub, "POST", f"/users/{user}/approve", token=staff(user))
    assert reason(own) == (403, "duty")
    assert (await ask(hub, "POST", f"/users/{user}/approve", token=staff()))[1]["approved_by"] == (
        "admin"
    )
    told = await signed_in(hub, "GILDONG")
    assert told["user"] == {"id": user, "name": "길동"}
    # Who makes an account for somebody does not approve it either.
    status, made = await ask(
        hub, "POST", "/users", token=staff(), user="chunhyang", password=PASSWORD, name="춘향"
    )
    assert status == 201
    path = f"/users/{made['id']}/approve"
    assert reason(await ask(hub, "POST", path, token=staff())) == (403, "duty")
    supervisor = staff("u_9", ["supervisor"])
    assert (await ask(hub, "POST", path, token=supervisor))[0] == 200
    # Suspended, one is out at once.
    token = (await signed_in(hub, "chunhyang"))["token"]
    socket = await welcomed(hub, token)
    status, _ = await ask(hub, "POST", f"/users/{made['id']}/suspend", token=staff(), reason="점검")
    assert status == 200
    assert 4200 <= await closed(socket) < 4300
    assert reason(await ask(hub, "GET", "/me", token=token)) == (401, "token-revoked")
    again = await ask(hub, "POST", "/auth/login", user="chunhyang", password=PASSWORD)
    assert reason(again) == (403, "account-suspended")
    pages = [await ask(hub, "GET", "/users?limit=1", token=staff())]
    pages.append(await ask(hub, "GET", f"/users?after={pages[0][1]['next']}", token=staff()))
    assert {each["id"] for _, page in pages for each in page["users"]} == {user, made["id"]}


async def test_what_cannot_be_registered_is_told_why(hub):
    await registered(hub, approved=False)
    for body, why in (
        ({"user": "gildong", "password": PASSWORD}, (409, "login-taken")),
        ({"user": "admin", "password": PASSWORD}, (400, "bad-login")),
        ({"user": "new", "password": "short"}, (400, "bad-password")),
        ({"user": "new", "password": PASSWORD, "app": "none"}, (404, "no-such-app")),
    ):
        assert reason(await ask(hub, "POST", "/auth/register", name="x", **body)) == why


async def test_a_refresh_token_turns_and_a_reused_one_ends_the_session(hub, monkeypatch):
    await registered(hub)
    first = await signed_in(hub)
    other = await signed_in(hub)

    async def renew(token):
        return await ask(hub, "POST", "/auth/refresh", refresh_token=token)

    _, second = await renew(first["refresh_token"])
    # The answer was lost: the same turn again, and one line goes on.
    status, again = await renew(first["refresh_token"])
    assert status == 200
    _, third = await renew(again["refresh_token"])
    socket = await welcomed(hub, third["token"])
    monkeypatch.setattr("metaport.session_turns.GRACE_S", -1)
    assert reason(await renew(second["refresh_token"])) == (401, "session-reused")
    assert 4200 <= await closed(socket) < 4300
    for token in (first, second, third):
        assert reason(await renew(token["refresh_token"])) == (401, "token-revoked")
        assert reason(await ask(hub, "GET", "/me", token=token["token"])) == (401, "token-revoked")
    # Another session of the same person has nothing to do with it.
    assert (await renew(other["refresh_token"]))[0] == 200
    assert GRACE_S == 30


async def test_guests_and_tokens_of_the_version_before_turn_as_well(hub, monkeypatch):
    monkeypatch.setattr("metaport.session_turns.GRACE_S", -1)
    _, guest = await test_compose.guest(hub)
    before = Tokens(SECRET).mint_refresh("guest-7", "손님", roles=["guest"], ttl_s=60)
    for token, user in ((guest["refresh_token"], guest["user"]["id"]), (before, "guest-7")):
        status, told = await ask(hub, "POST", "/auth/refresh", refresh_token=token)
        assert (status, told["user"]["id"]) == (200, user)
        reused = await ask(hub, "POST", "/auth/refresh", refresh_token=token)
        assert reason(reused) == (401, "session-reused")
        over = await ask(hub, "POST", "/auth/refresh", refresh_token=told["refresh_token"])
        assert reason(over) == (401, "token-revoked")


async def test_a_guest_is_renewed_while_the_database_is_away_and_an_account_is_not(
    config, tmp_path
):
    away = replace(
        config, database=replace(config.database, url=f"postgresql://u@/x?host={tmp_path}")
    )
    tokens = Tokens(SECRET)
    async with serving(away) as hub:
        guest = tokens.mint_refresh("guest-7", "손님", roles=["guest"], ttl_s=60)
        status, told = await ask(hub, "POST", "/auth/refresh", refresh_token=guest)
        assert status == 200
        assert told["refresh_token"] == guest
        account = tokens.mint_refresh("u_1", "길동", session="s_1", turn=1, ttl_s=60)
        refused = await ask(hub, "POST", "/auth/refresh", refresh_token=account)
        assert reason(refused) == (503, "accounts-away")


async def test_one_sees_ends_and_leaves_sessions_and_devices(hub):
    await registered(hub)
    phone = await signed_in(hub, device_name="전화")
    laptop = await signed_in(hub, device_name="노트북")
    token = laptop["token"]
    _, told = await ask(hub, "GET", "/me/sessions", token=token)
    assert [each["current"] for each in told["sessions"]].count(True) == 1
    _, known = await ask(hub, "GET", "/me/devices", token=token)
    assert {each["name"] for each in known["devices"]} == {"전화", "노트북"}
    # The same device again is the same device.
    await signed_in(hub, device_name="노트북", device=laptop["device"])
    _, known = await ask(hub, "GET", "/me/devices", token=token)
    assert len(known["devices"]) == 2
    socket = await welcomed(hub, phone["token"])
    its = next(each["id"] for each in known["devices"] if each["name"] == "전화")
    assert (await ask(hub, "DELETE", f"/me/devices/{its}", token=token))[0] == 204
    assert 4200 <= await closed(socket) < 4300
    assert (await ask(hub, "DELETE", f"/me/devices/{its}", token=token))[0] == 404
    other = next(each["id"] for each in told["sessions"] if not each["current"])
    assert (await ask(hub, "DELETE", f"/me/sessions/{other}", token=token))[0] == 404  # ended
    # A new password ends every other session, and the old one is no password.
    status, _ = await ask(
        hub, "POST", "/me/password", token=token, current=PASSWORD, new="바다 위 종이배 셋"
    )
    assert status == 204
    _, told = await ask(hub, "GET", "/me/sessions", token=token)
    assert [each["current"] for each in told["sessions"]] == [True]
    old = await ask(hub, "POST", "/auth/login", user="gildong", password=PASSWORD)
    assert reason(old) == (401, "bad-credentials")
    socket = await welcomed(hub, token)
    assert (await ask(hub, "POST", "/me/sign-out", token=token))[1] == {"everywhere": True}
    assert 4200 <= await closed(socket) < 4300
    # Who was vouched for by another signer has no sessions here.
    vouched = staff("somebody", [])
    assert reason(await ask(hub, "GET", "/me/sessions", token=vouched)) == (403, "needs-account")
    assert (await ask(hub, "GET", "/me", token=vouched))[1]["account"] is False


async def test_a_profile_is_changed_from_what_was_read(hub):
    await registered(hub)
    token = (await signed_in(hub))["token"]
    async with hub.get("/api/v1/me", headers={"Authorization": f"Bearer {token}"}) as answer:
        tag, profile = answer.headers["ETag"], await answer.json()
    assert (profile["login"], profile["roles"]) == ("gildong", ["member", "visitor"])
    match = {"If-Match": tag}
    status, changed = await ask(
        hub, "PATCH", "/me", token=token, headers=match, name=" 홍  길동 ", locale="ko"
    )
    assert (status, changed) == (200, profile | {"name": "홍 길동", "locale": "ko"})
    late = await ask(hub, "PATCH", "/me", token=token, headers=match, about="늦음")
    assert reason(late) == (412, "precondition-failed")
    for wrong in ({"roles": ["admin"]}, {"locale": "xx"}, {"about": "x" * 501}):
        assert (await ask(hub, "PATCH", "/me", token=token, **wrong))[0] == 400


async def test_a_role_of_staff_needs_two_people_and_goes_at_once(hub):
    user = await registered(hub)
    other = staff("u_other", ["supervisor"])
    path = f"/users/{user}/roles"
    assert reason(await ask(hub, "PUT", f"{path}/emperor", token=staff())) == (404, "no-such-role")
    assert (await ask(hub, "PUT", f"{path}/host", token=staff()))[1]["holds"] is True
    assert (await ask(hub, "PUT", f"{path}/operator", token=staff()))[1]["holds"] is False
    assert reason(await ask(hub, "PUT", f"{path}/supervisor", token=staff())) == (403, "duty")
    assert reason(await ask(hub, "POST", f"{path}/operator/confirm", token=staff())) == (
        403,
        "duty",
    )
    own = staff(user, ["admin"])
    assert reason(await ask(hub, "PUT", f"{path}/auditor", token=own)) == (403, "duty")
    assert (await ask(hub, "POST", f"{path}/operator/confirm", token=other))[1]["holds"] is True
    told = await signed_in(hub)
    assert (await ask(hub, "GET", "/status", token=told["token"]))[0] == 200
    assert (await ask(hub, "DELETE", f"{path}/operator", token=staff()))[0] == 200
    assert (await ask(hub, "GET", "/status", token=told["token"]))[0] == 401
    _, record = await ask(hub, "GET", path, token=staff())
    assert {(g["role"], g["holds"], g["ended_by"]) for g in record["grants"]} == {
        ("host", True, None),
        ("operator", False, "admin"),
    }


async def test_the_key_of_an_app_signs_for_it_until_it_is_rotated_or_revoked(hub):
    root = staff()
    assert (await ask(hub, "POST", "/apps", token=root, id="gumi", name="구미"))[0] == 201
    again = await ask(hub, "POST", "/apps", token=root, id="gumi", name="구미")
    assert reason(again) == (409, "app-exists")
    status, key = await ask(hub, "POST", "/apps/gumi/keys", token=root)
    assert (status, key["app"], len(key["secret"])) == (201, "gumi", 43)
    _, told = await ask(hub, "GET", "/apps/gumi/keys", token=root)
    assert [each.get("secret") for each in told["keys"]] == [None]

    def signed(key, **claims):
        body = {"sub": "hong", "exp": time.time() + 600} | claims
        return jwt.encode(body, key["secret"], "HS256", headers={"kid": key["id"]})

    status, me = await ask(hub, "GET", "/me", token=signed(key))
    assert (me["id"], me["app"], me["account"]) == ("gumi:hong", "gumi", False)
    forged = await ask(hub, "GET", "/me", token=signed(key, roles=["admin"]))
    assert reason(forged) == (401, "bad-token")
    _, newer = await ask(hub, "POST", "/apps/gumi/keys", token=root, rotate=True, overlap_s=600)
    assert (await ask(hub, "GET", "/me", token=signed(key)))[0] == 200
    socket, other = await welcomed(hub, signed(key)), await welcomed(hub, signed(newer))
    assert (await ask(hub, "DELETE", f"/apps/gumi/keys/{key['id']}", token=root))[0] == 204
    assert 4200 <= await closed(socket) < 4300
    assert reason(await ask(hub, "GET", "/me", token=signed(key))) == (401, "token-revoked")
    assert (await ask(hub, "GET", "/me", token=signed(newer)))[0] == 200
    assert (await ask(hub, "PATCH", "/apps/gumi", token=root, state="suspended"))[0] == 200
    assert 4200 <= await closed(other) < 4300
    for path, body, why in (
        ("/apps/none/keys", {}, (404, "no-such-app")),
        ("/apps/gumi/keys", {"algorithm": "EdDSA"}, (400, "bad-request")),
        ("/apps/gumi/keys", {"algorithm": "RS256", "public_key": {"kty": "oct"}},
         (400, "bad-request")),
        ("/apps", {"id": "Gu:mi", "name": "x"}, (400, "bad-request")),
    ):  # fmt: skip
        assert reason(await ask(hub, "POST", path, token=root, **body)) == why


async def test_a_cookie_changes_nothing_for_another_site(hub):
    await registered(hub)
    own = {"Sec-Fetch-Site": "same-origin"}
    body = {"user": "gildong", "password": PASSWORD, "cookie": True}
    crossed = await ask(hub, "POST", "/auth/login", headers={"Sec-Fetch-Site": "none"}, **body)
    assert reason(crossed) == (403, "cross-site")
    async with hub.post("/api/v1/auth/login", json=body, headers=own) as answer:
        assert answer.status == 200
        cookie, *attributes = answer.headers["Set-Cookie"].split("; ")
        assert (await answer.json())["refresh_token"] == ""
    assert {"HttpOnly", "SameSite=Lax", "Path=/"} <= set(attributes)
    name, _, value = cookie.partition("=")

    async def browse(method, path, headers, **fields):
        return await ask(hub, method, path, headers={"Cookie": cookie} | headers, **fields)

    assert (await browse("GET", "/me", {}))[1]["login"] == "gildong"
    origin = str(hub._base_url).rstrip("/")
    for headers in (
        {},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "cross-site", "Origin": origin},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "https://game.example.kr"},  # may use the API, but not by cookie
    ):
        for method, path in (("PATCH", "/me"), ("POST", "/auth/token"), ("POST", "/me/sign-out")):
            refused = await browse(method, path, headers)
            assert reason(refused) == (403, "cross-site"), (headers, path)
    assert (await browse("PATCH", "/me", {"Origin": origin}, about="안녕"))[0] == 200
    _, told = await browse("POST", "/auth/token", own)
    socket = await welcomed(hub, told["token"])
    # A cookie is no bearer token, and a bearer token no cookie.
    assert reason(await ask(hub, "GET", "/me", token=value)) == (401, "bad-token")
    assert reason(await ask(hub, "GET", "/me", headers={"Cookie": f"{name}={told['token']}"})) == (
        401,
        "bad-token",
    )
    assert (await browse("POST", "/auth/logout", own))[0] == 200
    assert 4200 <= await closed(socket) < 4300
    assert reason(await browse("GET", "/me", {})) == (401, "token-revoked")


def test_over_tls_the_cookie_is_bound_to_it():
    from types import SimpleNamespace

    from aiohttp import web
    from aiohttp.test_utils import make_mocked_request

    from metaport.api import cookies
    from metaport.api.services import SERVICES
    from metaport.config import Config

    base = Config()
    app = web.Application()
    app[SERVICES] = SimpleNamespace(
        config=replace(base, http=replace(base.http, tls="auto")),
        tokens=Tokens(SECRET),
        clock=time.time,
    )
    request, response = make_mocked_request("POST", "/", app=app), web.Response()
    claims = signing_in.without_account("u", "u", frozenset())
    cookies.set_cookie(request, response, claims)
    made = response.cookies[cookies.SECURE_NAME]
    assert (made["secure"], made["httponly"], made["path"]) == (True, True, "/")
    assert not made["domain"]


async def test_the_owner_gets_in_while_others_guess(config):
    """From many addresses, behind a proxy that is believed."""
    behind = replace(
        config, http=replace(config.http, trusted_proxies=(ip_network("127.0.0.1/32"),))
    )
    addresses = (f"198.51.100.{number}" for number in itertools.count(1))

    def somewhere():
        return {"X-Forwarded-For": next(addresses)}

    async with serving(behind) as hub:
        await registered(hub)
        device = (await signed_in(hub))["device"]
        throttled = set()
        for name in ("gildong", "nobody"):
            body = {"user": name, "password": "guessed password"}
            while (guess := await ask(hub, "POST", "/auth/login", headers=somewhere(), **body))[
                0
            ] != 429:
                assert reason(guess) == (401, "bad-credentials")
            throttled.add((guess[1]["type"], guess[1]["retry_after_s"] > 0))
        assert len(throttled) == 1  # the wait does not tell who exists
        body = {"user": "gildong", "password": PASSWORD}
        blocked = await ask(hub, "POST", "/auth/login", headers=somewhere(), **body)
        assert reason(blocked) == (429, "rate-limited")
        status, _ = await ask(
            hub, "POST", "/auth/login", headers=somewhere(), device=device, **body
        )
        assert status == 200
