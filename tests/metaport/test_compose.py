"""One hub process on loopback, asked over HTTP as any client would."""

import asyncio
import itertools
import re
import socket
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import asyncpg
import pytest
from yarl import URL

import metering
from metaport import admin
from metaport.compose import DATABASE_DEADLINE_S, run_hub
from metaport.config import Config
from metaport.db.ledger import open_ledger
from metaport.db.migrate import SCHEMA_LOCK
from metaport.tokens import Tokens

PRICES = Path(metering.__file__).with_name("pricebook.default.toml")
SECRET = "0123456789abcdef0123456789abcdef"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def config(tmp_path):
    base = Config()
    return replace(
        base,
        http=replace(base.http, port=free_port(), origins=("https://game.example.kr",)),
        data=replace(base.data, dir=tmp_path),
        token=replace(base.token, secret=SECRET),
        drain_s=1.0,
    )


@asynccontextmanager
async def serving(config):
    """Run a hub; yields a client session with its address as base."""
    stop = asyncio.Event()
    task = asyncio.create_task(run_hub(config, stop))
    base = f"http://127.0.0.1:{config.http.port}"
    async with aiohttp.ClientSession(base, timeout=aiohttp.ClientTimeout(10)) as session:
        async with asyncio.timeout(30):
            while True:
                assert not task.done(), task.exception()
                try:
                    async with session.get("/readyz"):
                        break
                except aiohttp.ClientConnectorError:
                    await asyncio.sleep(0.01)
        yield session
    stop.set()
    await task


@pytest.fixture
async def hub(config):
    admin.create(config.secrets_dir)
    async with serving(config) as session:
        yield session


def exactly(config, path):
    """Ask for a path as it is written, percent signs included."""
    return URL(f"http://127.0.0.1:{config.http.port}{path}", encoded=True)


def bearer(**claims):
    values = {"user": "visitor", "name": "방문자", "ttl_s": 60} | claims
    return {"Authorization": f"Bearer {Tokens(SECRET).mint(**values)}"}


async def guest(hub, name="방문자"):
    async with hub.post("/api/v1/auth/guest", json={"name": name}) as answer:
        return answer.status, await answer.json(content_type=None)


async def test_a_guest_gets_tokens_and_a_new_id_each_time_unless_refreshed(hub):
    status, first = await guest(hub, "  방문자  ")
    assert status == 200
    assert first["user"]["name"] == "방문자"
    assert first["expires_in"] == 3600
    _, second = await guest(hub)
    assert second["user"]["id"] != first["user"]["id"]
    body = {"refresh_token": first["refresh_token"]}
    async with hub.post("/api/v1/auth/refresh", json=body) as answer:
        assert (await answer.json())["user"] == first["user"]
    async with hub.post("/api/v1/auth/refresh", json={"refresh_token": first["token"]}) as answer:
        assert answer.status == 401


@pytest.mark.parametrize("name", ["", "   ", "\u0000\u200b", "가" * 41, 7, None])
async def test_an_unusable_name_is_a_problem_document(hub, name):
    status, problem = await guest(hub, name)
    assert status == 400
    assert problem["type"] in ("/problems/bad-name", "/problems/bad-request")


async def test_problem_titles_follow_the_language_asked_for(hub):
    for language, word in (("ko-KR,ko;q=0.9", "찾을 수 없습니다"), ("en", "Not found")):
        headers = {"Accept-Language": language}
        async with hub.get("/api/v1/nothing", headers=headers) as answer:
            assert answer.content_type == "application/problem+json"
            assert (await answer.json(content_type=None))["title"] == word


async def test_a_body_that_is_not_json_is_refused(hub):
    async with hub.post("/api/v1/auth/guest", data=b"\xff{") as answer:
        assert answer.status == 400


async def test_every_page_forbids_inline_script_and_foreign_frames(hub):
    async with hub.get("/api/v1/config") as answer:
        policy = answer.headers["Content-Security-Policy"]
        assert "unsafe-inline" not in policy
        assert "frame-ancestors 'self'" in policy
        assert "microphone=(self)" in answer.headers["Permissions-Policy"]
        assert re.fullmatch("[0-9a-f]{16}", answer.headers["X-Request-Id"])


