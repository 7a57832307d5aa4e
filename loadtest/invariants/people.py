"""People who talk through thick and thin, and tell the judge all they hear."""

import asyncio
import itertools
import random
from collections.abc import Callable
from typing import Any

from loadtest.invariants.judge import Frame, Judge, View
from loadtest.websocket import Client, ConnectionEndedError

# Longer than a hub is stopped for as a rule, shorter than a run.
REPLY_S = 2.5
CONNECT_S = 3.0
# Refusals that say "later"; any other is a broken promise.
LATER = {"rate_limited", "storage_full", "bus_away", "rooms_away", "history_away"}


class _Draft:
    """A message that is not acknowledged yet."""

    def __init__(self, room: str, text: str, padding: int) -> None:
        self.room = room
        self.key = text
        self.text = text
        self.body = {"text": text, "padding": "가" * padding}


class Person:
    """One user with one connection at a time.

    Args:
        url: asked before each attempt: whom to connect to.
        say_s: seconds between two messages, on average; None only listens.
    """

    def __init__(
        self,
        name: str,
        rooms: list[str],
        token: str,
        url: Callable[[], str],
        judge: Judge,
        *,
        seed: int,
        say_s: float | None,
    ) -> None:
        self.name = name
        self.views = {room: View() for room in rooms}
        self.connections = 0
        self._token = token
        self._url = url
        self._judge = judge
        self._random = random.Random(seed)
        self._say_s = say_s
        self._texts = itertools.count(1)
        self._drafts: list[_Draft] = []
        self._talking = True
        # None while not connected.
        self._client: Client | None = None

    async def live(self, stop: asyncio.Event) -> None:
        """Be there until `stop`, whatever happens to the connection."""
        while not stop.is_set():
            try:
                async with asyncio.timeout(CONNECT_S * 3):
                    client = await self._enter()
                await self._stay(client, stop)
            except (OSError, ConnectionEndedError, TimeoutError):
                pass
            finally:
                self._leave()
            await asyncio.sleep(self._random.uniform(0.02, 0.25))

    def fall_silent(self) -> None:
        """Say nothing new; what is not acknowledged is still sent again."""
        self._talking = False

    @property
    def settled(self) -> bool:
        """Whether everything said is acknowledged, on a connection that stands."""
        return self._client is not None and not self._drafts

    async def settled_within(self, seconds: float) -> bool:
        """Wait until settled; False when it takes longer."""
        deadline = asyncio.get_running_loop().time() + seconds
        while not self.settled:
            if asyncio.get_running_loop().time() > deadline:
                return False
            await asyncio.sleep(0.02)
        return True

    async def sync(self, seconds: float) -> bool:
        """Join every room again, so that all that was missed is told; False when that fails."""
        deadline = asyncio.get_running_loop().time() + seconds
        while asyncio.get_running_loop().time() < deadline:
            client = self._client
            try:
                if client is not None:
                    for room in self.views:
                        await self._join(client, room)
                    return True
            except (OSError, ConnectionEndedError, TimeoutError):
                pass  # it comes back by itself
            await asyncio.sleep(0.05)
        return False

    async def _enter(self) -> Client:
        async with asyncio.timeout(CONNECT_S):
            client = await Client.enter(self._url(), self._token)
        self._client = client
        self.connections += 1
        client.on_frame = self._hear
        for room in self.views:
            await self._join(client, room)
        return client

    async def _join(self, client: Client, room: str) -> None:
        view = self.views[room]
        since = None if view.epoch is None else (view.epoch, view.offset)
        fields: Frame = {"room": room}
        if since is not None:
            fields["since"] = {"epoch": since[0], "offset": since[1]}

        # Judged in the moment it comes: messages follow in the same read.
        def judge(reply: Frame) -> None:
            self._judge.joined(self.name, view, reply, since)

        await self._request(client, "join", judge, **fields)

    async def _stay(self, client: Client, stop: asyncio.Event) -> None:
        while not stop.is_set():
            if client.transport is None or client.transport.is_closing():
                return
            if self._drafts:
                await self._send(client, self._drafts[0])
                continue
            if self._talking and self._say_s is not None:
                await asyncio.sleep(self._random.expovariate(1 / self._say_s))
                if self._talking:
                    self._drafts.append(self._think())
            else:
                # A sign of life: without one a half-open connection is never noticed.
                await self._request(client, "ping", lambda _: None)
                await asyncio.sleep(0.5)

    def _think(self) -> _Draft:
        room = self._random.choice(list(self.views))
        text = f"{self.name} {next(self._texts)}"
        # Mostly short; some fill more than one segment.
        padding = self._random.choice([0, 0, 0, 20, 1200])
        return _Draft(room, text, padding)

    async def _send(self, client: Client, draft: _Draft) -> None:
        view = self.views[draft.room]

        def judge(reply: Frame) -> None:
            if self._drafts and self._drafts[0] is draft:
                self._drafts.pop(0)
            self._judge.acknowledged(self.name, view, reply, draft.text)

        await self._request(client, "send", judge, room=draft.room, body=draft.body, key=draft.key)

    async def _request(
        self, client: Client, t: str, judge: Callable[[Frame], None], **fields: Any
    ) -> None:
        """Ask, and have the reply judged before anything that comes behind it."""
        async with asyncio.timeout(REPLY_S):
            try:
                await client.request_judged(t, judge, **fields)
            except ConnectionEndedError as refused:
                reason = str(refused).partition(":")[0]
                if reason in LATER:
                    await asyncio.sleep(0.3)
                    if t == "join":
                        raise  # and come back: without it nothing can be said
                    return
                if " " not in reason and not str(refused).startswith(("closed", "the server")):
                    self._judge.verdict.violations.append(f"{self.name}: {t} got {refused}")
                raise

    def _hear(self, frame: Frame) -> None:
        if frame["t"] == "message":
            self._judge.heard(self.name, self.views[frame["room"]], frame)

    def _leave(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            client.on_frame = lambda _: None
            if client.transport is not None:
                client.transport.abort()


async def read_whole(url: str, token: str, room: str) -> dict[str, list[Frame]]:
    """Read a room back from its last message to its first, page by page; return it by epochs."""
    client = await Client.enter(url, token)
    epochs: dict[str, list[Frame]] = {}
    try:
        await client.request("join", room=room)
        fields: Frame = {}
        more = True
        while more:
            page = await client.request("history", room=room, limit=200, **fields)
            messages = page["messages"]
            epochs[page["epoch"]] = messages + epochs.get(page["epoch"], [])
            more = page["more"] and bool(messages)
            if messages:
                fields["before"] = {"epoch": page["epoch"], "offset": messages[0]["offset"]}
        return {epoch: messages for epoch, messages in epochs.items() if messages}
    finally:
        client.close()
