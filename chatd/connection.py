"""One upgraded connection: bytes of a socket to the hub and back."""

import asyncio
import os
from collections.abc import Callable

from chatd.client import Client
from chatd.errors import NORMAL, WRONG_KIND, Close
from chatd.frames import whole_messages
from chatd.hub import Hub
from chatd.limits import Limits
from chatd.websocket import CLOSE, PING, PONG, TEXT, FrameReader, Message, close_frame, is_utf8
from chatd.wire import DEFLATING, Codec

# One connection's share of a loop iteration, about 1 ms: a flood waits, the others do not.
MESSAGES_PER_TURN = 64
# How long a close frame may wait for its answer, and a slow reader for its end.
CLOSE_TIMEOUT_S = 5.0

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
        "_max_bytes",
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
        self._reader = FrameReader(limits.frame_bytes, extended=codec in DEFLATING)
        self._max_bytes = limits.frame_bytes
        self._closing = False
        self._holds = 0
        # Written to directly while the transport has nothing queued; -1 behind TLS, where only
        # the transport can encrypt, and after the end, when the number may be another's.
        plain = transport.get_extra_info("sslcontext") is None
        self._fd = transport.get_extra_info("socket").fileno() if plain else -1
        self._client: Client = hub.connect(self, codec, limits)
        self._client.outbox.descriptor = self._fd
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
        hub = self._hub
        hub.counters.bytes_in += len(data)
        self._client.state.heard_at = hub.clock.monotonic()
        if not (self._holds or self._closing or self._reader.under_way):
            data = self._receive_whole(data)
            if not data:
                return
        self._reader.receive_data(data)
        # While held, what the transport still delivers waits in the reader.
        if not self._holds or self._closing:
            self._process()

    def connection_lost(self, exc: Exception | None) -> None:
        self._let_go()
        self._closing = True
        self._timer.cancel()
        self._hub.disconnected(self._client)
        self._lost(self)

    def pause_writing(self) -> None:
        # Who does not read is not read from: answers cannot pile up.
        self._hold(_UNSENT)

    def resume_writing(self) -> None:
        # It took bytes, so it is there.
        self._client.state.heard_at = self._hub.clock.monotonic()
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
                self.abort()  # connection_lost follows
                return 0
            if sent == len(data):
                self._client.outbox.descriptor = self._fd
                return 0
            rest = memoryview(data)[sent:]
        elif transport.is_closing():
            # It has ended since this was queued. uvloop would raise, and the flush that writes to
            # others as well lose what it holds for them.
            return 0
        transport.write(rest)
        # Until the transport has sent this, everything goes after it.
        self._client.outbox.descriptor = -1
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
        self._let_go()

    def _let_go(self) -> None:
        """Write no more to the socket: its number may soon be another's."""
        self._fd = self._client.outbox.descriptor = -1

    # Reading

    def _receive_whole(self, data: bytes) -> bytes:
        """Receive the usual: whole messages of the usual kind. Return what is left for `_process`.

        What the reader does for a message costs 3 µs, and nearly all of them need none of it.
        """
        codec, max_bytes = self._codec, self._max_bytes
        messages, taken = whole_messages(data, codec.opcode, max_bytes, MESSAGES_PER_TURN)
        client, hub = self._client, self._hub
        for number, payload in enumerate(messages):
            if codec.opcode == TEXT and not is_utf8(payload):
                _, taken = whole_messages(data, codec.opcode, max_bytes, number)
                return data[taken:]
            hub.receive(client, payload)
            if client.state.resume_at:
                self._slow_down(client.state.wait_s(hub.clock.monotonic()))
            if self._holds or self._closing:
                _, taken = whole_messages(data, codec.opcode, max_bytes, number + 1)
                return data[taken:]
        if len(messages) == MESSAGES_PER_TURN:
            self._end_turn()
        return data[taken:] if taken < len(data) else b""

    def _end_turn(self) -> None:
        self._hold(_TURN_OVER)
        asyncio.get_running_loop().call_soon(self._release, _TURN_OVER)

    def _process(self) -> None:
        for _ in range(MESSAGES_PER_TURN):
            message = self._reader.next_message()
            if message is None:
                break
            self._receive(message)
            if self._holds:
                return
        else:
            self._end_turn()
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
        self._let_go()
        # For a peer that said goodbye and never reads what is still unsent.
        self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(CLOSE_TIMEOUT_S, self.abort)

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
