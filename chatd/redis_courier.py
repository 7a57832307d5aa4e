"""Couriers: pipelines to each node, and what is done when one does not come back."""

import asyncio
import logging
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from redis.exceptions import (
    AskError,
    ClusterDownError,
    MovedError,
    NoScriptError,
    ReadOnlyError,
    ResponseError,
    TryAgainError,
)

from chatd.redis_link import Link, RedisLate, RedisSilent, RedisUnreachable
from chatd.redis_options import Durability, Times
from chatd.redis_script import SOURCE, Command, Partition

_log = logging.getLogger("chatd.redis")

# Commands of one pipeline: a reading may carry 2 MiB.
_FLIGHT = 64

# The node takes no writes, or no slot.
_UNFIT = (ClusterDownError, ReadOnlyError)
# This slot is served elsewhere, or is on the move (Cluster specification).
_ELSEWHERE = (AskError, TryAgainError)


class Errand(ABC):
    """One call of the script, carried until the server has answered it."""

    partition: Partition
    # Which of the couriers to a node carries it.
    track: int
    # The message it publishes may not be acknowledged before replicas have it.
    writes = False

    @abstractmethod
    def command(self) -> Command | None:
        """Return the call to send now, None when nobody waits for it any more."""

    @abstractmethod
    def done(self, reply: Any) -> None:
        """Take the answer."""

    @abstractmethod
    def failed(self, reason: str) -> bool:
        """Take the server's refusal; False when an earlier attempt may have been done."""

    @abstractmethod
    def undone(self) -> None:
        """Know that the last `command` did nothing, or never left."""


class Courier:
    """Carries errands to one node, one pipeline after the other, while `run` runs.

    `away` is None, or a sentence: the node hangs, or two attempts in a row came to nothing. It is
    then asked until it answers, and `fled` is called once per attempt, to refuse what need not
    wait. `doubt` is called when another node may serve what this one did.
    """

    def __init__(
        self,
        node: str,
        track: int,
        link: Link,
        *,
        durability: Durability,
        times: Times,
        route: Callable[[Errand], None],
        fled: Callable[["Courier", str], None],
        doubt: Callable[[], None],
    ) -> None:
        self.node = node
        self.track = track
        self.away: str | None = None
        self._link = link
        self._line = link.line(node)
        self._durability = durability
        self._times = times
        self._route = route
        self._fled = fled
        self._doubt = doubt
        self._errands: deque[Errand] = deque()
        # Those of the pipeline under way.
        self._flight: list[Errand] = []
        self._wake = asyncio.Event()
        self._failures = 0

    def add(self, errand: Errand) -> None:
        """Carry `errand` with the next pipeline: everything of this loop iteration is in it."""
        self._errands.append(errand)
        self._wake.set()

    def dismiss(self) -> list[Errand]:
        """Return what waits, to be carried by others; the node serves nothing any more."""
        errands = [*self._flight, *self._errands]
        self._flight = []
        self._errands.clear()
        return errands

    async def run(self) -> None:
        """Carry errands; cancelling means that nobody waits for their outcome any more."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._errands or self.away is not None:
                if self._failures > 1:
                    await asyncio.sleep(self._pause_s())
                await self._fly()

    def _pause_s(self) -> float:
        first, longest = self._times.retry_s
        # 2^10 s is longer than any pause one would choose.
        return min(longest, first * 2.0 ** min(self._failures - 2, 10))

    async def _fly(self) -> None:
        """Carry up to a pipeline of errands; those that must go again stay first in line."""
        flight: list[Errand] = []
        self._flight = flight
        commands: list[Command] = []
        while self._errands and len(flight) < _FLIGHT:
            errand = self._errands.popleft()
            command = errand.command()
            if command is not None:
                flight.append(errand)
                commands.append(command)
        waits = self._durability.replicas > 0 and any(errand.writes for errand in flight)
        if waits:
            commands.append(("WAIT", self._durability.replicas, self._durability.wait_ms))
        if not commands:
            if self.away is None:
                return
            commands.append(("PING",))
        try:
            replies = await self._line.send(commands)
        except (RedisUnreachable, RedisSilent) as error:
            if isinstance(error, RedisUnreachable):
                for errand in flight:
                    errand.undone()
            self._flight = []
            self._errands.extendleft(reversed(flight))
            self._miss(f"Redis does not answer ({error})", hangs=isinstance(error, RedisLate))
            return
        self._flight = []
        missing = self._missing_replicas(replies.pop()) if waits else None
        await self._settle(flight, replies, missing)

    def _missing_replicas(self, reply: Any) -> str | None:
        if isinstance(reply, int) and reply >= self._durability.replicas:
            return None
        return f"too few replicas of Redis have the last messages ({reply})"

    async def _settle(
        self, flight: Sequence[Errand], replies: Sequence[Any], missing: str | None
    ) -> None:
        again: list[Errand] = []
        trouble = missing
        untaught = False
        for errand, first_reply in zip(flight, replies, strict=False):
            reply = first_reply
            if isinstance(reply, (NoScriptError, *_ELSEWHERE, *_UNFIT)):
                errand.undone()
            if isinstance(reply, AskError) and not isinstance(reply, MovedError):
                reply = await self._follow(errand, reply)
            if isinstance(reply, NoScriptError):
                untaught = True
                again.append(errand)
            elif isinstance(reply, _ELSEWHERE):
                self._doubt()
                asyncio.get_running_loop().call_later(self._times.retry_s[0], self._route, errand)
            elif isinstance(reply, _UNFIT):
                trouble = f"Redis cannot serve this now ({reply})"
                again.append(errand)
            elif isinstance(reply, ResponseError):
                _log.error("Redis refuses a call: %s", reply)
                if not errand.failed(str(reply)):
                    trouble = f"Redis refuses a call ({reply})"
                    again.append(errand)
            elif missing is not None and errand.writes:
                again.append(errand)
            else:
                errand.done(reply)
        self._errands.extendleft(reversed(again))
        if trouble is None and untaught:
            trouble = await self._teach()
        if trouble is not None:
            self._miss(trouble)
        elif not untaught:
            self._failures = 0
            self.away = None

    async def _follow(self, errand: Errand, ask: AskError) -> Any:
        """Go where ASK says: these keys have moved, the slot has not yet."""
        command = errand.command()
        if command is None:
            return ask
        try:
            replies = await self._link.send(
                f"{ask.host}:{ask.port}", [("SCRIPT", "LOAD", SOURCE), ("ASKING",), command]
            )
        except RedisSilent as error:
            return TryAgainError(str(error))  # it may have been done, and the errand knows
        except RedisUnreachable:
            replies = [ask]
        if isinstance(replies[-1], ResponseError):
            errand.undone()
        return replies[-1]

    async def _teach(self) -> str | None:
        """Load the script; return what keeps the server from learning it."""
        try:
            (reply,) = await self._link.send(self.node, [("SCRIPT", "LOAD", SOURCE)])
        except (RedisUnreachable, RedisSilent) as error:
            return f"Redis does not answer ({error})"
        return f"Redis takes no script ({reply})" if isinstance(reply, Exception) else None

    def _miss(self, sentence: str, *, hangs: bool = False) -> None:
        # A connection that Redis closed while it was idle is no reason to refuse anything.
        self._failures = max(self._failures + 1, 2 if hangs else 1)
        self._doubt()
        if self._failures > 1:
            if self.away is None:
                _log.warning("%s", sentence)
            self.away = sentence
            self._fled(self, sentence)
