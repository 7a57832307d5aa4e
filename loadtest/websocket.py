"""A WebSocket chat client that costs little: RFC 6455 frames and MessagePack on a bare Protocol.

Load is only as high as the client is cheap, so `Member` counts deliveries in the bytes as they
come, without decoding them.
"""

import asyncio
import base64
import itertools
import os
import socket
import struct
from collections.abc import Callable
from typing import Any, Self, cast
from urllib.parse import urlsplit

import msgpack  # type: ignore[import-untyped]

Frame = dict[str, Any]

SUBPROTOCOL = "metaport.v1.msgpack"
DEADLINE_S = 30.0
PING, PONG, CLOSE, BINARY = 0x9, 0xA, 0x8, 0x2


class ConnectionEndedError(Exception):
    """The server refused the handshake, answered with an error, or closed."""


def masked(payload: bytes, opcode: int = BINARY) -> bytes:
    """Return a client's frame. The mask is zero: legal, and XOR with it is the payload itself."""
    size = len(payload)
    if size < 126:
        head = struct.pack("!BB", 0x80 | opcode, 0x80 | size)
    elif size < 1 << 16:
        head = struct.pack("!BBH", 0x80 | opcode, 0x80 | 126, size)
    else:
        head = struct.pack("!BBQ", 0x80 | opcode, 0x80 | 127, size)
    return head + b"\0\0\0\0" + payload


def split(buffer: bytearray) -> list[tuple[int, bytes]]:
    """Take the complete (opcode, payload) frames off a buffer of the server's bytes."""
    frames = []
    at = 0
    while len(buffer) - at >= 2:
        size, start = buffer[at + 1] & 0x7F, at + 2
        if size == 126:
            if len(buffer) < start + 2:
                break
            (size,) = struct.unpack_from("!H", buffer, start)
            start += 2
        elif size == 127:
            if len(buffer) < start + 8:
                break
            (size,) = struct.unpack_from("!Q", buffer, start)
            start += 8
        if len(buffer) < start + size:
            break
        frames.append((buffer[at] & 0x0F, bytes(buffer[start : start + size])))
        at = start + size
    del buffer[:at]
    return frames


class MarkerCount:
    """Count a marker in a stream of chunks, also where it spans two of them."""

    def __init__(self, marker: bytes) -> None:
        self._marker = marker
        self._tail = b""
        self.count = 0

    def feed(self, chunk: bytes) -> int:
        """Return how many markers ended in this chunk.

        The tail that is kept is shorter than the marker: none is counted twice.
        """
        data = self._tail + chunk
        found = data.count(self._marker)
        self._tail = (
            data[len(data) - len(self._marker) + 1 :] if len(data) >= len(self._marker) else data
        )
        self.count += found
        return found


