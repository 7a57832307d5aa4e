"""Moderation over HTTP, and what it does to those who are connected."""

import asyncio
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.metaport import test_compose
from tests.metaport.test_compose import bearer, exactly
from tests.metaport.test_rooms_api import ask, connected, token_of

config = test_compose.config
hub = test_compose.hub

PERSON = "/api/v1/rooms/hall/participants/eve"


@asynccontextmanager
async def joined(hub, user, room="hall"):
    async with connected(hub, token_of(bearer(user=user, name=user.title()))) as socket:
        await socket.send_json({"t": "join", "id": 1, "room": room})
        assert (await heard(socket))["t"] == "joined"
        yield socket


async def heard(socket):
    return await socket.receive_json(timeout=10)


async def say(socket, body, room="hall"):
    await socket.send_json({"t": "send", "id": 9, "room": room, "body": body})
    return await heard(socket)


def moderator(**claims):
    return bearer(user="mod", roles=["moderator"], **claims)


async def test_who_is_muted_is_told_and_refused_until_it_is_lifted(hub):
    async with joined(hub, "eve") as eve:
        status, done = await ask(
            hub, "POST", f"{PERSON}/mute", headers=moderator(), what=["text"], note="도배"
        )
        assert status == 200
        assert done == {
            "id": 1, "act": "mute", "room": "hall", "connections": 1, "participants": 0,
            "unanswered": 0, "sfus_away": done["sfus_away"], "user": "eve",
        }  # fmt: skip
        told = await heard(eve)
        assert told == {"t": "muted", "room": "hall", "what": ["text"], "by": "mod", "note": "도배"}
        assert (await say(eve, "!"))["reason"] == "muted"
        assert (await ask(hub, "POST", f"{PERSON}/unmute", headers=moderator()))[0] == 200
        assert (await heard(eve))["what"] == []
        assert (await say(eve, "!"))["t"] == "sent"


async def test_who_is_kicked_is_out_and_cannot_come_back_at_once_nor_by_whep(hub):
    async with joined(hub, "eve") as eve:
        _, done = await ask(hub, "POST", f"{PERSON}/kick", headers=moderator(), for_s=600)
        left = await heard(eve)
        assert (left["reason"], left["by"]) == ("kicked", "mod")
        assert 590_000 < left["retry_after_ms"] <= 600_000
        assert done["connections"] == 1
        await eve.send_json({"t": "join", "id": 2, "room": "hall"})
        assert (await heard(eve))["reason"] == "banned"
        headers = bearer(user="eve") | {"Content-Type": "application/sdp"}
        async with hub.post("/whep/hall", data="v=0\r\n", headers=headers) as answer:
            assert answer.status == 403
            assert (await answer.json(content_type=None))["type"] == "/problems/banned"
        assert (await ask(hub, "POST", f"{PERSON}/unban", headers=moderator()))[0] == 200
        await eve.send_json({"t": "join", "id": 3, "room": "hall"})
        assert (await heard(eve))["t"] == "joined"


async def test_who_is_banned_everywhere_is_closed(hub, config):
    everywhere = exactly(config, "/api/v1/rooms/**/participants/eve/ban")
    async with joined(hub, "eve") as eve:
        assert (await ask(hub, "POST", everywhere, headers=moderator()))[0] == 200
        assert (await heard(eve))["reason"] == "barred"
        await eve.receive(timeout=10)
        assert eve.close_code == 4206


async def test_who_is_moved_is_in_the_other_room_or_it_is_said_why_not(hub):
    await ask(hub, "POST", "/api/v1/rooms", room="office", kind="private", users=["ann"])
    assert (await ask(hub, "POST", f"{PERSON}/move", to="yard"))[1]["type"] == "/problems/not-there"
    async with joined(hub, "eve") as eve:
        status, problem = await ask(hub, "POST", f"{PERSON}/move", to="office")
        assert (status, problem["type"]) == (409, "/problems/not-moved")
        assert problem["detail"] == "not_invited"
        _, done = await ask(hub, "POST", f"{PERSON}/move", to="yard")
        assert done["connections"] == 1
        assert await heard(eve) == {
            "t": "left", "room": "hall", "reason": "moved", "to": "yard", "by": "admin",
        }  # fmt: skip
        assert (await heard(eve))["room"] == "yard"


