"""Server-sent events down, POST up: the real server on loopback, read as a browser would."""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from chatd.bus import LocalBus
from chatd.errors import BadToken
from chatd.facts import ConnectionTime, MemoryFacts, MessageAccepted
from chatd.hub import Hub
from chatd.limits import Limits
from chatd.server import ChatServer, wave_gap_s
from chatd.session import Identity


class Tokens:
    def verify(self, token: str, now: float) -> Identity:
        if token == "forged":
            raise BadToken
        return Identity(token, token.title())


class Serving:
    """A hub and its server, and clients of it."""

    def __init__(self, limits: Limits, **options: Any) -> None:
        self.facts = MemoryFacts()
        self.hub = Hub(LocalBus(), self.facts, Tokens(), limits=limits)
        self.server = ChatServer(self.hub, **options)
        self.responses: list[aiohttp.ClientResponse] = []

    async def open(self, **headers: str) -> "Stream":
        response = await self.http.get("/sse", headers=headers)
        self.responses.append(response)
        stream = Stream(self.http, response)
        kind, opened = await stream.event()
        assert kind == "open"
        stream.id = opened["stream"]
        return stream

    async def visitor(self, user: str, *rooms: str) -> "Stream":
        stream = await self.open()
        await stream.say({"t": "hello", "token": user, "v": 1})
        assert (await stream.hear())["t"] == "welcome"
        for room in rooms:
            await stream.say({"t": "join", "id": 1, "room": room})
            assert (await stream.hear())["t"] == "joined"
        return stream


class Stream:
    """One stream, read event by event."""

    def __init__(self, http: aiohttp.ClientSession, response: aiohttp.ClientResponse) -> None:
        self.http = http
        self.response = response
        self.id = ""
        self.number = 0
        self.comments = 0

    async def post(self, body: str, number: int, **headers: str) -> int:
        async with self.http.post(
            f"/sse/{self.id}?n={number}", data=body.encode(), headers=headers
        ) as answer:
            return answer.status

    async def say(self, *frames: dict[str, Any]) -> None:
        self.number += 1
        assert await self.post("\n".join(map(json.dumps, frames)), self.number) == 204

    async def event(self) -> tuple[str, Any]:
        """Return the next event's type and data; comments are counted."""
        kind, data = "message", None
        async with asyncio.timeout(10):
            async for raw in self.response.content:
                line = raw.decode().rstrip("\n")
                if line.startswith(":"):
                    self.comments += 1
                elif line.startswith("event: "):
                    kind = line.removeprefix("event: ")
                elif line.startswith("data: "):
                    data = json.loads(line.removeprefix("data: "))
                elif data is not None:
                    return kind, data
        return "end", None

    async def hear(self) -> dict[str, Any]:
        kind, data = await self.event()
        assert kind == "message", (kind, data)
        return data


@asynccontextmanager
async def serving(limits: Limits | None = None, **options: Any) -> AsyncIterator[Serving]:
    chat = Serving(limits or Limits(), **options)
    app = web.Application()
    app.router.add_get("/ws", chat.server.handle)
    app.router.add_get("/sse", chat.server.streams.open, allow_head=False)
    app.router.add_post("/sse/{stream}", chat.server.streams.post)
    runner = web.AppRunner(app)
    await runner.setup()
    listener = socket.create_server(("127.0.0.1", 0))
    await web.SockSite(runner, listener).start()
    chat.port = listener.getsockname()[1]
    chat.http = aiohttp.ClientSession(f"http://127.0.0.1:{chat.port}")
    try:
        yield chat
    finally:
        for response in chat.responses:
            response.close()
        await chat.http.close()
        await chat.server.drain(1.0)
        await runner.cleanup()


async def test_a_stream_speaks_the_same_frames_and_is_metered_the_same() -> None:
    async with serving() as chat:
        anna, minho = await chat.visitor("anna", "hall"), await chat.visitor("minho", "hall")
        await anna.say({"t": "send", "id": 2, "room": "hall", "body": "안녕\n하세요"})
        heard = {frame["t"]: frame for frame in [await anna.hear(), await anna.hear()]}
        assert heard["sent"]["offset"] == heard["message"]["offset"] == 1
        assert (await minho.hear())["body"] == "안녕\n하세요"
        [fact] = [f for f in chat.facts.kept if type(f) is MessageAccepted]
        assert fact.delivered == 2
        assert chat.hub.counters.connections == 2
        assert chat.hub.counters.bytes_in > 100


