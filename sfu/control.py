"""The control protocol between a hub process and an SFU, over a Unix socket or TCP.

A message is a 4-byte big-endian length and a MessagePack map:

    request   {id, op, …}            hub → SFU
    reply     {id, ok: {…}}          or {id, error: {code, reason, message, retry_after_ms}}
    event     {event, …}             SFU → hub, no id

On TCP the first message is {id, op: "hello", token}; what begins otherwise, or says more than 1 KiB
before, is hung up on. Nothing is encrypted: it is for a private network.

Requests of one connection are answered in their order. **Losing the connection loses no media**:
people keep talking, and their chat sessions get a grace period to be claimed again (`sessions`).

Operations: frame, session_closed, whip, whep, patch, delete, sessions, stats, diagnose, load,
hand_over, end_room, silence, expel, drain, admit.
Events: frame {session, frame}, ended {participant, room, user}, draining.
"""

import asyncio
import contextlib
import hmac
import logging
import os
import random
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple, Protocol, cast

import msgspec

from sfu.errors import Refused, SfuError

logger = logging.getLogger(__name__)

Map = dict[str, Any]

_LENGTH = struct.Struct(">I")
# An offer with 500 m-lines is about 600 KB.
MESSAGE_LIMIT_BYTES = 4 << 20
# A peer that does not read this much is stuck: drop the connection, it will come back.
WRITE_LIMIT_BYTES = 16 << 20

# Before a TCP peer has shown its token: how much it may say, how long it may take, and how many of
# them may be there.
HELLO_BYTES = 1024
HELLO_S = 5.0
STRANGERS = 64

# A hub that does not read its last events by then will never.
CLOSE_S = 1.0

# A machine that is gone answers nothing; TCP would try for two minutes.
CONNECT_S = 2.0
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


class ControlAddress(NamedTuple):
    """Where an SFU is reached over TCP, and what proves that one may."""

    host: str
    port: int
    token: str

    def __str__(self) -> str:
        return f"{self.host} port {self.port}"

    def __repr__(self) -> str:
        return str(self)  # never the token


class Unpacker:
    """Cuts a byte stream into control messages of at most `limit_bytes`; sans-IO."""

    def __init__(self, limit_bytes: int = MESSAGE_LIMIT_BYTES) -> None:
        self.limit_bytes = limit_bytes
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
            if length > self.limit_bytes:
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
    def __init__(self, server: "ControlServer", token: str = "") -> None:
        self._server = server
        # What a TCP peer has to show first; empty once it did.
        self._token = token
        self._unpacker = Unpacker(HELLO_BYTES if token else MESSAGE_LIMIT_BYTES)
        self._transport: asyncio.Transport | None = None
        # None on a Unix socket, and after the hello.
        self._hello_handle: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass
        if not self._token:
            self._server.connections.add(self)
            return
        strangers = self._server.strangers
        strangers.add(self)
        if len(strangers) > STRANGERS:
            self.abort()
            return
        loop = asyncio.get_running_loop()
        self._hello_handle = loop.call_later(HELLO_S, self.abort)

    def data_received(self, data: bytes) -> None:
        try:
            for request in self._unpacker.receive_data(data):
                self._write(self._welcome(request) if self._token else self._answer(request))
        except ControlBroken as error:
            logger.warning("control connection closed: %s", error)
            self.abort() if self._token else self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._hello_handle is not None:
            self._hello_handle.cancel()
        if self in self._server.connections:
            self._server.connections.discard(self)
            self._server.handler.link_lost(self)
        self._server.strangers.discard(self)

    def _welcome(self, request: Map) -> Map:
        """Take the hello. Raises ControlBroken: it is none, or of somebody else."""
        shown = request.get("token")
        known = isinstance(shown, str) and hmac.compare_digest(shown.encode(), self._token.encode())
        if request.get("op") != "hello" or not known:
            raise ControlBroken("no hello with the token of this SFU")
        self._token = ""
        self._unpacker.limit_bytes = MESSAGE_LIMIT_BYTES
        if self._hello_handle is not None:
            self._hello_handle.cancel()
        self._server.strangers.discard(self)
        self._server.connections.add(self)
        return {"id": request.get("id"), "ok": {}}

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
    """The SFU's end: listens on a Unix socket that only this user may open, and on `tcp`."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        handler: ControlHandler,
        tcp: ControlAddress | None = None,
    ) -> None:
        self.handler = handler
        self.connections: set[_ServerConnection] = set()
        self.strangers: set[_ServerConnection] = set()  # on TCP, before their hello
        self._path = Path(path)
        self._tcp = tcp
        self._server: asyncio.Server | None = None
        self._tcp_server: asyncio.Server | None = None

    @property
    def tcp_port(self) -> int:
        """Return the TCP port that is bound, 0 without one."""
        if self._tcp_server is None:
            return 0
        port: int = self._tcp_server.sockets[0].getsockname()[1]
        return port

    async def start(self) -> None:
        """Listen. A socket left by a dead process is replaced. Raises OSError."""
        loop = asyncio.get_running_loop()
        if self._tcp is not None:
            token = self._tcp.token
            self._tcp_server = await loop.create_server(
                lambda: _ServerConnection(self, token), self._tcp.host, self._tcp.port
            )
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()
        self._server = await loop.create_unix_server(
            lambda: _ServerConnection(self), str(self._path)
        )
        self._path.chmod(0o600)

    async def close(self) -> None:
        """Stop listening, end the connections and remove the socket."""
        if self._server is None:
            return
        self._server.close()
        if self._tcp_server is not None:
            self._tcp_server.close()
        for stranger in list(self.strangers):
            stranger.abort()
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
        address: str | os.PathLike[str] | ControlAddress,
        *,
        on_event: Callable[[Map], None] | None = None,
        on_connect: Callable[[], Awaitable[None]] | None = None,
        on_lost: Callable[[], None] | None = None,
    ) -> None:
        self.on_event = on_event
        self.on_connect = on_connect
        self.on_lost = on_lost
        self._address = address
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
                connection = await self._connect()
            except OSError:
                delay_s = min(delay_s * 2, RECONNECT_LONGEST_S)
            else:
                began = loop.time()
                await self._serve(connection)
                # A listener that is about to die accepts once more, and hangs up.
                if loop.time() - began > RECONNECT_LONGEST_S:
                    delay_s = RECONNECT_FIRST_S
            await asyncio.sleep(delay_s * random.uniform(0.75, 1.25))

    async def _connect(self) -> _ClientConnection:
        """Connect once. Raises OSError."""
        loop = asyncio.get_running_loop()
        address = self._address

        def made() -> _ClientConnection:
            return _ClientConnection(self._receive, self._fail_waiting)

        if not isinstance(address, ControlAddress):
            _, connection = await loop.create_unix_connection(made, str(address))
            return connection
        async with asyncio.timeout(CONNECT_S):  # TimeoutError is an OSError
            transport, connection = await loop.create_connection(made, address.host, address.port)
            welcome = self._waiting[0] = loop.create_future()
            try:
                transport.write(pack({"id": 0, "op": "hello", "token": address.token}))
                await welcome
            except ControlLost:
                raise ConnectionRefusedError(f"{address} does not know our token") from None
            except BaseException:
                transport.abort()
                raise
            finally:
                del self._waiting[0]
        return connection

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
    "ControlAddress",
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
