"""Invitations over HTTP: who makes them, who comes, and what is not good."""

import asyncio

import pytest

from tests.metaport import test_compose
from tests.metaport.test_compose import bearer, guest
from tests.metaport.test_rooms_api import ask, connected, token_of

config = test_compose.config
hub = test_compose.hub

MADE = "/api/v1/rooms/club/invitations"
REDEEM = "/api/v1/invitations/redeem"


def host(name="host", room="club"):
    return bearer(user=name, roles=["host"], rooms=[room])


@pytest.fixture
async def club(hub):
    await ask(hub, "POST", "/api/v1/rooms", room="club", kind="private", users=["host"])


async def test_who_has_the_code_comes_in_and_is_counted(hub, club):
    status, made = await ask(hub, "POST", MADE, headers=host(), uses=2, expires_s=60)
    assert (status, made["max_uses"], made["expires_at"] - made["made_at"]) == (201, 2, 60_000)
    ann = bearer(user="ann")
    async with connected(hub, token_of(ann)) as socket:
        await socket.send_json({"t": "join", "id": 1, "room": "club"})
        assert (await socket.receive_json(timeout=10))["reason"] == "not_invited"
        for _ in range(2):
            redeemed = await ask(hub, "POST", REDEEM, headers=ann, code=made["code"])
            assert redeemed == (200, {"room": "club"})
        await socket.send_json({"t": "join", "id": 2, "room": "club"})
        assert (await socket.receive_json(timeout=10))["t"] == "joined"
    _, page = await ask(hub, "GET", MADE, headers=host())
    assert [(each["uses"], "code" in each) for each in page["invitations"]] == [(1, False)]


async def test_many_at_once_are_all_among_the_users(hub, club):
    _, made = await ask(hub, "POST", MADE, uses=5)
    came = [
        ask(hub, "POST", REDEEM, headers=bearer(user=f"u{n}"), code=made["code"]) for n in range(8)
    ]
    statuses = [status for status, _ in await asyncio.gather(*came)]
    assert sorted(statuses) == [200] * 5 + [404] * 3
    _, room = await ask(hub, "GET", "/api/v1/rooms/club")
    assert set(room["users"]) - {"host"} == {f"u{n}" for n, s in enumerate(statuses) if s == 200}


async def test_what_is_not_good_is_refused_alike(hub, club):
    ann = bearer(user="ann")
    made = [(await ask(hub, "POST", MADE, uses=1))[1] for _ in range(3)]
    used, revoked, gone = (each["code"] for each in made)
    await ask(hub, "POST", REDEEM, headers=bearer(user="ben"), code=used)
    assert (await ask(hub, "DELETE", f"{MADE}/{made[1]['id']}"))[0] == 204
    told = [await ask(hub, "POST", REDEEM, headers=ann, code=c) for c in (used, revoked, "x" * 22)]
    await ask(hub, "PATCH", "/api/v1/rooms/club", kind="public", users=[])
    told.append(await ask(hub, "POST", REDEEM, headers=ann, code=gone))
    assert [(s, p["type"]) for s, p in told] == [(404, "/problems/no-such-invitation")] * 4
    assert len({str(p | {"request_id": ""}) for _, p in told}) == 1
    assert (await ask(hub, "POST", REDEEM, headers=ann, code="short"))[0] == 400
    _, session = await guest(hub)
    headers = {"Authorization": f"Bearer {session['token']}"}
    _, problem = await ask(hub, "POST", REDEEM, headers=headers, code=gone)
    assert problem["type"] == "/problems/needs-account"


async def test_hosts_invite_to_their_rooms_and_take_back_their_own(hub, club):
    _, mine = await ask(hub, "POST", MADE, headers=host(), uses=1)
    _, theirs = await ask(hub, "POST", MADE, uses=1)
    assert (await ask(hub, "POST", MADE, headers=host(room="other"), uses=1))[0] == 403
    assert (await ask(hub, "POST", MADE, headers=bearer(user="ann"), uses=1))[0] == 403
    _, page = await ask(hub, "GET", MADE, headers=host())
    assert [each["id"] for each in page["invitations"]] == [mine["id"]]
    assert len((await ask(hub, "GET", MADE))[1]["invitations"]) == 2
    assert (await ask(hub, "DELETE", f"{MADE}/{theirs['id']}", headers=host()))[0] == 404
    assert (await ask(hub, "DELETE", f"{MADE}/{mine['id']}", headers=host()))[0] == 204


async def test_rooms_that_invite_nobody_make_none(hub):
    await ask(hub, "POST", "/api/v1/rooms", room="hall")
    status, _ = await ask(hub, "POST", "/api/v1/rooms/hall/invitations", uses=1)
    assert status == 400
    _, problem = await ask(hub, "POST", "/api/v1/rooms/none/invitations", uses=1)
    assert problem["type"] == "/problems/no-such-room"
    assert (await ask(hub, "POST", MADE, uses=0))[0] == 400
