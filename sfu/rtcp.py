"""RTCP: compound packets in (RFC 3550, RFC 4585), single reports and requests out.

Reading is aiortc's, block by block, so that whatever is wrong with one is an `RtcpError`. Kinds
the SFU has no use for (SDES, APP, XR) are passed over unread.
"""

from collections.abc import Sequence
from struct import Struct, error

from aiortc.rtp import RtcpByePacket, RtcpPsfbPacket, RtcpRrPacket, RtcpRtpfbPacket, RtcpSrPacket

from sfu import transport_feedback
from sfu.errors import RtcpError
from sfu.transport_feedback import TransportFeedback

Block = (
    RtcpByePacket
    | RtcpPsfbPacket
    | RtcpRrPacket
    | RtcpRtpfbPacket
    | RtcpSrPacket
    | TransportFeedback
)

SR, RR, SDES, BYE, RTPFB, PSFB = 200, 201, 202, 203, 205, 206
NACK, TRANSPORT_FEEDBACK = 1, 15  # RTPFB
PLI, FIR, APPLICATION = 1, 4, 15  # PSFB

# An NACK entry covers 17 packets at best and one at worst: this many fit one datagram anyway.
MAX_NACKED = 250
MAX_LOST = 0x7FFFFF

_HEADER = Struct(">BBH")
_TWO_SSRCS = Struct(">II")
_NACKED = Struct(">HH")
_SENDER = Struct(">IQIII")
_REPORT = Struct(">IIIIII")


def parse(data: bytes) -> list[Block]:
    """Read a compound packet; a reduced-size one (RFC 5506) too.

    Raises `RtcpError` with cause ``rtcp_short``, ``rtcp_version``, ``rtcp_length``,
    ``rtcp_padding`` or ``rtcp_block``.
    """
    blocks: list[Block] = []
    position, size = 0, len(data)
    if size < 4:
        raise RtcpError("rtcp_short")
    while position < size:
        if position + 4 > size:
            raise RtcpError("rtcp_short")
        first, kind, words = _HEADER.unpack_from(data, position)
        if first >> 6 != 2:
            raise RtcpError("rtcp_version")
        end = position + 4 + 4 * words
        if end > size:
            raise RtcpError("rtcp_length")
        body = data[position + 4 : end]
        position = end
        if first & 0x20:
            if not body or not 0 < body[-1] <= len(body):
                raise RtcpError("rtcp_padding")
            body = body[: -body[-1]]
        try:
            block = _read(kind, first & 0x1F, body)
        except (ValueError, IndexError, error) as cause:
            raise RtcpError("rtcp_block") from cause
        if block is not None:
            blocks.append(block)
    return blocks


def _read(kind: int, count: int, body: bytes) -> Block | None:
    if kind == SR:
        # Profile-specific extensions may follow the report blocks; aiortc refuses them.
        return RtcpSrPacket.parse(body[: 24 + 24 * count], count)
    if kind == RR:
        return RtcpRrPacket.parse(body[: 4 + 24 * count], count)
    if kind == BYE:
        return RtcpByePacket.parse(body, count)
    if kind == RTPFB and count == NACK:
        return RtcpRtpfbPacket.parse(body, count)
    if kind == RTPFB and count == TRANSPORT_FEEDBACK:
        return transport_feedback.parse(body[8:])
    if kind == PSFB:
        return RtcpPsfbPacket.parse(body, count)
    return None


def fir_targets(block: RtcpPsfbPacket) -> list[int]:
    """Return the SSRCs a full intra request asks key frames of (RFC 5104 4.3.1.1)."""
    return [_TWO_SSRCS.unpack_from(block.fci, at)[0] for at in range(0, len(block.fci) - 7, 8)]


def remb_bps(block: RtcpPsfbPacket) -> int | None:
    """Return the bitrate of a receiver estimate; `None` when it is another application's."""
    fci = block.fci
    if len(fci) < 8 or fci[:4] != b"REMB":
        return None
    return ((fci[5] & 3) << 16 | fci[6] << 8 | fci[7]) << (fci[5] >> 2)


