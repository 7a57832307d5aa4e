"""The bus on a cluster: slots that move under load, nodes that die."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from chatd.redis_bus import RedisBus
from chatd.redis_options import RedisOptions, Times
from chatd.redis_script import partition_of, partitions
from tests.chatd.redis_server import RedisCluster
from tests.chatd.station import Station, until

_QUICK = Times(connect_s=0.5, reply_s=0.5, retry_s=(0.02, 0.2), idle_s=0.2, probe_s=0.4, gap_s=0.05)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisCluster]:
    cluster = RedisCluster(tmp_path_factory.mktemp("cluster"))
    try:
        yield cluster.start()
    finally:
        cluster.kill()


@pytest.fixture
async def stations(cluster: RedisCluster) -> AsyncIterator[list[Station]]:
    stations = []
    for _ in range(2):
        lapsed: list[str] = []
        bus = RedisBus(cluster.url, lapsed=lapsed.append, options=RedisOptions(times=_QUICK))
        stations.append(Station(bus))
        stations[-1].lapsed_rooms = lapsed
        await bus.start()
    for station in stations:
        await until(lambda s=station: s.bus.state is None, "a connection to Redis")
    yield stations
    for station in stations:
        await station.bus.close()


async def test_a_slot_moves_under_load_and_nothing_is_lost_or_doubled(
    cluster: RedisCluster, stations: list[Station]
) -> None:
    one, two = stations
    await one.join("moving")
    await two.join("moving")
    slot = partition_of("moving", partitions("metaport", True)).slot
    source = cluster.owner(slot)
    target = next(node for node in cluster.nodes if node is not source)
    moving = asyncio.create_task(asyncio.to_thread(cluster.move, slot, target))
    said = 0
    while not moving.done() or said < 40:
        for station in stations:
            station.bus.publish([station.draft("moving", said)])
            said += 1
        await asyncio.sleep(0.002)
    await moving
    await until(lambda: len(one.receipts) + len(two.receipts) == said, "every receipt")
    await until(lambda: len(one.heard) == len(two.heard) == said, "every message")
    assert cluster.owner(slot) is target
    assert one.offsets("moving") == two.offsets("moving") == list(range(1, said + 1))
    assert sorted(map(str, one.bodies("moving"))) == sorted(map(str, range(said)))
    assert not one.refused_drafts
    assert not one.lapsed_rooms
    # The subscription has moved too.
    await two.say("moving", "after")
    await until(lambda: one.bodies("moving")[-1] == "after", "the message")


async def test_a_slot_that_moves_to_and_fro_is_heard_each_time(
    cluster: RedisCluster, stations: list[Station]
) -> None:
    """Nobody compares positions here: what is published is heard, or read once it may have been.

    One of six moves left a process deaf: its node let go of the channel before the topology named
    another, or confirmed the next subscription while an earlier reading was under way.
    """
    one, two = stations
    await one.join("roving")
    await two.join("roving")
    slot = partition_of("roving", partitions("metaport", True)).slot
    said = 0
    for _ in range(20):
        source = cluster.owner(slot)
        target = next(node for node in cluster.nodes if node is not source)
        moving = asyncio.create_task(asyncio.to_thread(cluster.move, slot, target))
        while not moving.done():
            for station in stations:
                station.bus.publish([station.draft("roving", said)])
                said += 1
            await asyncio.sleep(0.002)
        await moving
        await until(lambda: len(one.heard) == len(two.heard) == said, "every message")  # noqa: B023
    assert one.offsets("roving") == two.offsets("roving") == list(range(1, said + 1))


def test_tags_hash_to_the_slots_redis_says(cluster: RedisCluster) -> None:
    for partition in partitions("metaport", True)[::16]:
        key = partition.key(b"room:x")
        assert cluster.nodes[0].ask("CLUSTER", "KEYSLOT", key) == partition.slot


async def test_a_dead_node_takes_only_its_own_rooms_away(
    cluster: RedisCluster, stations: list[Station]
) -> None:
    one, two = stations
    for node in cluster.nodes:
        node.ask("CONFIG", "SET", "cluster-require-full-coverage", "no")
    all_partitions = partitions("metaport", True)
    rooms = [f"room-{index}" for index in range(12)]
    owned = {room: cluster.owner(partition_of(room, all_partitions).slot) for room in rooms}
    victim = owned[rooms[0]]
    for room in rooms:
        await one.join(room)
        await two.join(room)
    victim.kill()
    await until(lambda: one.bus.state is not None, "the news")
    for room in rooms:
        if owned[room] is not victim:
            await one.say(room, "alive")
    unsure, refused = one.draft(rooms[0], "unsure"), one.draft(rooms[0], "refused")
    one.bus.publish([unsure])
    await asyncio.sleep(0)
    one.bus.publish([refused])
    await until(lambda: one.is_refused(refused), "a refusal")
    victim.start()
    await until(lambda: one.bus.state is None and two.bus.state is None, "good news", within_s=20)
    for room in rooms:
        await one.say(room, "again")
    await until(lambda: all(two.bodies(room)[-1:] == ["again"] for room in rooms), "the messages")
