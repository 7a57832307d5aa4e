"""Synthetic RTP of the sizes people send, each with the time it left in its last eight bytes."""

import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass

from loadtest.offer import AUDIO, LEVEL_EXTENSION, MID_EXTENSION, PAYLOAD_TYPES, VIDEO

STAMP = struct.Struct("!Q")
ONE_BYTE_PROFILE = 0xBEDE  # RFC 8285
VP8_START_CODE = b"\x9d\x01\x2a"
WIDTH, HEIGHT = 640, 360
PT_PSFB, FMT_PLI = 206, 1


@dataclass(frozen=True)
class Flow:
    """How a source sends: bursts of packets at even distances."""

    kind: str
    payload_bytes: int
    packets_a_burst: int
    bursts_per_s: int
    clock_rate: int

    @property
    def packets_per_s(self) -> int:
        """Return the packet rate."""
        return self.packets_a_burst * self.bursts_per_s


# Opus at 64 kbit/s in 20 ms packets; VP8 at 1.3 Mbit/s, 25 pictures a second, six packets each.
OPUS = Flow(AUDIO, 160, 1, 50, 48_000)
VP8 = Flow(VIDEO, 1_100, 6, 25, 90_000)


class Source:
    """The packets of one flow, in the clear."""

    def __init__(self, flow: Flow, mid: str, ssrc: int) -> None:
        self.flow = flow
        self.ssrc = ssrc
        self.sent = 0
        self._extension = extension(flow.kind, mid)
        self._sequence = 1_000
        self._picture = 0
        self._key_wanted = True

    def want_key_frame(self) -> None:
        """Make the next picture a key frame."""
        self._key_wanted = True

    def burst(self) -> Iterator[bytes]:
        """Make the packets of the next instant, each when it is asked for: that is its stamp.

        One of sound, or a whole picture.
        """
        count = self.flow.packets_a_burst
        timestamp = self._picture * self.flow.clock_rate // self.flow.bursts_per_s
        self._picture += 1
        key, self._key_wanted = self._key_wanted, False
        for number in range(count):
            yield self._packet(timestamp, number == 0, number == count - 1, key)

    def _packet(self, timestamp: int, first: bool, last: bool, key: bool) -> bytes:
        marker = 0x80 if last and self.flow.kind == VIDEO else 0
        head = struct.pack(
            "!BBHII",
            0x90,
            marker | PAYLOAD_TYPES[self.flow.kind],
            self._sequence & 0xFFFF,
            (100_000 + timestamp) & 0xFFFFFFFF,
            self.ssrc,
        )
        self._sequence += 1
        self.sent += 1
        start = _descriptor(first, key) if self.flow.kind == VIDEO else b""
        filler = self.flow.payload_bytes - len(start) - STAMP.size
        return head + self._extension + start + b"\x55" * filler + STAMP.pack(time.time_ns())


def stamp_ns(packet: bytes) -> int:
    """Return when a packet left."""
    return int(STAMP.unpack_from(packet, len(packet) - STAMP.size)[0])


def is_rtcp(datagram: bytes) -> bool:
    """Tell RTCP from RTP on one port (RFC 5761)."""
    return 192 <= datagram[1] <= 223


def asks_for_key_frame(compound: bytes) -> bool:
    """Tell whether a compound RTCP packet holds a Picture Loss Indication (RFC 4585)."""
    at = 0
    while at + 4 <= len(compound):
        first, kind, words = struct.unpack_from("!BBH", compound, at)
        if kind == PT_PSFB and first & 0x1F == FMT_PLI:
            return True
        at += 4 * (words + 1)
    return False


def extension(kind: str, mid: str) -> bytes:
    """Write the header extension browsers send: the mid, and with sound its level."""
    items = bytes([MID_EXTENSION << 4 | len(mid) - 1]) + mid.encode()
    if kind == AUDIO:
        items += bytes([LEVEL_EXTENSION << 4, 0x80 | 30])  # voice, 30 dB below the loudest
    items += b"\0" * (-len(items) % 4)
    return struct.pack("!HH", ONE_BYTE_PROFILE, len(items) // 4) + items


def _descriptor(first: bool, key: bool) -> bytes:
    """Write the VP8 payload descriptor (RFC 7741), with a frame header in a picture's first."""
    if not first:
        return b"\x00"
    if not key:
        return b"\x10\x01\x00\x00"  # S; P=1: a picture that needs the one before
    return b"\x10\x10\x00\x00" + VP8_START_CODE + struct.pack("<HH", WIDTH, HEIGHT)