def _pack(kind: int, count: int, body: bytes) -> bytes:
    return _HEADER.pack(0x80 | count, kind, len(body) // 4) + body


def sender_report(ssrc: int, ntp: int, timestamp: int, packets: int, octets: int) -> bytes:
    """Build a sender report without report blocks; counts wrap at 32 bits."""
    return _pack(
        SR,
        0,
        _SENDER.pack(
            ssrc,
            ntp,
            timestamp & 0xFFFFFFFF,
            packets & 0xFFFFFFFF,
            octets & 0xFFFFFFFF,
        ),
    )


def report_block(  # noqa: PLR0917 - the order of the wire
    ssrc: int, fraction: int, lost: int, highest: int, jitter: int, last: int, delay: int
) -> bytes:
    """Build one report block; ``highest`` is extended, ``lost`` is clamped to 24 bits."""
    lost = max(-MAX_LOST - 1, min(lost, MAX_LOST)) & 0xFFFFFF
    return _REPORT.pack(
        ssrc, fraction << 24 | lost, highest & 0xFFFFFFFF, min(jitter, 0xFFFFFFFF), last, delay
    )


def receiver_report(sender: int, blocks: Sequence[bytes]) -> bytes:
    """Build a receiver report of at most 31 blocks."""
    return _pack(RR, len(blocks), sender.to_bytes(4, "big") + b"".join(blocks))


def source_description(names: Sequence[tuple[int, str]]) -> bytes:
    """Build the CNAMEs of at most 31 SSRCs."""
    chunks = []
    for ssrc, name in names:
        cname = name.encode()[:255]
        chunk = ssrc.to_bytes(4, "big") + bytes((1, len(cname))) + cname
        # "terminated by one or more null octets", each chunk to its own 32-bit boundary
        chunks.append(chunk + bytes(4 - len(chunk) % 4))
    return _pack(SDES, len(names), b"".join(chunks))


def nack(sender: int, media: int, lost: Sequence[int]) -> bytes:
    """Ask for packets by extended numbers in ascending order, at most `MAX_NACKED`."""
    entries: list[bytes] = []
    first, mask = lost[0], 0
    for number in lost[1:]:
        bit = number - first - 1
        if bit < 16:
            mask |= 1 << bit
        else:
            entries.append(_NACKED.pack(first & 0xFFFF, mask))
            first, mask = number, 0
    entries.append(_NACKED.pack(first & 0xFFFF, mask))
    return _pack(RTPFB, NACK, _TWO_SSRCS.pack(sender, media) + b"".join(entries))


def picture_loss(sender: int, media: int) -> bytes:
    """Ask for a key frame (RFC 4585 6.3.1)."""
    return _pack(PSFB, PLI, _TWO_SSRCS.pack(sender, media))


def full_intra_request(sender: int, media: int, number: int) -> bytes:
    """Ask for a key frame by command (RFC 5104 4.3.1); a repeat keeps its ``number``."""
    fci = _TWO_SSRCS.pack(media, (number & 0xFF) << 24)
    return _pack(PSFB, FIR, _TWO_SSRCS.pack(sender, 0) + fci)


def bitrate_limit(sender: int, bitrate_bps: int, ssrcs: Sequence[int]) -> bytes:
    """Tell a sender how much the sum of these SSRCs may be (draft-alvestrand-rmcat-remb-03)."""
    exponent = max(0, bitrate_bps.bit_length() - 18)
    mantissa = bitrate_bps >> exponent
    fci = (
        b"REMB"
        + bytes((len(ssrcs), exponent << 2 | mantissa >> 16))
        + (mantissa & 0xFFFF).to_bytes(2, "big")
    )
    fci += b"".join(ssrc.to_bytes(4, "big") for ssrc in ssrcs)
    return _pack(PSFB, APPLICATION, _TWO_SSRCS.pack(sender, 0) + fci)
