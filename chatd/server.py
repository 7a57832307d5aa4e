"""`GET /ws`: aiohttp serves the handshake, then the connection is ours, down to the socket.

After the 101 the transport is given a protocol of our own and aiohttp forgets the connection:
no task and no HTTP parser stay behind, a frame costs one callback, and the fan-out writes
prepared bytes.
"""

import asyncio
import json
import logging
import os
from collections.abc import Callable, Collection
from typing import cast
from urllib.parse import urlsplit

from aiohttp import hdrs, web
from aiohttp.abc import AbstractStreamWriter

from chatd.errors import DRAINING, NORMAL, WRONG_KIND, Close, FactsRefused
from chatd.hub import Client, Hub
from chatd.limits import Limits
from chatd.websocket import CLOSE, PING, PONG, FrameReader, Message, accept_key, close_frame
from chatd.wire import BY_SUBPROTOCOL, Codec

_log = logging.getLogger("chatd.server")

# One connection's share of a loop iteration, about 1 ms: a flood waits, the others do not.
MESSAGES_PER_TURN = 64
# How long a close frame may wait for its answer, and a slow reader for its end.
CLOSE_TIMEOUT_S = 5.0
TICK_S = 0.5

# Reasons not to read from a connection.
_UNSENT, _TURN_OVER, _TOO_FAST = 1, 2, 4


class WebSocketConnection(asyncio.Protocol):
    """One upgraded connection: the `chatd.outbox.Pipe` of its client."""

    __slots__ = (
        "_client",
        "_closing",
        "_codec",
        "_fd",
        "_holds",
        "_hub",
        "_lost",
        "_reader",
        "_timer",
        "_transport",
    )

    def __init__(
        self,
        transport: asyncio.Transport,
        hub: Hub,
        codec: Codec,
        limits: Limits,
        lost: Callable[["WebSocketConnection"], None],
    ) -> None:
        self._transport = transport
        self._hub = hub
        self._codec = codec
        self._lost = lost
        self._reader = FrameReader(limits.frame_bytes)
        self._closing = False
        self._holds = 0
        # Written to directly while the transport has nothing queued; -1 behind TLS, where only
        # the transport can encrypt, and after the end, when the number may be another's.
        plain = transport.get_extra_info("sslcontext") is None
        self._fd = transport.get_extra_info("socket").fileno() if plain else -1
        self._client: Client = hub.connect(self, codec, limits)
        # The next of hello timeout, ping, silence and token end; after `close` the abort.
        # Always set until the connection is lost.
        first_s = min(limits.hello_timeout_s, limits.ping_s)
        self._timer = asyncio.get_running_loop().call_later(first_s, self._timeout)

    @property
    def client(self) -> Client:
        """The client at the other end."""
        return self._client

    # asyncio.Protocol

    def data_received(self, data: bytes) -> None:
        self._hub.counters.bytes_in += len(data)
        self._client.state.heard(self._hub.clock.monotonic())
        self._reader.receive_data(data)
        # While held, what the transport still delivers waits in the reader.
        if not self._holds or self._closing:
            self._process()

    def connection_lost(self, exc: Exception | None) -> None:
        self._fd = -1
        self._closing = True
        self._timer.cancel()
        self._hub.disconnected(self._client)
        self._lost(self)

    def pause_writing(self) -> None:
        # Who does not read is not read from: answers cannot pile up.
        self._hold(_UNSENT)

    def resume_writing(self) -> None:
        # It took bytes, so it is there.
        self._client.state.heard(self._hub.clock.monotonic())
        self._release(_UNSENT)

    # chatd.outbox.Pipe

    def write(self, data: bytes) -> int:
        transport = self._transport
        rest: bytes | memoryview = data
        if self._fd >= 0 and not transport.get_write_buffer_size():
            try:
                sent = os.write(self._fd, data)
            except (BlockingIOError, InterruptedError):
                sent = 0
            except OSError:
                transport.abort()  # connection_lost follows
                self._fd = -1
                return 0
            if sent == len(data):
                return 0
            rest = memoryview(data)[sent:]
        transport.write(rest)
        return transport.get_write_buffer_size()

    def unsent_bytes(self) -> int:
        return self._transport.get_write_buffer_size()

    def close(self, close: Close) -> None:
        self.write(close_frame(close))
        self._closing = True
        self._timer.cancel()
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(CLOSE_TIMEOUT_S, self.abort)
        if self._reader.fault is not None and self._transport.can_write_eof():
            # Its answer cannot be told from the bytes that do not parse, so it is to see our end
            # and close; what it still sends is read, or a reset would eat our close frame.
            self._transport.write_eof()

    def abort(self) -> None:
        """End the connection without a word more."""
        self._transport.abort()
        self._fd = -1

    # Reading

    def _process(self) -> None:
        for _ in range(MESSAGES_PER_TURN):
            message = self._reader.next_message()
            if message is None:
                break
            self._receive(message)
            if self._holds:
                return
        else:
            self._hold(_TURN_OVER)
            asyncio.get_running_loop().call_soon(self._release, _TURN_OVER)
        if self._reader.fault is not None and not self._closing:
            self._hub.counters.bad_frames += 1
            self._hub.close(self._client, self._reader.fault)

    def _receive(self, message: Message) -> None:
        if message.opcode == CLOSE:
            self._end()
        elif self._closing:
            return  # RFC 6455, section 1.4: after our close frame data is discarded
        elif message.opcode == self._codec.opcode:
            self._hub.receive(self._client, message.payload)
            self._slow_down(self._client.state.wait_s(self._hub.clock.monotonic()))
        elif message.opcode == PING:
            now = self._hub.clock.monotonic()
            self._hub.answer_ping(self._client, message.payload)
            self._slow_down(self._client.state.receive_ping(now))
        elif message.opcode != PONG:
            self._hub.counters.bad_frames += 1
            self._hub.close(self._client, WRONG_KIND)

    def _end(self) -> None:
        """Answer the peer's close frame, unless it answers ours, and end."""
        if not self._closing:
            self._client.outbox.flush()
            self._hub.disconnected(self._client)
            self.write(close_frame(NORMAL))
            self._closing = True
        self._transport.close()
        self._fd = -1

    def _slow_down(self, wait_s: float) -> None:
        if wait_s:
            self._hold(_TOO_FAST)
            asyncio.get_running_loop().call_later(min(wait_s, 1.0), self._release, _TOO_FAST)

    def _hold(self, reason: int) -> None:
        if not self._holds and not self._transport.is_closing():
            self._transport.pause_reading()
        self._holds |= reason

    def _release(self, reason: int) -> None:
        self._holds &= ~reason
        if self._holds or self._transport.is_closing():
            return
        self._process()
        if not self._holds and not self._transport.is_closing():
            self._transport.resume_reading()

    def _timeout(self) -> None:
        delay_s = self._hub.handle_timeout(self._client)
        if not self._closing:
            self._timer = asyncio.get_running_loop().call_later(delay_s, self._timeout)


