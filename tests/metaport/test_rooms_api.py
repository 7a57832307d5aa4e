"""Settings of rooms over HTTP, and what they do to those who are connected."""

from contextlib import asynccontextmanager

import pytest

from chatd.room_book import direct_room
from tests.metaport import test_compose
from tests.metaport.test_compose import bearer, exactly, guest

config = test_compose.config
hub = test_compose.hub


async def ask(hub, method, path, *, headers=None, **body):
    sent = {"json": body} if body else {}
    if headers is None:
        headers = bearer(user="admin", roles=["admin"])  # anew: a long run outlives one
    async with hub.request(method, path, headers=headers, **sent) as answer:
        return answer.status, await answer.json(content_type=None) if answer.status != 204 else None


@asynccontextmanager
async def connected(hub, token):
    async with hub.ws_connect("/ws", protocols=["metaport.v1.json"]) as socket:
        await socket.send_json({"t": "hello", "token": token, "v": 1})
        assert (await socket.receive_json())["t"] == "welcome"
        yield socket


def token_of(headers):
    return headers["Authorization"].removeprefix("Bearer ")


async def test_operators_lay_something_down_read_change_and_remove_it(hub, config):
    status, room = await ask(
        hub, "POST", "/api/v1/rooms", room="상담/1", kind="private", users=["ann"], capacity=5
    )
    assert status == 201
    assert room == {
        "room": "상담/1", "kind": "private", "persistent": True, "capacity": 5, "users": ["ann"],
        "guests": True, "subscribed": False, "present": 0,
    }  # fmt: skip
    path = exactly(config, "/api/v1/rooms/%EC%83%81%EB%8B%B4%2F1")
    assert await ask(hub, "GET", path) == (200, room)
    status, changed = await ask(hub, "PATCH", path, capacity=None, guests=False)
    assert (status, changed) == (200, room | {"capacity": None, "guests": False})
    again = await ask(hub, "POST", "/api/v1/rooms", room="상담/1")
    assert (again[0], again[1]["type"]) == (409, "/problems/room-exists")
    assert (await ask(hub, "GET", "/api/v1/rooms?limit=1"))[1] == {"rooms": [changed], "next": None}
    assert (await ask(hub, "DELETE", path))[0] == 204
    assert (await ask(hub, "DELETE", path))[0] == 404
    assert (await ask(hub, "GET", path))[1]["type"] == "/problems/no-such-room"


async def test_rooms_are_told_page_by_page(hub):
    for name in ("c", "a", "b"):
        await ask(hub, "POST", "/api/v1/rooms", room=name)
    _, page = await ask(hub, "GET", "/api/v1/rooms?limit=2")
    assert [room["room"] for room in page["rooms"]] == ["a", "b"]
    _, page = await ask(hub, "GET", f"/api/v1/rooms?limit=2&after={page['next']}")
    assert ([room["room"] for room in page["rooms"]], page["next"]) == (["c"], None)
    for limit in ("0", "201", "x"):
        assert (await ask(hub, "GET", f"/api/v1/rooms?limit={limit}"))[0] == 400


@pytest.mark.parametrize(
    "body",
    [
        {"room": "no spaces"},
        {"room": "r", "capacity": 0},
        {"room": "r", "kind": "secret"},
        {"room": "r", "users": ["ann"]},
        {"room": "r", "colour": "blue"},
        {"kind": "direct", "users": ["ann"]},
        {"kind": "direct", "users": ["ann", "ben"], "room": "r"},
        {"room": "direct/x"},
        {"kind": "public"},
    ],
)
async def test_what_makes_no_sense_is_refused(hub, body):
    status, problem = await ask(hub, "POST", "/api/v1/rooms", **body)
    assert (status, problem["type"]) == (400, "/problems/bad-request")


