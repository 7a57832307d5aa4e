"""`kill -9` again and again at moments drawn by lot, while ten people send as fast as they can.

What a client knows is the measure: what was acknowledged, what it saw live, and the keys it sent.
The history that a late visitor is given, the answers to keys sent once more, and the report have
to agree with it, each message once.
"""

import asyncio
import os
import random
import signal
from contextlib import suppress

import pytest

from loadtest.launch import running
from tests.system.chat import JSON, MSGPACK, Account, Chat, Frame, guest
from tests.system.deadline import until
from tests.system.statement import check_money, quantities, settled_report
from tests.system.talker import AWAY

pytestmark = pytest.mark.system

SEED = 20261122
CLIENTS = 10
ROOMS = ("plaza", "hall/1")
KILLS = 3
IN_FLIGHT = 4  # messages that a client sends before it waits for their answers
# Of each client between two kills. A room then has 600 messages: all of it can be recovered.
MESSAGES = 30


class Sender:
    """Send keyed messages, some at a time; send again by key whatever was not acknowledged."""

    def __init__(self, url: str, account: Account, room: str, subprotocol: str) -> None:
        self.account = account
        self.room = room
        self.acknowledged: dict[str, Frame] = {}  # by key, which is the body as well
        self.live: list[Frame] = []
        self.epochs: set[str] = set()
        self.connections = 0
        self._url = url
        self._subprotocol = subprotocol
        self._waiting: list[str] = []  # sent or to be sent, not acknowledged
        self._unused: list[str] = []
        self._more = asyncio.Event()
        self._stopping = False
        self.task = asyncio.create_task(self._run(), name=f"send {account.name}")

    def give(self, messages: int) -> None:
        """Let it send so many more."""
        number = len(self.acknowledged) + len(self._waiting) + len(self._unused)
        self._unused += [f"{self.account.user} {number + n}" for n in range(messages)]
        self._more.set()

    def stop(self) -> None:
        """Let `task` end once everything is acknowledged."""
        self._stopping = True
        self._more.set()

    async def _run(self) -> None:
        while not self._stopping or self._waiting or self._unused:
            with suppress(*AWAY):
                chat = await Chat.enter(self._url, self.account, subprotocol=self._subprotocol)
                self.connections += 1
                try:
                    await self._send_on(chat)
                finally:
                    await chat.close()
                    self.live += chat.messages
            await asyncio.sleep(0.02)  # the port refuses at once while nobody listens

    async def _send_on(self, chat: Chat) -> None:
        joined = await chat.request("join", room=self.room)
        self.epochs.add(joined["epoch"])
        while True:
            free = IN_FLIGHT - len(self._waiting)
            self._waiting += self._unused[:free]
            del self._unused[:free]
            # An answer that arrives together with the end of the connection counts as well.
            for answer in await asyncio.gather(
                *(self._request(chat, key) for key in tuple(self._waiting)), return_exceptions=True
            ):
                if isinstance(answer, BaseException):
                    raise answer
            if not self._unused:
                if self._stopping:
                    return
                self._more.clear()
                await self._more.wait()

    async def _request(self, chat: Chat, key: str) -> None:
        sent = await chat.request("send", room=self.room, body=key, key=key)
        self._waiting.remove(key)
        self.acknowledged[key] = sent

    async def repeat(self, chat: Chat, key: str) -> Frame:
        """Send a message once more by its key, with another body."""
        return await chat.request("send", room=self.room, body="another body", key=key)


def place(sent: Frame) -> tuple[int, str, int]:
    """Return what a repeat has to be answered with as well."""
    return sent["offset"], sent["message_id"], sent["at"]


@pytest.mark.timeout(90)
async def test_a_hub_killed_at_any_moment_loses_and_doubles_nothing(folder):
    lot = random.Random(SEED)
    async with running(folder / "data", {"METAPORT_PROFILE": "bench"}) as server:
        accounts = [await guest(server.url, f"visitor {n}") for n in range(CLIENTS)]
        senders = [
            Sender(server.url, account, ROOMS[n % 2], (MSGPACK, JSON)[n // 2 % 2])
            for n, account in enumerate(accounts)
        ]

        def acknowledged() -> int:
            return sum(len(sender.acknowledged) for sender in senders)

        for kill in range(KILLS):
            for sender in senders:
                sender.give(MESSAGES)
            goal = kill * CLIENTS * MESSAGES + lot.randint(60, 270)
            await until(lambda goal=goal: acknowledged() >= goal, 20, "everybody is heard")
            hub = server.child("hub")
            os.kill(hub, signal.SIGKILL)
            await until(lambda hub=hub: server.child("hub") not in (None, hub), 10, "a new hub")
        for sender in senders:
            sender.give(MESSAGES)
            sender.stop()
        async with asyncio.timeout(20):
            await asyncio.gather(*(sender.task for sender in senders))

        accepted = 0
        for room in ROOMS:
            accepted += await check_room(server.url, room, [s for s in senders if s.room == room])
        for sender in senders:
            await check_repeats(server.url, sender, lot)
        report = await settled_report(server)
        counted = quantities(report)
        assert counted["chat.messages_sent"] == accepted == (KILLS + 1) * CLIENTS * MESSAGES
        assert counted["chat.messages_delivered"] >= sum(len(s.live) for s in senders)
        check_money(report)
        assert sum(s.connections for s in senders) > CLIENTS * KILLS / 2


async def check_room(url: str, room: str, senders: list[Sender]) -> int:
    """Hold a room's history against what its senders know; return the number of messages."""
    [epoch] = {epoch for sender in senders for epoch in sender.epochs}
    async with await Chat.enter(url, await guest(url, "late")) as late:
        joined = await late.request("join", room=room, since={"epoch": epoch, "offset": 0})
    assert joined["epoch"] == epoch
    assert joined["recovered"]
    messages = joined["messages"]
    assert [m["offset"] for m in messages] == list(range(1, joined["offset"] + 1))
    # Everybody sent until all was acknowledged: so each acknowledged message is there once, at
    # the offset it was told, and there is no other.
    sent = {key: (s.account.user, a) for s in senders for key, a in s.acknowledged.items()}
    assert sorted(m["body"] for m in messages) == sorted(sent)
    for message in messages:
        user, answer = sent[message["body"]]
        assert message["from"] == user
        assert (message["offset"], message["id"], message["at"]) == place(answer)
    for sender in senders:
        seen = [m["offset"] for m in sender.live]
        assert seen == sorted(set(seen)), "live messages come once and in order"
        assert all(m == messages[m["offset"] - 1] for m in sender.live)
    return len(messages)


async def check_repeats(url: str, sender: Sender, lot: random.Random) -> None:
    """Send some keys once more, from before the first kill to after the last one."""
    async with await Chat.enter(url, sender.account) as chat:
        top = (await chat.request("join", room=sender.room))["offset"]
        for key in lot.sample(sorted(sender.acknowledged), 10):
            again = await sender.repeat(chat, key)
            assert place(again) == place(sender.acknowledged[key])
        assert (await chat.request("join", room=sender.room))["offset"] == top
        assert chat.messages == []
