"""The control protocol between a hub process and an SFU, over a Unix socket.

A message is a 4-byte big-endian length and a MessagePack map:

    request   {id, op, …}            hub → SFU
    reply     {id, ok: {…}}          or {id, error: {code, reason, message, retry_after_ms}}
    event     {event, …}             SFU → hub, no id

Requests of one connection are answered in their order. **Losing the connection loses no media**:
people keep talking, and their chat sessions get a grace period to be claimed again (`sessions`).

Operations: frame, session_closed, whip, whep, patch, delete, sessions, stats, diagnose, load,
hand_over, end_room, drain, admit.
Events: frame {session, frame}, ended {participant, room, user}, draining.
"""

import asyncio
import contextlib
import logging
import os
import random
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Protocol, cast

import msgspec

from sfu.errors import Refused, SfuError

logger = logging.getLogger(__name__)

Map = dict[str, Any]

_LENGTH = struct.Struct(">I")
# An offer with 500 m-lines is about 600 KB.
MESSAGE_LIMIT_BYTES = 4 << 20
# A peer that does not read this much is stuck: drop the connection, it will come back.
WRITE_LIMIT_BYTES = 16 << 20

# A hub that does not read its last events by then will never.
CLOSE_S = 1.0

RECONNECT_FIRST_S = 0.05
# The SFU is back about 1 s after a crash; waiting longer would only lengthen the silence, and an
# attempt costs 50 us.
RECONNECT_LONGEST_S = 0.25

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(dict[str, Any]).decode


class ControlBroken(SfuError):
    """The other end does not speak the control protocol; the connection is closed."""


class ControlError(SfuError):
    """The SFU refused a request; the fields are those of `sfu.errors.REFUSALS`."""

    def __init__(
        self, code: int, reason: str, message: str, retry_after_ms: int | None = None
    ) -> None:
        super().__init__(f"{reason}: {message}")
        self.code = code
        self.reason = reason
        self.message = message
        self.retry_after_ms = retry_after_ms


class ControlLost(SfuError):
    """No control connection, or it ended before the answer came."""


def pack(message: Map) -> bytes:
    """Encode one control message with its length."""
    body = _encode(message)
    return _LENGTH.pack(len(body)) + body


class Unpacker:
    """Cuts a byte stream into control messages; sans-IO."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def receive_data(self, data: bytes) -> list[Map]:
        """Return the messages completed by `data`.

        Raises:
            ControlBroken: a length over the limit, or a body that is not a MessagePack map.
        """
        self._buffer += data
        messages = []
        while len(self._buffer) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._buffer)
            if length > MESSAGE_LIMIT_BYTES:
                raise ControlBroken(f"control message of {length} bytes")
            end = _LENGTH.size + length
            if len(self._buffer) < end:
                break
            try:
                messages.append(_decode(bytes(self._buffer[_LENGTH.size : end])))
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                raise ControlBroken(str(error)) from None
            del self._buffer[:end]
        return messages


class Link(Protocol):
    """One hub's control connection, as the SFU sees it."""

    def push(self, event: Map) -> None:
        """Send an event; lost silently when the connection is gone."""


class ControlHandler(Protocol):
    """What the control server asks of the SFU."""

    def receive_request(self, link: Link, request: Map) -> Map:
        """Return the `ok` part of the reply. Raises `sfu.errors.Refused`."""

    def link_lost(self, link: Link) -> None:
        """Note that `link` will carry nothing more."""


class _ServerConnection(asyncio.Protocol):
    def __init__(self, server: "ControlServer") -> None:
        self._server = server
        self._unpacker = Unpacker()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass
        self._server.connections.add(self)

    def data_received(self, data: bytes) -> None:
        try:
            for request in self._unpacker.receive_data(data):
                self._write(self._answer(request))
        except ControlBroken as error:
            logger.warning("control connection closed: %s", error)
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._server.connections.discard(self)
        self._server.handler.link_lost(self)

    def push(self, event: Map) -> None:
        self._write(event)

    def close(self) -> None:
        """Close once everything written has left."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()

    def _answer(self, request: Map) -> Map:
        identifier = request.get("id")
        try:
            return {"id": identifier, "ok": self._server.handler.receive_request(self, request)}
        except Refused as refusal:
            return {"id": identifier, "error": _error(refusal)}
        except Exception:
            # A bug must not end the connection for everybody else in the hub.
            logger.exception("control operation %r failed", request.get("op"))
            return {"id": identifier, "error": _error(Refused("internal"))}

    def _write(self, message: Map) -> None:
        if self._transport is None:
            return
        self._transport.write(pack(message))
        if self._transport.get_write_buffer_size() > WRITE_LIMIT_BYTES:
            logger.warning("control connection aborted: the hub does not read")
            self._transport.abort()


def _error(refusal: Refused) -> Map:
    error: Map = {"code": refusal.code, "reason": refusal.reason, "message": refusal.message}
    if refusal.retry_after_ms is not None:
        error["retry_after_ms"] = refusal.retry_after_ms
    return error


class ControlServer:
    """The SFU's end: listens on a Unix socket that only this user may open."""

    def __init__(self, path: str | os.PathLike[str], handler: ControlHandler) -> None:
        self.handler = handler
        self.connections: set[_ServerConnection] = set()
        self._path = Path(path)
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen. A socket left by a dead process is replaced. Raises OSError."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()
        self._server = await asyncio.get_running_loop().create_unix_server(
            lambda: _ServerConnection(self), str(self._path)
        )
        self._path.chmod(0o600)

    async def close(self) -> None:
        """Stop listening, end the connections and remove the socket."""
        if self._server is None:
            return
        self._server.close()
        for connection in list(self.connections):
            connection.close()
        try:
            async with asyncio.timeout(CLOSE_S):
                await self._server.wait_closed()
        except TimeoutError:
            for connection in list(self.connections):
                connection.abort()
        self._server = None
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()