class _Upgraded(web.StreamResponse):
    """Stands for a response that is already on its way; aiohttp has nothing to write."""

    def __init__(self) -> None:
        super().__init__(status=101)

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        return None


class _Tail:
    """Catches what a client sent behind its handshake, as `RequestHandler.set_parser` gives it."""

    def __init__(self) -> None:
        self.data = b""

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        self.data += data
        return False, b""

    def feed_eof(self) -> None:
        pass


class ChatServer:
    """The WebSocket endpoint of a hub.

    Args:
        hub: whom the connections belong to.
        origins: allowed `Origin` values (`https://example.org`), `*` for any. A page from the
            same host and port, and a client that sends no `Origin`, are always allowed.
        bench: lift the rates, nothing else.
        admit: asked for each handshake; returns 0.0 or the seconds to come back in (HTTP 429).
    """

    def __init__(
        self,
        hub: Hub,
        *,
        origins: Collection[str] = (),
        bench: bool = False,
        admit: Callable[[web.Request], float] | None = None,
    ) -> None:
        self._hub = hub
        self._origins = {origin.rstrip("/").lower() for origin in origins}
        self._limits = hub.limits.lifted() if bench else hub.limits
        self._admit = admit
        self._connections: set[WebSocketConnection] = set()
        # Set while a drain waits for the last connection.
        self._all_lost: asyncio.Event | None = None
        # None while nothing is open; cancelled by `drain`.
        self._tick_timer: asyncio.TimerHandle | None = None

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Upgrade `request`, or answer with a problem document."""
        problem = self._refusal(request)
        if problem is not None:
            return problem
        codec = next(iter(_offered(request)))
        transport = request.transport
        if transport is None:
            return _Upgraded()  # gone already
        self._take_over(request, transport, codec)
        self._start_ticking()
        return _Upgraded()

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
        size = max(50, len(waiting) // 20 + 1)
        for start in range(0, len(waiting), size):
            if start:
                await asyncio.sleep(spread_s / 20)
            for connection in waiting[start : start + size]:
                self._hub.close(connection.client, DRAINING)

    async def _wait_until_lost(self, deadline: float) -> None:
        self._all_lost = asyncio.Event()
        if self._connections:
            try:
                async with asyncio.timeout_at(deadline):
                    await self._all_lost.wait()
            except TimeoutError:
                _log.warning("%d connections did not answer the close", len(self._connections))

    def _take_over(self, request: web.Request, transport: asyncio.Transport, codec: Codec) -> None:
        key = request.headers[hdrs.SEC_WEBSOCKET_KEY]
        tail = _Tail()
        handler = request.protocol
        handler.set_parser(tail)  # type: ignore[arg-type]
        # From here aiohttp knows nothing of the connection: its request handler lets go of the
        # transport, counts it as lost, and ends its task when `handle` returns.
        connection = WebSocketConnection(transport, self._hub, codec, self._limits, self._forget)
        self._connections.add(connection)
        transport.set_protocol(connection)
        handler.transport = None  # connection_lost would close it
        handler.connection_lost(None)
        transport.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: "
            + cast("str", accept_key(key)).encode()
            + b"\r\nSec-WebSocket-Protocol: "
            + codec.subprotocol.encode()
            + b"\r\n\r\n"
        )
        if tail.data:
            connection.data_received(tail.data)

    def _forget(self, connection: WebSocketConnection) -> None:
        self._connections.discard(connection)
        if not self._connections and self._all_lost is not None:
            self._all_lost.set()

    def _start_ticking(self) -> None:
        if self._tick_timer is None:
            self._tick_timer = asyncio.get_running_loop().call_later(TICK_S, self.tick)

    def _refusal(self, request: web.Request) -> web.Response | None:
        reason, problem = self._judge(request)
        if problem is not None:
            self._hub.counters.handshakes_refused[reason] += 1
        return problem

    def _judge(self, request: web.Request) -> tuple[str, web.Response | None]:
        if not self._origin_allowed(request):
            return "origin", _problem(403, "Origin not allowed", "This page may not connect.")
        if self._hub.draining:
            return "draining", _problem(503, "Draining", "Another server takes over.", 1)
        if len(self._connections) >= self._limits.connections:
            return "full", _problem(503, "Full", "No more connections here.", 5)
        wait_s = 0.0 if self._admit is None else self._admit(request)
        if wait_s:
            return "rate", _problem(429, "Too many connections", "Slow down.", wait_s)
        return _judge_upgrade(request)

    def _origin_allowed(self, request: web.Request) -> bool:
        origin = request.headers.get(hdrs.ORIGIN)
        if origin is None or "*" in self._origins or origin.lower() in self._origins:
            return True
        try:
            return urlsplit(origin).netloc.lower() == request.host.lower() != ""
        except ValueError:
            return False


def _judge_upgrade(request: web.Request) -> tuple[str, web.Response | None]:
    headers = request.headers
    if (
        headers.get(hdrs.UPGRADE, "").lower() != "websocket"
        or "upgrade" not in headers.get(hdrs.CONNECTION, "").lower()
    ):
        problem = _problem(426, "WebSocket expected", "Connect with a WebSocket client.")
        problem.headers[hdrs.UPGRADE] = "websocket"
        return "no_upgrade", problem
    if headers.get(hdrs.SEC_WEBSOCKET_VERSION) != "13":
        problem = _problem(426, "WebSocket version 13 expected", "RFC 6455 is spoken here.")
        problem.headers[hdrs.SEC_WEBSOCKET_VERSION] = "13"
        return "version", problem
    if accept_key(headers.get(hdrs.SEC_WEBSOCKET_KEY, "")) is None:
        return "key", _problem(400, "Bad handshake", "Sec-WebSocket-Key is not 16 bytes.")
    if not _offered(request):
        known = ", ".join(BY_SUBPROTOCOL)
        return "subprotocol", _problem(400, "Unknown subprotocol", f"Offer one of: {known}.")
    return "", None


def _offered(request: web.Request) -> list[Codec]:
    """Return the codecs the client offers, in its order."""
    values = request.headers.getall(hdrs.SEC_WEBSOCKET_PROTOCOL, ())
    names = (name.strip() for value in values for name in value.split(","))
    return [BY_SUBPROTOCOL[name] for name in names if name in BY_SUBPROTOCOL]


def _problem(
    status: int, title: str, detail: str, retry_after_s: float | None = None
) -> web.Response:
    """Return an RFC 9457 problem document."""
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    headers = {} if retry_after_s is None else {hdrs.RETRY_AFTER: str(int(retry_after_s + 0.999))}
    return web.Response(
        status=status,
        text=json.dumps(body),
        content_type="application/problem+json",
        headers=headers,
    )
