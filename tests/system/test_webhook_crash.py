"""`kill -9` of the hub while the platform's backend is told of messages: each once, none lost."""

import asyncio
import os
import re
import signal
from collections import Counter
from contextlib import suppress

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from loadtest.launch import running
from tests.system.chat import Account, Chat, guest
from tests.system.deadline import until
from tests.system.talker import AWAY

pytestmark = pytest.mark.system

KILLS = 2
MESSAGES = 40


class Backend:
    """A receiver that counts what it gets by id, as one that minds repeats would."""

    def __init__(self) -> None:
        self.got: Counter[str] = Counter()
        self.bodies: dict[str, dict] = {}

    async def take(self, request: web.Request) -> web.Response:
        event = await request.json()
        self.got[event["id"]] += 1
        self.bodies[event["id"]] = event
        return web.Response(status=204)

    def messages(self) -> list[str]:
        events = [each for each in self.bodies.values() if each["type"] == "message.sent"]
        return sorted(event["data"]["body"] for event in events)


async def admin_token(server, http: aiohttp.ClientSession) -> str:
    await until(lambda: "password" in server.output, 10, "the banner")
    [password] = re.findall(r"password\s+(\S{10,})", server.output)
    login = {"user": "admin", "password": password}
    async with http.post(f"{server.url}/api/v1/auth/login", json=login) as answer:
        return (await answer.json())["token"]


async def send_all(url: str, account: Account, bodies: list[str]) -> None:
    """Send each body by its key until it is acknowledged, however often the hub dies."""
    left = list(bodies)
    while left:
        with suppress(*AWAY):
            async with await Chat.enter(url, account) as chat:
                await chat.request("join", room="plaza")
                while left:
                    await chat.request("send", room="plaza", body=left[0], key=left[0])
                    left.pop(0)
        await asyncio.sleep(0.02)  # the port refuses at once while nobody listens


@pytest.mark.timeout(120)
async def test_what_is_told_is_told_once_whenever_the_hub_dies(folder):
    backend = Backend()
    app = web.Application()
    app.router.add_post("/hook", backend.take)
    async with (
        TestServer(app) as hook,
        running(folder / "data", {"METAPORT_PROFILE": "bench"}) as server,
        aiohttp.ClientSession() as http,
    ):
        headers = {"Authorization": f"Bearer {await admin_token(server, http)}"}
        wanted = {"url": str(hook.make_url("/hook")), "events": ["message.sent", "room.*"]}
        async with http.post(f"{server.url}/api/v1/webhooks", json=wanted, headers=headers) as made:
            assert made.status == 201
        account = await guest(server.url, "visitor")
        sent: list[str] = []
        for kill in range(KILLS + 1):
            bodies = [f"{kill}-{number:03}" for number in range(MESSAGES)]
            sent += bodies
            sending = asyncio.create_task(send_all(server.url, account, bodies))
            if kill < KILLS:
                await until(
                    lambda kill=kill: len(backend.messages()) > kill * MESSAGES, 30, "some are told"
                )
                hub = server.child("hub")
                os.kill(hub, signal.SIGKILL)
                await until(lambda hub=hub: server.child("hub") not in (None, hub), 10, "a hub")
            async with asyncio.timeout(30):
                await sending
        await until(lambda: len(backend.messages()) >= len(sent), 30, "all are told")
        assert backend.messages() == sorted(sent)
        # A post whose answer the dead hub did not write down comes again under its id.
        repeated = [event for event, count in backend.got.items() if count > 1]
        assert len(repeated) <= KILLS * 20
        # Whoever was there when the hub died has gone, and nobody has gone twice.
        kinds = Counter(each["type"] for each in backend.bodies.values())
        await until(
            lambda: (
                Counter(each["type"] for each in backend.bodies.values())["room.left"]
                >= kinds["room.joined"]
            ),
            30,
            "everybody has gone",
        )
        kinds = Counter(each["type"] for each in backend.bodies.values())
        assert kinds["room.joined"] == kinds["room.left"]
