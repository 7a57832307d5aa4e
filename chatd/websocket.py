"""WebSocket frames of the server side (RFC 6455), without IO.

Feed bytes with `receive_data`, then take whole messages with `next_message` until it returns
None. After a fault `fault` holds the close code to answer with, and nothing more comes out.
"""

import base64
import binascii
import hashlib
from typing import NamedTuple

from chatd.deflate import RSV1, BadDeflateError, TooLongError, inflate
from chatd.errors import NOT_UTF8, PROTOCOL_ERROR, TOO_BIG, Close

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA

# RFC 6455, section 1.3.
_HANDSHAKE_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


# Of unmasked frames with at most 125 bytes, by opcode and size.
_SHORT_HEADS = [[bytes((0x80 | opcode, size)) for size in range(126)] for opcode in range(16)]


class Message(NamedTuple):
    """A whole message, or one control frame."""

    opcode: int
    payload: bytes


def accept_key(key: str) -> str | None:
    """Return the Sec-WebSocket-Accept for a client's key, None when that is not 16 bytes."""
    try:
        nonce = base64.b64decode(key, validate=True)
    except (binascii.Error, ValueError):
        return None
    if len(nonce) != 16:
        return None
    # RFC 6455 asks for SHA-1; it protects nothing here.
    digest = hashlib.sha1(key.encode() + _HANDSHAKE_GUID, usedforsecurity=False).digest()
    return base64.b64encode(digest).decode()


def frame(payload: bytes, opcode: int) -> bytes:
    """Return one unmasked frame; the same bytes serve every receiver (section 5.1)."""
    size = len(payload)
    if size < 126:
        return _SHORT_HEADS[opcode][size] + payload
    if size < 65536:
        return bytes((0x80 | opcode, 126)) + size.to_bytes(2, "big") + payload
    return bytes((0x80 | opcode, 127)) + size.to_bytes(8, "big") + payload


def deflated_frame(packed: bytes, opcode: int) -> bytes:
    """Return one frame of a compressed payload (RFC 7692, section 7.2.1)."""
    plain = frame(packed, opcode)
    return bytes((plain[0] | RSV1,)) + plain[1:]


def close_frame(close: Close) -> bytes:
    """Return a close frame with code and reason."""
    return frame(close.code.to_bytes(2, "big") + close.reason.encode(), CLOSE)


