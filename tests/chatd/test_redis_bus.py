"""The bus on one Redis server: several processes, and everything that can happen to them."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
import redis
import uvloop

from chatd.bus import Draft, Publication, Receipt
from chatd.errors import BUS_AWAY, BusAway, FactsRefused
from chatd.redis_bus import RedisBus
from chatd.redis_options import Durability, Kept, RedisOptions, Times
from chatd.redis_script import WINDOW_S, parcel_of, partitions, place_of, publish_command
from chatd.wire import Since
from tests.chatd.conftest import HandClock
from tests.chatd.redis_server import RedisServer, wait_for
from tests.chatd.station import Station, bodies, until
from tests.chatd.tcp_proxy import TcpProxy

QUICK = Times(
    connect_s=0.5, reply_s=0.5, retry_s=(0.02, 0.1), idle_s=0.1, probe_s=0.3, gap_s=0.02, join_s=1.0
)

Opener = Callable[..., Awaitable[Station]]


@pytest.fixture
def server(tmp_path: Path):
    server = RedisServer(tmp_path).start()
    yield server
    server.kill()


@pytest.fixture
async def proxy(server: RedisServer) -> AsyncIterator[TcpProxy]:
    proxy = await TcpProxy(server.port).start()
    yield proxy
    await proxy.close()


@pytest.fixture
async def open_station() -> AsyncIterator[Opener]:
    """Open processes at a bus; `wait=False` for one that cannot connect."""
    async with AsyncExitStack() as stack:

        async def open_one(
            url: str, options: RedisOptions | None = None, *, clock=time, wait: bool = True
        ) -> Station:
            lapsed: list[str] = []
            bus = RedisBus(
                url,
                lapsed=lapsed.append,
                options=options or RedisOptions(times=QUICK),
                clock=clock,
            )
            station = Station(bus)
            station.lapsed_rooms = lapsed
            await bus.start()
            stack.push_async_callback(bus.close)
            if wait:
                await until(lambda: bus.state is None, "a connection to Redis")
            return station

        yield open_one


async def _sweeping(station: Station, condition: Callable[[], object], what: str) -> None:
    def swept() -> object:
        station.bus.sweep(time.monotonic())
        return condition()

    await until(swept, what)


# Several processes.


async def test_two_processes_hear_the_same_in_the_same_order(
    server: RedisServer, open_station: Opener
) -> None:
    one, two = await open_station(server.url), await open_station(server.url)
    assert (await one.join("lobby")).epoch == (await two.join("lobby")).epoch
    for turn in range(20):
        for station in (one, two):
            station.bus.publish([station.draft("lobby", (turn, n)) for n in range(5)])
        await asyncio.sleep(0)
    await until(lambda: len(one.heard) == len(two.heard) == 200, "two hundred messages")
    assert one.offsets("lobby") == two.offsets("lobby") == list(range(1, 201))
    assert [p.packed for p in one.heard] == [p.packed for p in two.heard]
    assert len(one.receipts) == len(two.receipts) == 100


async def test_a_key_is_one_place_across_processes(
    server: RedisServer, open_station: Opener
) -> None:
    one, two = await open_station(server.url), await open_station(server.url)
    await one.join("lobby")
    await two.join("lobby")
    (first,) = await one.say("lobby", "first", key="k")
    (second,) = await two.say("lobby", "second", key="k")
    assert (first.message_id, first.at_ms) == (second.message_id, second.at_ms)
    await two.say("lobby", "end")
    await until(lambda: len(one.heard) == len(two.heard) == 2, "two messages")
    assert one.bodies("lobby") == two.bodies("lobby") == ["first", "end"]


async def test_sent_messages_and_their_bytes_are_counted_once_by_user_room_and_window(
    server: RedisServer, open_station: Opener
) -> None:
    one, two = await open_station(server.url), await open_station(server.url)
    for room in ("lobby", "hall\u00e9"):
        await one.join(room)
        await two.join(room)
    started = time.time()
    await one.say("lobby", "a", "bc", {"text": "def"})
    await two.say("lobby", "")
    await two.say("lobby", "\uc548\ub155", "again", key="k")
    await one.say("hall\u00e9", "g")
    counts = await one.bus.sent_counts(started)
    sums: Counter[tuple[str, str]] = Counter()
    sizes: Counter[tuple[str, str]] = Counter()
    for count in counts:  # a window may end between them
        sums[count.room, count.user] += count.count
        sizes[count.room, count.user] += count.body_bytes
    assert sums == {("lobby", "visitor"): 5, ("hall\u00e9", "visitor"): 1}
    # MessagePack of the map is 10 bytes, the two syllables are 6.
    assert sizes == {("lobby", "visitor"): 1 + 2 + 10 + 6, ("hall\u00e9", "visitor"): 1}
    assert {count.window_start_s % WINDOW_S for count in counts} == {0}
    assert counts == await two.bus.sent_counts(started)


async def test_those_who_left_still_get_their_receipts(
    server: RedisServer, open_station: Opener
) -> None:
    station = await open_station(server.url)
    await station.join("lobby")
    draft = station.draft("lobby", "goodbye")
    station.bus.publish([draft])
    station.bus.unsubscribe("lobby")
    await until(lambda: station.receipt(draft), "a receipt")
    assert station.bodies("lobby") == ["goodbye"]


async def test_a_machine_whose_clock_is_hours_off_is_served(
    server: RedisServer, open_station: Opener
) -> None:
    class LateClock:
        def monotonic(self) -> float:
            return time.monotonic()

        def time(self) -> float:
            return time.time() - 7 * 3600

    station = await open_station(server.url, clock=LateClock())
    station.bus.subscribe("lobby")
    # Published before anything told the server's time.
    draft = station.draft("lobby", 1)
    station.bus.publish([draft])
    await until(lambda: station.receipt(draft), "a receipt")
    receipt = station.receipt(draft)
    assert receipt is not None
    assert abs(receipt.at_ms / 1000 - time.time()) < 60


async def test_a_room_is_trimmed_by_bytes_and_by_age(
    server: RedisServer, open_station: Opener
) -> None:
    by_bytes = RedisOptions(times=QUICK, kept=Kept(room_bytes=50_000))
    station = await open_station(server.url, by_bytes)
    await station.join("lobby")
    for _ in range(4):
        await station.say("lobby", *(["x" * 1000] * 64))
    assert server.ask("XLEN", "metaport{0}log:lobby") in range(44, 50)
    by_age = RedisOptions(times=QUICK, prefix="aged", kept=Kept(message_s=0.2))
    station = await open_station(server.url, by_age)
    await station.join("lobby")
    await station.say("lobby", *range(63))
    await until(lambda: not server.ask("EXISTS", "aged{0}log:lobby"), "the stream's end")
    await station.say("lobby", *range(10))
    assert server.ask("XLEN", "aged{0}log:lobby") == 10


async def test_this_process_keeps_only_so_much(server: RedisServer, open_station: Opener) -> None:
    options = RedisOptions(times=QUICK, kept=Kept(process_bytes=5000))
    station = await open_station(server.url, options)
    page = await station.join("lobby")
    await station.say("lobby", *(["x" * 1000] * 10))
    assert station.bus.history_bytes > 5000
    station.bus.sweep(time.monotonic())
    assert station.bus.history_bytes == 0
    again = await station.ask("lobby", Since(page.epoch, 0))
    assert again is not None
    assert (again.recovered, len(again.entries)) == (True, 10)


# The server forgets or refuses.


async def test_a_flushed_script_is_loaded_again(server: RedisServer, open_station: Opener) -> None:
    station = await open_station(server.url)
    await station.join("lobby")
    await station.say("lobby", 1)
    server.ask("SCRIPT", "FLUSH")
    await station.say("lobby", 2, 3)
    assert station.offsets("lobby") == [1, 2, 3]
    assert not station.refused_drafts


async def test_a_room_whose_place_is_gone_begins_again_and_everybody_is_told(
    server: RedisServer, open_station: Opener
) -> None:
    one, two = await open_station(server.url), await open_station(server.url)
    page = await one.join("lobby")
    await two.join("lobby")
    await one.say("lobby", 1, 2)
    server.ask("DEL", "metaport{0}room:lobby")
    (receipt,) = await two.say("lobby", 3)
    await until(lambda: one.lapsed_rooms and two.lapsed_rooms, "the news")
    assert receipt.offset == 1
    again = await one.ask("lobby", Since(page.epoch, 1))
    assert again is not None
    assert again.epoch != page.epoch
    assert (again.recovered, again.offset) == (False, 1)
    await until(lambda: two.bodies("lobby")[-1] == 3, "the sender's own message in its log")
    await two.say("lobby", 4)
    await until(lambda: one.bodies("lobby")[-1] == two.bodies("lobby")[-1] == 4, "the message")


async def test_a_full_server_refuses_and_nothing_has_happened(
    server: RedisServer, open_station: Opener
) -> None:
    station = await open_station(server.url)
    await station.join("lobby")
    await station.say("lobby", 1)
    server.ask("CONFIG", "SET", "maxmemory", "1")
    draft = station.draft("lobby", 2)
    station.bus.publish([draft])
    await until(lambda: station.is_refused(draft), "a refusal")
    server.ask("CONFIG", "SET", "maxmemory", "0")
    (receipt,) = await station.say("lobby", 3)
    assert receipt.offset == 2
    assert station.bodies("lobby") == [1, 3]


async def test_replicas_are_waited_for(
    server: RedisServer, open_station: Opener, tmp_path: Path
) -> None:
    options = RedisOptions(times=QUICK, durability=Durability(replicas=1, wait_ms=100))
    server.ask("CONFIG", "SET", "repl-diskless-sync-delay", "0")
    station = await open_station(server.url, options)
    await station.join("lobby")
    draft = station.draft("lobby", 1)
    station.bus.publish([draft])
    await until(lambda: "replicas" in (station.bus.state or ""), "the news")
    assert not station.receipts
    later = station.draft("lobby", 2)
    station.bus.publish([later])
    assert station.is_refused(later)
    follow = ("--replicaof", f"127.0.0.1 {server.port}")
    replica = RedisServer(tmp_path / "replica", *follow)
    try:
        replica.launch()
        await until(lambda: station.receipt(draft), "a receipt")
        await until(lambda: station.bus.state is None, "good news")
        await station.say("lobby", 3)
        assert station.bodies("lobby") == [1, 3]
    finally:
        replica.kill()


async def test_the_listener_that_refuses_is_asked_again_and_nobody_joins_past_it(
    server: RedisServer, open_station: Opener
) -> None:
    one, two = await open_station(server.url), await open_station(server.url)
    page = await one.join("lobby")
    await two.join("lobby")
    one.refusal = FactsRefused("disk full", retry_after_ms=50)
    draft = one.draft("lobby", 1)
    one.bus.publish([draft])
    await two.join("lobby")
    await until(lambda: "facts" in (one.bus.state or ""), "the news")
    refused = one.draft("lobby", "refused")
    one.bus.publish([refused])
    assert one.is_refused(refused)
    await two.say("lobby", 2)
    answers: list[object] = []
    one.bus.read("lobby", Since(page.epoch, 0), 0, answers.append)
    await two.say("lobby", 3)
    assert not answers
    assert not one.receipts
    one.refusal = None
    await until(lambda: answers and one.receipt(draft), "the answers")
    await until(lambda: len(one.heard) == 3, "three messages")
    assert one.bodies("lobby") == [1, 2, 3]


# Connections fail.


@pytest.mark.parametrize("key", [None, "k"])
async def test_a_lost_answer_is_neither_a_lost_message_nor_two(
    server: RedisServer, proxy: TcpProxy, open_station: Opener, key: str | None
) -> None:
    one, two = await open_station(proxy.url), await open_station(server.url)
    await one.join("lobby")
    await two.join("lobby")
    for n in range(5):
        proxy.cut_after = b"\r\npublish\r\n"
        draft = one.draft("lobby", str(n), key=key and f"{key}{n}")
        one.bus.publish([draft])
        await until(lambda count=n + 1: proxy.cuts >= count, "a cut")
        proxy.cut_after = None
        await until(lambda d=draft: one.receipt(d), "a receipt")
        proxy.cuts = n + 1
    assert not one.refused_drafts
    await until(lambda: len(one.heard) == len(two.heard) == 5, "five messages")
    assert one.bodies("lobby") == two.bodies("lobby") == ["0", "1", "2", "3", "4"]
    counts = await two.bus.sent_counts(time.time() - 60)
    assert sum(count.count for count in counts) == sum(count.body_bytes for count in counts) == 5


async def test_what_is_published_while_the_subscription_is_cut_is_heard_in_order(
    server: RedisServer, proxy: TcpProxy, open_station: Opener
) -> None:
    one, two = await open_station(proxy.url), await open_station(server.url)
    rooms = [f"room-{index}" for index in range(30)]
    for room in rooms:
        await one.join(room)
        await two.join(room)
    for turn in range(6):
        if turn % 2:
            proxy.cut(subscribers=True)
        two.bus.publish([two.draft(room, turn) for room in rooms])
        await until(lambda count=30 * (turn + 1): len(two.receipts) == count, "receipts")
    await until(lambda: len(one.heard) == 180, "every message")
    for room in rooms:
        assert one.offsets(room) == [1, 2, 3, 4, 5, 6]
    assert not one.lapsed_rooms


async def test_a_silent_subscription_is_noticed_and_healed(
    server: RedisServer, proxy: TcpProxy, open_station: Opener
) -> None:
    one, two = await open_station(proxy.url), await open_station(server.url)
    await one.join("lobby")
    await two.join("lobby")
    proxy.freeze_subscribers()
    await two.say("lobby", 1)
    frozen_at = time.monotonic()
    await until(lambda: one.bodies("lobby") == [1], "the message")
    assert proxy.subscriptions == 2
    assert time.monotonic() - frozen_at < 5.0
    await two.say("lobby", 2)
    await until(lambda: one.bodies("lobby") == [1, 2], "the next message")


async def test_a_probe_that_was_not_published_proves_nothing(
    proxy: TcpProxy, open_station: Opener
) -> None:
    one = await open_station(proxy.url)
    await one.join("lobby")
    proxy.refuses = True
    proxy.cut(subscribers=False)
    # Nobody knows yet that the connection is gone: this one may have been sent, and waits.
    unsure = one.draft("lobby", "unsure")
    one.bus.publish([unsure])
    await asyncio.sleep(0)
    draft = one.draft("lobby", "unsent")
    one.bus.publish([draft])
    await until(lambda: one.is_refused(draft), "a refusal")
    # Idle for long enough that a probe would have been sent and missed.
    idle_until = time.monotonic() + 2 * (QUICK.idle_s + QUICK.probe_s)
    await until(lambda: time.monotonic() > idle_until, "some time")
    assert proxy.subscriptions == 1
    proxy.refuses = False
    await until(lambda: one.bus.state is None, "good news")
    await until(lambda: one.receipt(unsure) or one.is_refused(unsure), "an outcome")
    await one.say("lobby", "after")
    assert (proxy.subscriptions, one.bodies("lobby")[-1]) == (1, "after")


async def test_the_servers_own_cut_of_every_client_is_survived(
    server: RedisServer, open_station: Opener
) -> None:
    one, two = await open_station(server.url), await open_station(server.url)
    await one.join("lobby")
    await two.join("lobby")
    said = 0
    for _ in range(5):
        server.ask("CLIENT", "KILL", "TYPE", "normal")
        server.ask("CLIENT", "KILL", "TYPE", "pubsub")
        for station in (one, two):
            await station.say("lobby", said)
            said += 1
    await until(lambda: len(one.heard) == len(two.heard) == said, "every message")
    assert one.bodies("lobby") == two.bodies("lobby") == list(range(said))


# The server fails.


async def test_a_killed_server_without_persistence_comes_back_with_new_epochs(
    server: RedisServer, open_station: Opener
) -> None:
    one, two = await open_station(server.url), await open_station(server.url)
    page = await one.join("lobby")
    await two.join("lobby")
    await one.say("lobby", 1, 2, 3)
    server.kill()
    unsure, draft = one.draft("lobby", "maybe sent"), one.draft("lobby", "while away")
    one.bus.publish([unsure])
    await until(lambda: one.bus.state is not None, "the news")
    one.bus.publish([draft])
    await until(lambda: one.is_refused(draft), "a refusal")
    refusal = next(refusal for refused, refusal in one.refused_drafts if refused is draft)
    assert isinstance(refusal, BusAway)
    assert refusal.retry_after_ms > 0
    assert "Redis" in str(refusal)
    # Who joins meanwhile is answered from here if it can be, else turned away in time.
    known = await one.ask("lobby", Since(page.epoch, 1))
    assert known is not None
    assert bodies(known) == [2, 3]
    one.bus.subscribe("hall")
    answers: list[Any] = []
    one.bus.read("hall", None, 0, answers.append)
    await _sweeping(one, lambda: answers, "an answer")
    assert [answer.refusal for answer in answers] == [BUS_AWAY]

    server.start()
    restarted_at = time.monotonic()
    await until(lambda: one.bus.state is None and two.bus.state is None, "good news")
    await until(lambda: one.lapsed_rooms and two.lapsed_rooms, "the new epoch")
    assert time.monotonic() - restarted_at < 5.0
    await until(lambda: one.is_refused(unsure), "the outcome")
    again = await one.ask("lobby", Since(page.epoch, 3))
    assert again is not None
    assert (again.recovered, again.offset) == (False, 0)
    assert again.epoch != page.epoch
    await two.say("lobby", "again")
    await until(lambda: one.bodies("lobby")[-1] == "again", "the message")
    assert one.bodies("lobby") == [1, 2, 3, "again"]


async def test_with_every_write_synced_a_restart_keeps_the_epoch(
    tmp_path: Path, open_station: Opener
) -> None:
    server = RedisServer(tmp_path, "--appendonly", "yes", "--appendfsync", "always").start()
    options = RedisOptions(times=QUICK, durability=Durability(appendfsync="always"))
    try:
        one = await open_station(server.url, options)
        two = await open_station(server.url, options)
        page = await one.join("lobby")
        await two.join("lobby")
        assert one.bus.concern is None
        drafts = []
        for n in range(50):
            drafts.append(one.draft("lobby", n))
            one.bus.publish(drafts[-1:])
            await asyncio.sleep(0)
            if n == 30:
                server.kill()
        server.start()
        await until(
            lambda: all(one.receipt(draft) or one.is_refused(draft) for draft in drafts),
            "the outcome of every draft",
        )
        await until(lambda: one.bus.state is None and two.bus.state is None, "good news")
        accepted = [draft.body for draft in drafts if one.receipt(draft)]
        refused = [draft.body for draft in drafts if one.is_refused(draft)]
        assert sorted(accepted + refused) == list(range(50))
        one.bus.unsubscribe("lobby")
        recovered = await one.join("lobby", Since(page.epoch, 0))
        assert recovered.recovered
        assert bodies(recovered) == accepted
        await until(lambda: two.bodies("lobby") == accepted, "the other process")
        assert not two.lapsed_rooms
    finally:
        server.kill()


async def test_a_frozen_server_is_told_and_its_thawing_doubles_nothing(
    server: RedisServer, open_station: Opener
) -> None:
    one, two = await open_station(server.url), await open_station(server.url)
    await one.join("lobby")
    await two.join("lobby")
    await one.say("lobby", "before")
    server.freeze()
    in_flight = one.draft("lobby", "in flight")
    one.bus.publish([in_flight])
    await asyncio.sleep(0.01)
    waiting = one.draft("lobby", "waiting")
    one.bus.publish([waiting])
    await until(lambda: one.is_refused(waiting), "a refusal")
    await until(lambda: two.bus.state is not None, "the news to everybody")
    assert one.bus.state is not None
    late = one.draft("lobby", "late")
    one.bus.publish([late])
    assert one.is_refused(late)
    assert not one.is_refused(in_flight)
    assert one.receipt(in_flight) is None
    server.thaw()
    await until(lambda: one.receipt(in_flight), "a receipt")
    await until(lambda: one.bus.state is None and two.bus.state is None, "good news")
    await two.say("lobby", "after")
    await until(lambda: len(one.heard) == len(two.heard) == 3, "three messages")
    assert one.bodies("lobby") == two.bodies("lobby") == ["before", "in flight", "after"]


async def test_a_draft_whose_server_lost_everything_is_refused_not_repeated(
    server: RedisServer, proxy: TcpProxy, open_station: Opener
) -> None:
    one, two = await open_station(proxy.url), await open_station(server.url)
    await one.join("lobby")
    await two.join("lobby")
    proxy.cut_after = b"\r\npublish\r\n"
    draft = one.draft("lobby", "heard once")
    one.bus.publish([draft])
    await until(lambda: proxy.cuts, "a cut")
    proxy.refuses = True
    await until(lambda: two.bodies("lobby") == ["heard once"], "the message")
    server.kill()
    server.start()
    proxy.cut_after = None
    proxy.refuses = False
    await until(lambda: one.is_refused(draft), "a refusal")
    assert one.receipt(draft) is None
    await until(lambda: two.bus.state is None, "good news")
    await until(lambda: two.lapsed_rooms, "the new epoch")
    await two.say("lobby", "end")
    assert two.bodies("lobby") == ["heard once", "end"]


# Around it.


async def test_a_server_that_comes_late_is_waited_for(tmp_path: Path, open_station: Opener) -> None:
    server = RedisServer(tmp_path)
    station = await open_station(server.url, wait=False)
    station.bus.subscribe("lobby")
    await until(lambda: "Connect" in (station.bus.state or ""), "the news")
    draft = station.draft("lobby", 1)
    station.bus.publish([draft])
    assert station.is_refused(draft)
    try:
        server.start()
        await until(lambda: station.bus.state is None, "good news")
        await station.ask("lobby")
        await station.say("lobby", 2)
    finally:
        server.kill()


async def test_a_password_is_used_by_both_connections(tmp_path: Path, open_station: Opener) -> None:
    server = RedisServer(tmp_path, "--requirepass", "open sesame")
    server.launch()
    wait_for(lambda: _says(server, "NOAUTH"), "redis-server")
    try:
        url = f"redis://:open%20sesame@127.0.0.1:{server.port}/3"
        station = await open_station(url)
        await station.join("lobby")
        await station.say("lobby", 1)
        wrong = await open_station(server.url, wait=False)
        await until(lambda: "uthenticat" in (wrong.bus.state or ""), "the news")
    finally:
        server.kill()


def _says(server: RedisServer, word: str) -> bool:
    try:
        server.ask("PING")
    except redis.AuthenticationError:
        return True
    return False


def test_the_loop_of_production_carries_it_too(server: RedisServer) -> None:
    async def talk() -> None:
        bus = RedisBus(server.url, lapsed=lambda room: None, options=RedisOptions(times=QUICK))
        station = Station(bus)
        await bus.start()
        await until(lambda: bus.state is None, "a connection to Redis")
        await station.join("lobby")
        await station.say("lobby", 1)
        server.ask("CLIENT", "KILL", "TYPE", "normal")
        server.ask("CLIENT", "KILL", "TYPE", "pubsub")
        await station.say("lobby", 2)
        await until(lambda: bus.state is None, "good news")
        assert station.bodies("lobby") == [1, 2]
        await bus.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(talk())


async def test_what_was_promised_about_durability_is_compared(
    server: RedisServer, open_station: Opener
) -> None:
    options = RedisOptions(times=QUICK, durability=Durability(appendfsync="always"))
    station = await open_station(server.url, options)
    assert station.bus.concern == (
        "Redis has appendfsync none, but the configuration promises always"
    )
    relaxed = replace(options, durability=Durability(appendfsync="none"))
    assert (await open_station(server.url, relaxed)).bus.concern is None


async def test_closing_settles_what_is_under_way_and_leaves_no_task(server: RedisServer) -> None:
    before = asyncio.all_tasks()
    bus = RedisBus(server.url, lapsed=lambda room: None, options=RedisOptions(times=QUICK))
    station = Station(bus)
    await bus.start()
    await until(lambda: bus.state is None, "a connection to Redis")
    await station.join("lobby")
    draft = station.draft("lobby", 1)
    bus.publish([draft])
    await bus.close()
    assert station.receipt(draft) is not None
    late = station.draft("lobby", 2)
    bus.publish([late])
    assert station.is_refused(late)
    assert asyncio.all_tasks() == before
    assert int(server.info("clients")["connected_clients"]) == 1


class _Broken(Station):
    """A listener with a bug."""

    def refused(self, drafts: Sequence[Draft], refusal: FactsRefused) -> None:
        if drafts[0].body == "bug":
            raise ZeroDivisionError
        super().refused(drafts, refusal)


async def test_a_task_that_dies_of_a_bug_is_told_and_ends_the_process(
    server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    broke: list[bool] = []
    options = RedisOptions(times=QUICK)
    bus = RedisBus(
        server.url, lapsed=lambda _: None, options=options, broke=lambda: broke.append(True)
    )
    station = _Broken(bus)
    await bus.start()
    try:
        await until(lambda: bus.state is None, "a connection to Redis")
        await station.join("lobby")
        server.freeze()
        bus.publish([station.draft("lobby", "under way")])
        bus.publish([station.draft("lobby", "bug")])  # the courier refuses it, and dies of it
        await until(lambda: broke, "the news")
        assert "restart" in str(bus.state)
        draft = station.draft("lobby", 2)
        bus.publish([draft])
        assert station.is_refused(draft)
        assert "ZeroDivisionError" in caplog.text
    finally:
        server.thaw()
        await bus.close()


async def test_a_publication_nobody_heard_is_found_while_connected(
    server: RedisServer, open_station: Opener
) -> None:
    clock = HandClock()
    one = await open_station(server.url, clock=clock)
    page = await one.join("lobby")
    await one.say("lobby", "heard")
    options = RedisOptions(times=QUICK)
    place = place_of("lobby", partitions(options.prefix, False))
    unheard = msgspec.structs.replace(place, channel=b"a channel nobody has subscribed to")
    call = publish_command(
        options=options,
        partition=place.partition,
        sharded=False,
        process="somebody",
        lane=0,
        sequence=1,
        known="",
        fresh="000000000000",
        peers="",
        utc_s=time.time(),
        parcels=[parcel_of(one.draft("lobby", "unheard", user="other"), unheard)],
    )
    server.ask(*call)
    one.bus.sweep(clock.monotonic())
    assert one.bodies("lobby") == ["heard"]
    clock.advance(31)
    one.bus.sweep(clock.monotonic())
    await until(lambda: len(one.heard) == 2, "the message")
    assert one.bodies("lobby") == ["heard", "unheard"]
    assert [p.own for p in one.heard] == [True, False]
    assert one.lapsed_rooms == []
    assert page.offset == 0


async def test_a_repeat_of_what_a_dead_process_accepted_is_kept_as_it_was_said(
    server: RedisServer, open_station: Opener
) -> None:
    dead, other = await open_station(server.url), await open_station(server.url)
    await dead.join("lobby")
    await other.join("lobby")
    await dead.say("lobby", "before", "as it was said", "after", key=None)
    (first,) = await dead.say("lobby", "with a key", key="k")
    await until(lambda: len(other.heard) == 4, "the messages")
    (repeat,) = await other.say("lobby", "another body", key="k")
    assert (repeat.offset, repeat.message_id) == (first.offset, first.message_id)
    assert repeat.unkept is not None
    assert (repeat.unkept.own, repeat.unkept.message.body) == (True, "with a key")
    assert repeat.unkept.message.offset == first.offset


async def test_who_comes_from_a_process_that_is_ahead_recovers_here(
    server: RedisServer, proxy: TcpProxy, open_station: Opener
) -> None:
    """What a client has heard elsewhere may still be on its way to this process."""
    ahead, behind = await open_station(server.url), await open_station(proxy.url)
    await ahead.join("lobby")
    page = await behind.join("lobby")
    proxy.freeze_subscribers()
    await ahead.say("lobby", "one", "two")
    recovered = await behind.ask("lobby", Since(page.epoch, 2))
    assert recovered is not None
    assert (recovered.recovered, recovered.offset) == (True, 2)
    above = await behind.ask("lobby", Since(page.epoch, 3))
    assert above is not None
    assert (above.recovered, above.offset, list(above.entries)) == (False, 2, [])


class _Answering(Station):
    """A listener whose people answer what they hear, a few loop iterations later."""

    def ordered(self, publications: Sequence[Publication], receipts: Sequence[Receipt]) -> None:
        super().ordered(publications, receipts)
        for publication in publications:
            if publication.message.body == "said":
                loop = asyncio.get_running_loop()
                draft = self.draft("lobby", "answered")
                loop.call_soon(loop.call_soon, self.bus.publish, [draft])


async def test_what_waited_goes_with_the_answers_to_what_was_before(
    server: RedisServer,
) -> None:
    bus = RedisBus(server.url, lapsed=lambda _: None, options=RedisOptions(times=QUICK))
    station = _Answering(bus)
    await bus.start()
    try:
        await until(lambda: bus.state is None, "a connection to Redis")
        await station.join("lobby")
        server.ask("CONFIG", "RESETSTAT")
        bus.publish([station.draft("lobby", "said")])
        bus.publish([station.draft("lobby", "waited")])
        await until(lambda: len(station.receipts) == 3, "the receipts")
        assert station.bodies("lobby") == ["said", "waited", "answered"]
        assert "calls=2," in server.info("commandstats")["cmdstat_evalsha"]
    finally:
        await bus.close()


async def test_a_repeat_across_an_epoch_tells_the_first_epoch_and_is_kept(
    tmp_path: Path, open_station: Opener
) -> None:
    """A server that came back with its keys but not surely all writes begins rooms anew. What was
    then sent again got an offset of the epoch before, taken for one of the new, and nobody kept
    it: 12 acknowledged messages lost in 600 s of fail-overs."""
    server = RedisServer(tmp_path / "redis", "--appendonly", "yes").start()
    try:
        station = await open_station(server.url)
        page = await station.join("lobby")
        (first,) = await station.say("lobby", "first", key="k")
        assert first.epoch is None
        server.kill()
        server.start()
        await until(lambda: station.lapsed_rooms, "the new epoch", within_s=20)
        again = await station.ask("lobby")
        assert again is not None
        assert (again.epoch != page.epoch, again.offset) == (True, 0)
        (repeat,) = await station.say("lobby", "first", key="k")
        assert (repeat.epoch, repeat.offset) == (page.epoch, 1)
        assert repeat.message_id == first.message_id
        assert repeat.unkept is not None
        assert (repeat.unkept.epoch, repeat.unkept.message.body) == (page.epoch, "first")
        (other,) = await station.say("lobby", "second", key="l")
        assert (other.epoch, other.offset) == (None, 1)
    finally:
        server.kill()
