"""The bus on a primary watched by Sentinels, through fail-overs."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from chatd.redis_bus import RedisBus
from chatd.redis_options import Durability, RedisOptions, Times
from chatd.wire import Since
from tests.chatd.redis_server import SentinelSet
from tests.chatd.station import Station, bodies, until

_QUICK = Times(connect_s=0.5, reply_s=0.5, retry_s=(0.02, 0.2), idle_s=0.2, probe_s=0.4, gap_s=0.05)


@pytest.fixture
def sentinels(tmp_path: Path) -> Iterator[SentinelSet]:
    sentinels = SentinelSet(tmp_path)
    try:
        yield sentinels.start()
    finally:
        sentinels.kill()


@pytest.fixture
async def stations(sentinels: SentinelSet) -> AsyncIterator[list[Station]]:
    options = RedisOptions(times=_QUICK, durability=Durability(replicas=1))
    stations = []
    for _ in range(2):
        lapsed: list[str] = []
        bus = RedisBus(sentinels.url, lapsed=lapsed.append, options=options)
        stations.append(Station(bus))
        stations[-1].lapsed_rooms = lapsed
        await bus.start()
    for station in stations:
        await until(lambda s=station: s.bus.state is None, "a connection to Redis")
    yield stations
    for station in stations:
        await station.bus.close()


@pytest.mark.parametrize("fault", ["kill", "freeze"])
async def test_after_a_failover_the_epoch_is_new_and_every_draft_has_one_outcome(
    sentinels: SentinelSet, stations: list[Station], fault: str
) -> None:
    one, two = stations
    page = await one.join("lobby")
    await two.join("lobby")
    await one.say("lobby", "before")
    await until(lambda: two.heard, "the message")
    primary = sentinels.primary()
    (primary.kill if fault == "kill" else primary.freeze)()
    unsure = one.draft("lobby", "unsure")
    one.bus.publish([unsure])
    await until(lambda: one.bus.state is not None and two.bus.state is not None, "the news")

    await until(lambda: sentinels.primary() is not primary, "a promotion", within_s=20)
    # WAIT needs the other replica, which a Sentinel may send to the new primary only with its next
    # look, after 10 s.
    await until(lambda: one.bus.state is None and two.bus.state is None, "good news", within_s=30)
    await until(lambda: one.lapsed_rooms and two.lapsed_rooms, "the new epoch")
    await until(lambda: one.receipt(unsure) or one.is_refused(unsure), "an outcome")
    assert one.is_refused(unsure)
    again = await one.ask("lobby", Since(page.epoch, 1))
    assert again is not None
    assert again.epoch != page.epoch
    assert not again.recovered

    if fault == "freeze":
        # What was stuck in its sockets is done by a server nobody asks any more.
        primary.thaw()
        await until(primary.answers, "its awakening")
    (receipt,) = await two.say("lobby", "after")
    assert receipt.offset == 1
    await until(lambda: one.bodies("lobby")[-1] == "after", "the message")
    assert one.bodies("lobby") == two.bodies("lobby") == ["before", "after"]
    recovered = await one.ask("lobby", Since(again.epoch, 0))
    assert recovered is not None
    assert recovered.recovered
    assert bodies(recovered) == ["after"]
    counts = await one.bus.sent_counts(receipt.at_ms / 1000 - 60)
    # Both were acknowledged, under two generations; WAIT saw the first reach the replica.
    assert sorted(count.count for count in counts) == [1, 1]
    assert sorted(count.body_bytes for count in counts) == [len("after"), len("before")]
    assert len({count.generation for count in counts}) == 2
