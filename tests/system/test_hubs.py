"""Two hubs on one port and one Redis: everything that may happen to any of them."""

import asyncio
import json
import os
import signal
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from chatd.redis_script import partitions, place_of
from loadtest import processes
from loadtest.launch import LaunchError, Server, running
from tests.chatd.redis_server import KIND, AnyRedis, RedisCluster, RedisServer, redis_of
from tests.system.chat import JSON, MSGPACK, Chat, Frame, RefusedError, guest
from tests.system.deadline import contention, until
from tests.system.statement import by_user, quantities, settled_report
from tests.system.talker import Talker

pytestmark = pytest.mark.system

BACK_S = 5.0  # seconds within which an absent Redis is made up for


@pytest.fixture
def redis(folder: Path) -> Iterator[AnyRedis]:
    """Run a Redis of the kind chosen."""
    server = redis_of(KIND, folder / "redis").start()
    yield server
    server.kill()


@asynccontextmanager
async def _hubs(folder: Path, redis: AnyRedis, **more: str) -> AsyncIterator[Server]:
    environment = {
        "METAPORT_REDIS_URL": redis.url,
        "METAPORT_REDIS_APPENDFSYNC": "always",
        "METAPORT_HUB_PROCESSES": "2",
        **more,
    }
    async with running(folder / "data", environment) as server:
        await until(lambda: len(_pids(server)) == 2, 10, "two hubs")
        yield server
        print(server.output)


def _pids(server: Server) -> list[int]:
    return [pid for pid, command in processes.children(server.pid).items() if " hub" in command]


async def _spread(server: Server, room: str, count: int = 8) -> list[Chat]:
    """Have people in a room on both hubs: the kernel chooses by the client's port."""
    chats = []
    for number in range(count):
        chat = await Chat.enter(server.url, await guest(server.url, f"visitor {number}"))
        await chat.request("join", room=room)
        chats.append(chat)
    return chats


async def _talking(talkers: list[Talker], more: int) -> None:
    goals = [len(talker.acknowledged) + more for talker in talkers]
    await until(
        lambda: all(len(t.acknowledged) >= n for t, n in zip(talkers, goals, strict=True)),
        30,
        lambda: f"everybody talks: {[len(t.acknowledged) for t in talkers]}",
    )


async def _readiness(server: Server) -> tuple[int, str]:
    def ask() -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"{server.url}/readyz", timeout=2) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())["detail"]

    return await asyncio.to_thread(ask)


async def _notes(server: Server, lang: str) -> dict[str, str]:
    def ask() -> dict[str, str]:
        request = urllib.request.Request(f"{server.url}/readyz?verbose")
        request.add_header("Accept-Language", lang)
        with urllib.request.urlopen(request, timeout=2) as answer:
            return dict(json.loads(answer.read())["notes"])

    return await asyncio.to_thread(ask)


async def _refusal(chat: Chat, body: str) -> Frame:
    """Send with a key; return how it was refused, an empty frame when it was not."""
    try:
        await chat.request("send", room="plaza", body=body, key=body)
    except RefusedError as refused:
        return refused.frame
    return {}


@pytest.mark.timeout(180)
async def test_hubs_killed_and_renewed_under_load_lose_and_double_nothing(
    folder: Path, redis: AnyRedis
) -> None:
    async with _hubs(folder, redis) as server:
        talkers = await _talkers(server, 6)
        await _talking(talkers, 10)
        for pid in _pids(server):
            os.kill(pid, signal.SIGKILL)
            await _talking(talkers, 10)
        await until(lambda: len(_pids(server)) == 2, 20, "two hubs again")
        # One by one, each when the one before serves again.
        os.kill(server.pid, signal.SIGUSR1)
        await until(lambda: "all hubs are new" in server.output, 60, "all hubs are new")
        await _talking(talkers, 5)
        messages = await _nothing_lost(server, talkers)
        assert sum(talker.connections for talker in talkers) > len(talkers)
        assert quantities(await settled_report(server))["chat.messages_sent"] == len(messages)
        # With them their bytes, also of those that were under way when a hub was killed.
        size = sum(len(message["body"]) for message in messages)
        assert sum(of["chat.text_bytes_in"] for of in by_user(server).values()) == size


async def _talkers(server: Server, count: int) -> list[Talker]:
    people = [await guest(server.url, f"visitor {n}") for n in range(count)]
    return [
        Talker(server.url, person, "plaza", (MSGPACK, JSON)[n % 2])
        for n, person in enumerate(people)
    ]


async def _nothing_lost(server: Server, talkers: list[Talker]) -> list[Frame]:
    """Have the talkers end, hold what each knows against the room, and return all that is in it."""
    await asyncio.gather(*(talker.stop() for talker in talkers))

    [epoch] = {epoch for talker in talkers for epoch in talker.epochs}
    late = await Chat.enter(server.url, await guest(server.url, "late"))
    joined = await late.request("join", room="plaza", since={"epoch": epoch, "offset": 0})
    messages = joined["messages"]
    await late.close()
    assert joined["recovered"]
    assert [m["offset"] for m in messages] == list(range(1, len(messages) + 1))
    bodies = [m["body"] for m in messages]
    assert len(set(bodies)) == len(bodies), "a message was doubled"
    for talker in talkers:
        for body, offset in talker.acknowledged.items():
            assert messages[offset - 1]["body"] == body
        first = talker.seen[0]["offset"] - 1
        assert talker.seen == messages[first : first + len(talker.seen)]
    return messages