async def test_who_is_no_operator_lays_nothing_down(hub):
    visitor = bearer(user="ann")
    await ask(hub, "POST", "/api/v1/rooms", room="office", kind="private", users=["ann"])
    for method, path, body in (
        ("POST", "/api/v1/rooms", {"room": "mine"}),
        ("GET", "/api/v1/rooms", {}),
        ("PATCH", "/api/v1/rooms/office", {"capacity": 1}),
        ("DELETE", "/api/v1/rooms/office", {}),
    ):
        assert (await ask(hub, method, path, headers=visitor, **body))[0] == 403
        assert (await ask(hub, method, path, headers={}, **body))[0] == 401
    assert (await ask(hub, "GET", "/api/v1/rooms/office", headers=visitor))[0] == 200
    stranger = await ask(hub, "GET", "/api/v1/rooms/office", headers=bearer(user="eve"))
    assert (stranger[0], stranger[1]["type"]) == (403, "/problems/not-invited")
    whip = bearer(user="eve") | {"Content-Type": "application/sdp"}
    async with hub.post("/whip/office", data="v=0\r\n", headers=whip) as answer:
        assert answer.status == 403
    async with hub.get("/api/v1/rooms/office/messages", headers=bearer(user="eve")) as answer:
        assert answer.status == 403


async def test_people_with_an_account_open_direct_rooms_of_theirs_and_are_in_at_once(hub):
    ann, ben = bearer(user="ann"), bearer(user="ben")
    async with connected(hub, token_of(ben)) as socket:
        body = {"kind": "direct", "users": ["ben", "ann"]}
        status, room = await ask(hub, "POST", "/api/v1/rooms", headers=ann, **body)
        assert (status, room["room"]) == (201, direct_room("ann", "ben"))
        joined = await socket.receive_json(timeout=10)
        assert (joined["t"], joined["room"], "id" in joined) == ("joined", room["room"], False)
        again = await ask(hub, "POST", "/api/v1/rooms", headers=ben, **body)
        assert again == (200, room | {"present": 1})
    others = {"kind": "direct", "users": ["ben", "eve"]}
    assert (await ask(hub, "POST", "/api/v1/rooms", headers=ann, **others))[0] == 403
    small = {"kind": "direct", "users": ["ann", "eve"], "capacity": 1}
    assert (await ask(hub, "POST", "/api/v1/rooms", headers=ann, **small))[0] == 403
    _, session = await guest(hub)
    guests = {"kind": "direct", "users": ["ann", session["user"]["id"]]}
    headers = {"Authorization": f"Bearer {session['token']}"}
    assert (await ask(hub, "POST", "/api/v1/rooms", headers=headers, **guests))[0] == 403


async def test_what_is_changed_holds_at_once_for_those_who_are_in(hub):
    _, session = await guest(hub)
    async with connected(hub, session["token"]) as socket:
        await socket.send_json({"t": "join", "id": 1, "room": "hall"})
        assert (await socket.receive_json(timeout=10))["t"] == "joined"
        await ask(hub, "POST", "/api/v1/rooms", room="hall", guests=False)
        left = await socket.receive_json(timeout=10)
        assert left == {"t": "left", "room": "hall", "reason": "no_guests"}
        await socket.send_json({"t": "join", "id": 2, "room": "hall"})
        assert (await socket.receive_json(timeout=10))["reason"] == "no_guests"


async def test_what_is_said_in_an_ephemeral_room_is_not_in_the_database(hub):
    await ask(hub, "POST", "/api/v1/rooms", room="fair", persistent=False)
    headers = bearer(user="ann")
    async with connected(hub, token_of(headers)) as socket:
        for number, room in enumerate(("fair", "hall")):
            await socket.send_json({"t": "join", "id": number, "room": room})
            assert (await socket.receive_json(timeout=10))["t"] == "joined"
            await socket.send_json({"t": "send", "id": 9, "room": room, "body": "x"})
            assert (await socket.receive_json(timeout=10))["t"] == "sent"
            assert (await socket.receive_json(timeout=10))["t"] == "message"
    for room, kept in (("hall", 1), ("fair", 0)):
        async with hub.get(f"/api/v1/rooms/{room}/messages", headers=headers) as answer:
            assert len((await answer.json())["messages"]) == kept
