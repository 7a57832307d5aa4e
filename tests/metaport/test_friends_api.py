"""Friends and blocks over HTTP, and what a block does to those who talk."""

from chatd.room_book import direct_room
from tests.metaport import test_compose
from tests.metaport.test_compose import bearer, guest
from tests.metaport.test_rooms_api import ask, connected, token_of

config = test_compose.config
hub = test_compose.hub

ME = "/api/v1/me"
OPEN = {"kind": "direct", "users": ["ann", "ben"]}


async def people(hub, path, headers):
    status, page = await ask(hub, "GET", f"{ME}/{path}", headers=headers)
    assert status == 200
    return [each["user"] for each in page["people"]]


async def test_people_ask_accept_and_part(hub):
    ann, ben = bearer(user="ann"), bearer(user="ben")
    asked = await ask(hub, "PUT", f"{ME}/friend-requests/ben", headers=ann)
    assert asked == (200, {"user": "ben", "state": "waiting"})
    assert await people(hub, "friend-requests?way=out", ann) == ["ben"]
    assert await people(hub, "friend-requests", ben) == ["ann"]
    accepted = await ask(hub, "PUT", f"{ME}/friends/ann", headers=ben)
    assert accepted == (200, {"user": "ann", "state": "friend"})
    assert await people(hub, "friends", ann) == ["ben"]
    assert (await ask(hub, "DELETE", f"{ME}/friends/ben", headers=ann))[0] == 204
    _, problem = await ask(hub, "DELETE", f"{ME}/friends/ben", headers=ann)
    assert problem["type"] == "/problems/no-such-friend"
    await ask(hub, "PUT", f"{ME}/friend-requests/ben", headers=ann)
    assert (await ask(hub, "DELETE", f"{ME}/friend-requests/ann", headers=ben))[0] == 204
    _, problem = await ask(hub, "PUT", f"{ME}/friends/ann", headers=ben)
    assert problem["type"] == "/problems/no-such-request"


async def test_a_cursor_goes_on_in_its_list_only(hub):
    ann = bearer(user="ann")
    for name in ("ben", "cho"):
        await ask(hub, "PUT", f"{ME}/blocks/{name}", headers=ann)
    _, page = await ask(hub, "GET", f"{ME}/blocks?limit=1", headers=ann)
    assert await people(hub, f"blocks?after={page['next']}", ann) == ["cho"]
    _, problem = await ask(hub, "GET", f"{ME}/friends?after={page['next']}", headers=ann)
    assert problem["type"] == "/problems/bad-cursor"


async def test_who_asks_somebody_who_blocks_them_is_answered_as_by_anybody(hub):
    ann, ben = bearer(user="ann"), bearer(user="ben")
    assert (await ask(hub, "PUT", f"{ME}/blocks/ann", headers=ben))[0] == 204
    told = await ask(hub, "PUT", f"{ME}/friend-requests/ben", headers=ann)
    other = await ask(hub, "PUT", f"{ME}/friend-requests/nobody", headers=ann)
    assert (told[0], told[1]["state"]) == (other[0], other[1]["state"]) == (200, "waiting")
    assert await people(hub, "friend-requests?way=out", ann) == ["ben", "nobody"]
    assert await people(hub, "friend-requests", ben) == []
    _, problem = await ask(hub, "PUT", f"{ME}/friend-requests/ann", headers=ben)
    assert problem["type"] == "/problems/blocked"


async def test_a_block_ends_the_direct_room_for_both_until_it_is_taken_back(hub):
    ann, ben = bearer(user="ann"), bearer(user="ben")
    room = direct_room("ann", "ben")
    async with connected(hub, token_of(ben)) as socket:
        await ask(hub, "POST", "/api/v1/rooms", headers=ann, **OPEN)
        assert (await socket.receive_json(timeout=10))["t"] == "joined"
        assert (await ask(hub, "PUT", f"{ME}/blocks/ben", headers=ann))[0] == 204
        left = await socket.receive_json(timeout=10)
        assert left == {"t": "left", "room": room, "reason": "not_invited"}
        await socket.send_json({"t": "join", "id": 1, "room": room})
        assert (await socket.receive_json(timeout=10))["reason"] == "not_invited"
        said = {"t": "send", "id": 2, "room": room, "body": "hi", "client_msg_id": "m"}
        await socket.send_json(said)
        refused = await socket.receive_json(timeout=10)
        assert (refused["id"], refused["reason"]) == (2, "not_joined")
        for headers in (ann, ben):
            status, problem = await ask(hub, "POST", "/api/v1/rooms", headers=headers, **OPEN)
            assert (status, problem["type"]) == (403, "/problems/blocked")
        assert (await ask(hub, "DELETE", f"{ME}/blocks/ben", headers=ann))[0] == 204
        assert (await ask(hub, "POST", "/api/v1/rooms", headers=ben, **OPEN))[0] == 201
        assert (await socket.receive_json(timeout=10))["t"] == "joined"
    _, problem = await ask(hub, "DELETE", f"{ME}/blocks/ben", headers=ann)
    assert problem["type"] == "/problems/no-such-block"


async def test_guests_oneself_and_people_of_other_apps_are_refused(hub):
    ann = bearer(user="ann")
    for user in ("ann", "gumi:u_1", "x" * 129, "%07"):
        for part in ("friend-requests", "blocks"):
            assert (await ask(hub, "PUT", f"{ME}/{part}/{user}", headers=ann))[0] == 400
    _, session = await guest(hub)
    headers = {"Authorization": f"Bearer {session['token']}"}
    _, problem = await ask(hub, "PUT", f"{ME}/friend-requests/ann", headers=headers)
    assert problem["type"] == "/problems/needs-account"
