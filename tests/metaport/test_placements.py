"""One suite over every store of placements: `make` gives a store whose clock is moved by hand."""

import asyncio

import pytest

from metaport.placements import LEASE_S, LocalPlacements, PlacementsAway
from metaport.redis_placements import RedisPlacements, RedisRegistry
from tests.chatd.redis_server import RedisServer, free_port, wait_for


class Local:
    """Placements of one process, and their clock."""

    def __init__(self):
        self.now = 1000.0
        self.store = LocalPlacements(lambda: self.now)

    def another(self):
        """Return the store as another hub process sees it: here there is only one."""
        return self.store

    async def pass_lease(self, room):
        self.now += LEASE_S + 1

    async def close(self):
        pass


class OnRedis:
    """Placements of two hub processes on a Redis of their own."""

    LEASE_S = 0.3

    def __init__(self, url):
        self.store = RedisPlacements(url, f"t{next(NUMBERS)}:", lease_s=self.LEASE_S)
        self._other = RedisPlacements(url, f"t{NUMBERS.last}:", lease_s=self.LEASE_S)

    def another(self):
        return self._other

    async def pass_lease(self, room):
        async with asyncio.timeout(10):
            while await self.store.find(room):  # noqa: ASYNC110 - the server's own clock
                await asyncio.sleep(0.02)

    async def close(self):
        await self.store.close()
        await self._other.close()


class Numbers:
    """Prefixes, so that tests share a server and no keys."""

    last = 0

    def __next__(self):
        self.last += 1
        return self.last


NUMBERS = Numbers()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.launch()
    wait_for(server.answers, "redis")
    yield server
    server.kill()


@pytest.fixture(params=["local", "redis"])
async def kept(request):
    kept = Local() if request.param == "local" else OnRedis(request.getfixturevalue("server").url)
    yield kept
    await kept.close()


async def test_a_room_is_nowhere_until_it_is_placed(kept):
    assert await kept.store.find("방/1") is None
    assert await kept.store.place("방/1", "sfu", None) == "sfu"
    assert await kept.another().find("방/1") == "sfu"


async def test_of_two_who_place_one_wins_and_both_hear_of_it(kept):
    placed = await asyncio.gather(
        kept.store.place("lobby", "sfu", None), kept.another().place("lobby", "sfu-1", None)
    )
    assert placed[0] == placed[1] == await kept.store.find("lobby")


async def test_a_room_is_moved_once_by_those_who_saw_it_at_the_same_place(kept):
    await kept.store.place("lobby", "sfu", None)
    assert await kept.store.place("lobby", "sfu-1", "sfu") == "sfu-1"
    assert await kept.another().place("lobby", "sfu-2", "sfu") == "sfu-1"
    assert await kept.another().place("lobby", "sfu-2", None) == "sfu-1"


async def test_a_room_that_was_forgotten_meanwhile_can_be_moved(kept):
    assert await kept.store.place("lobby", "sfu-1", "sfu") == "sfu-1"


async def test_a_lease_nobody_renews_ends(kept):
    await kept.store.place("old", "sfu", None)
    await kept.pass_lease("old")
    assert await kept.store.find("old") is None
    assert await kept.another().place("old", "sfu-1", None) == "sfu-1"


async def test_renewing_keeps_rooms_and_tells_which_are_elsewhere(kept):
    await kept.store.place("lobby", "sfu", None)
    await kept.another().place("hall", "sfu-1", None)
    assert await kept.store.renew("sfu", ["lobby", "hall", "new"]) == {"hall": "sfu-1"}
    assert await kept.store.find("hall") == "sfu-1"
    assert await kept.another().find("new") == "sfu"
    assert await kept.store.renew("sfu", []) == {}


async def test_a_redis_that_is_away_is_told():
    store = RedisPlacements(f"redis://127.0.0.1:{free_port()}", "t:")
    with pytest.raises(PlacementsAway):
        await store.find("lobby")
    with pytest.raises(PlacementsAway):
        await store.renew("sfu", ["lobby"])
    await store.close()


async def test_many_rooms_are_renewed(server):
    store = RedisPlacements(server.url, "many:")
    rooms = [f"room-{number}" for number in range(1_200)]
    await store.place("room-700", "sfu-1", None)
    assert await store.renew("sfu", rooms) == {"room-700": "sfu-1"}
    assert await store.find("room-1199") == "sfu"
    await store.close()


async def test_sfus_are_registered_for_a_lease(server):
    registry = RedisRegistry(server.url, "reg:", lease_s=0.2)
    lasting = RedisRegistry(server.url, "reg:")
    assert await registry.registered() == {}
    await registry.register("a/sfu", "10.0.0.1:7900")
    await lasting.register("b/sfu", "[2001:db8::1]:7900")
    both = {"a/sfu": "10.0.0.1:7900", "b/sfu": "[2001:db8::1]:7900"}
    assert await lasting.registered() == both
    async with asyncio.timeout(10):
        while await lasting.registered() == both:  # noqa: ASYNC110 - the server's clock
            await asyncio.sleep(0.02)
    assert await lasting.registered() == {"b/sfu": both["b/sfu"]}
    await lasting.forget("b/sfu")
    assert await registry.registered() == {}
    await registry.close()
    await lasting.close()