async def test_a_removed_message_is_gone_for_everybody_who_reads(hub):
    async with joined(hub, "eve") as eve:
        first, _ = await say(eve, "욕"), await heard(eve)
        await say(eve, "안녕")
        await heard(eve)
        path = f"/api/v1/rooms/hall/messages/{first['message_id']}"
        _, done = await ask(hub, "DELETE", path, headers=moderator(), note="욕설")
        assert (done["act"], done["user"]) == ("remove", "eve")
        told = await heard(eve)
        assert (told["t"], told["id"], told["note"]) == ("removed", first["message_id"], "욕설")
        _, page = await ask(hub, "GET", "/api/v1/rooms/hall/messages")
        assert [(each["body"], each.get("removed")) for each in page["messages"]] == [
            (None, True),
            ("안녕", None),
        ]
    for wrong in (f"{first['message_id']}9", "x", "e-1", "e-9999999999999999"):
        status, problem = await ask(hub, "DELETE", f"/api/v1/rooms/hall/messages/{wrong}")
        assert (status, problem["type"]) == (404, "/problems/no-such-message"), wrong


async def test_the_server_says_something_once_by_key(hub):
    async with joined(hub, "eve") as eve:
        path = "/api/v1/rooms/hall/messages"
        status, said = await ask(hub, "POST", path, body="점검 안내", key="k1", name="운영자")
        assert status == 201
        message = await heard(eve)
        assert (message["from"], message["name"]) == ("server", "운영자")
        assert message["body"] == "점검 안내"
        assert message["id"] == said["message_id"]
        headers = bearer(user="admin", roles=["admin"]) | {"Idempotency-Key": "k1"}
        assert await ask(hub, "POST", path, headers=headers, body="점검 안내", name="운영자") == (
            201,
            said,
        )
        assert (await ask(hub, "POST", path, body=7))[0] == 400
        assert (await ask(hub, "POST", path, headers=moderator(), body="x"))[0] == 403


async def test_who_is_there_is_told_page_by_page_with_what_is_muted(hub):
    async with joined(hub, "eve"), joined(hub, "eve"), joined(hub, "ann"):
        await ask(hub, "POST", f"{PERSON}/mute", what=["audio"])
        _, page = await ask(hub, "GET", "/api/v1/rooms/hall/participants?limit=1")
        ann = {"user": "ann", "name": "Ann", "connections": 1, "muted": [], "media": []}
        assert page == {"participants": [ann], "next": page["next"], "unanswered": 0}
        path = f"/api/v1/rooms/hall/participants?after={page['next']}"
        _, rest = await ask(hub, "GET", path)
        eve = {"user": "eve", "name": "Eve", "connections": 2, "muted": ["audio"], "media": []}
        assert rest == {"participants": [eve], "next": None, "unanswered": 0}
        _, figures = await ask(hub, "GET", "/api/v1/rooms/hall/figures")
        assert (figures["connections"], figures["hubs"][0]["users"]) == (3, 2)
        _, figures = await ask(hub, "GET", "/api/v1/figures")
        assert figures["connections"] == 3
        assert figures["hubs"][0]["rooms"] == 1


async def test_whose_media_cannot_be_ended_is_said(hub):
    status, problem = await ask(hub, "DELETE", f"{PERSON}/media")
    assert (status, problem["type"]) == (404, "/problems/not-there")


async def test_a_host_moderates_what_their_token_names_and_nothing_else(hub, config):
    host = bearer(user="host", roles=["host"], rooms=["class/*"])
    mine = exactly(config, "/api/v1/rooms/class%2F1/participants/eve/kick")
    assert (await ask(hub, "POST", mine, headers=host))[0] == 200
    for path in ("hall", "class%2F*", "**"):
        url = exactly(config, f"/api/v1/rooms/{path}/participants/eve/kick")
        assert (await ask(hub, "POST", url, headers=host))[0] == 403, path
    everything = bearer(user="host", roles=["host"])
    assert (await ask(hub, "POST", mine, headers=everything))[0] == 403
    elsewhere = exactly(config, "/api/v1/rooms/class%2F1/participants/eve/move")
    assert (await ask(hub, "POST", elsewhere, headers=host, to="hall"))[0] == 403
    assert (await ask(hub, "GET", "/api/v1/rooms/hall/participants", headers=host))[0] == 403


