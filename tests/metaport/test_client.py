"""The client over a real hub, and over servers that fail."""

import json

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from metaport.client.friends import Friends
from metaport.client.people import Apps
from metaport.client.problem import ServerProblem, Unreachable
from metaport.client.rooms import Rooms
from metaport.client.server import Server, path_of
from metaport.client.spaces import Spaces
from metaport.tokens import Tokens
from tests.metaport import test_compose

config = test_compose.config
hub = test_compose.hub


def url_of(config):
    return f"http://127.0.0.1:{config.http.port}"


@pytest.fixture
async def server(hub, config):
    token = Tokens(test_compose.SECRET).mint("admin", roles=["admin"], ttl_s=600)
    async with Server(url_of(config), token, lang="ko") as server:
        yield server


class Failing:
    """A server that answers what it is told to, in order, and keeps what it got."""

    def __init__(self):
        self.answers = []
        self.got = []

    async def take(self, request):
        self.got.append((request.method, request.raw_path, request.headers.get("Idempotency-Key")))
        answer = self.answers.pop(0)
        if answer is None:
            request.transport.abort()
            raise web.HTTPNoContent
        status, body = answer
        return web.Response(status=status, text=json.dumps(body))


@pytest.fixture
async def failing():
    found = Failing()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", found.take)
    async with TestServer(app) as server:
        found.url = str(server.make_url("")).rstrip("/")
        yield found


BUSY = (503, {"type": "/problems/rooms-away", "title": "away", "status": 503, "retry_after_s": 2})
ROOM = {
    "room": "a", "kind": "public", "persistent": True, "capacity": None, "users": [],
    "guests": True, "subscribed": False, "present": 0,
}  # fmt: skip


async def asking(failing, waits, **options):
    async def sleep(seconds):
        waits.append(seconds)

    return Server(failing.url, "token", sleep=sleep, **options)


async def test_people_befriend_block_and_invite_one_another(server, config):
    rooms, tokens = Rooms(server), Tokens(test_compose.SECRET)
    await rooms.create("클럽", kind="private")
    made = await rooms.invite("클럽", uses=2)
    ann, ben = (
        Server(url_of(config), tokens.mint(name, ttl_s=600), lang="ko") for name in ("ann", "ben")
    )
    async with ann, ben:
        assert (await Rooms(ann).redeem(made.code)).room == "클럽"
        assert [(i.id, i.uses) async for i in rooms.invitations("클럽")] == [(made.id, 1)]
        await rooms.uninvite("클럽", made.id)
        with pytest.raises(ServerProblem) as refused:
            await Rooms(ben).redeem(made.code)
        assert refused.value.reason == "no-such-invitation"
        anns, bens = Friends(ann), Friends(ben)
        assert (await anns.ask("ben")).state == "waiting"
        assert [each.user async for each in bens.requests()] == ["ann"]
        await bens.decline("ann")
        await anns.ask("ben")
        assert (await bens.accept("ann")).state == "friend"
        assert [each.user async for each in anns.list()] == ["ben"]
        await anns.remove("ben")
        await anns.block("ben")
        assert [each.user async for each in anns.blocks()] == ["ben"]
        await anns.unblock("ben")


async def test_rooms_and_spaces_are_typed_and_told_page_by_page(server):
    rooms, spaces = Rooms(server), Spaces(server)
    for number in range(3):
        await rooms.create(f"상담/{number}", kind="private", users=["ann"])
    assert [room.room async for room in rooms.list()] == ["상담/0", "상담/1", "상담/2"]
    assert (await rooms.change("상담/1", capacity=5)).capacity == 5
    assert (await rooms.show("상담/1")).users == ("ann",)
    await rooms.remove("상담/1")
    with pytest.raises(ServerProblem) as refused:
        await rooms.show("상담/1")
    assert (refused.value.status, refused.value.reason) == (404, "no-such-room")
    assert "방이 없습니다" in str(refused.value)
    await spaces.create("park", title_ko="공원")
    assert (await spaces.change_state("park", {"weather": "비"})).state == {"weather": "비"}
    assert [space.open async for space in spaces.list()] == [True]
    await spaces.remove("park")


async def test_what_is_said_and_done_is_answered(server):
    rooms = Rooms(server)
    said = await rooms.say("hall", "안내", key="k-1")
    assert said.offset == 1
    assert (await rooms.say("hall", "안내", key="k-1")) == said
    assert [each async for each in rooms.people("hall")] == []
    assert (await rooms.figures("hall")).connections == 0
    done = await rooms.moderate("ban", "**", "eve", note="광고")
    assert (done.act, done.unanswered) == ("ban", 0)
    assert (await rooms.remove_message("hall", said.message_id)).act == "remove"
    with pytest.raises(ServerProblem, match="지금 거기에 없습니다"):
        await rooms.end_media("hall", "eve")
    await Apps(server).create("game", "게임")
    assert "game" in [app.id async for app in Apps(server).list()]


async def test_who_is_busy_is_asked_again_after_the_time_told(failing):
    waits = []
    # Of a read whose connection is lost, aiohttp makes one more try by itself.
    failing.answers = [BUSY, None, None, (200, ROOM)]
    async with await asking(failing, waits) as server:
        assert (await Rooms(server).show("a")).room == "a"
    assert waits == [2.0, 4.0]


async def test_what_makes_something_is_repeated_under_the_same_key(failing):
    failing.answers = [None, BUSY, (201, ROOM)]
    async with await asking(failing, []) as server:
        await Rooms(server).create("a")
    keys = {key for _, _, key in failing.got}
    assert (len(failing.got), len(keys)) == (3, 1)
    assert None not in keys


async def test_a_change_whose_answer_is_lost_is_not_repeated(failing):
    failing.answers = [None]
    async with await asking(failing, []) as server:
        with pytest.raises(Unreachable):
            await Rooms(server).change("a", capacity=1)
    failing.answers = [BUSY, (200, ROOM)]
    async with await asking(failing, []) as server:
        assert (await Rooms(server).change("a", capacity=1)).room == "a"


async def test_it_gives_up_with_what_was_said_last(failing):
    failing.answers = [BUSY] * 4
    async with await asking(failing, []) as server:
        with pytest.raises(ServerProblem, match="away"):
            await Rooms(server).show("a")
    failing.answers = [(503, BUSY[1] | {"retry_after_s": 3600})]
    async with await asking(failing, []) as server:
        with pytest.raises(ServerProblem):
            await Rooms(server).show("a")


@pytest.mark.parametrize("answer", [(200, {"room": 7}), (200, []), (502, "gateway"), (404, {})])
async def test_something_else_than_the_api_is_told(failing, answer):
    failing.answers = [answer] * 4
    async with await asking(failing, []) as server:
        with pytest.raises(Unreachable):
            await Rooms(server).show("a")


def test_names_are_one_segment_whatever_is_in_them():
    assert path_of("/rooms/{room}/x", room="a/../b?c#d%") == "/rooms/a%2F..%2Fb%3Fc%23d%25/x"


async def test_a_long_answer_that_is_cut_off_is_not_taken_for_whole():
    async def cut(request):
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b'{"rows":[')
        request.transport.abort()
        return response

    app = web.Application()
    app.router.add_get("/export", cut)
    async with TestServer(app) as running:
        url = str(running.make_url("")).rstrip("/")
        async with Server(url, "token") as server:
            with pytest.raises(Unreachable):
                _ = [piece async for piece in server.stream("/export")]