async def test_it_meets_people_on_websocket_in_the_same_room() -> None:
    async with serving() as chat:
        ws = await chat.http.ws_connect("/ws", protocols=["metaport.v1.json"])
        chat.responses.append(ws._response)
        await ws.send_json({"t": "hello", "token": "minho", "v": 1})
        await ws.send_json({"t": "join", "id": 1, "room": "hall"})
        assert [(await ws.receive_json())["t"] for _ in range(2)] == ["welcome", "joined"]
        anna = await chat.visitor("anna", "hall")
        await anna.say({"t": "send", "id": 2, "room": "hall", "body": "hi"})
        assert (await ws.receive_json())["from"] == "anna"


async def test_it_recovers_what_was_said_while_it_was_away() -> None:
    async with serving() as chat:
        anna, minho = await chat.visitor("anna", "hall"), await chat.visitor("minho", "hall")
        minho.response.close()
        frames = [{"t": "send", "id": n, "room": "hall", "body": f"m{n}"} for n in range(2, 7)]
        await anna.say(*frames)
        back = await chat.visitor("minho")
        since = {"epoch": "another", "offset": 0}
        await back.say({"t": "join", "id": 1, "room": "hall", "since": since})
        joined = await back.hear()
        assert (joined["recovered"], joined["messages"]) == (False, [])
        since = {"epoch": joined["epoch"], "offset": 2}
        await back.say({"t": "join", "id": 2, "room": "hall", "since": since})
        joined = await back.hear()
        assert joined["recovered"] is True
        assert [m["body"] for m in joined["messages"]] == ["m4", "m5", "m6"]


async def test_a_repeated_request_changes_nothing_and_a_missing_one_is_noticed() -> None:
    async with serving() as chat:
        anna = await chat.visitor("anna", "hall")
        body = json.dumps({"t": "send", "id": 9, "room": "hall", "body": "once"})
        for _ in range(3):
            assert await anna.post(body, 3) == 204
        assert await anna.post(body, 5) == 409
        assert await anna.post('{"t": "ping", "id": 10}', 4) == 204
        heard = [await anna.hear() for _ in range(3)]
        assert sorted(frame["t"] for frame in heard) == ["message", "pong", "sent"]


async def test_a_repeat_while_the_first_is_under_way_waits_and_a_third_is_refused() -> None:
    async with serving(Limits(frame_per_s=20, frame_burst=2)) as chat:
        anna = await chat.visitor("anna")
        slow = "\n".join('{"t": "ping"}' for _ in range(12))
        under_way = [asyncio.create_task(anna.post(slow, 2)) for _ in range(4)]
        statuses = await asyncio.gather(*under_way)
        assert sorted(statuses) == [204, 204, 429, 429]


@pytest.mark.parametrize(
    ("path", "status"),
    [("?n=1", 404), ("", 400), ("?n=0", 400), ("?n=x", 400), ("?n=9999999999999999", 400)],
)
async def test_a_request_to_no_stream_or_without_a_number_is_told(path: str, status: int) -> None:
    async with serving() as chat:
        async with chat.http.post(f"/sse/nobody{path}", data=b"{}") as answer:
            assert answer.status == status
            assert answer.content_type == "application/problem+json"
        async with chat.http.head("/sse") as answer:
            assert answer.status == 405


async def test_a_body_is_bounded_whatever_its_head_says() -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(6):
            yield b" " * 65536

    async with serving() as chat:
        anna = await chat.open()
        for body in (b" " * 300_000, endless()):
            with contextlib.suppress(aiohttp.ClientConnectionError):
                async with chat.http.post(f"/sse/{anna.id}?n=1", data=body) as answer:
                    assert answer.status == 413


async def test_pages_of_other_hosts_may_neither_open_nor_post() -> None:
    async with serving(origins=["https://game.example.kr"]) as chat:
        allowed = {"Origin": "https://game.example.kr"}
        anna = await chat.open(**allowed)
        assert anna.response.headers["Access-Control-Allow-Origin"] == "https://game.example.kr"
        assert anna.response.headers["Content-Type"].startswith("text/event-stream")
        assert "no-transform" in anna.response.headers["Cache-Control"]
        assert await anna.post("{}", 1, Origin="https://evil.example") == 403
        assert await anna.post('{"t": "hello", "token": "anna", "v": 1}', 1, **allowed) == 204
        async with chat.http.get("/sse", headers={"Origin": "https://evil.example"}) as answer:
            assert answer.status == 403
            assert "Access-Control-Allow-Origin" not in answer.headers


