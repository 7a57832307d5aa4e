"""One connection without WebSocket: server-sent events down, frames by POST up.

For networks whose proxies refuse or break an upgrade. The frames are those of `metaport.v1.json`,
one an event; everything behind the pipe (session, limits, outbox, recovery, metering) is the same.
The events follow the HTML standard, section 9.2.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterator

from chatd.client import Client
from chatd.errors import TOO_BIG, Close
from chatd.hub import Hub
from chatd.limits import Limits
from chatd.websocket import PING, TEXT
from chatd.wire import JSON

# One connection's share of a loop iteration, about 1 ms.
FRAMES_PER_TURN = 64
# How long the last event may wait for a reader, and a request for one who does not read.
CLOSE_TIMEOUT_S = 5.0
# One under way, and its repeat by a client that believes it lost.
REQUESTS = 2
# Proxies that look for a type, or fill a buffer, pass the first bytes on when there are so many.
PADDING = b":" + b" " * 2047 + b"\n\n"
HEARTBEAT = b":\n\n"


class StreamConnection(asyncio.Protocol):
    """One stream of events: the `chatd.outbox.Pipe` of its client.

    Args:
        id: what its requests are addressed by; whoever knows it speaks for the client.
        chunked: whether the answer is sent in chunks (HTTP/1.1), or ends with the connection.
    """

    def __init__(
        self,
        id: str,
        transport: asyncio.Transport,
        hub: Hub,
        limits: Limits,
        lost: Callable[["StreamConnection"], None],
        *,
        chunked: bool,
    ) -> None:
        self.id = id
        self._transport = transport
        self._hub = hub
        self._lost = lost
        self._chunked = chunked
        self._frame_bytes = limits.frame_bytes
        self._closing = False
        # Requests come one after the other; a repeat waits for the first.
        self._turn = asyncio.Lock()
        self._requests = 0
        self._expected = 1
        self._readable = asyncio.Event()
        self._readable.set()
        self._client = hub.connect(self, JSON, limits)
        # As in `WebSocketConnection`: always set until the connection is lost.
        first_s = min(limits.hello_timeout_s, limits.ping_s)
        self._timer = asyncio.get_running_loop().call_later(first_s, self._timeout)

    @property
    def client(self) -> Client:
        """The client at the other end."""
        return self._client

    def begin(self) -> None:
        """Tell the client where its requests go."""
        opened = b'event: open\ndata: {"stream": "' + self.id.encode() + b'"}\n\n'
        self._send(PADDING + opened)

    async def receive(self, number: int, body: bytes) -> int:
        """Take request `number` (from 1): frames, one a line; return an HTTP status.

        204 when the next may come: whoever is too fast, or does not read, waits. A repeat is 204
        as well and changes nothing. 409 when a request before this one has not come, 429 for the
        third that comes while one is under way.
        """
        if self._requests >= REQUESTS:
            return 429
        self._requests += 1
        try:
            async with self._turn:
                return await self._receive(number, body)
        finally:
            self._requests -= 1

    async def _receive(self, number: int, body: bytes) -> int:
        if number > self._expected:
            return 409
        self._client.state.heard(self._hub.clock.monotonic())
        if number == self._expected:
            self._expected += 1
            self._hub.counters.bytes_in += len(body)
            await self._take(body)
            with contextlib.suppress(TimeoutError):  # the outbox has its own bound
                async with asyncio.timeout(CLOSE_TIMEOUT_S):
                    await self._readable.wait()
        return 204

    async def _take(self, body: bytes) -> None:
        for count, line in enumerate(body.split(b"\n"), start=1):
            if self._closing:
                return
            if len(line) > self._frame_bytes:
                self._hub.close(self._client, TOO_BIG)
            elif line.strip():
                self._hub.receive(self._client, line)
                wait_s = self._client.state.wait_s(self._hub.clock.monotonic())
                if wait_s or count % FRAMES_PER_TURN == 0:
                    await asyncio.sleep(min(wait_s, 1.0))

    # asyncio.Protocol

    def data_received(self, data: bytes) -> None:
        """Pass over what comes behind the request: its client has nothing to say here."""

    def connection_lost(self, exc: Exception | None) -> None:
        self._closing = True
        self._readable.set()
        self._timer.cancel()
        self._hub.disconnected(self._client)
        self._lost(self)

    def pause_writing(self) -> None:
        self._readable.clear()

    def resume_writing(self) -> None:
        # It took bytes, so it is there.
        self._client.state.heard(self._hub.clock.monotonic())
        self._readable.set()

    # chatd.outbox.Pipe

    def write(self, data: bytes) -> int:
        self._send(b"".join(_events(data)))
        return self._transport.get_write_buffer_size()

    def unsent_bytes(self) -> int:
        return self._transport.get_write_buffer_size()

    def close(self, close: Close) -> None:
        told = f'event: close\ndata: {{"code": {close.code}, "reason": "{close.reason}"}}\n\n'
        self._send(told.encode())
        self._end()

    def abort(self) -> None:
        """End the connection without a word more."""
        self._transport.abort()

    def _send(self, events: bytes) -> None:
        if events and not self._transport.is_closing():
            if self._chunked:
                events = b"%x\r\n%b\r\n" % (len(events), events)
            self._transport.write(events)

    def _end(self) -> None:
        if self._chunked and not self._transport.is_closing():
            self._transport.write(b"0\r\n\r\n")
        self._closing = True
        self._readable.set()
        self._transport.close()
        self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(CLOSE_TIMEOUT_S, self.abort)

    def _timeout(self) -> None:
        delay_s = self._hub.handle_timeout(self._client)
        if not self._closing:
            self._timer = asyncio.get_running_loop().call_later(delay_s, self._timeout)


def _events(data: bytes) -> Iterator[bytes]:
    """Turn the hub's WebSocket frames into events; a ping becomes a comment."""
    at = 0
    while at < len(data):
        opcode, size, start = data[at] & 0x0F, data[at + 1], at + 2
        if size == 126:
            size, start = int.from_bytes(data[start : start + 2], "big"), start + 2
        elif size == 127:
            size, start = int.from_bytes(data[start : start + 8], "big"), start + 8
        at = start + size
        if opcode == TEXT:
            # JSON of one line: `chatd.wire.JSON` writes none that has a line break in it.
            yield b"data: " + data[start:at] + b"\n\n"
        elif opcode == PING:
            yield HEARTBEAT
