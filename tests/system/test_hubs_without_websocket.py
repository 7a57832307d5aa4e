"""Two hubs on one port and one Redis, for people without WebSocket and people signed out."""

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest

from loadtest import processes
from loadtest.launch import Server, running
from tests.chatd.redis_server import KIND, AnyRedis, redis_of
from tests.system.chat import Chat, guest
from tests.system.deadline import until

pytestmark = pytest.mark.system


@pytest.fixture
def redis(folder: Path) -> Iterator[AnyRedis]:
    server = redis_of(KIND, folder / "redis").start()
    yield server
    server.kill()


@pytest.fixture
async def hubs(folder: Path, redis: AnyRedis) -> AsyncIterator[Server]:
    environment = {"METAPORT_REDIS_URL": redis.url, "METAPORT_HUB_PROCESSES": "2"}
    async with running(folder / "data", environment) as server:

        def both() -> bool:
            children = processes.children(server.pid).values()
            return sum(" hub" in command for command in children) == 2

        await until(both, 10, "two hubs")
        yield server
        print(server.output)


async def test_requests_reach_the_stream_wherever_they_land_and_nobody_signed_out_stays(
    hubs: Server,
) -> None:
    person = await guest(hubs.url, "방문자")
    # Each request on a connection of its own: the kernel gives it to either hub.
    anywhere = aiohttp.TCPConnector(force_close=True)
    async with (
        aiohttp.ClientSession(hubs.url, connector=anywhere) as session,
        session.get("/sse") as stream,
    ):
        heard: list[dict[str, object]] = []

        async def read() -> tuple[str, dict[str, object]]:
            kind = "message"
            async for raw in stream.content:
                line = raw.decode().strip()
                if line.startswith("event: "):
                    kind = line.removeprefix("event: ")
                elif line.startswith("data: "):
                    return kind, json.loads(line.removeprefix("data: "))
            return "end", {}

        kind, opened = await read()
        assert kind == "open"
        frames = [
            {"t": "hello", "token": person.token, "v": 1},
            {"t": "join", "id": 1, "room": "광장"},
            *({"t": "send", "id": n, "room": "광장", "body": f"{n}"} for n in range(2, 32)),
        ]
        for number, frame in enumerate(frames, start=1):
            path = f"/sse/{opened['stream']}?n={number}"
            async with session.post(path, data=json.dumps(frame)) as answer:
                assert answer.status == 204
            if frame["t"] == "join":
                while not heard or heard[-1]["t"] != "joined":
                    heard.append((await read())[1])
        while len(heard) < 32 + 30:
            kind, frame = await read()
            assert kind == "message", frame
            heard.append(frame)
        bodies = [frame["body"] for frame in heard if frame["t"] == "message"]
        assert bodies == [f"{n}" for n in range(2, 32)]

        others = [await Chat.enter(hubs.url, person) for _ in range(8)]
        operator = await hubs.command("token", "--user", "op", "--role", "operator")
        async with session.post(
            "/api/v1/auth/revoke",
            json={"user": person.user},
            headers={"Authorization": f"Bearer {operator.strip()}"},
        ) as answer:
            assert answer.status == 200
        for other in others:
            assert await other.ended() == 4205
            await other.close()
        kind, frame = await read()
        assert (kind, frame["reason"]) == ("message", "token_revoked")
        assert (await read())[0] == "close"
