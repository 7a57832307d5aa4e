"""What every `chatd.bus.Bus` does: one suite over the local bus and over real Redis servers."""

import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from chatd.bus import Bus, LocalBus, Publication, Retention
from chatd.recovery import settle
from chatd.redis_bus import RedisBus
from chatd.redis_options import Kept, RedisOptions
from chatd.wire import MSGPACK, Since
from tests.chatd.redis_server import RedisCluster, RedisServer, SentinelSet
from tests.chatd.station import Station, bodies, until

_SERVERS = {"redis": RedisServer, "sentinel": SentinelSet, "cluster": RedisCluster}


@pytest.fixture(scope="session", params=["local", *_SERVERS])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RedisServer | SentinelSet | RedisCluster | None]:
    if request.param == "local":
        yield None
        return
    server = _SERVERS[request.param](tmp_path_factory.mktemp(request.param))
    try:
        yield server.start()
    finally:
        server.kill()


@asynccontextmanager
async def _open(server: RedisServer | None, kept_messages: int = 1000) -> AsyncIterator[Bus]:
    if server is None:
        yield LocalBus(retention=Retention(room_messages=kept_messages))
        return
    # A prefix of its own: the server is shared by the tests.
    options = RedisOptions(prefix=secrets.token_hex(4), kept=Kept(room_messages=kept_messages))
    bus = RedisBus(server.url, lapsed=lambda room: pytest.fail(f"{room} lapsed"), options=options)
    await bus.start()
    try:
        await until(lambda: bus.state is None, "a connection to Redis")
        yield bus
    finally:
        await bus.close()


@pytest.fixture
async def station(server: RedisServer | None) -> AsyncIterator[Station]:
    async with _open(server) as bus:
        yield Station(bus)


async def test_a_new_room_is_empty_and_opened_once(station: Station) -> None:
    page = await station.join("lobby")
    again = await station.ask("lobby", history=10)
    assert (page.offset, page.recovered, list(page.entries)) == (0, False, [])
    assert again is not None
    assert again.epoch == page.epoch
    assert [(fact.room, fact.epoch, fact.offset) for fact in station.opened_rooms] == [
        ("lobby", page.epoch, 0)
    ]


async def test_offsets_are_dense_from_one_and_receipts_say_where(station: Station) -> None:
    page = await station.join("lobby")
    receipts = await station.say("lobby", "a", "b") + await station.say("lobby", "c")
    await until(lambda: len(station.heard) == 3, "three messages")
    assert station.bodies("lobby") == ["a", "b", "c"]
    assert station.offsets("lobby") == [1, 2, 3] == [receipt.offset for receipt in receipts]
    assert {publication.epoch for publication in station.heard} == {page.epoch}
    for publication, receipt in zip(station.heard, receipts, strict=True):
        message = publication.message
        assert (message.id, message.at) == (receipt.message_id, receipt.at_ms)
        assert (message.from_, message.name) == ("visitor", "Visitor")
    assert len({receipt.message_id for receipt in receipts}) == 3


async def test_a_publication_carries_its_frame(station: Station) -> None:
    await station.join("광장/1")
    body = {"text": "안녕하세요", "n": -(2**53) + 1, "x": [1.5, None, True, {"y": "z" * 300}]}
    await station.say("광장/1", body)
    await until(lambda: station.heard, "the message")
    assert station.heard[0].message.body == body
    assert station.heard[0].packed == MSGPACK.encode(station.heard[0].message)


async def test_rooms_count_for_themselves(station: Station) -> None:
    rooms = [f"room-{index}" for index in range(20)]
    for room in rooms:
        await station.join(room)
    station.bus.publish([station.draft(room, n) for n in range(3) for room in rooms])
    await until(lambda: len(station.receipts) == 60, "sixty receipts")
    await until(lambda: len(station.heard) == 60, "sixty messages")
    for room in rooms:
        assert station.offsets(room) == [1, 2, 3]
        assert station.bodies(room) == [0, 1, 2]


async def test_a_key_gives_one_place_to_the_first_body(station: Station) -> None:
    await station.join("lobby")
    first, within_batch = await station.say("lobby", "first", "second", key="k")
    (later,) = await station.say("lobby", "third", key="k")
    assert (first.offset, first.message_id, first.at_ms) == (
        later.offset,
        later.message_id,
        later.at_ms,
    )
    assert within_batch.offset == first.offset
    await station.say("lobby", "other")
    await until(lambda: len(station.heard) == 2, "two messages")
    assert station.bodies("lobby") == ["first", "other"]
    assert station.heard[0].key == "k"


