"""The pure-Python twin of `sfu.rewrite`: its specification and its fallback."""

from struct import Struct

from sfu.rtp import HEADER_BYTES, ONE_BYTE, TWO_BYTE, Header, elements, find_element, read_header

__all__ = ["find_element", "normalise", "patch", "read_header"]

_PATCHED = Struct(">HII")  # sequence, timestamp, SSRC
_FIXED = Struct(">BBHI")
_EXTENSION = Struct(">HH")


def normalise(  # noqa: PLR0917 - one call per packet: keywords cost
    packet: bytes,
    header: Header,
    identifiers: bytes,
    payload_type: int,
    sequence: int,
    timestamp: int,
    send_time_id: int,
    send_time: int,
) -> bytes:
    """Write a packet the way one group of receivers wants it; only `patch` is left to do.

    ``identifiers`` (256 bytes) maps each element's identifier to the receivers', 0 strips it.
    With ``send_time_id`` an absolute send time comes first. Padding goes, CSRCs stay.
    ``sequence`` and ``timestamp`` may be extended. Raises `RtpError` as `elements` does.
    """
    kept = [
        (identifiers[identifier], packet[start:end])
        for identifier, start, end in elements(packet, header)
        if identifiers[identifier]
    ]
    if send_time_id:
        kept.insert(0, (send_time_id, (send_time & 0xFFFFFF).to_bytes(3, "big")))
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


def patch(template: bytes, ssrc: int, sequence: int, timestamp: int) -> bytes:
    """Copy a normalised packet with one receiver's numbers; they may be extended."""
    return (
        template[:2]
        + _PATCHED.pack(sequence & 0xFFFF, timestamp & 0xFFFFFFFF, ssrc)
        + template[12:]
    )
