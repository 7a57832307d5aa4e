"""The subscription to one Redis node: a reader of our own, because redis-py's takes ten times
the CPU (2.8 M against 0.2 M messages per CPU second, one subscriber, 200 bytes)."""

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from itertools import islice
from typing import Any, Protocol, cast

import hiredis

from chatd.redis_link import Endpoint, RedisSilent, RedisUnreachable
from chatd.redis_options import Times

_log = logging.getLogger("chatd.redis")

# Channels per SUBSCRIBE: a reconnect with 10,000 rooms is 20 commands, none of which holds the
# server for long.
_CHANNELS = 512


class Ears(Protocol):
    """Who listens."""

    def heard(self, channel: bytes, payload: bytes) -> None:
        """Take a publication."""

    def confirmed(self, channel: bytes) -> None:
        """Know that everything published from now on will be heard."""

    def deafened(self, channels: Iterable[bytes]) -> None:
        """Know that publications on `channels` may be missed until they are confirmed again."""

    def moved(self) -> None:
        """Know that the node no longer serves all of what it was asked for."""


class _Wire(asyncio.Protocol):
    """Bytes to replies."""

    def __init__(
        self, take: Callable[[Any], None], lost: Callable[[Exception | None], None]
    ) -> None:
        self.transport: asyncio.WriteTransport | None = None
        self._reader = hiredis.Reader()
        self._take = take
        self._lost = lost

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.WriteTransport", transport)  # uvloop's is no subclass

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        gets, take = self._reader.gets, self._take
        while (reply := gets()) is not False:
            take(reply)

    def connection_lost(self, error: Exception | None) -> None:
        self._lost(error)

    def send(self, *command: bytes | str) -> None:
        if self.transport is not None:
            self.transport.write(hiredis.pack_command(command))  # type: ignore[arg-type]


