"""Transport-wide congestion control: when each packet of a transport arrived, and who misses which.

The wire format is that of draft-holmer-rmcat-transport-wide-cc-extensions-01: a number in a header
extension that counts the packets of one transport, and an RTCP message (RTPFB, format 15) that
tells a sender which of its numbers arrived, with distances in steps of 250 us. What a sender makes
of it is its own affair; a receiver only has to be exact, also of what came late or never.
"""

from collections.abc import Iterator, Sequence
from math import inf
from struct import Struct, pack
from typing import NamedTuple

from sfu.errors import RtcpError
from sfu.sequence import extend_sequence

TICKS_PER_S = 4000
TICKS_PER_REFERENCE = 256  # 64 ms
# libwebrtc's estimator wants 50 to 250 ms; it takes 100 ms where little else is sent.
INTERVAL_S = 0.1
# What one interval holds at 10,000 packets/s; more is told at once.
MAX_WAITING = 1000
# Numbers in one message: with a large delta each, and vectors between them, it fits one datagram.
MAX_STATUSES = 400
# Each late packet is a message of its own: a sender that shuffles everything gets no more of them.
MAX_LATE = 16
# A longer jump is another beginning, as in `sfu.nack`.
MAX_GAP = 1000
# Read from peers: what a datagram of 1,500 bytes could tell of packets that arrived, twice.
MAX_READ = 3000

LOST, SMALL, LARGE = 0, 1, 2

_FIXED = Struct(">HH")  # base sequence, status count
_CHUNK = Struct(">H")
_DELTA = Struct(">h")
_RUN_LENGTH_LIMIT = 0x1FFF


class TransportFeedback(NamedTuple):
    """One message: what became of the numbers from ``base`` on."""

    base: int
    number: int  # of this message, modulo 256
    arrivals: list[int | None]
    """Ticks of 250 us on the receiver's clock, `None` for what did not arrive."""


def parse(body: bytes) -> TransportFeedback:
    """Read what follows the two SSRCs.

    Raises `RtcpError` with cause ``rtcp_block``: cut short, an unknown status, or more
    packets than anybody sends between two messages.
    """
    if len(body) < 8:
        raise RtcpError("rtcp_block")
    base, count = _FIXED.unpack_from(body)
    if count > MAX_READ:
        raise RtcpError("rtcp_block")
    clock = int.from_bytes(body[4:7], "big", signed=True) * TICKS_PER_REFERENCE
    statuses: list[int] = []
    position = 8
    while len(statuses) < count:
        if position + 2 > len(body):
            raise RtcpError("rtcp_block")
        statuses += _statuses(_CHUNK.unpack_from(body, position)[0])
        position += 2
    arrivals: list[int | None] = []
    for status in statuses[:count]:
        size = (0, 1, 2, 0)[status]
        if status > LARGE or position + size > len(body):
            raise RtcpError("rtcp_block")
        if status == LOST:
            arrivals.append(None)
            continue
        clock += body[position] if size == 1 else _DELTA.unpack_from(body, position)[0]
        position += size
        arrivals.append(clock)
    return TransportFeedback(base, body[7], arrivals)


def _statuses(chunk: int) -> list[int]:
    if not chunk & 0x8000:
        return [chunk >> 13] * (chunk & _RUN_LENGTH_LIMIT)
    if not chunk & 0x4000:
        return [chunk >> shift & 1 for shift in range(13, -1, -1)]
    return [chunk >> shift & 3 for shift in range(12, -1, -2)]


def build(base: int, number: int, arrivals: Sequence[int | None]) -> tuple[bytes, int]:
    """Write what follows the two SSRCs, and how many of ``arrivals`` are in it.

    ``arrivals`` are ticks for the numbers from ``base`` on. All go in unless two of them lie more
    than 8 s apart.
    """
    first = next(ticks for ticks in arrivals if ticks is not None)
    reference = first // TICKS_PER_REFERENCE
    clock = reference * TICKS_PER_REFERENCE
    statuses: list[int] = []
    deltas: list[bytes] = []
    for ticks in arrivals:
        if ticks is None:
            statuses.append(LOST)
            continue
        delta = ticks - clock
        if not -0x8000 <= delta <= 0x7FFF:
            break
        small = 0 <= delta <= 0xFF
        statuses.append(SMALL if small else LARGE)
        deltas.append(bytes((delta,)) if small else _DELTA.pack(delta))
        clock = ticks
    fixed = _FIXED.pack(base & 0xFFFF, len(statuses))
    fixed += (reference & 0xFFFFFF).to_bytes(3, "big") + bytes((number & 0xFF,))
    return fixed + b"".join(_chunks(statuses)) + b"".join(deltas), len(statuses)