async def test_what_was_done_is_on_record(hub):
    await ask(hub, "POST", f"{PERSON}/ban", headers=moderator(), note="광고")
    await ask(hub, "POST", f"{PERSON}/unban", headers=moderator())
    _, page = await ask(hub, "GET", "/api/v1/moderation/acts?limit=1&user=eve")
    assert [(each["act"], each["by"]) for each in page["acts"]] == [("unban", "mod")]
    _, rest = await ask(hub, "GET", f"/api/v1/moderation/acts?after={page['next']}")
    assert [(each["act"], each["note"]) for each in rest["acts"]] == [("ban", "광고")]


@pytest.mark.parametrize(
    ("act", "body"),
    [
        ("mute", {"what": []}), ("mute", {"what": ["hands"]}), ("kick", {"for_s": -1}),
        ("ban", {"for_s": 10**12}), ("ban", {"note": "x" * 501}), ("ban", {"forever": True}),
        ("move", {}), ("move", {"to": "no room"}),
    ],
)  # fmt: skip
async def test_what_makes_no_sense_is_refused_and_nothing_is_done(hub, act, body):
    status, problem = await ask(hub, "POST", f"{PERSON}/{act}", **body)
    assert (status, problem["type"]) == (400, "/problems/bad-request")
    assert (await ask(hub, "GET", "/api/v1/moderation/acts"))[1]["acts"] == []


async def test_nobody_shuts_themselves_out(hub):
    status, _ = await ask(
        hub, "POST", "/api/v1/rooms/hall/participants/mod/ban", headers=moderator()
    )
    assert status == 400


async def test_an_act_reaches_the_platforms_backend(hub):
    got = asyncio.Queue()

    async def take(request):
        got.put_nowait(await request.json())
        return web.Response(status=204)

    app = web.Application()
    app.router.add_post("/hook", take)
    async with TestServer(app) as server:
        url = str(server.make_url("/hook"))
        await ask(hub, "POST", "/api/v1/webhooks", url=url, events=["moderation.*"])
        await ask(hub, "POST", f"{PERSON}/ban", headers=moderator(), note="광고")
        async with asyncio.timeout(30):
            event = await got.get()
    assert (event["id"], event["type"]) == ("moderation/1", "moderation.ban")
    assert event["data"]["user"] == "eve"


async def test_a_body_may_be_left_out_exactly_where_the_document_says_so(hub):
    document = await (await hub.get("/api/v1/openapi.json")).json()
    person = "/api/v1/rooms/{room}/participants/{user}"
    required = {
        path.rpartition("/")[2]: each["post"]["requestBody"]["required"]
        for path, each in document["paths"].items()
        if path.startswith(f"{person}/") and "post" in each
    }
    assert required == {
        "mute": False, "unmute": False, "kick": False, "ban": False, "unban": False, "move": True,
    }  # fmt: skip
    for act, needed in required.items():
        path = f"/api/v1/rooms/hall/participants/eve/{act}"
        assert (await hub.post(path, headers=moderator())).status == (400 if needed else 200), act


async def test_deliveries_of_acts_are_told_page_by_page(hub):
    admin = bearer(user="admin", roles=["admin"])
    body = {"url": "http://127.0.0.1:1/hook", "events": ["moderation.*"]}
    made = await (await hub.post("/api/v1/webhooks", json=body, headers=admin)).json()
    for user in ("a", "b", "c"):
        path = f"/api/v1/rooms/hall/participants/{user}/ban"
        assert (await hub.post(path, headers=moderator())).status == 200
    path = f"/api/v1/webhooks/{made['id']}/deliveries"
    first = await (await hub.get(f"{path}?limit=2", headers=admin)).json()
    query = f"limit=2&after={first['next']}"
    second = await (await hub.get(f"{path}?{query}", headers=admin)).json()
    assert second["next"] is None
    told = {each["event"] for page in (first, second) for each in page["deliveries"]}
    assert told == {"moderation/1", "moderation/2", "moderation/3"}
    assert len(first["deliveries"]) == 2
    other = await hub.get(f"{path}?after=none", headers=admin)
    assert (await other.json())["type"] == "/problems/bad-cursor"