async def test_a_bad_token_and_bytes_that_are_no_frame_close_with_their_code() -> None:
    for body, code in (
        ('{"t": "hello", "token": "forged", "v": 1}', 4202),
        ("{]", 4200),
        ("x" * 140_000, 1009),
    ):
        async with serving() as chat:
            anna = await chat.open()
            assert await anna.post(body, 1) == 204
            kind, data = await anna.event()
            if kind == "message":
                kind, data = await anna.event()
            assert (kind, data["code"]) == ("close", code)
            assert (await anna.event())[0] == "end"
            assert await anna.post("{}", 2) == 404


async def test_silence_is_filled_with_comments_and_a_deaf_client_ends() -> None:
    async with serving(Limits(ping_s=0.05, dead_s=0.4, hello_timeout_s=5)) as chat:
        anna = await chat.visitor("anna")
        kind, data = await anna.event()
        assert (kind, data["reason"]) == ("message", "silent")
        assert await anna.event() == ("close", {"code": 4003, "reason": "silent"})
        assert anna.comments > 3  # the padding and the heartbeats


async def test_a_slow_reader_is_closed_and_the_others_hear_on() -> None:
    async with serving(Limits(outbox_bytes=64 * 1024).lifted()) as chat:
        reader, writer = await asyncio.open_connection("127.0.0.1", chat.port, limit=4096)
        writer.write(b"GET /sse HTTP/1.1\r\nHost: x\r\n\r\n")
        head = await reader.readuntil(b'"stream": "')
        assert b"Transfer-Encoding: chunked" in head
        deaf = Stream(chat.http, None)  # type: ignore[arg-type]
        deaf.id = (await reader.readuntil(b'"'))[:-1].decode()
        await deaf.say({"t": "hello", "token": "deaf", "v": 1})
        await deaf.say({"t": "join", "id": 1, "room": "hall"})
        writer.transport.pause_reading()
        anna = await chat.visitor("anna", "hall")
        for number in range(2, 1500):
            await anna.say({"t": "send", "id": number, "room": "hall", "body": "x" * 16_000})
            await anna.hear()
            await anna.hear()
            if chat.hub.counters.closes[4001]:
                break
        assert chat.hub.counters.closes[4001] == 1
        await anna.say({"t": "ping", "id": 1})
        assert (await anna.hear())["t"] == "pong"
        writer.transport.abort()


async def test_http_1_0_gets_a_stream_that_ends_with_the_connection() -> None:
    async with serving() as chat:
        reader, writer = await asyncio.open_connection("127.0.0.1", chat.port)
        writer.write(b"GET /sse HTTP/1.0\r\nHost: x\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"chunked" not in head
        assert (await reader.readuntil(b"\n\n")).startswith(b":  ")
        assert b'data: {"stream": "' in await reader.readuntil(b"}\n\n")
        writer.close()


async def test_a_drain_ends_streams_with_their_facts_and_turns_newcomers_away() -> None:
    async with serving() as chat:
        anna = await chat.visitor("anna", "hall")
        await chat.server.drain(1.0)
        assert await anna.event() == ("close", {"code": 4000, "reason": "draining"})
        assert [f.user for f in chat.facts.kept if type(f) is ConnectionTime] == ["anna"]
        async with chat.http.get("/sse") as answer:
            assert (answer.status, answer.headers["Retry-After"]) == (503, "1")


async def test_the_end_of_a_stream_is_the_end_of_the_connection() -> None:
    async with serving() as chat:
        anna, minho = await chat.visitor("anna"), await chat.visitor("minho")
        await minho.say({"t": "join", "id": 1, "room": "hall", "presence": True})
        await minho.hear()
        await anna.say({"t": "join", "id": 1, "room": "hall"})
        assert (await minho.hear())["event"] == "joined"
        anna.response.close()
        assert (await minho.hear())["event"] == "left"
        assert await anna.post('{"t": "ping"}', 3) == 404
        assert chat.hub.counters.connections == 1


@pytest.mark.parametrize(
    ("count", "spread_s", "gap_s"),
    [(1, 4.0, 0.2), (128, 4.0, 0.2), (1_000, 4.0, 0.2), (20_000, 4.0, 4.0 / 156), (300, 0.0, 0.0)],
)
def test_waves_of_a_drain_fit_into_its_time(count: int, spread_s: float, gap_s: float) -> None:
    assert wave_gap_s(count, spread_s) == pytest.approx(gap_s)