def _chunks(statuses: Sequence[int]) -> Iterator[bytes]:
    """Encode statuses, each time in the chunk that tells most of them."""
    position, size = 0, len(statuses)
    while position < size:
        status = statuses[position]
        end = position + 1
        while end < size and statuses[end] == status and end - position < _RUN_LENGTH_LIMIT:
            end += 1
        narrow = statuses[position : position + 14]
        if end - position >= len(narrow) or (LARGE in narrow and end - position >= 7):
            yield _CHUNK.pack(status << 13 | end - position)
            position = end
        elif LARGE not in narrow:
            bits = sum(status << 13 - at for at, status in enumerate(narrow))
            yield _CHUNK.pack(0x8000 | bits)
            position += 14
        else:
            wide = statuses[position : position + 7]
            bits = sum(status << 12 - 2 * at for at, status in enumerate(wide))
            yield _CHUNK.pack(0xC000 | bits)
            position += 7


class TransportArrivals:
    """When the packets of one transport arrived, until the sender is told.

    `receive` each packet's number; at `deadline` (infinity for never) send what `drain` returns.
    A number is told once as lost at most: what comes late is told by itself.
    """

    __slots__ = ("_base", "_highest", "_number", "_waiting", "deadline")

    def __init__(self) -> None:
        self.deadline = inf
        self._waiting: dict[int, int] = {}  # extended number to ticks
        self._highest = -1
        self._base = 0  # the first number nothing was said of
        self._number = 0

    def receive(self, sequence: int, now: float) -> None:
        """Note a packet."""
        if self._highest < 0:
            number = self._base = self._highest = sequence + 0x10000
        else:
            number = extend_sequence(sequence, self._highest)
            if number > self._highest:
                if number - self._highest > MAX_GAP:
                    self._waiting.clear()
                    self._base = number
                self._highest = number
            elif self._highest - number > MAX_GAP:
                return
        if number in self._waiting or len(self._waiting) >= MAX_WAITING:
            return
        self._waiting[number] = int(now * TICKS_PER_S)
        if self.deadline == inf:
            self.deadline = now + INTERVAL_S

    def drain(self) -> Iterator[bytes]:
        """Yield the bodies of messages about everything since the last call."""
        waiting, self._waiting = self._waiting, {}
        self.deadline = inf
        late = sorted(number for number in waiting if number < self._base)
        for number in late[:MAX_LATE]:
            yield self._told(number, [waiting[number]])[0]
        numbers = [number for number in waiting if number >= self._base]
        if not numbers:
            return
        end = max(numbers) + 1
        while self._base < end:
            upto = min(end, self._base + MAX_STATUSES)
            arrivals = [waiting.get(number) for number in range(self._base, upto)]
            if not any(ticks is not None for ticks in arrivals):
                self._base = upto  # a loss as long as that is told by what surrounds it
                continue
            body, told = self._told(self._base, arrivals)
            self._base += told
            yield body

    def _told(self, base: int, arrivals: Sequence[int | None]) -> tuple[bytes, int]:
        body, told = build(base, self._number, arrivals)
        self._number = (self._number + 1) & 0xFF
        return body, told


def message(sender: int, media: int, body: bytes) -> bytes:
    """Write the RTCP packet around a body; padded as RFC 3550 6.4.1 wants it."""
    padding = -len(body) % 4
    if padding:
        body += bytes(padding - 1) + bytes((padding,))
    first = 0x8F | (0x20 if padding else 0)
    return pack(">BBHII", first, 205, 2 + len(body) // 4, sender, media) + body