async def test_cors_admits_listed_origins_only(hub):
    asked = {"Access-Control-Request-Method": "POST"}
    headers = asked | {"Origin": "https://game.example.kr"}
    async with hub.options("/api/v1/auth/guest", headers=headers) as answer:
        assert answer.status == 204
        assert answer.headers["Access-Control-Allow-Origin"] == "https://game.example.kr"
    headers = asked | {"Origin": "https://evil.example"}
    async with hub.options("/api/v1/auth/guest", headers=headers) as answer:
        assert "Access-Control-Allow-Origin" not in answer.headers


@pytest.mark.parametrize(
    "path",
    ["/..%2f..%2fpyproject.toml", "/sdk/..%2f..%2f..%2fpyproject.toml", "/static/..%2f__init__.py"],
)
async def test_nothing_outside_the_pages_is_served(hub, config, path):
    async with hub.get(exactly(config, path)) as answer:
        assert answer.status == 404


async def test_the_report_is_for_operators(hub):
    path = "/api/v1/usage/report?month=2026-11"
    async with hub.get(path) as answer:
        assert answer.status == 401
    async with hub.get(path, headers=bearer()) as answer:
        assert answer.status == 403
    async with hub.get(path, headers=bearer(roles=["operator"])) as answer:
        report = await answer.json()
    assert set(report) == {
        "month", "zone", "currency", "complete", "as_of", "lines", "subtotal", "vat", "total",
    }  # fmt: skip
    async with hub.get(path[:-2] + "13", headers=bearer(roles=["operator"])) as answer:
        assert answer.status == 400


async def test_an_expired_token_is_told_from_a_wrong_one(hub):
    for headers, reason in (
        (bearer(ttl_s=-1), "token-expired"),
        ({"Authorization": "Bearer nonsense"}, "bad-token"),
    ):
        async with hub.get("/api/v1/usage/visit", headers=headers) as answer:
            assert answer.status == 401
            assert (await answer.json(content_type=None))["type"] == f"/problems/{reason}"


async def test_whip_without_an_sfu_is_a_503_that_says_when_to_come_back(hub):
    headers = bearer() | {"Content-Type": "application/sdp"}
    async with hub.post("/whip/lobby", data="v=0\r\n", headers=headers) as answer:
        assert answer.status == 503
        assert answer.headers["Retry-After"]


async def test_whip_respects_room_names_and_grants(hub, config):
    headers = bearer(rooms=["world/*"]) | {"Content-Type": "application/sdp"}
    for path, status in (("/whip/lobby", 403), ("/whip/world%2Fa", 503), ("/whip/a%20b", 400)):
        url = exactly(config, path)
        async with hub.post(url, data="v=0\r\n", headers=headers) as answer:
            assert answer.status == status


async def test_readiness_names_what_is_degraded(hub):
    async with hub.get("/readyz?verbose") as answer:
        state = await answer.json()
    assert state["ready"] is True
    assert "media" in state["degraded"]


async def test_media_is_diagnosed_for_operators_only(hub):
    for path in ("sfus", "rooms", "rooms/lobby"):
        async with hub.get(f"/api/v1/media/{path}", headers=bearer()) as answer:
            assert answer.status == 403
    operator = bearer(roles=["operator"])
    async with hub.get("/api/v1/media/sfus", headers=operator) as answer:
        [sfu] = (await answer.json())["sfus"]
    assert (sfu["sfu"], sfu["connected"]) == ("sfu", False)
    async with hub.get("/api/v1/media/rooms", headers=operator) as answer:
        assert await answer.json() == {"rooms": []}
    async with hub.get("/api/v1/media/rooms/lobby", headers=operator) as answer:
        assert answer.status == 404


async def test_metrics_are_served(hub):
    async with hub.get("/metrics") as answer:
        text = await answer.text()
    assert "metaport_chat_connections 0.0" in text
    assert 'metaport_sfu_up{sfu="sfu"} 0.0' in text


async def test_openapi_describes_every_rest_path(hub):
    async with hub.get("/api/v1/openapi.json") as answer:
        document = await answer.json()
    assert document["openapi"] == "3.1.0"
    assert "GuestRequest" in document["components"]["schemas"]


async def test_login_wants_the_password_of_the_first_start(hub, config):
    password = admin.reset(config.secrets_dir)
    for given, status in (("wrong", 401), (password, 200)):
        body = {"user": "admin", "password": given}
        async with hub.post("/api/v1/auth/login", json=body) as answer:
            assert answer.status == status
            opened = await answer.json(content_type=None)
    assert "admin" in Tokens(SECRET).verify(opened["token"], 0).roles


