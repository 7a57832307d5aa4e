"""AV1 on RTP: aggregation header and OBU elements (AV1 RTP payload), sequence header OBU."""

from collections.abc import Iterator

from sfu.bits import Bits

Size = tuple[int, int]  # width and height in pixels

_Z, _N = 0x80, 0x08
_SEQUENCE_HEADER = 1


def av1_key_frame(payload: bytes) -> Size | None:
    """Return the size of the AV1 key frame that starts in this payload, `None` without one.

    The first packet of a coded video sequence says so (N), and carries the sequence header.
    0 by 0 where that cannot be read.
    """
    if not payload or payload[0] & _Z or not payload[0] & _N:
        return None
    try:
        for element in _elements(payload):
            if element and element[0] >> 3 & 0x0F == _SEQUENCE_HEADER:
                return _sequence_size(element)
    except IndexError:
        pass
    return 0, 0


def _elements(payload: bytes) -> Iterator[bytes]:
    """Yield the OBU elements; the last one of them may be cut."""
    count = payload[0] >> 4 & 3
    position, index = 1, 0
    while position < len(payload):
        index += 1
        if index == count:  # the last of a known number has no length
            yield payload[position:]
            return
        size, position = _leb128(payload, position)
        yield payload[position : position + size]
        position += size


def _leb128(data: bytes, position: int) -> tuple[int, int]:
    """Read a length of at most 32 bits (AV1 section 4.10.5) and return where it ends."""
    value = 0
    for index in range(5):
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << 7 * index
        if not byte & 0x80:
            return value, position
    raise IndexError


def _sequence_size(unit: bytes) -> Size:
    """Return the largest frame a sequence header OBU allows (AV1 section 5.5.1)."""
    position = 2 if unit[0] & 0x04 else 1
    if unit[0] & 0x02:
        _, position = _leb128(unit, position)
    bits = Bits(unit[position : position + 64])
    bits.read(4)  # profile, still picture
    if bits.read(1):  # reduced header of a still picture
        bits.read(5)
    else:
        _skip_operating_points(bits)
    width_bits, height_bits = bits.read(4) + 1, bits.read(4) + 1
    return bits.read(width_bits) + 1, bits.read(height_bits) + 1


def _skip_operating_points(bits: Bits) -> None:
    delay_bits = 0
    if bits.read(1):  # timing
        bits.read(64)
        if bits.read(1):
            bits.golomb()
        if bits.read(1):  # decoder model
            delay_bits = bits.read(5) + 1
            bits.read(42)
    display_delay = bits.read(1)
    for _ in range(bits.read(5) + 1):
        bits.read(12)
        if bits.read(5) > 7:
            bits.read(1)  # tier
        if delay_bits and bits.read(1):
            bits.read(2 * delay_bits + 1)
        if display_delay and bits.read(1):
            bits.read(4)
