"""People who go on whatever is killed, and remember what they were told."""

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass, field

from aiohttp import ClientError

from tests.system.chat import Account, Chat, RefusedError, guest
from tests.system.peer import Peer, PeerRefusedError, Tone
from tests.system.talker import AWAY

# What a call that a kill cuts short ends in besides.
UNHEARD = (ClientError, PeerRefusedError, RefusedError, AssertionError, KeyError)
PACE_S = 0.01
RETRY_S = 0.05


class Writer:
    """Send keyed messages one after another; send again by its key what was not acknowledged."""

    def __init__(self, url: str, account: Account, room: str) -> None:
        self.account = account
        self.room = room
        self.acknowledged: dict[str, tuple[str, int]] = {}  # body → (epoch, offset)
        self.connected_s = 0.0
        self.connections = 0
        self._url = url
        self._pending: str | None = None
        self._stopping = False
        self.task = asyncio.create_task(self._run(), name=f"write {account.name}")

    def stop(self) -> None:
        """Let `task` end once everything is acknowledged."""
        self._stopping = True

    async def _run(self) -> None:
        while not self._stopping or self._pending is not None:
            with suppress(*AWAY, RefusedError):
                async with asyncio.timeout(15):
                    chat = await Chat.enter(self._url, self.account)
                began = time.monotonic()
                self.connections += 1
                try:
                    await self._write_on(chat)
                finally:
                    self.connected_s += time.monotonic() - began
                    with suppress(*AWAY):
                        await chat.close()
            await asyncio.sleep(RETRY_S)

    async def _write_on(self, chat: Chat) -> None:
        epoch = (await chat.request("join", room=self.room))["epoch"]
        while not self._stopping or self._pending is not None:
            if self._pending is None:
                self._pending = f"{self.account.user} {len(self.acknowledged)}"
            body = self._pending
            try:
                sent = await chat.request("send", room=self.room, body=body, key=body)
            except RefusedError:  # a full disk: nothing happened
                await asyncio.sleep(RETRY_S)
                continue
            self.acknowledged[body] = epoch, sent["offset"]
            self._pending = None
            chat.frames.clear()
            await asyncio.sleep(PACE_S)


@dataclass
class Call:
    """One stay in media, as the person knows it: in seconds since the epoch."""

    user: str
    asked_at: float
    connected_at: float
    ended_at: float
    killed: bool


@dataclass
class Speaker:
    """Talk by WHIP, in calls one after another, each under a name of its own."""

    url: str
    room: str
    calls: list[Call] = field(default_factory=list)
    sfu_killed: asyncio.Event = field(default_factory=asyncio.Event)
    stopping: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        """Talk until stopped."""
        while not self.stopping.is_set():
            with suppress(*AWAY, *UNHEARD):
                account = await guest(self.url, "speaker")
                await self._talk(account)
            await asyncio.sleep(RETRY_S)

    async def _talk(self, account: Account) -> None:
        self.sfu_killed.clear()
        asked_at = time.time()
        peer = Peer(self.url, account.token)
        try:
            await peer.publish(f"/whip/{self.room}", Tone())
            if self.sfu_killed.is_set() or peer.connected_at is None:
                return  # it may be counted or not: nobody can say
            call = Call(account.user, asked_at, peer.connected_at, 0.0, killed=False)
            ends = [asyncio.create_task(event.wait()) for event in (self.sfu_killed, self.stopping)]
            try:
                await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for end in ends:
                    end.cancel()
            call.killed = self.sfu_killed.is_set()
            call.ended_at = time.time()
            self.calls.append(call)
            if not call.killed:
                await peer.close()
                call.ended_at = time.time()
        finally:
            await peer.vanish()
