"""Key frames, read from payload bytes without decoding: VP8 (RFC 7741) and H.264 (RFC 6184) here.

Nothing here raises on hostile bytes: what cannot be read is not a key frame, and a key frame
whose size cannot be read is 0 by 0.
"""

from collections.abc import Callable

from sfu.av1 import av1_key_frame
from sfu.bits import Bits
from sfu.vp9 import vp9_key_frame

Size = tuple[int, int]  # width and height in pixels


def vp8_key_frame(payload: bytes) -> Size | None:
    """Return the size of the VP8 key frame that starts in this payload, `None` without one."""
    if not payload or payload[0] & 0x17 != 0x10:  # S set, partition 0
        return None
    position = 1
    if payload[0] & 0x80:
        if len(payload) < 2:
            return None
        extended = payload[1]
        position = 2
        if extended & 0x80:
            if len(payload) < 3:
                return None
            position += 2 if payload[2] & 0x80 else 1
        position += (extended >> 6) & 1  # TL0PICIDX
        position += 1 if extended & 0x30 else 0  # TID and KEYIDX share a byte
    frame = payload[position : position + 10]
    if len(frame) < 10 or frame[0] & 1 or frame[3:6] != b"\x9d\x01\x2a":
        return None
    return (
        int.from_bytes(frame[6:8], "little") & 0x3FFF,
        int.from_bytes(frame[8:10], "little") & 0x3FFF,
    )


_IDR, _SPS, _STAP_A, _FU_A = 5, 7, 24, 28


def h264_key_frame(payload: bytes) -> Size | None:
    """Return the size of the H.264 key frame that starts in this payload, `None` without one.

    A sequence parameter set or an IDR slice starts one; a slice alone tells no size.
    """
    if not payload:
        return None
    kind = payload[0] & 0x1F
    if kind == _SPS:
        return sps_size(payload)
    if kind == _IDR:
        return 0, 0
    if kind == _STAP_A:
        return _aggregated_key_frame(payload)
    if kind == _FU_A and len(payload) > 1 and payload[1] & 0x80:  # the start of a NAL unit
        inner = payload[1] & 0x1F
        return (0, 0) if inner in {_IDR, _SPS} else None
    return None


def _aggregated_key_frame(payload: bytes) -> Size | None:
    found: Size | None = None
    position = 1
    while position + 2 < len(payload):
        length = int.from_bytes(payload[position : position + 2], "big")
        position += 2
        unit = payload[position : position + length]
        position += length
        if unit and unit[0] & 0x1F == _SPS:
            return sps_size(unit)
        if unit and unit[0] & 0x1F == _IDR:
            found = 0, 0
    return found


_HIGH_PROFILES = {44, 83, 86, 100, 110, 118, 122, 128, 134, 135, 138, 139, 244}


def sps_size(unit: bytes) -> Size:
    """Return the cropped size a sequence parameter set tells (H.264 7.3.2.1.1), or 0 by 0."""
    try:
        width, height = _read_sps(Bits(unit[1:].replace(b"\0\0\3", b"\0\0")), unit[1])
    except IndexError:
        return 0, 0
    return (width, height) if 0 < width <= 0xFFFF and 0 < height <= 0xFFFF else (0, 0)


def _read_sps(bits: "Bits", profile: int) -> Size:
    bits.read(24)  # profile, constraints, level
    bits.golomb()  # seq_parameter_set_id
    chroma = 1
    if profile in _HIGH_PROFILES:
        chroma = bits.golomb()
        if chroma == 3 and bits.read(1):
            chroma = 0  # separate planes are cropped like monochrome
        bits.golomb()  # luma depth
        bits.golomb()  # chroma depth
        bits.read(1)
        if bits.read(1):
            for index in range(12 if chroma == 3 else 8):
                if bits.read(1):
                    _skip_scaling_list(bits, 16 if index < 6 else 64)
    bits.golomb()  # log2_max_frame_num
    order = bits.golomb()
    if order == 0:
        bits.golomb()
    elif order == 1:
        bits.read(1)
        bits.golomb()
        bits.golomb()
        for _ in range(min(bits.golomb(), 255)):
            bits.golomb()
    bits.golomb()  # max_num_ref_frames
    bits.read(1)
    width = 16 * (bits.golomb() + 1)
    rows = bits.golomb() + 1
    frames_only = bits.read(1)
    if not frames_only:
        bits.read(1)
    bits.read(1)
    height = 16 * rows * (2 - frames_only)
    if bits.read(1):
        unit_x = 2 if chroma in {1, 2} else 1
        unit_y = (2 if chroma == 1 else 1) * (2 - frames_only)
        width -= unit_x * (bits.golomb() + bits.golomb())
        height -= unit_y * (bits.golomb() + bits.golomb())
    return width, height


def _skip_scaling_list(bits: "Bits", size: int) -> None:
    last = following = 8
    for _ in range(size):
        if following:
            code = bits.golomb()
            delta = (code + 1) // 2 if code & 1 else -(code // 2)
            following = (last + delta) & 0xFF
        last = following or last


KEY_FRAMES: dict[str, Callable[[bytes], Size | None]] = {
    "VP8": vp8_key_frame,
    "H264": h264_key_frame,
    "VP9": vp9_key_frame,
    "AV1": av1_key_frame,
}
"""By codec name: what finds a key frame in a payload's first bytes."""