class Subscriber:
    """Keeps one connection subscribed to what is wanted, while `run` runs.

    A connection that is open and silent proves nothing: after a fail-over it may belong to a
    server nobody publishes on. So an idle one is probed with a publication of our own to
    `probe_channel`, sent by `probe` on another connection; a probe that could not be published
    proves nothing either. `fault` is a sentence, None while everything wanted is confirmed.
    """

    def __init__(
        self,
        *,
        dial: Callable[[], Awaitable[Endpoint]],
        probe: Callable[[bytes], Awaitable[None]],
        probe_channel: bytes,
        sharded: bool,
        times: Times,
        ears: Ears,
        groups: Callable[[Iterable[bytes]], Iterable[list[bytes]]],
    ) -> None:
        self.fault: str | None = "not subscribed to Redis yet"
        self.unanswered = False
        """The last probe was not taken: the node hangs, and would answer nothing else either."""
        self._dial = dial
        self._probe = probe
        self._probe_channel = probe_channel
        self._prefix = "S" if sharded else ""
        self._times = times
        self._ears = ears
        self._groups = groups
        self._wanted: set[bytes] = set()
        # What the server was asked for on this connection, and what it has not confirmed yet.
        self._asked: set[bytes] = set()
        self._unconfirmed: Counter[bytes] = Counter()
        self._changed: dict[bytes, None] = {}
        self._wire: _Wire | None = None
        self._lost: asyncio.Future[str] | None = None
        self._heard = asyncio.Event()
        self._handshakes = 0
        self._words = {
            (self._prefix + word).lower().encode(): act
            for word, act in {
                "MESSAGE": self._message,
                "SUBSCRIBE": self._confirm,
                "UNSUBSCRIBE": self._unsubscribed,
            }.items()
        }

    def want(self, channel: bytes) -> None:
        """Subscribe, with everything else of this loop iteration."""
        self._wanted.add(channel)
        self._change(channel)

    def unwant(self, channel: bytes) -> None:
        """Unsubscribe, likewise."""
        self._wanted.discard(channel)
        self._change(channel)

    def has_asked(self, channel: bytes) -> bool:
        """Say whether the server was asked for `channel`, and has not let go of it."""
        return channel in self._asked

    def is_confirmed(self, channel: bytes) -> bool:
        """Say whether publications on `channel` are heard now."""
        return channel in self._asked and not self._unconfirmed[channel]

    async def run(self) -> None:
        """Connect, subscribe, watch; again after every loss. Cancelling closes the connection."""
        pause_s, longest_s = self._times.retry_s
        failures = 0
        while True:
            try:
                await self._connect()
                failures = 0
                self._fail(await self._watch())
            except (OSError, TimeoutError, RedisUnreachable) as error:
                failures += 1
                self._fail(f"cannot subscribe to Redis ({str(error) or type(error).__name__})")
            finally:
                self._hang_up()
            # At once after a loss; then slower and slower.
            await asyncio.sleep(min(longest_s, pause_s * 2.0 ** min(failures, 10)))

    def _fail(self, sentence: str) -> None:
        # Said when it begins, not with every attempt.
        if self.fault is None:
            _log.warning("%s", sentence)
        self.fault = sentence

    async def _connect(self) -> None:
        endpoint = await self._dial()
        loop = asyncio.get_running_loop()
        self._lost = lost = loop.create_future()
        wire = _Wire(self._take, self._on_lost)
        async with asyncio.timeout(self._times.connect_s):
            if endpoint.path is not None:
                await loop.create_unix_connection(lambda: wire, endpoint.path)
            else:
                await loop.create_connection(
                    lambda: wire, endpoint.host, endpoint.port, ssl=endpoint.tls
                )
        self._wire = wire
        if endpoint.password is not None:
            self._handshakes = 1
            who = (endpoint.username,) if endpoint.username else ()
            wire.send("AUTH", *who, endpoint.password)
        self._ask("SUBSCRIBE", [self._probe_channel])
        for channels in self._groups(self._wanted):
            self._ask("SUBSCRIBE", channels)
        await self._wait(lost, lambda: not self._handshakes and not +self._unconfirmed)
        self.fault = None

    async def _wait(self, lost: "asyncio.Future[str]", done: Callable[[], bool]) -> None:
        """Wait until `done`, as long as the server keeps talking."""
        while not done():
            self._heard.clear()
            if not await self._hears(lost, self._times.reply_s):
                raise OSError("no answer to SUBSCRIBE")
            if lost.done():
                raise OSError(lost.result())

    async def _hears(self, lost: "asyncio.Future[str]", within_s: float) -> bool:
        """Wait for bytes, or the end of the connection; False when neither came."""
        hearing = asyncio.ensure_future(self._heard.wait())
        either: set[asyncio.Future[Any]] = {hearing, lost}
        try:
            done, _ = await asyncio.wait(
                either, timeout=within_s, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            hearing.cancel()
        return bool(done)

    async def _watch(self) -> str:
        """Return the sentence that says why the connection is no good any more."""
        lost = self._lost
        assert lost is not None
        while not lost.done():
            self._heard.clear()
            await asyncio.wait({lost}, timeout=self._times.idle_s)
            if lost.done() or self._heard.is_set():
                self.fault, self.unanswered = None, False
                continue
            try:
                await self._probe(self._probe_channel)
            except (RedisUnreachable, RedisSilent) as error:
                self.unanswered = True
                self._fail(f"Redis does not answer ({error})")
                continue
            self.fault, self.unanswered = None, False
            if not self._heard.is_set() and not await self._hears(lost, self._times.probe_s):
                return "the subscription to Redis has gone silent"
        return f"the subscription to Redis has ended ({lost.result()})"

    def _hang_up(self) -> None:
        self.unanswered = False
        if self._wire is not None and self._wire.transport is not None:
            self._wire.transport.abort()
        self._wire = None
        self._lost = None
        self._handshakes = 0
        self._unconfirmed.clear()
        asked, self._asked = self._asked, set()
        self._ears.deafened(asked)

    def _on_lost(self, error: Exception | None) -> None:
        if self._lost is not None and not self._lost.done():
            self._lost.set_result(str(error or "closed by Redis"))

    def _change(self, channel: bytes) -> None:
        if not self._changed:
            asyncio.get_running_loop().call_soon(self._apply)
        self._changed[channel] = None

    def _apply(self) -> None:
        changed, self._changed = self._changed, {}
        if self._wire is None:
            return
        joined = [c for c in changed if c in self._wanted and c not in self._asked]
        gone = [c for c in changed if c not in self._wanted and c in self._asked]
        for channels in self._groups(joined):
            self._ask("SUBSCRIBE", channels)
        for channels in self._groups(gone):
            self._ask("UNSUBSCRIBE", channels)

    def _ask(self, word: str, channels: list[bytes]) -> None:
        remaining = iter(channels)
        while batch := list(islice(remaining, _CHANNELS)):
            assert self._wire is not None
            self._wire.send(self._prefix + word, *batch)
            if word == "SUBSCRIBE":
                self._asked.update(batch)
                self._unconfirmed.update(batch)
            else:
                self._asked.difference_update(batch)

    def _take(self, reply: Any) -> None:
        self._heard.set()
        if type(reply) is list:
            act = self._words.get(reply[0])
            if act is not None:
                act(reply)
        elif isinstance(reply, Exception):
            self._complain(str(reply))
        elif self._handshakes:
            self._handshakes -= 1

    def _message(self, reply: list[bytes]) -> None:
        self._ears.heard(reply[1], reply[2])

    def _confirm(self, reply: list[bytes]) -> None:
        channel = reply[1]
        # Asked for again before the first confirmation: only the last one counts.
        self._unconfirmed[channel] -= 1
        if self._unconfirmed[channel] <= 0:
            del self._unconfirmed[channel]
            if channel in self._asked and channel != self._probe_channel:
                self._ears.confirmed(channel)

    def _unsubscribed(self, reply: list[bytes]) -> None:
        channel = reply[1]
        if channel in self._asked and not self._unconfirmed[channel]:
            # Nobody asked for that: the slot has moved to another node.
            self._asked.discard(channel)
            self._ears.deafened([channel])
            self._ears.moved()
            if channel == self._probe_channel:
                self._end("the slot of the probe has moved")

    def _complain(self, error: str) -> None:
        if error.startswith(("MOVED", "CLUSTERDOWN", "TRYAGAIN")):
            self._ears.moved()
        self._end(error)

    def _end(self, reason: str) -> None:
        if self._lost is not None and not self._lost.done():
            self._lost.set_result(reason)
        with contextlib.suppress(AttributeError):
            self._wire.transport.abort()  # type: ignore[union-attr]
