"""What earlier versions left behind and said still holds; `record.py` made the recordings."""

import asyncio
import json
import shutil
import socket
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import msgpack
import pytest

from metaport.compose import run_hub
from metaport.config import Config
from metaport.tokens import Tokens

RECORDED = sorted((Path(__file__).parent / "recorded").iterdir())
SECRET = "0123456789abcdef0123456789abcdef"
TOKENS = Tokens(SECRET)
# What is another in each run. `message` of an error is for people; a string `id` is a message's.
VOLATILE = {"session", "epoch", "at", "message_id", "expires_in", "message"}


def within(old: Any, new: Any, path: str = "") -> str | None:
    """Return where `new` lacks what a client of the recording relies on, None when nowhere."""
    if isinstance(old, dict):
        if not isinstance(new, dict):
            return path
        for name, value in old.items():
            if name not in new:
                return f"{path}.{name}"
            if name in VOLATILE or (name == "id" and isinstance(value, str)):
                if type(new[name]) is not type(value):
                    return f"{path}.{name}"
            elif (fault := within(value, new[name], f"{path}.{name}")) is not None:
                return fault
        return None
    if isinstance(old, list):
        if not isinstance(new, list) or len(old) != len(new):
            return path
        faults = (within(*pair, f"{path}[]") for pair in zip(old, new, strict=True))
        return next((fault for fault in faults if fault is not None), None)
    return None if type(old) is type(new) and old == new else path


@asynccontextmanager
async def serving(data: Path) -> AsyncIterator[aiohttp.ClientSession]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    base = Config()
    config = replace(
        base,
        http=replace(base.http, port=port),
        data=replace(base.data, dir=data),
        token=replace(base.token, secret=SECRET),
        drain_s=1.0,
    )
    stop = asyncio.Event()
    task = asyncio.create_task(run_hub(config, stop))
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
        deadline = time.monotonic() + 20
        while True:
            assert not task.done(), task.exception()
            assert time.monotonic() < deadline
            try:
                async with session.get("/readyz"):
                    break
            except aiohttp.ClientConnectorError:
                await asyncio.sleep(0.01)
        try:
            yield session
        finally:
            stop.set()
            await task


class Client:
    """A client of the recorded version: it passes over frames it does not know."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, packed: bool) -> None:
        self._socket = socket
        self._packed = packed
        self._ids = 100

    async def say(self, frame: dict[str, Any]) -> None:
        if self._packed:
            await self._socket.send_bytes(msgpack.packb(frame))
        else:
            await self._socket.send_json(frame)

    async def hear(self) -> dict[str, Any]:
        async with asyncio.timeout(10):
            data = (await self._socket.receive()).data
        heard: dict[str, Any] = msgpack.unpackb(data) if self._packed else json.loads(data)
        return heard

    async def ask(self, **frame: Any) -> dict[str, Any]:
        self._ids += 1
        await self.say(frame | {"id": self._ids})
        while (heard := await self.hear()).get("id") != self._ids:
            pass
        return heard


async def connect(hub: aiohttp.ClientSession, codec: str) -> Client:
    socket = await hub.ws_connect("/ws", protocols=[f"metaport.v1.{codec}"])
    return Client(socket, codec == "msgpack")


async def enter(hub: aiohttp.ClientSession, codec: str, user: str) -> Client:
    client = await connect(hub, codec)
    await client.say({"t": "hello", "token": TOKENS.mint(user, ttl_s=600), "v": 1})
    assert (await client.hear())["t"] == "welcome"
    return client


def spoken(recording: Path) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = json.loads((recording / "frames.json").read_text())[
        "spoken"
    ]
    return found


@pytest.mark.parametrize("recording", RECORDED, ids=lambda path: path.name)
@pytest.mark.parametrize("codec", ["json", "msgpack"])
async def test_an_earlier_client_hears_what_it_heard_then(
    recording: Path, codec: str, tmp_path: Path
) -> None:
    async with serving(tmp_path) as hub:
        people: dict[str, Client] = {}
        for step in spoken(recording)[codec]:
            who, frame = step["who"], dict(step["say"])
            if who not in people:
                people[who] = await connect(hub, codec)
            if frame.get("token", "").startswith("of "):
                frame["token"] = TOKENS.mint(frame["token"].removeprefix("of "), ttl_s=3600)
            if "room" in frame:
                frame["room"] = f"{frame['room']}/{codec}"
            await people[who].say(frame)
            for each, expected in step["heard"].items():
                for old in expected:
                    new = await people[each].hear()
                    while new["t"] != old["t"] and new["t"] in {"notice", "subscribed"}:
                        new = await people[each].hear()
                    assert within(old, new) is None, (step["say"], old, new)


@pytest.mark.parametrize("recording", RECORDED, ids=lambda path: path.name)
async def test_an_earlier_log_and_database_go_on(recording: Path, tmp_path: Path) -> None:
    shutil.copytree(recording / "log", tmp_path / "log")
    with closing(sqlite3.connect(tmp_path / "metaport.db")) as database:
        database.executescript((recording / "metaport.sql").read_text())
    said_before = 0
    async with serving(tmp_path) as hub:
        for codec, steps in spoken(recording).items():
            room = f"plaza/{codec}"
            heard = [frame for step in steps for frame in step["heard"].get("anna", ())]
            # Anna joined with presence once more, and was told the past she knew already.
            [joined, *_] = [f for f in heard if f["t"] == "joined"]
            messages = [f for f in heard if f["t"] == "message"]
            said_before += len(messages)
            client = await enter(hub, codec, "anna")
            since = {"epoch": joined["epoch"], "offset": 1}
            again = await client.ask(t="join", room=room, since=since)
            assert again["recovered"] is True
            assert again["epoch"] == joined["epoch"]
            assert again["messages"] == messages[1:]
            sent = await client.ask(t="send", room=room, body="after the upgrade")
            assert sent["offset"] == len(messages) + 1
            past = await client.ask(t="history", room=room, limit=50)
            assert past["messages"][: len(messages)] == messages
        operator = {"Authorization": f"Bearer {TOKENS.mint('op', roles=['operator'], ttl_s=60)}"}
        at = json.loads((recording / "frames.json").read_text())["at"]
        month = time.strftime("%Y-%m", time.gmtime(at + 9 * 3600))
        # Each message once, whether it came from the old database, the old log or from now.
        now = time.strftime("%Y-%m", time.gmtime(time.time() + 9 * 3600))
        expected = said_before + (len(spoken(recording)) if now == month else 0)
        deadline = time.monotonic() + 20
        while True:
            async with hub.get(f"/api/v1/usage/report?month={month}", headers=operator) as answer:
                lines = (await answer.json())["lines"]
            sent = next(line for line in lines if line["meter"] == "chat.messages_sent")
            if sent["quantity"] >= expected:
                break
            assert time.monotonic() < deadline, lines
            await asyncio.sleep(0.1)
        assert sent["quantity"] == expected
    # What was carried over stands once: the second start finds nothing to do again.
    async with serving(tmp_path) as hub:
        client = await enter(hub, "json", "anna")
        joined = await client.ask(t="join", room="plaza/json", history=100)
        assert [m["offset"] for m in joined["messages"]] == list(range(1, joined["offset"] + 1))


def test_there_is_a_recording() -> None:
    assert RECORDED
