"""`kill -9` in the middle of a conversation: nothing acknowledged is lost or doubled."""

import asyncio
import os
import signal
import time

import pytest

from tests.system.chat import JSON, MSGPACK, Chat, guest
from tests.system.deadline import BACK_S, contention, until
from tests.system.statement import quantities, settled_report
from tests.system.talker import Talker

pytestmark = pytest.mark.system

KILLS = 3


@pytest.mark.timeout(180)
async def test_a_killed_hub_loses_and_doubles_nothing(server):
    slowed = contention()
    people = [await guest(server.url, f"visitor {n}") for n in range(4)]
    talkers = [
        Talker(server.url, person, "plaza", (MSGPACK, JSON)[n % 2])
        for n, person in enumerate(people)
    ]
    for _ in range(KILLS):
        goal = [len(talker.acknowledged) + 10 for talker in talkers]
        await until(
            lambda goal=goal: all(
                len(t.acknowledged) >= n for t, n in zip(talkers, goal, strict=True)
            ),
            20,
            lambda: f"everybody talks: {[len(t.acknowledged) for t in talkers]}",
        )
        hub = server.child("hub")
        os.kill(hub, signal.SIGKILL)
        killed_at = time.monotonic()
        away = await asyncio.gather(*(talker.back(killed_at + 0.01, 30) for talker in talkers))
        assert max(away) <= BACK_S * slowed, away
        assert server.child("hub") != hub
    await asyncio.gather(*(talker.stop() for talker in talkers))

    [epoch] = {epoch for talker in talkers for epoch in talker.epochs}
    async with await Chat.enter(server.url, await guest(server.url, "late")) as late:
        joined = await late.request("join", room="plaza", since={"epoch": epoch, "offset": 0})
    messages = joined["messages"]
    assert joined["recovered"]
    assert [m["offset"] for m in messages] == list(range(1, len(messages) + 1))
    bodies = [m["body"] for m in messages]
    assert len(set(bodies)) == len(bodies), "a message was doubled"
    for talker in talkers:
        assert talker.connections >= 1 + KILLS
        for body, offset in talker.acknowledged.items():
            assert messages[offset - 1]["body"] == body
        # In order, and no more than what was acknowledged: all was repeated until it was.
        mine = [m["body"] for m in messages if m["from"] == talker.account.user]
        assert mine == list(talker.acknowledged)
        # Every connection took up exactly where the one before broke off.
        first = talker.seen[0]["offset"] - 1
        assert talker.seen == messages[first : first + len(talker.seen)]
    assert quantities(await settled_report(server))["chat.messages_sent"] == len(messages)


async def test_a_restart_goes_on_with_epoch_offsets_and_keys(server):
    slowed = contention()
    account = await guest(server.url, "visitor")
    async with await Chat.enter(server.url, account) as chat:
        epoch = (await chat.request("join", room="plaza"))["epoch"]
        sent = await chat.request("send", room="plaza", body="once", key="k")
        os.kill(server.child("hub"), signal.SIGKILL)
        await chat.ended()
    await until(server.ready, BACK_S * slowed, "ready again")
    async with await Chat.enter(server.url, account) as chat:
        joined = await chat.request("join", room="plaza", since={"epoch": epoch, "offset": 0})
        assert (joined["epoch"], joined["offset"], joined["recovered"]) == (epoch, 1, True)
        again = await chat.request("send", room="plaza", body="twice", key="k")
        assert (again["offset"], again["message_id"], again["at"]) == (
            sent["offset"],
            sent["message_id"],
            sent["at"],
        )
        assert (await chat.request("send", room="plaza", body="next"))["offset"] == 2
        assert [m["body"] for m in await chat.count(1)] == ["next"]
