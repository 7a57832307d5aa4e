"""Spaces over HTTP, and what they do to those who are in them."""

import time

import pytest

from tests.metaport import test_compose
from tests.metaport.test_compose import bearer
from tests.metaport.test_moderation_api import heard, joined
from tests.metaport.test_rooms_api import ask

config = test_compose.config
hub = test_compose.hub

EVERY_DAY = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]


async def test_a_space_is_made_read_changed_and_removed(hub):
    hours = [{"days": EVERY_DAY, "from": "00:00", "to": "00:00"}]
    status, space = await ask(
        hub, "POST", "/api/v1/spaces", space="park", title_ko="공원", hours=hours, capacity=9
    )
    assert status == 201
    assert space == {
        "space": "park", "title_ko": "공원", "title_en": "", "capacity": 9, "zone": "Asia/Seoul",
        "hours": hours, "closed": False, "open": True, "opens_at": None,
    }  # fmt: skip
    assert (await ask(hub, "POST", "/api/v1/spaces", space="park"))[1]["type"] == (
        "/problems/space-exists"
    )
    assert await ask(hub, "GET", "/api/v1/spaces/park", headers=bearer()) == (200, space)
    await ask(hub, "POST", "/api/v1/spaces", space="hall")
    _, page = await ask(hub, "GET", "/api/v1/spaces?limit=1")
    assert [each["space"] for each in page["spaces"]] == ["hall"]
    _, rest = await ask(hub, "GET", f"/api/v1/spaces?after={page['next']}")
    assert ([each["space"] for each in rest["spaces"]], rest["next"]) == (["park"], None)
    assert (await ask(hub, "DELETE", "/api/v1/spaces/park"))[0] == 204
    assert (await ask(hub, "GET", "/api/v1/spaces/park"))[1]["type"] == "/problems/no-such-space"


async def test_who_is_in_a_space_that_closes_is_sent_out_and_whep_stays_out(hub):
    await ask(hub, "POST", "/api/v1/spaces", space="park")
    async with joined(hub, "eve", "world/park/lobby") as eve:
        _, space = await ask(hub, "PATCH", "/api/v1/spaces/park", closed=True)
        assert space["open"] is False
        assert (await heard(eve))["reason"] == "space_closed"
        await eve.send_json({"t": "join", "id": 2, "room": "world/park/lobby"})
        assert (await heard(eve))["code"] == 122
        headers = bearer() | {"Content-Type": "application/sdp"}
        path = "/whep/world/park/lobby"
        async with hub.post(path, data="v=0\r\n", headers=headers) as answer:
            assert (await answer.json(content_type=None))["type"] == "/problems/space-closed"


async def test_what_a_space_shows_is_changed_for_all_by_who_saw_it_last(hub):
    await ask(hub, "POST", "/api/v1/spaces", space="park")
    content = bearer(user="c", roles=["content_manager"])
    path = "/api/v1/spaces/park/state"
    async with joined(hub, "eve", "world/park/lobby") as eve:
        await eve.send_json({"t": "join", "id": 2, "room": "world/park/lobby", "space": True})
        assert (await heard(eve))["t"] == "joined"
        assert await heard(eve) == {"t": "space", "space": "park", "revision": 0, "state": {}}
        _, state = await ask(hub, "PATCH", path, headers=content, state={"날씨": "비"})
        assert state == {"space": "park", "revision": 1, "state": {"날씨": "비"}}
        assert (await heard(eve))["state"] == {"날씨": "비"}
        late = content | {"If-Match": '"0"'}
        assert (await ask(hub, "PATCH", path, headers=late, state={"날씨": "눈"}))[0] == 412
        right = content | {"If-Match": '"1"'}
        _, state = await ask(hub, "PATCH", path, headers=right, state={"날씨": None})
        assert (state["revision"], state["state"]) == (2, {})
        assert (await heard(eve))["revision"] == 2
    assert (await ask(hub, "PATCH", path, state={"x": "y" * 20_000}))[0] == 400
    assert (await ask(hub, "GET", path, headers=bearer()))[1]["revision"] == 2


@pytest.mark.parametrize(
    "body",
    [
        {"space": "a/b"}, {"space": ""}, {"space": "a", "zone": "Asia/Nowhere"},
        {"space": "a", "capacity": 0}, {"space": "a", "hours": [{"days": ["mon"], "from": "9"}]},
        {"space": "a", "hours": [{"days": [], "from": "09:00", "to": "10:00"}]},
        {"space": "a", "hours": [{"days": ["mon"], "from": "24:00", "to": "10:00"}]},
    ],
)  # fmt: skip
async def test_what_makes_no_sense_is_refused(hub, body):
    status, problem = await ask(hub, "POST", "/api/v1/spaces", **body)
    assert (status, problem["type"]) == (400, "/problems/bad-request")


async def test_the_server_tells_what_time_it_is(hub):
    async with hub.get("/api/v1/time") as answer:
        told = await answer.json()
    assert abs(told["at"] / 1000 - time.time()) < 60
    assert told["zone"] == "Asia/Seoul"
    assert told["local"].endswith("+09:00")