async def test_logins_are_throttled_by_address_before_anything_is_hashed(hub):
    statuses, waits = [], []
    for _ in range(15):
        async with hub.post("/api/v1/auth/login", data=b"not json") as answer:
            statuses.append(answer.status)
            waits.append(answer.headers.get("Retry-After"))
    assert statuses[:10] == [400] * 10
    assert 429 in statuses[10:]
    assert all(int(wait) >= 1 for wait in waits if wait is not None)


async def test_a_price_book_broken_while_the_hub_was_away_does_not_keep_chat_away(config, tmp_path):
    book = tmp_path / "prices.toml"
    book.write_text("nonsense", encoding="utf-8")
    broken = replace(config, usage=replace(config.usage, pricebook=book))
    async with serving(broken) as session:
        async with session.get("/readyz?verbose") as answer:
            assert answer.status == 200
            assert "prices.toml" in await answer.text()
        asked = {"headers": bearer(roles=["operator"])}
        async with session.get("/api/v1/usage/report?month=2026-11", **asked) as answer:
            assert answer.status == 503
            assert "prices.toml" in await answer.text()
        async with session.get("/api/v1/usage/visit", **asked) as answer:
            assert answer.status == 503
            assert "prices.toml" not in await answer.text()
        book.write_bytes(PRICES.read_bytes())
        async with session.get("/api/v1/usage/report?month=2026-11", **asked) as answer:
            assert answer.status == 200


async def test_a_hub_starts_without_its_database_and_says_so(config):
    """It ended with a traceback, again and again, until the database was back."""
    url = f"postgresql://nobody@127.0.0.1:{free_port()}/none"
    away = replace(config, database=replace(config.database, url=url))
    async with serving(away) as session:
        async with session.get("/readyz?verbose") as answer:
            assert answer.status == 200
        assert (await guest(session))[0] == 200
        async with asyncio.timeout(10):
            while True:
                async with session.get("/readyz?verbose") as answer:
                    if "ledger" in await answer.text():
                        break
                await asyncio.sleep(0.01)


async def join(socket, room, request_id=1):
    await socket.send_json({"t": "join", "id": request_id, "room": room})
    return await reply_to(socket, request_id)


async def reply_to(socket, request_id):
    while (frame := await socket.receive_json()).get("id") != request_id:
        pass
    return frame


@asynccontextmanager
async def talking(hub, room, **claims):
    """Open a chat connection and join a room; yields a way to ask."""
    token = bearer(**claims)["Authorization"].removeprefix("Bearer ")
    ids = itertools.count(2)
    async with hub.ws_connect("/ws", protocols=["metaport.v1.json"]) as socket:
        await socket.send_json({"t": "hello", "token": token, "v": 1})
        await socket.receive_json()
        await join(socket, room)

        async def ask(**frame):
            request_id = next(ids)
            await socket.send_json({"id": request_id, "room": room, **frame})
            return await reply_to(socket, request_id)

        yield ask


async def pages(hub, config, room, step="prev", **query):
    """Read a room over HTTP from one end to the other."""
    frames, turn = [], {"prev": "before", "next": "after"}[step]
    path = f"/api/v1/rooms/{room}/messages"
    while True:
        url = exactly(config, path).with_query(query)
        async with hub.get(url, headers=bearer()) as answer:
            assert answer.status == 200, await answer.text()
            page = await answer.json()
        frames = page["messages"] + frames if step == "prev" else frames + page["messages"]
        if page[step] is None or not page["messages"]:
            return frames
        query = query | {turn: page[step]}


async def test_a_room_is_read_back_over_http_and_websocket_alike(config):
    """Whatever a page is cut to, and whether or not the hub has been restarted meanwhile."""
    said = []
    for round_ in range(2):
        async with serving(config) as hub, talking(hub, "world/a") as ask:
            for number in range(6):
                body = {"n": number, "round": round_} if number % 2 else f"{round_}/{number}"
                sent = await ask(t="send", body=body)
                said.append((sent["offset"], body))
            newest = await ask(t="history", limit=3)
            assert [(f["offset"], f["body"]) for f in newest["messages"]] == said[-3:]
            for limit in (1, 5, 100):
                for step, query in (("prev", {}), ("next", {"after": ""})):
                    frames = await pages(hub, config, "world%2Fa", step, limit=str(limit), **query)
                    assert [(f["offset"], f["body"]) for f in frames] == said
            assert frames[-3:] == newest["messages"]


