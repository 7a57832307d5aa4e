"""News between processes: one suite over the local signals and over real Redis servers."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from chatd.redis_bus import RedisBus
from chatd.redis_options import RedisOptions, Times
from chatd.signals import LocalSignals, Signals
from tests.chatd.redis_server import RedisCluster, RedisServer
from tests.chatd.station import Station, until

Ends = tuple[Signals, Signals, Signals]
QUICK = Times(connect_s=0.5, reply_s=0.5, retry_s=(0.02, 0.1), idle_s=0.1, probe_s=0.3)
_SERVERS = {"redis": RedisServer, "cluster": RedisCluster}


@pytest.fixture(scope="module", params=["local", *_SERVERS])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RedisServer | RedisCluster | None]:
    if request.param == "local":
        yield None
        return
    server = _SERVERS[request.param](tmp_path_factory.mktemp(request.param))
    try:
        yield server.start()
    finally:
        server.kill()


@asynccontextmanager
async def _buses(url: str, count: int) -> AsyncIterator[list[RedisBus]]:
    options = RedisOptions(prefix=secrets.token_hex(4), times=QUICK)
    buses = [RedisBus(url, lapsed=lambda _: None, options=options) for _ in range(count)]
    try:
        for bus in buses:
            Station(bus)
            await bus.start()
        await until(lambda: all(bus.state is None for bus in buses), "connections to Redis")
        yield buses
    finally:
        for bus in buses:
            await bus.close()


@pytest.fixture
async def ends(server: RedisServer | RedisCluster | None) -> AsyncIterator[Ends]:
    """Three processes."""
    if server is None:
        first = LocalSignals()
        yield first, first.beside(), first.beside()
        return
    async with _buses(server.url, 3) as (a, b, c):
        yield a.signals, b.signals, c.signals


async def _hear(signals: Signals, topic: str) -> list[bytes]:
    """Hear a topic; return once everything told from now on is heard."""
    heard: list[bytes] = []
    ready: list[bool] = []
    signals.hear(topic, heard.append, lambda: ready.append(True))
    await until(lambda: ready, "the topic is heard")
    return heard


async def test_everybody_else_hears_news_in_order(ends: Ends) -> None:
    a, b, c = ends
    by_a, by_b = await _hear(a, "revoked"), await _hear(b, "revoked")
    by_c = await _hear(c, "another")
    told = [f"news {n} 소식".encode() for n in range(500)]
    for news in told:
        a.tell("revoked", news)
    await until(lambda: len(by_b) >= 500, "all the news")
    b.tell("revoked", b"")
    await until(lambda: by_a, "the answer")
    assert (by_a, by_b, by_c) == ([b""], told, [])


async def test_who_stops_hearing_hears_nothing_more(ends: Ends) -> None:
    a, b, _ = ends
    heard, other = await _hear(b, "one"), await _hear(b, "two")
    b.unhear("one")
    b.unhear("one")
    a.tell("one", b"late")
    a.tell("two", b"mark")
    await until(lambda: other, "the mark")
    assert heard == []


async def test_hearing_again_replaces_who_is_called(ends: Ends) -> None:
    a, b, _ = ends
    first = await _hear(b, "one")
    second = await _hear(b, "one")
    a.tell("one", b"news")
    await until(lambda: second, "the news")
    assert (first, second) == ([], [b"news"])


async def test_a_listener_that_fails_harms_nobody(tmp_path: Path) -> None:
    server = RedisServer(tmp_path).start()
    try:
        async with _buses(server.url, 2) as (a, b):
            a_signals, b_signals = a.signals, b.signals
            other = await _hear(b_signals, "two")
            await _hear(b_signals, "one")

            def fail(news: bytes) -> None:
                raise ValueError(news)

            b_signals.hear("one", fail)
            a_signals.tell("one", b"\xff")
            a_signals.tell("two", b"mark")
            await until(lambda: other, "the mark")
            assert b.state is None
    finally:
        server.kill()


async def test_news_may_be_missed_while_redis_is_away_and_that_is_told(tmp_path: Path) -> None:
    server = RedisServer(tmp_path).start()
    try:
        async with _buses(server.url, 2) as (a, b):
            heard: list[bytes] = []
            regained: list[bool] = []
            b.signals.hear("one", heard.append, lambda: regained.append(True))
            await until(lambda: regained, "the topic is heard")
            server.kill()
            await until(lambda: a.state and b.state, "Redis is away")
            a.signals.tell("one", b"lost")
            await until(lambda: a.signals.dropped == 1, "the news are dropped")
            server.start()
            await until(lambda: len(regained) == 2, "the topic is heard again")
            a.signals.tell("one", b"found")
            await until(lambda: heard, "the news")
            assert heard == [b"found"]
    finally:
        server.kill()


async def test_what_waits_is_bounded(tmp_path: Path) -> None:
    server = RedisServer(tmp_path).start()
    try:
        async with _buses(server.url, 2) as (a, b):
            heard = await _hear(b.signals, "one")
            for number in range(200):
                a.signals.tell("one", b"%03d" % number + b"x" * 60_000)
            await until(lambda: len(heard) + a.signals.dropped == 200, "all are told or dropped")
            assert a.signals.dropped > 0
            assert [news[:3] for news in heard] == [
                b"%03d" % number for number in range(a.signals.dropped, 200)
            ]
            await asyncio.sleep(0)
    finally:
        server.kill()
