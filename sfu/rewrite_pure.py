"""The pure-Python twin of `sfu.rewrite`: its specification and its fallback."""

from struct import Struct

from sfu.errors import RtpError
from sfu.rtp import HEADER_BYTES, ONE_BYTE, TWO_BYTE, Header, elements, find_element, read_header

__all__ = ["find_element", "find_transport_sequence", "normalise", "patch", "read_header"]

_PATCHED = Struct(">HII")  # sequence, timestamp, SSRC
_FIXED = Struct(">BBHI")
_EXTENSION = Struct(">HH")
_PROFILE = Struct(">H")


def normalise(  # noqa: PLR0917 - one call per packet: keywords cost
    packet: bytes,
    header: Header,
    identifiers: bytes,
    payload_type: int,
    sequence: int,
    timestamp: int,
    send_time_id: int,
    send_time: int,
    transport_id: int = 0,
) -> bytes:
    """Write a packet the way one group of receivers wants it; only `patch` is left to do.

    ``identifiers`` (256 bytes) maps each element's identifier to the receivers', 0 strips it.
    With ``send_time_id`` an absolute send time comes first, and before it with ``transport_id``
    the place of a transport sequence number, which `patch` fills. Padding goes, CSRCs stay.
    ``sequence`` and ``timestamp`` may be extended. Raises `RtpError` as `elements` does.
    """
    kept = [
        (identifiers[identifier], packet[start:end])
        for identifier, start, end in elements(packet, header)
        if identifiers[identifier]
    ]
    if send_time_id:
        kept.insert(0, (send_time_id, (send_time & 0xFFFFFF).to_bytes(3, "big")))
    if transport_id:
        kept.insert(0, (transport_id, b"\0\0"))
    block = _extension(kept)
    csrcs = packet[0] & 0x0F
    return b"".join(
        (
            _FIXED.pack(
                0x80 | (0x10 if block else 0) | csrcs,
                header[0] << 7 | payload_type,
                sequence & 0xFFFF,
                timestamp & 0xFFFFFFFF,
            ),
            packet[8 : HEADER_BYTES + 4 * csrcs],
            block,
            packet[header[8] : header[9]],
        )
    )


def _extension(kept: list[tuple[int, bytes]]) -> bytes:
    """Encode elements, in the one-byte form unless one of them does not fit it."""
    if not kept:
        return b""
    if all(identifier < 15 and 1 <= len(value) <= 16 for identifier, value in kept):
        profile = ONE_BYTE
        body = b"".join(bytes((i << 4 | len(value) - 1,)) + value for i, value in kept)
    else:
        profile = TWO_BYTE
        body = b"".join(bytes((i, len(value))) + value for i, value in kept)
    words = (len(body) + 3) // 4
    return _EXTENSION.pack(profile, words) + body.ljust(4 * words, b"\0")


def patch(
    template: bytes, ssrc: int, sequence: int, timestamp: int, transport_sequence: int = -1
) -> bytes:
    """Copy a normalised packet with one receiver's numbers; they may be extended.

    With a ``transport_sequence`` the packet must have been given a place for it.
    """
    patched = (
        template[:2]
        + _PATCHED.pack(sequence & 0xFFFF, timestamp & 0xFFFFFFFF, ssrc)
        + template[12:]
    )
    if transport_sequence < 0:
        return patched
    at = transport_place(template)
    return patched[:at] + (transport_sequence & 0xFFFF).to_bytes(2, "big") + patched[at + 2 :]


def transport_place(template: bytes) -> int:
    """Return where a normalised packet has its transport sequence number: the first element."""
    block = HEADER_BYTES + 4 * (template[0] & 0x0F)
    (profile,) = _PROFILE.unpack_from(template, block)
    return block + 4 + (1 if profile == ONE_BYTE else 2)


def find_transport_sequence(packet: bytes, header: Header, identifier: int) -> int:
    """Return the transport sequence number of a packet; -1 when it has none that can be read."""
    try:
        value = find_element(packet, header, identifier)
    except RtpError:
        return -1
    return int.from_bytes(value, "big") if value is not None and len(value) == 2 else -1