@pytest.mark.timeout(180)
@pytest.mark.parametrize("kind", ["sentinel", "cluster"])
async def test_hubs_on_sentinels_and_on_a_cluster_lose_and_double_nothing(
    folder: Path, kind: str
) -> None:
    """Seen with a single server only: the way of a message through them is another."""
    redis = redis_of(kind, folder / "redis")
    try:
        redis.start()
        async with _hubs(folder, redis) as server:
            talkers = await _talkers(server, 4)
            await _talking(talkers, 5)
            if isinstance(redis, RedisCluster):
                slot = place_of("plaza", partitions("metaport", True)).partition.slot
                owner = redis.owner(slot)
                target = next(node for node in redis.nodes if node is not owner)
                await asyncio.to_thread(redis.move, slot, target)
                await _talking(talkers, 5)
            os.kill(_pids(server)[0], signal.SIGKILL)
            await _talking(talkers, 5)
            await _nothing_lost(server, talkers)
    finally:
        redis.kill()


@pytest.mark.timeout(180)
async def test_redis_may_hang_and_lose_everything_and_people_stay_or_come_back(
    folder: Path, redis: RedisServer
) -> None:
    slowed = contention()
    async with _hubs(folder, redis) as server:
        speaker_account = await guest(server.url, "speaker")
        speaker = await Chat.enter(server.url, speaker_account)
        await speaker.request("join", room="plaza")
        chats = [speaker, *await _spread(server, "plaza")]
        await speaker.request("send", room="plaza", body="before")
        for chat in chats:
            await chat.count(1)

        # What is at stake is known before, in the language of who asks.
        assert "복제본이 없어" in (await _notes(server, "ko"))["durability"]
        assert "loses nothing (appendfsync always)" in (await _notes(server, "en"))["durability"]

        # 1. It hangs: said at /readyz and to those who send; nobody is disconnected.
        redis.freeze()

        async def told_by_both() -> bool:
            # The kernel chooses which hub answers.
            answers = [await _readiness(server) for _ in range(8)]
            return all(status == 503 and "Redis" in reason for status, reason in answers)

        await until(told_by_both, 30, "both hubs say that Redis is away")
        refusal = await _refusal(speaker, "while it hangs")
        assert refusal["reason"] == "bus_away"
        assert refusal["retry_after_ms"] > 0

        # 2. It goes on: so do they, by themselves and on the same connections.
        redis.thaw()
        thawed_at = time.monotonic()

        async def flows() -> bool:
            return await _refusal(speaker, "while it hangs") == {}

        await until(flows, 20, "messages flow again")
        assert time.monotonic() - thawed_at < BACK_S * slowed
        for chat in chats:
            await chat.wait(lambda frame: frame.get("body") == "while it hangs")
            assert chat.texts.count("while it hangs") == 1
            assert chat.socket.close_code is None

        async def both_ready() -> bool:
            return {(await _readiness(server))[0] for _ in range(8)} == {200}

        await until(both_ready, 20, "both hubs are ready again")

        # 3. It forgets everything: everybody's place is gone, and that is told.
        joined = await speaker.request("join", room="plaza")
        redis.ask("FLUSHALL")
        await speaker.send({"t": "send", "id": 99, "room": "plaza", "body": "in the new epoch"})
        assert await asyncio.gather(*(chat.ended(20) for chat in chats)) == [4004] * len(chats)
        for chat in chats:
            await chat.close()
            assert "in the new epoch" not in chat.texts
        back = await Chat.enter(server.url, speaker_account)
        since = {"epoch": joined["epoch"], "offset": joined["offset"]}
        again = await back.request("join", room="plaza", since=since)
        assert again["epoch"] != joined["epoch"]
        assert (again["offset"], again["recovered"]) == (1, False)
        await back.close()


@pytest.mark.timeout(120)
async def test_the_second_machine_of_one_name_is_refused_and_another_name_is_not(
    folder: Path, redis: AnyRedis
) -> None:
    environment = {"METAPORT_REDIS_URL": redis.url, "METAPORT_REDIS_APPENDFSYNC": "always"}
    async with running(folder / "a", environment) as first:
        second = Server(folder / "b", environment)
        with pytest.raises(LaunchError, match=r"hub\.name"):
            await second.start()
        async with running(folder / "b", {**environment, "METAPORT_HUB_NAME": "b"}) as third:
            one = await Chat.enter(first.url, await guest(first.url, "visitor"))
            other = await Chat.enter(third.url, await guest(third.url, "visitor"))
            await one.request("join", room="plaza")
            joined = await other.request("join", room="plaza", presence=True)
            assert joined["count"] == len(joined["members"]) == 2
            await one.request("send", room="plaza", body="over there")
            assert (await other.count(1))[0]["body"] == "over there"

            # People of a hub that dies disappear.
            user = one.welcome["user"]["id"]
            [pid] = _pids(first)
            os.kill(pid, signal.SIGKILL)
            left = {"t": "presence", "room": "plaza", "event": "left", "user": user}
            await other.wait(lambda frame: left.items() <= frame.items(), 30)
            for chat in (one, other):
                await chat.close()
