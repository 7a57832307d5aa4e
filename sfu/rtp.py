"""RTP packets (RFC 3550), their header extensions (RFC 8285) and retransmissions (RFC 4588).

A packet stays the bytes it came as. `read_header` tells where things are in it as a plain tuple,
a `Header`; nothing is kept per packet.
"""

from collections.abc import Iterator
from struct import Struct
from typing import TypeAlias

from sfu.errors import RtpError

FIXED = Struct(">BBHII")  # first byte, marker and payload type, sequence, timestamp, SSRC
_EXTENSION = Struct(">HH")  # profile, length in 32-bit words
_SEQUENCE = Struct(">H")

HEADER_BYTES = 12
ONE_BYTE = 0xBEDE
TWO_BYTE = 0x1000  # the low four bits are the application's (RFC 8285 section 4.3)

Header: TypeAlias = tuple[int, int, int, int, int, int, int, int, int, int]
"""marker (0 or 1), payload type, sequence, timestamp, SSRC, then positions in the packet:
extension profile (0 without one), start and end of the elements, start and end of the payload.
Padding is outside the payload; a packet of nothing but padding has an empty one."""


def read_header(packet: bytes) -> Header:
    """Find the parts of a packet.

    Raises `RtpError` with cause ``rtp_short``, ``rtp_version``, ``rtp_csrc``, ``rtp_extension``
    or ``rtp_padding``. The elements inside the extension are not looked at.
    """
    size = len(packet)
    if size < HEADER_BYTES:
        raise RtpError("rtp_short")
    first, second, sequence, timestamp, ssrc = FIXED.unpack_from(packet)
    if first >> 6 != 2:
        raise RtpError("rtp_version")
    start = HEADER_BYTES + 4 * (first & 0x0F)
    if start > size:
        raise RtpError("rtp_csrc")
    profile = elements_start = elements_end = 0
    if first & 0x10:
        if start + 4 > size:
            raise RtpError("rtp_extension")
        profile, words = _EXTENSION.unpack_from(packet, start)
        elements_start = start + 4
        start = elements_end = elements_start + 4 * words
        if start > size:
            raise RtpError("rtp_extension")
    end = size
    if first & 0x20:
        padding = packet[-1]
        if not 0 < padding <= size - start:
            raise RtpError("rtp_padding")
        end -= padding
    return (
        second >> 7,
        second & 0x7F,
        sequence,
        timestamp,
        ssrc,
        profile,
        elements_start,
        elements_end,
        start,
        end,
    )


def elements(packet: bytes, header: Header) -> Iterator[tuple[int, int, int]]:
    """Walk the header extension: identifier, start and end of each element's value.

    An unknown profile has no elements. Raises `RtpError` with cause ``rtp_element`` at an element
    that runs past the extension.
    """
    profile, position, end = header[5:8]
    if profile == ONE_BYTE:
        while position < end:
            mark = packet[position]
            position += 1
            if mark >> 4 == 0:  # padding; a length beside identifier 0 means nothing
                continue
            if mark >> 4 == 15:  # "processing of the extension elements MUST stop"
                return
            after = position + (mark & 0x0F) + 1
            if after > end:
                raise RtpError("rtp_element")
            yield mark >> 4, position, after
            position = after
    elif profile & 0xFFF0 == TWO_BYTE:
        while position < end:
            identifier = packet[position]
            position += 1
            if identifier == 0:
                continue
            if position == end:
                raise RtpError("rtp_element")
            after = position + 1 + packet[position]
            if after > end:
                raise RtpError("rtp_element")
            yield identifier, position + 1, after
            position = after


def find_element(packet: bytes, header: Header, identifier: int) -> bytes | None:
    """Return the value of the first element with this identifier.

    Raises `RtpError` as `elements` does for what comes before it.
    """
    for found, start, end in elements(packet, header):
        if found == identifier:
            return packet[start:end]
    return None


def unwrap_rtx(packet: bytes, header: Header, payload_type: int, ssrc: int) -> bytes:
    """Give back the packet that a retransmission carries.

    ``payload_type`` and ``ssrc`` are those of the original stream. Raises `RtpError` with cause
    ``rtx_short`` where the original sequence number is missing.
    """
    start, end = header[8], header[9]
    if end - start < 2:
        raise RtpError("rtx_short")
    (sequence,) = _SEQUENCE.unpack_from(packet, start)
    first = packet[0] & ~0x20  # the padding was the retransmission's
    second = header[0] << 7 | payload_type
    fixed = FIXED.pack(first, second, sequence, header[3], ssrc)
    return fixed + packet[HEADER_BYTES:start] + packet[start + 2 : end]


def wrap_rtx(packet: bytes, payload_type: int, sequence: int, ssrc: int) -> bytes:
    """Carry a whole packet, as it was sent, in a retransmission."""
    start = read_header(packet)[8]
    first, second, original, timestamp, _ = FIXED.unpack_from(packet)
    fixed = FIXED.pack(first, second & 0x80 | payload_type, sequence & 0xFFFF, timestamp, ssrc)
    return fixed + packet[HEADER_BYTES:start] + _SEQUENCE.pack(original) + packet[start:]