async def test_reading_a_room_wants_a_token_a_grant_and_sense(hub, config):
    path = "/api/v1/rooms/lobby/messages"
    async with hub.get(path) as answer:
        assert answer.status == 401
    async with hub.get(path, headers=bearer(rooms=["world/*"])) as answer:
        assert answer.status == 403
    async with hub.get(path, headers=bearer(rooms=["lobby"])) as answer:
        assert await answer.json() == {
            "room": "lobby", "epoch": "", "messages": [], "prev": None, "next": None
        }  # fmt: skip
    for query in (
        "limit=0", "limit=x", "limit=201", f"limit={'9' * 99}", "before=%00", "after=kgE",
        "before=한", "before=&after=", "before=k6FhAQ",
    ):  # fmt: skip
        async with hub.get(f"{path}?{query}", headers=bearer()) as answer:
            assert answer.status == 400, query
    async with hub.get(exactly(config, "/api/v1/rooms/a%20b/messages"), headers=bearer()) as answer:
        assert answer.status == 400


async def test_messages_read_over_http_are_metered(config):
    async with serving(config) as hub:
        async with talking(hub, "lobby") as ask:
            for body in "abc":
                await ask(t="send", body=body)
            await ask(t="history", limit=1)
        await pages(hub, config, "lobby")
    ledger = await open_ledger(config.database_url)
    totals = await ledger.totals(0, 2**40)
    await ledger.close()
    assert totals["chat.messages_sent"] == 3
    assert totals["chat.messages_recovered"] == 4


async def test_reading_too_fast_is_told(hub):
    path = "/api/v1/rooms/lobby/messages"

    async def attempt():
        async with hub.get(path, headers=bearer()) as answer:
            return answer.status

    statuses = await asyncio.gather(*(attempt() for _ in range(130)))
    assert statuses.count(200) >= 100
    assert statuses.count(429) >= 1


async def test_a_database_that_takes_long_to_make_its_tables_is_waited_for(
    config, postgres_url, caplog
):
    config = replace(config, database=replace(config.database, url=postgres_url))
    other = await asyncpg.connect(postgres_url)
    await other.execute("SELECT pg_advisory_lock($1)", SCHEMA_LOCK)

    async def let_go():
        async with asyncio.timeout(20):
            while True:
                waiting = "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
                if await other.fetchval(waiting):
                    break
                await asyncio.sleep(0.02)
        await asyncio.sleep(DATABASE_DEADLINE_S * 1.5)
        await other.close()

    letting = asyncio.create_task(let_go())
    async with serving(config) as hub, talking(hub, "lobby") as ask:
        assert letting.done()
        assert (await ask(t="send", body="first"))["offset"] == 1
    assert "the database is away" not in caplog.text


async def test_while_the_database_is_away_the_past_is_refused_and_then_whole(config, postgres_url):
    """Chat goes on through the outage, and what was said in it is in history afterwards."""
    name = urlsplit(postgres_url).path[1:]
    config = replace(config, database=replace(config.database, url=postgres_url))
    admin_url = postgres_url.replace(f"/{name}", "/postgres")

    async def execute(statement):
        connection = await asyncpg.connect(admin_url)
        await connection.execute(statement)
        await connection.close()

    async with serving(config) as hub, talking(hub, "lobby") as ask:
        await ask(t="send", body="before")
        await pages(hub, config, "lobby")
        await execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        await execute(
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
        )
        await ask(t="send", body="meanwhile")
        async with hub.get("/api/v1/rooms/lobby/messages", headers=bearer()) as answer:
            assert answer.status == 503
            assert answer.headers["Retry-After"] == "1"
            assert (await answer.json(content_type=None))["type"] == "/problems/history-away"
        async with asyncio.timeout(10):
            while True:
                async with hub.get("/readyz?verbose") as answer:
                    if "history" in (await answer.json())["degraded"]:
                        break
                await asyncio.sleep(0.01)
        hot = await ask(t="history", limit=2)
        assert [frame["body"] for frame in hot["messages"]] == ["before", "meanwhile"]
        cold = await ask(t="history", before={"epoch": "another", "offset": 9})
        assert cold["reason"] == "history_away"
        await execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
        async with asyncio.timeout(20):
            while True:
                async with hub.get("/api/v1/rooms/lobby/messages", headers=bearer()) as answer:
                    if answer.status == 200:
                        frames = (await answer.json())["messages"]
                        break
                await asyncio.sleep(0.05)
        assert [frame["body"] for frame in frames] == ["before", "meanwhile"]
