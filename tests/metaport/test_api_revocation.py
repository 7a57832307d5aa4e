"""Signing people out over HTTP and from the command line, on two hubs that share a database."""

import asyncio
import json
import os
import socket
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from metaport import admin
from metaport.compose import run_hub
from metaport.config import Config
from metaport.db.engine import sqlite_url
from metaport.tokens import Tokens

SECRET = "0123456789abcdef0123456789abcdef"
TOKENS = Tokens(SECRET)


def configured(tmp_path: Path, name: str) -> Config:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    base = Config()
    config = replace(
        base,
        http=replace(base.http, port=port),
        data=replace(base.data, dir=tmp_path / name),
        token=replace(base.token, secret=SECRET),
        database=replace(base.database, url=sqlite_url(tmp_path / "shared.db")),
        drain_s=1.0,
    )
    admin.create(config.secrets_dir)
    return config


@asynccontextmanager
async def serving(config: Config) -> AsyncIterator[aiohttp.ClientSession]:
    stop = asyncio.Event()
    task = asyncio.create_task(run_hub(config, stop))
    base = f"http://127.0.0.1:{config.http.port}"
    async with aiohttp.ClientSession(base, timeout=aiohttp.ClientTimeout(10)) as session:
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


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[aiohttp.ClientSession]:
    async with serving(configured(tmp_path, "here")) as session:
        yield session


@pytest.fixture
async def there(tmp_path: Path, here: object) -> AsyncIterator[aiohttp.ClientSession]:
    async with serving(configured(tmp_path, "there")) as session:
        yield session


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


OPERATOR = bearer(TOKENS.mint("op", roles=["operator"], ttl_s=86_400))


async def revoke(hub: aiohttp.ClientSession, **body: Any) -> tuple[int, dict[str, Any]]:
    async with hub.post("/api/v1/auth/revoke", json=body, headers=OPERATOR) as answer:
        return answer.status, await answer.json(content_type=None)


async def connect(hub: aiohttp.ClientSession, token: str) -> aiohttp.ClientWebSocketResponse:
    client = await hub.ws_connect("/ws", protocols=["metaport.v1.json"])
    await client.send_json({"t": "hello", "token": token, "v": 1})
    return client


async def last_words(client: aiohttp.ClientWebSocketResponse) -> tuple[list[str], int | None]:
    heard = [message async for message in client]
    reasons = [json.loads(m.data).get("reason") for m in heard]
    return [reason for reason in reasons if reason], client.close_code


async def test_whoever_is_signed_out_is_closed_on_every_hub_and_may_come_back(here, there) -> None:
    async with here.post("/api/v1/auth/guest", json={"name": "방문자"}) as answer:
        guest = await answer.json()
    user = guest["user"]["id"]
    sockets = [await connect(hub, guest["token"]) for hub in (here, there)]
    bystander = await connect(there, TOKENS.mint("bystander", ttl_s=600))
    for each in (*sockets, bystander):
        assert (await each.receive_json())["t"] == "welcome"
    status, answer = await revoke(here, user=user)
    assert (status, answer["kind"], answer["everywhere"]) == (200, "user", True)
    for each in sockets:
        assert await last_words(each) == (["token_revoked"], 4205)
    for hub in (here, there):
        refused = await connect(hub, guest["token"])
        assert await last_words(refused) == (["token_revoked"], 4205)
        async with hub.get("/api/v1/usage/visit", headers=bearer(guest["token"])) as answer:
            assert answer.status == 401
            assert (await answer.json(content_type=None))["type"] == "/problems/token-revoked"
        body = {"refresh_token": guest["refresh_token"]}
        async with hub.post("/api/v1/auth/refresh", json=body) as answer:
            assert answer.status == 401
        again = await connect(hub, TOKENS.mint(user, ttl_s=600))
        assert (await again.receive_json())["t"] == "welcome"
        await again.close()
    await bystander.send_json({"t": "ping", "id": 1})
    assert (await bystander.receive_json())["t"] == "pong"


async def test_one_token_is_taken_back_and_stays_so_over_a_restart(tmp_path: Path) -> None:
    config = configured(tmp_path, "here")
    leaked, other = (TOKENS.mint("u1", ttl_s=600) for _ in range(2))
    async with serving(config) as hub:
        status, answer = await revoke(hub, token=leaked)
        assert (status, answer["kind"]) == (200, "token")
        assert answer["until"] < time.time() + 600 + 3700
    async with serving(config) as hub:
        assert await last_words(await connect(hub, leaked)) == (["token_revoked"], 4205)
        kept = await connect(hub, other)
        assert (await kept.receive_json())["t"] == "welcome"
        token_id = TOKENS.verify(other, time.time()).token_id
        assert (await revoke(hub, token_id=token_id))[0] == 200
        assert await last_words(kept) == (["token_revoked"], 4205)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"user": "u1", "token_id": "t1"},
        {"user": ""},
        {"user": "u1", "before": time.time() + 3600},
        {"user": "u1", "before": -1},
        {"token_id": "t1", "before": 1.0},
        {"user": "x" * 257},
        {"usr": "u1"},
    ],
)
async def test_what_does_not_say_what_is_meant_is_refused(here, body) -> None:
    status, problem = await revoke(here, **body)
    assert (status, problem["type"]) == (400, "/problems/bad-request")


async def test_only_operators_and_admins_revoke(here) -> None:
    async with here.post("/api/v1/auth/revoke", json={"user": "u1"}) as answer:
        assert answer.status == 401
    visitor = bearer(TOKENS.mint("u1", roles=["visitor"], ttl_s=60))
    async with here.post("/api/v1/auth/revoke", json={"user": "op"}, headers=visitor) as answer:
        assert answer.status == 403
    async with here.post("/api/v1/auth/revoke", json={"token": "x"}, headers=OPERATOR) as answer:
        assert answer.status == 401


async def test_the_command_line_signs_out_of_a_running_hub(tmp_path: Path) -> None:
    config = configured(tmp_path, "here")

    async def command(*words: str, said: str = "") -> tuple[int | None, str]:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "metaport", "token", "revoke", *words, "--lang", "en"),
            cwd=tmp_path,
            env={name: value for name, value in os.environ.items() if "METAPORT" not in name}
            | {
                "METAPORT_DATA_DIR": str(config.data.dir),
                "METAPORT_DATABASE_URL": config.database_url,
                "METAPORT_TOKEN_SECRET": SECRET,
            },
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        out, _ = await process.communicate(said.encode())
        return process.returncode, out.decode()

    token = TOKENS.mint("u1", ttl_s=600)
    async with serving(config) as hub:
        client = await connect(hub, token)
        code, out = await command("--token", "-", said=token)
        assert code == 0, out
        assert "every hub follows within a second" in out
        assert await last_words(client) == (["token_revoked"], 4205)
        client = await connect(hub, TOKENS.mint("u2", ttl_s=600))
        assert (await command("--user", "u2"))[0] == 0
        assert await last_words(client) == (["token_revoked"], 4205)
    for words, sentence in (
        (["--user", "u", "--before", "2099-01-01"], "metaport: --before is in the future\n"),
        (["--id", "t", "--before", "2020-01-01"], "metaport: --before goes with --user\n"),
    ):
        assert await command(*words) == (2, sentence)
