"""`GET /ws`: aiohttp serves the handshake, then the connection is ours, down to the socket.

After the 101 the transport is given a protocol of our own and aiohttp forgets the connection:
no task and no HTTP parser stay behind, a frame costs one callback, and the fan-out writes
prepared bytes. `stream_server` serves those whose network breaks WebSocket, likewise.
"""

import asyncio
import logging
from collections.abc import Callable, Collection

from aiohttp import web

from chatd.connection import WebSocketConnection
from chatd.errors import DRAINING, FactsRefused
from chatd.handshake import (
    Objection,
    Upgraded,
    deflating,
    object_to_origin,
    object_to_upgrade,
    objection,
    offered,
    switching,
    take_over,
)
from chatd.hub import Hub
from chatd.stream import StreamConnection
from chatd.stream_server import Streams

_log = logging.getLogger("chatd.server")

TICK_S = 0.5
# A drain closes so many at a time, and lets this much pass for another hub to take them in: a
# handshake with a join is about 0.5 ms of CPU.
WAVE = 128
WAVE_GAP_S = 0.2


class ChatServer:
    """The WebSocket endpoint of a hub.

    Args:
        hub: whom the connections belong to.
        origins: allowed `Origin` values (`https://example.org`), `*` for any. A page from the
            same host and port, and a client that sends no `Origin`, are always allowed.
        bench: lift the rates, nothing else.
        admit: asked for each handshake; returns 0.0 or the seconds to come back in (HTTP 429).
        greeted: asked for each connection that is opened; what it returns is told once whether the
            hello was good.
    """

    def __init__(
        self,
        hub: Hub,
        *,
        origins: Collection[str] = (),
        bench: bool = False,
        admit: Callable[[web.Request], float] | None = None,
        greeted: Callable[[web.Request], Callable[[bool], None]] | None = None,
    ) -> None:
        self._hub = hub
        self._origins = {origin.rstrip("/").lower() for origin in origins}
        self._limits = hub.limits.lifted() if bench else hub.limits
        self._admit = admit
        self._greeted = greeted
        self._connections: set[WebSocketConnection | StreamConnection] = set()
        self.streams = Streams(
            hub,
            self._limits,
            origins=self._origins,
            object_to_one_more=self._object_to_one_more,
            opened=self._keep,
            lost=self._forget,
        )
        # Set while a drain waits for the last connection.
        self._all_lost: asyncio.Event | None = None
        # None while nothing is open; cancelled by `drain`.
        self._tick_timer: asyncio.TimerHandle | None = None

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Upgrade `request`, or answer with a problem document."""
        found = self._object(request)
        if found is not None:
            self._hub.counters.handshakes_refused[found.reason] += 1
            return found.problem
        transport = request.transport
        if transport is not None:
            codec = offered(request)[0]
            if self._limits.deflate:
                codec = deflating(request, codec)
            connection = WebSocketConnection(
                transport, self._hub, codec, self._limits, self._forget
            )
            self._keep(connection, request)
            take_over(request, transport, switching(request, codec), connection)
        return Upgraded()

    def tick(self) -> None:
        """Keep the hub's time while there is something to keep it for."""
        self._tick_timer = None
        self._hub.tick()
        if self._hub.busy or self._connections:
            self._start_ticking()

    async def drain(self, timeout_s: float = 10.0) -> None:
        """Refuse newcomers, close everyone in waves, and keep the last facts.

        Clients come back to another process at once, so they are sent over half of
        `timeout_s` and not all in one moment. Cancellation ends the rest at once.
        """
        self._hub.draining = True
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        try:
            await self._close_in_waves(timeout_s / 2)
            await self._wait_until_lost(deadline)
        finally:
            for connection in list(self._connections):
                connection.abort()
            if self._tick_timer is not None:
                self._tick_timer.cancel()
                self._tick_timer = None
            try:
                self._hub.finish()
            except FactsRefused as refusal:
                _log.critical("the last facts are not stored: %s", refusal)

    async def _close_in_waves(self, spread_s: float) -> None:
        waiting = list(self._connections)
        gap_s = wave_gap_s(len(waiting), spread_s)
        for start in range(0, len(waiting), WAVE):
            if start:
                await asyncio.sleep(gap_s)
            for connection in waiting[start : start + WAVE]:
                self._hub.close(connection.client, DRAINING)

    async def _wait_until_lost(self, deadline: float) -> None:
        self._all_lost = asyncio.Event()
        if self._connections:
            try:
                async with asyncio.timeout_at(deadline):
                    await self._all_lost.wait()
            except TimeoutError:
                _log.warning("%d connections did not answer the close", len(self._connections))

    def _keep(
        self, connection: WebSocketConnection | StreamConnection, request: web.Request
    ) -> None:
        if self._greeted is not None:
            connection.client.greeted = self._greeted(request)
        self._connections.add(connection)
        self._start_ticking()

    def _forget(self, connection: WebSocketConnection | StreamConnection) -> None:
        self._connections.discard(connection)
        if not self._connections and self._all_lost is not None:
            self._all_lost.set()

    def _start_ticking(self) -> None:
        if self._tick_timer is None:
            self._tick_timer = asyncio.get_running_loop().call_later(TICK_S, self.tick)

    def _object(self, request: web.Request) -> Objection | None:
        return (
            object_to_origin(request, self._origins)
            or self._object_to_one_more(request)
            or object_to_upgrade(request)
        )

    def _object_to_one_more(self, request: web.Request) -> Objection | None:
        if self._hub.draining:
            detail = "Another server takes over."
            return objection("draining", 503, "Draining", detail, retry_after_s=1)
        if len(self._connections) >= self._limits.connections:
            return objection("full", 503, "Full", "No more connections here.", retry_after_s=5)
        wait_s = 0.0 if self._admit is None else self._admit(request)
        if wait_s:
            detail = "Too many handshakes from this address."
            return objection("rate", 429, "Too many connections", detail, retry_after_s=wait_s)
        return None


def wave_gap_s(count: int, spread_s: float) -> float:
    """Return the seconds between two waves so that `count` are sent away within `spread_s`."""
    gaps = max(1, -(-count // WAVE) - 1)
    return min(WAVE_GAP_S, spread_s / gaps)
