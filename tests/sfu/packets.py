"""Packets as browsers send them, built byte by byte."""

import random
from collections.abc import Sequence
from struct import pack, unpack_from

from sfu.codec import (
    ABS_SEND_TIME,
    AUDIO_LEVEL,
    MID,
    REPAIRED_RID,
    RID,
    TRANSPORT_SEQUENCE,
    VIDEO_ORIENTATION,
    Codec,
)

OPUS = Codec("opus", 111, 48000, 2, "minptime=10;useinbandfec=1")
VP8 = Codec("VP8", 96, 90000, rtx_payload_type=97)
H264 = Codec("H264", 102, 90000, 1, "packetization-mode=1", rtx_payload_type=103)

# A browser numbers its extensions as it likes; our offers use these.
PUBLISHED = {MID: 4, AUDIO_LEVEL: 1, ABS_SEND_TIME: 2, VIDEO_ORIENTATION: 13}
# What a browser numbers and names beside them.
NUMBERED = PUBLISHED | {TRANSPORT_SEQUENCE: 3, RID: 10, REPAIRED_RID: 11}
SUBSCRIBED = {MID: 1, AUDIO_LEVEL: 2, ABS_SEND_TIME: 3, VIDEO_ORIENTATION: 4}


def one_byte(*elements: tuple[int, bytes]) -> bytes:
    """Build a header extension of RFC 8285 4.2."""
    body = b"".join(bytes((i << 4 | len(value) - 1,)) + value for i, value in elements)
    body += bytes(-len(body) % 4)
    return pack(">HH", 0xBEDE, len(body) // 4) + body


def two_byte(*elements: tuple[int, bytes]) -> bytes:
    """Build a header extension of RFC 8285 4.3."""
    body = b"".join(bytes((i, len(value))) + value for i, value in elements)
    body += bytes(-len(body) % 4)
    return pack(">HH", 0x1000, len(body) // 4) + body


def rtp(
    sequence: int,
    *,
    ssrc: int = 0x1000,
    timestamp: int = 0,
    payload_type: int = 111,
    marker: bool = False,
    extension: bytes = b"",
    csrcs: Sequence[int] = (),
    payload: bytes = b"payload",
    padding: int = 0,
) -> bytes:
    """Build an RTP packet; numbers wrap."""
    return (
        pack(
            ">BBHII",
            0x80 | (0x20 if padding else 0) | (0x10 if extension else 0) | len(csrcs),
            marker << 7 | payload_type,
            sequence & 0xFFFF,
            timestamp & 0xFFFFFFFF,
            ssrc,
        )
        + b"".join(pack(">I", csrc) for csrc in csrcs)
        + extension
        + payload
        + (bytes(padding - 1) + bytes((padding,)) if padding else b"")
    )


def rtx(original: bytes, sequence: int, *, ssrc: int, payload_type: int) -> bytes:
    """Wrap a packet without extensions and CSRCs in a retransmission (RFC 4588)."""
    (number,) = unpack_from(">H", original, 2)
    (timestamp,) = unpack_from(">I", original, 4)
    return rtp(
        sequence,
        ssrc=ssrc,
        timestamp=timestamp,
        payload_type=payload_type,
        marker=bool(original[1] & 0x80),
        payload=pack(">H", number) + original[12:],
    )


def vp8_key(width: int = 640, height: int = 480, *, size: int = 200) -> bytes:
    """Build the first payload of a VP8 key frame, with a 15-bit picture id as Chromium sends it."""
    descriptor = b"\x90\x80\x81\x23"
    frame = b"\x50\x02\x00\x9d\x01\x2a" + pack("<HH", width, height)
    return (descriptor + frame).ljust(size, b"k")


def vp8_delta(*, start: bool = True, size: int = 200) -> bytes:
    """Build a payload of a VP8 frame that needs another."""
    return (b"\x90\x80\x81\x24" if start else b"\x80\x80\x81\x24").ljust(size, b"\x51")


def sequence_of(packet: bytes) -> int:
    """Read the sequence number."""
    return int(unpack_from(">H", packet, 2)[0])


def timestamp_of(packet: bytes) -> int:
    """Read the timestamp."""
    return int(unpack_from(">I", packet, 4)[0])


def ssrc_of(packet: bytes) -> int:
    """Read the SSRC."""
    return int(unpack_from(">I", packet, 8)[0])


def anything(seed: random.Random) -> bytes:
    """Build a random packet: mostly well formed, every tenth cut or bitten."""
    elements = [
        (seed.randrange(1, 15), seed.randbytes(seed.randrange(1, 17)))
        for _ in range(seed.randrange(5))
    ]
    build = seed.choice((one_byte, two_byte))
    if build is two_byte:
        elements += [(seed.randrange(1, 256), seed.randbytes(seed.choice((0, 3, 40))))]
    packet = bytearray(
        rtp(
            seed.randrange(0x10000),
            ssrc=seed.getrandbits(32),
            timestamp=seed.getrandbits(32),
            payload_type=seed.randrange(128),
            marker=seed.random() < 0.5,
            extension=build(*elements) if elements and seed.random() < 0.8 else b"",
            csrcs=[seed.getrandbits(32) for _ in range(seed.choice((0, 0, 0, 1, 15)))],
            payload=seed.randbytes(seed.choice((0, 1, 3, 80, 1100))),
            padding=seed.choice((0, 0, 0, 1, 4, 255)),
        )
    )
    if seed.random() < 0.1:
        packet[seed.randrange(min(len(packet), 40))] = seed.randrange(256)
    if seed.random() < 0.05:
        del packet[seed.randrange(len(packet)) :]
    return bytes(packet)


class Wire:
    """An `sfu.forwarding.Output` that keeps what was sent."""

    route = None

    def __init__(self) -> None:
        self.rtp: list[bytes] = []
        self.rtcp: list[bytes] = []

    def send_rtp(self, packet: bytes) -> None:
        self.rtp.append(packet)

    def send_rtcp(self, packet: bytes) -> None:
        self.rtcp.append(packet)