def unmask(payload: bytes, key: bytes) -> bytes:
    """Undo the client's masking (section 5.3)."""
    # One XOR of two long integers: 0.4 µs at 120 bytes, against 9 µs byte by byte.
    size = len(payload)
    mask = (key * (size // 4 + 1))[:size]
    masked = int.from_bytes(payload, "little") ^ int.from_bytes(mask, "little")
    return masked.to_bytes(size, "little")


class FrameReader:
    """Turns a client's bytes into messages; holds at most one message and one read.

    Of a compressed message no more than `max_bytes` are made, however small it came.
    """

    __slots__ = (
        "_buffer",
        "_deflated",
        "_extended",
        "_fragments",
        "_fragments_bytes",
        "_max_bytes",
        "_opcode",
        "fault",
    )

    def __init__(self, max_bytes: int, *, extended: bool = False) -> None:
        """`extended` allows compressed messages (RFC 7692)."""
        self._max_bytes = max_bytes
        self._extended = extended
        self._deflated = False  # the message under way is compressed
        self._buffer = b""
        self._opcode = 0
        self._fragments: list[bytes] | None = None
        self._fragments_bytes = 0
        self.fault: Close | None = None

    @property
    def under_way(self) -> bool:
        """Whether a message has begun, or a fault has been found."""
        return bool(self._buffer) or self._fragments is not None or self.fault is not None

    def receive_data(self, data: bytes) -> None:
        """Take bytes; the caller then drains `next_message` and looks at `fault`."""
        if self.fault is None:
            self._buffer = self._buffer + data if self._buffer else data

    def next_message(self) -> Message | None:
        """Return the next message or control frame, None when more bytes are needed."""
        while self.fault is None:
            part = self._next_frame()
            if part is None:
                return None
            message = self._assemble(*part)
            if message is not None:
                return message
        return None

    def _next_frame(self) -> tuple[bool, int, bytes] | None:
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        first, second = buffer[0], buffer[1]
        opcode, size, start = first & 0x0F, second & 0x7F, 6
        if not self._header_conforms(first, second):
            self._fail(PROTOCOL_ERROR)
            return None
        if size == 126:
            start = 8
            size = int.from_bytes(buffer[2:4], "big")
        elif size == 127:
            start = 14
            size = int.from_bytes(buffer[2:10], "big")
        if len(buffer) < start:
            return None
        # Refused by its header: what is too big is never held. Control frames do not count
        # against a fragmented message that is under way.
        if size + (0 if opcode & 0x08 else self._fragments_bytes) > self._max_bytes:
            self._fail(TOO_BIG)
            return None
        end = start + size
        if len(buffer) < end:
            return None
        payload = unmask(buffer[start:end], buffer[start - 4 : start]) if size else b""
        self._buffer = buffer[end:]
        if opcode in {TEXT, BINARY}:
            self._deflated = bool(first & RSV1)
        return bool(first & 0x80), opcode, payload

    def _header_conforms(self, first: int, second: int) -> bool:
        opcode = first & 0x0F
        # RFC 7692, section 6: RSV1 marks the first frame of a compressed message, no other.
        reserved = 0x70 & ~RSV1 if self._extended and opcode in {TEXT, BINARY} else 0x70
        if first & reserved or not second & 0x80:
            return False  # clients must mask (sections 5.1, 5.2)
        if opcode & 0x08:
            # Section 5.5: control frames are whole and carry at most 125 bytes.
            return opcode <= PONG and bool(first & 0x80) and second & 0x7F <= 125
        under_way = self._fragments is not None
        return under_way if opcode == CONTINUATION else opcode <= BINARY and not under_way

    def _assemble(self, final: bool, opcode: int, payload: bytes) -> Message | None:
        if opcode == CLOSE:
            return self._closing(payload)
        if opcode & 0x08:
            return Message(opcode, payload)
        if final and self._fragments is None:
            return self._whole(opcode, payload)
        if self._fragments is None:
            self._opcode, self._fragments = opcode, []
        # A client may cut a message into empty pieces for ever: hold only those with bytes.
        if payload:
            self._fragments.append(payload)
            self._fragments_bytes += len(payload)
        if not final:
            return None
        whole = b"".join(self._fragments)
        self._fragments, self._fragments_bytes = None, 0
        return self._whole(self._opcode, whole)

    def _whole(self, opcode: int, payload: bytes) -> Message | None:
        if self._deflated:
            try:
                payload = inflate(payload, self._max_bytes)
            except (BadDeflateError, TooLongError) as error:
                self._fail(TOO_BIG if isinstance(error, TooLongError) else PROTOCOL_ERROR)
                return None
        if opcode == TEXT and not is_utf8(payload):
            self.fault = NOT_UTF8
            return None
        return Message(opcode, payload)

    def _closing(self, payload: bytes) -> Message | None:
        # Section 7.4: nothing, or a code a peer may send and a reason in UTF-8.
        if payload and not _close_conforms(payload):
            self.fault = PROTOCOL_ERROR
            return None
        return Message(CLOSE, payload)

    def _fail(self, close: Close) -> None:
        self.fault = close
        self._buffer = b""
        self._fragments = None


def _close_conforms(payload: bytes) -> bool:
    code = int.from_bytes(payload[:2], "big")
    sendable = 1000 <= code <= 1014 and code not in {1004, 1005, 1006}
    return len(payload) > 1 and (sendable or 3000 <= code < 5000) and is_utf8(payload[2:])


def is_utf8(payload: bytes) -> bool:
    """Tell whether `payload` is text."""
    if payload.isascii():
        return True
    try:
        payload.decode()
    except UnicodeDecodeError:
        return False
    return True
