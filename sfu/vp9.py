"""VP9 on RTP: the payload descriptor (RFC 9628) and the uncompressed header behind it."""

from sfu.bits import Bits

Size = tuple[int, int]  # width and height in pixels

# The bits of the descriptor's first byte.
_I, _P, _L, _F, _B, _V = 0x80, 0x40, 0x20, 0x10, 0x08, 0x02
_SYNC = 0x498342
_SRGB = 7


def vp9_key_frame(payload: bytes) -> Size | None:
    """Return the size of the VP9 key frame that starts in this payload, `None` without one.

    With spatial layers it is that of the largest. 0 by 0 where it cannot be read.
    """
    try:
        return _read(payload)
    except IndexError:
        return None


def _read(payload: bytes) -> Size | None:
    first = payload[0]
    if first & _P or not first & _B:
        return None
    position = 1
    if first & _I:
        position += 2 if payload[position] & 0x80 else 1
    if first & _L:
        if payload[position] & 0x0E:  # an upper spatial layer of a key frame
            return None
        position += 1 if first & _F else 2  # TL0PICIDX without flexible mode
    # Reference indices follow only where P is set (RFC 9628 section 4.2).
    sizes: list[Size] = []
    if first & _V:
        position, sizes = _scalability_structure(payload, position)
    header = _uncompressed_header(payload[position:])
    if header is None:
        return None
    return max(sizes, key=lambda size: size[0] * size[1], default=header)


def _scalability_structure(payload: bytes, position: int) -> tuple[int, list[Size]]:
    """Return where the structure ends and the sizes of its layers, if it tells them."""
    mark = payload[position]
    position += 1
    sizes: list[Size] = []
    if mark & 0x10:
        for _ in range((mark >> 5) + 1):
            width = payload[position] << 8 | payload[position + 1]
            height = payload[position + 2] << 8 | payload[position + 3]
            position += 4
            sizes.append((width, height))
    if mark & 0x08:
        pictures = payload[position]
        position += 1
        for _ in range(pictures):
            position += 1 + (payload[position] >> 2 & 3)
    return position, sizes


def _uncompressed_header(frame: bytes) -> Size | None:
    """Read the size of a key frame (VP9 bitstream, section 6.2); `None` of any other frame."""
    bits = Bits(frame[:20])
    if bits.read(2) != 2:
        return None
    profile = bits.read(1) | bits.read(1) << 1
    if profile == 3:
        bits.read(1)
    if bits.read(1) or bits.read(1):  # an existing frame shown again, or no key frame
        return None
    bits.read(2)  # shown, error resilient
    if bits.read(24) != _SYNC:
        return None
    try:
        _skip_color(bits, profile)
        return bits.read(16) + 1, bits.read(16) + 1
    except IndexError:
        return 0, 0


def _skip_color(bits: Bits, profile: int) -> None:
    if profile >= 2:
        bits.read(1)  # bit depth
    if bits.read(3) != _SRGB:
        bits.read(1)  # range
        if profile & 1:
            bits.read(3)  # subsampling
    elif profile & 1:
        bits.read(1)