async def test_a_key_belongs_to_its_user_and_room(station: Station) -> None:
    await station.join("lobby")
    await station.join("hall")
    station.bus.publish(
        [
            station.draft("lobby", 1, user="visitor", key="k"),
            station.draft("lobby", 2, user="host", key="k"),
            station.draft("hall", 3, user="visitor", key="k"),
        ]
    )
    await until(lambda: len(station.heard) == 3, "three messages")
    assert station.bodies("lobby") == [1, 2]
    assert station.bodies("hall") == [3]


async def test_recovery_is_everything_after_the_last_seen(station: Station) -> None:
    page = await station.join("lobby")
    await station.say("lobby", *range(1, 11))
    recovered = await station.ask("lobby", Since(page.epoch, 4))
    assert recovered is not None
    assert (recovered.recovered, recovered.offset) == (True, 10)
    assert bodies(recovered) == [5, 6, 7, 8, 9, 10]
    assert [entry.offset for entry in recovered.entries] == [5, 6, 7, 8, 9, 10]
    nothing = await station.ask("lobby", Since(page.epoch, 10))
    assert nothing is not None
    assert (nothing.recovered, list(nothing.entries)) == (True, [])


@pytest.mark.parametrize("offset", [0, 3, 11])
async def test_another_epoch_recovers_nothing(station: Station, offset: int) -> None:
    await station.join("lobby")
    await station.say("lobby", 1, 2, 3)
    page = await station.ask("lobby", Since("another", offset))
    assert page is not None
    assert (page.recovered, page.offset, list(page.entries)) == (False, 3, [])


async def test_an_offset_above_the_top_recovers_nothing(station: Station) -> None:
    page = await station.join("lobby")
    await station.say("lobby", 1, 2, 3)
    above = await station.ask("lobby", Since(page.epoch, 4))
    assert above is not None
    assert (above.recovered, above.offset, list(above.entries)) == (False, 3, [])


async def test_history_is_the_last_messages(station: Station) -> None:
    await station.join("lobby")
    await station.say("lobby", *range(10))
    for count, expected in ((0, []), (3, [7, 8, 9]), (50, list(range(10)))):
        page = await station.ask("lobby", history=count)
        assert page is not None
        assert (page.recovered, bodies(page)) == (False, expected)


async def test_a_room_goes_on_when_everybody_comes_back(station: Station) -> None:
    page = await station.join("lobby")
    await station.say("lobby", 1, 2)
    station.bus.unsubscribe("lobby")
    back = await station.join("lobby", Since(page.epoch, 1))
    assert (back.epoch, back.offset, back.recovered, bodies(back)) == (page.epoch, 2, True, [2])
    (receipt,) = await station.say("lobby", 3)
    assert receipt.offset == 3


async def test_what_is_kept_is_recovered_whole_or_not_at_all(
    server: RedisServer | SentinelSet | RedisCluster | None,
) -> None:
    async with _open(server, kept_messages=20) as bus:
        station = Station(bus)
        page = await station.join("lobby")
        # Redis trims by whole nodes of a stream, 100 entries.
        for start in range(0, 400, 100):
            await station.say("lobby", *range(start, start + 100))
        station.bus.unsubscribe("lobby")
        near = await station.join("lobby", Since(page.epoch, 380))
        assert (near.recovered, len(near.entries)) == (True, 20)
        far = await station.ask("lobby", Since(page.epoch, 10))
        assert far is not None
        assert (far.recovered, far.offset, list(far.entries)) == (False, 400, [])


async def test_a_join_among_messages_has_neither_gap_nor_repeat(station: Station) -> None:
    page = await station.join("lobby")
    first_epoch = page.epoch
    for _ in range(10):
        held: list[Publication] = []
        before = len(station.heard)
        station.bus.publish([station.draft("lobby", n) for n in range(7)])
        answers: list[object] = []
        since = Since(first_epoch, 0)
        station.bus.read("lobby", since, 0, answers.append)
        station.bus.publish([station.draft("lobby", n) for n in range(7)])
        await until(lambda a=answers: a, "an answer")
        answered_at = len(station.heard)
        held = station.heard[before:answered_at]
        joined = settle(answers[0], held, since, 0)
        assert joined.recovered
        assert [entry.offset for entry in joined.entries] == list(range(1, joined.offset + 1))
        expected = before + 14
        await until(lambda e=expected: len(station.heard) == e, "the rest")
        live = [publication.message.offset for publication in station.heard[answered_at:]]
        assert live == list(range(joined.offset + 1, expected + 1))
