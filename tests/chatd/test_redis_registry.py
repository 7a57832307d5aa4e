"""Who is there, who has gone, two of one name: on a real server, by a clock turned by hand."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from chatd.redis_link import link_to
from chatd.redis_options import Times
from chatd.redis_registry import GONE_S, Registry
from tests.chatd.conftest import HandClock
from tests.chatd.redis_server import RedisServer


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    try:
        yield server.start()
    finally:
        server.kill()


class Hubs:
    """Processes that look when they are told to."""

    def __init__(self, url: str) -> None:
        self.link = link_to(url, "r", Times())
        self.clock = HandClock()
        self.gone: list[tuple[str, str]] = []

    def hub(self, process: str, name: str, home: str | None = None) -> Registry:
        return Registry(
            self.link,
            process=process,
            name=name,
            home=home or f"home of {process}",
            gone=lambda other: self.gone.append((process, other)),
            now=self.clock.monotonic,
        )

    async def look(self, *hubs: Registry, times: int = 1) -> None:
        for _ in range(times):
            self.clock.advance(3)
            for hub in hubs:
                await hub._look()


@pytest.fixture
async def hubs(server: RedisServer, tmp_path: Path) -> AsyncIterator[Hubs]:
    server.ask("FLUSHALL")
    hubs = Hubs(server.url)
    yield hubs
    await hubs.link.close()


async def test_hubs_of_different_names_know_each_other(hubs: Hubs) -> None:
    a, b = hubs.hub("1", "a"), hubs.hub("2", "b")
    assert not a.first, "nobody has looked yet"
    await hubs.look(a, b, times=3)
    assert (a.others, b.others) == (["2"], ["1"])
    assert (a.first, b.first) == (True, False)
    assert (a.rival, b.rival, a.doubtful, b.doubtful) == (None,) * 4


async def test_who_stops_beating_is_gone_after_a_while_and_not_before(hubs: Hubs) -> None:
    a, b, c = hubs.hub("1", "a"), hubs.hub("2", "b"), hubs.hub("3", "c")
    await hubs.look(a, b, c, times=2)
    await hubs.look(a, c, times=4)
    assert hubs.gone == []
    await hubs.look(a, c, times=2)
    assert sorted(hubs.gone) == [("1", "2"), ("3", "2")]
    assert a.others == ["3"]


async def test_who_leaves_is_gone_at_the_next_look(hubs: Hubs) -> None:
    a, b = hubs.hub("1", "a"), hubs.hub("2", "b")
    await hubs.look(a, b, times=2)
    await b.leave()
    await hubs.look(a)
    assert hubs.gone == [("1", "2")]


async def test_the_second_of_one_name_is_the_one_refused(hubs: Hubs) -> None:
    first, second = hubs.hub("9", "hub"), hubs.hub("1", "hub")
    await hubs.look(first)
    await hubs.look(second)
    assert second.doubtful is not None
    assert second.rival is None
    await hubs.look(first, second, times=2)
    assert second.rival is not None
    assert "'hub'" in second.rival
    assert first.rival is None


async def test_a_dead_hub_of_the_name_elsewhere_is_waited_out(hubs: Hubs) -> None:
    dead, fresh = hubs.hub("1", "hub"), hubs.hub("2", "hub")
    await hubs.look(dead)
    await hubs.look(fresh)
    assert fresh.doubtful is not None
    await hubs.look(fresh, times=int(GONE_S / 3) + 1)
    assert (fresh.doubtful, fresh.rival) == (None, None)
    assert hubs.gone == [("2", "1")]


async def test_a_restart_in_the_same_directory_waits_for_nothing(hubs: Hubs) -> None:
    before, after = hubs.hub("1", "hub", home="here"), hubs.hub("2", "hub", home="here")
    await hubs.look(before, times=3)
    await hubs.look(after)
    assert (after.doubtful, after.rival, after.others) == (None, None, [])
    assert hubs.gone == [("2", "1")]


async def test_a_copied_directory_is_found_out(hubs: Hubs) -> None:
    original, copy = hubs.hub("1", "hub", home="here"), hubs.hub("2", "hub", home="here")
    await hubs.look(original, times=2)
    await hubs.look(copy)
    await hubs.look(original, copy, times=2)
    assert copy.rival is not None
    assert original.rival is None


async def test_after_an_absence_of_redis_nobody_is_taken_for_dead(
    hubs: Hubs, server: RedisServer
) -> None:
    a, b = hubs.hub("1", "a"), hubs.hub("2", "b")
    await hubs.look(a, b, times=2)
    a._looked_at = None  # what `run` notes when Redis does not answer
    hubs.clock.advance(GONE_S * 2)
    await hubs.look(a)
    assert hubs.gone == []
    await hubs.look(b, a)
    assert a.others == ["2"]


async def test_what_another_version_wrote_is_passed_over(hubs: Hubs, server: RedisServer) -> None:
    server.ask("HSET", "r{0}hubs", b"\xff\xfe", b"\xc1", "3", b"garbage")
    a = hubs.hub("1", "a")
    await hubs.look(a, times=8)
    assert (a.others, a.rival, a.known) == ([], None, True)