class Client(asyncio.Protocol):
    """One chat connection that decodes every frame."""

    def __init__(self) -> None:
        self.on_frame: Callable[[Frame], None] = _ignore
        self.transport: asyncio.Transport | None = None  # None until connected
        self._buffer = bytearray()
        self._upgraded = False
        self._ids = itertools.count(1)
        self._waiting: dict[int | str, asyncio.Future[Frame]] = {}
        self._judges: dict[int | str, Callable[[Frame], None]] = {}

    @classmethod
    async def enter(cls, url: str, token: str) -> Self:
        """Connect and say hello."""
        parts = urlsplit(url)
        loop = asyncio.get_running_loop()
        host, port = parts.hostname or "127.0.0.1", parts.port or 80
        transport, client = await loop.create_connection(cls, host, port)
        try:
            await client._upgrade(host, port)
            await client._ask("welcome", {"t": "hello", "token": token, "v": 1})
        except BaseException:
            # Cancelled, for one: else it would stay there and answer pings.
            transport.abort()
            raise
        return client

    async def request(self, t: str, **fields: Any) -> Frame:
        """Send a request and return its reply. Raises ConnectionEndedError on an error."""
        number = next(self._ids)
        return await self._ask(number, {"t": t, "id": number, **fields})

    async def request_judged(self, t: str, judge: Callable[[Frame], None], **fields: Any) -> None:
        """Send a request; `judge` gets its reply before any frame that comes behind it."""
        number = next(self._ids)
        self._judges[number] = judge
        try:
            await self._ask(number, {"t": t, "id": number, **fields})
        finally:
            self._judges.pop(number, None)

    def send(self, frame: Frame) -> None:
        """Send a frame without waiting."""
        assert self.transport is not None
        self.transport.write(masked(msgpack.packb(frame)))

    def close(self) -> None:
        """Drop the connection."""
        if self.transport is not None:
            self.transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass of it
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(f"the server closed: {exc}")

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self._upgraded and not self._take_handshake():
            return
        for opcode, payload in split(self._buffer):
            self._take(opcode, payload)

    def _take(self, opcode: int, payload: bytes) -> None:
        if opcode == PING:
            assert self.transport is not None
            self.transport.write(masked(payload, PONG))
        elif opcode == CLOSE:
            self._fail(f"closed with {payload!r}")
            self.close()
        elif opcode == BINARY:
            self._dispatch(msgpack.unpackb(payload))

    def _dispatch(self, frame: Frame) -> None:
        key: int | str = "welcome" if frame["t"] == "welcome" else frame.get("id", "")
        waiting = self._waiting.pop(key, None) if frame["t"] != "message" else None
        if waiting is not None and not waiting.done():
            if frame["t"] == "error":
                waiting.set_exception(
                    ConnectionEndedError(f"{frame['reason']}: {frame['message']}")
                )
            else:
                if (judge := self._judges.pop(key, None)) is not None:
                    judge(frame)
                waiting.set_result(frame)
        else:
            self.on_frame(frame)

    async def _upgrade(self, host: str, port: int) -> None:
        key = base64.b64encode(os.urandom(16)).decode()
        done = self._waiting["upgrade"] = asyncio.get_running_loop().create_future()
        assert self.transport is not None
        self.transport.write(
            f"GET /ws HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Protocol: {SUBPROTOCOL}\r\n\r\n".encode()
        )
        async with asyncio.timeout(DEADLINE_S):
            await done

    def _take_handshake(self) -> bool:
        head, found, rest = bytes(self._buffer).partition(b"\r\n\r\n")
        if not found:
            return False
        if not head.startswith(b"HTTP/1.1 101"):
            self._fail(head.decode(errors="replace").partition("\r\n")[0])
            return False
        self._upgraded = True
        self._buffer = bytearray(rest)
        upgrade = self._waiting.pop("upgrade", None)
        if upgrade is not None and not upgrade.done():
            upgrade.set_result({})
        return True

    async def _ask(self, key: int | str, frame: Frame) -> Frame:
        reply = self._waiting[key] = asyncio.get_running_loop().create_future()
        self.send(frame)
        async with asyncio.timeout(DEADLINE_S):
            answer: Frame = await reply
        return answer

    def _fail(self, reason: str) -> None:
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(ConnectionEndedError(reason))
        self._waiting.clear()


class Member(Client):
    """A connection that, once it listens, only counts the marked messages it gets."""

    def __init__(self) -> None:
        super().__init__()
        self._marker: MarkerCount | None = None  # None: frames are still decoded
        self._delivered: Callable[[int], None] = _ignore

    def listen(self, marker: bytes, delivered: Callable[[int], None]) -> None:
        """Count from here on; `delivered` is told how many came with each read.

        A ping of the server stays unanswered: listen for less than a minute.
        """
        self._marker = MarkerCount(marker)
        self._delivered = delivered

    def data_received(self, data: bytes) -> None:
        if self._marker is None:
            super().data_received(data)
        elif found := self._marker.feed(data):
            self._delivered(found)


def _ignore(_: Any) -> None:
    return