class _ClientConnection(asyncio.Protocol):
    def __init__(self, received: Callable[[Map], None], ended: Callable[[], None]) -> None:
        self._received = received
        self._ended = ended
        self._unpacker = Unpacker()
        self.transport: asyncio.Transport | None = None
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        try:
            for message in self._unpacker.receive_data(data):
                self._received(message)
        except ControlBroken as error:
            logger.warning("control connection closed: %s", error)
            if self.transport is not None:
                self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        self._ended()
        if not self.lost.done():
            self.lost.set_result(None)


class ControlClient:
    """The hub's end: one connection that comes back by itself.

    1. `start` begins connecting; it does not wait for the SFU to be there.
    2. After each connect, `on_connect` is awaited: the place to say which sessions live.
    3. `request` sends one operation; events reach `on_event` in their order.
    4. When the connection ends, `on_lost` is called once and waiting requests raise `ControlLost`.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        on_event: Callable[[Map], None] | None = None,
        on_connect: Callable[[], Awaitable[None]] | None = None,
        on_lost: Callable[[], None] | None = None,
    ) -> None:
        self.on_event = on_event
        self.on_connect = on_connect
        self.on_lost = on_lost
        self._path = str(path)
        self._connection: _ClientConnection | None = None
        self._waiting: dict[int, asyncio.Future[Map]] = {}
        self._last_id = 0
        self._up = asyncio.Event()
        # None before start() and after close(), which cancels it.
        self._connect_task: asyncio.Task[None] | None = None

    @property
    def connected(self) -> bool:
        """Tell whether requests can be sent now."""
        return self._connection is not None and self._connection.transport is not None

    async def start(self) -> None:
        """Begin connecting in the background."""
        self._connect_task = asyncio.get_running_loop().create_task(
            self._stay_connected(), name="sfu-control"
        )

    async def wait_connected(self) -> None:
        """Wait until the connection is up."""
        await self._up.wait()

    async def close(self) -> None:
        """End the connection and stop coming back."""
        if self._connect_task is None:
            return
        self._connect_task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._connect_task
        self._connect_task = None

    def abort(self) -> None:
        """End the present connection at once; another one is made."""
        if self._connection is not None and self._connection.transport is not None:
            self._connection.transport.abort()

    async def request(self, request: Map) -> Map:
        """Send one operation (`op` and its fields) and return the `ok` part of the reply.

        Raises:
            ControlError: the SFU refused.
            ControlLost: no connection, or it ended before the answer.
        """
        if self._connection is None or self._connection.transport is None:
            raise ControlLost("no control connection")
        self._last_id += 1
        identifier = self._last_id
        future: asyncio.Future[Map] = asyncio.get_running_loop().create_future()
        self._waiting[identifier] = future
        try:
            self._connection.transport.write(pack({**request, "id": identifier}))
            reply = await future
        finally:
            del self._waiting[identifier]
        if error := reply.get("error"):
            raise ControlError(
                error["code"], error["reason"], error["message"], error.get("retry_after_ms")
            )
        ok = reply["ok"]
        assert isinstance(ok, dict)
        return ok

    async def _stay_connected(self) -> None:
        """Connect, wait for the end, connect again; ends only by cancellation."""
        loop = asyncio.get_running_loop()
        delay_s = RECONNECT_FIRST_S
        while True:
            try:
                _, connection = await loop.create_unix_connection(
                    lambda: _ClientConnection(self._receive, self._fail_waiting), self._path
                )
            except OSError:
                delay_s = min(delay_s * 2, RECONNECT_LONGEST_S)
            else:
                began = loop.time()
                await self._serve(connection)
                # A listener that is about to die accepts once more, and hangs up.
                if loop.time() - began > RECONNECT_LONGEST_S:
                    delay_s = RECONNECT_FIRST_S
            await asyncio.sleep(delay_s * random.uniform(0.75, 1.25))

    async def _serve(self, connection: _ClientConnection) -> None:
        self._connection = connection
        self._up.set()
        try:
            await self._greet()
            await connection.lost
        finally:
            self._drop(connection)

    async def _greet(self) -> None:
        if self.on_connect is None:
            return
        try:
            await self.on_connect()
        except Exception as error:
            # The hub's greeting failed (refused, or the SFU went away again): keep the connection.
            logger.warning("control greeting failed: %s", error)

    def _drop(self, connection: _ClientConnection) -> None:
        self._connection = None
        self._up.clear()
        if connection.transport is not None:
            connection.transport.close()
        self._fail_waiting()
        if self.on_lost is not None:
            self.on_lost()

    def _fail_waiting(self) -> None:
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(ControlLost("the control connection ended"))

    def _receive(self, message: Map) -> None:
        if "event" in message:
            if self.on_event is not None:
                self.on_event(message)
            return
        future = self._waiting.get(message.get("id", 0))
        if future is not None and not future.done():
            future.set_result(message)


__all__ = [
    "ControlBroken",
    "ControlClient",
    "ControlError",
    "ControlHandler",
    "ControlLost",
    "ControlServer",
    "Link",
    "Map",
    "Unpacker",
    "pack",
]
