"""A person who talks on, whatever happens to the server: reconnects, recovers, repeats by key."""

import asyncio
import itertools
import time
from typing import Any

from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidMessage

from tests.system.chat import Account, Chat, Frame, RefusedError
from tests.system.deadline import until

# Below the default rate of 20 a second, so that nothing is refused.
PACE_S = 0.07
RETRY_S = 0.05
AWAY = (ConnectionClosed, ConnectionError, InvalidHandshake, InvalidMessage, TimeoutError, OSError)


class Talker:
    """Send numbered messages until told to stop; remember what was acknowledged and seen."""

    def __init__(self, url: str, account: Account, room: str, subprotocol: str) -> None:
        self.account = account
        self.acknowledged: dict[str, int] = {}  # body → offset
        self.acknowledged_at: list[float] = []
        self.seen: list[Frame] = []
        self.epochs: set[str] = set()
        self.connections = 0
        self._url = url
        self._room = room
        self._subprotocol = subprotocol
        self._stopping = False
        self._unsent = (f"{account.name} {number}" for number in itertools.count(1))
        self._pending: str | None = None  # sent, not acknowledged: to be repeated with its key
        self._talk_task = asyncio.create_task(self._talk(), name=f"talk {account.name}")

    async def stop(self) -> None:
        """Finish what is under way and leave."""
        self._stopping = True
        await self._talk_task

    async def back(self, since: float, deadline_s: float) -> float:
        """Wait for an acknowledgement later than a moment; return the seconds until it."""

        def first() -> float | None:
            return next((at for at in self.acknowledged_at if at >= since), None)

        return await until(first, deadline_s, f"{self.account.name} is back") - since

    async def _talk(self) -> None:
        while not self._stopping:
            try:
                async with await Chat.enter(
                    self._url, self.account, subprotocol=self._subprotocol
                ) as chat:
                    self.connections += 1
                    await self._talk_on(chat)
            except AWAY:
                await asyncio.sleep(RETRY_S)

    async def _talk_on(self, chat: Chat) -> None:
        """Join, take what was missed, and go on where it broke off."""
        since: dict[str, Any] = {}
        if self.seen:
            [epoch] = self.epochs
            since = {"since": {"epoch": epoch, "offset": self.seen[-1]["offset"]}}
        joined = await chat.request("join", room=self._room, **since)
        assert joined["recovered"] is bool(since), joined
        self.epochs.add(joined["epoch"])
        self.seen += joined["messages"]
        known = len(self.seen)
        try:
            while not self._stopping or self._pending is not None:
                body = self._pending = self._pending or next(self._unsent)
                reply = await self._send(chat, body)
                if reply is not None:
                    self.acknowledged[body] = reply["offset"]
                    self.acknowledged_at.append(time.monotonic())
                    self._pending = None
                await asyncio.sleep(PACE_S)
        finally:
            self.seen[known:] = chat.messages

    async def _send(self, chat: Chat, body: str) -> Frame | None:
        try:
            return await chat.request("send", room=self._room, body=body, key=body)
        except RefusedError as error:
            if not error.frame.get("retry_after_ms"):
                raise
            return None
