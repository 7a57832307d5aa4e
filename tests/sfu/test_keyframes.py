import pytest
from hypothesis import given
from hypothesis import strategies as st

from sfu.keyframes import h264_key_frame, sps_size, vp8_key_frame
from tests.sfu.frames import encoded
from tests.sfu.packets import vp8_delta, vp8_key


@pytest.mark.parametrize(
    "descriptor",
    [
        b"\x10",  # no extension
        b"\x90\x80\x05",  # 7-bit picture id
        b"\x90\x80\x80\x05",  # 15-bit picture id
        b"\x90\x40\x07",  # TL0PICIDX
        b"\x90\x20\x60",  # TID
        b"\x90\x10\x03",  # KEYIDX
        b"\x90\xf0\x80\x05\x07\x63",  # all of them
        b"\xb0\x00",  # non-reference, an empty extension
    ],
)
def test_a_vp8_key_frame_is_seen_past_every_descriptor(descriptor: bytes) -> None:
    payload = descriptor + vp8_key(1280, 720)[4:]
    assert vp8_key_frame(payload) == (1280, 720)


def test_the_upscaling_bits_are_not_part_of_a_vp8_size() -> None:
    assert vp8_key_frame(b"\x10\x50\x02\x00\x9d\x01\x2a\x80\x42\xe0\xc1") == (640, 480)


def test_other_vp8_packets_are_not_key_frames() -> None:
    assert vp8_key_frame(vp8_delta()) is None
    assert vp8_key_frame(vp8_delta(start=False)) is None
    assert vp8_key_frame(b"\x00" + vp8_key()[1:]) is None  # the rest of one
    assert vp8_key_frame(b"\x11" + vp8_key()[4:]) is None  # its second partition
    assert vp8_key_frame(b"\x10" + vp8_key()[4:7] + b"\x9d\x01\x2b" + bytes(4)) is None


@pytest.mark.parametrize("length", range(14))
def test_a_cut_vp8_key_frame_is_none(length: int) -> None:
    assert vp8_key_frame(vp8_key()[:length]) is None


def nal_units(stream: bytes) -> list[bytes]:
    return stream.replace(b"\0\0\0\1", b"\0\0\1").split(b"\0\0\1")[1:]


@pytest.mark.parametrize("size", [(640, 480), (1920, 1080), (1280, 720), (854, 480), (2, 2)])
@pytest.mark.parametrize("profile", ["baseline", "main", "high"])
def test_the_size_of_a_real_sps_is_read(profile: str, size: tuple[int, int]) -> None:
    units = nal_units(encoded("libx264", *size, profile=profile))
    (sps,) = (unit for unit in units if unit[0] & 0x1F == 7)
    assert sps_size(sps) == size
    assert h264_key_frame(sps) == size


def test_the_size_of_an_interlaced_sps_is_read() -> None:
    stream = encoded("libx264", 720, 576, flags="+ildct+ilme")
    (sps,) = (unit for unit in nal_units(stream) if unit[0] & 0x1F == 7)
    assert sps_size(sps) == (720, 576)


def test_a_real_vp8_frame_is_seen() -> None:
    assert vp8_key_frame(b"\x10" + encoded("libvpx", 322, 242)) == (322, 242)


def h264_units() -> dict[int, bytes]:
    return {unit[0] & 0x1F: unit for unit in nal_units(encoded("libx264", 640, 480))}


def test_h264_key_frames_are_seen_in_every_packetization() -> None:
    units = h264_units()
    sps, pps, idr = units[7], units[8], units[5][:900]
    stap = b"\x78" + b"".join(len(unit).to_bytes(2, "big") + unit for unit in (sps, pps))
    assert h264_key_frame(stap) == (640, 480)
    assert h264_key_frame(idr) == (0, 0)
    assert h264_key_frame(b"\x78" + len(idr).to_bytes(2, "big") + idr) == (0, 0)
    assert h264_key_frame(b"\x7c\x85" + idr[1:50]) == (0, 0)  # FU-A, start of an IDR slice


def test_other_h264_packets_are_not_key_frames() -> None:
    pps = h264_units()[8]
    assert h264_key_frame(b"") is None
    assert h264_key_frame(b"\x41\x9a") is None  # a slice of another frame
    assert h264_key_frame(pps) is None
    assert h264_key_frame(b"\x78" + len(pps).to_bytes(2, "big") + pps) is None
    assert h264_key_frame(b"\x7c\x05rest") is None  # FU-A, not its start
    assert h264_key_frame(b"\x7c\x81slice") is None
    assert h264_key_frame(b"\x7c") is None


def test_a_cut_sps_has_no_size() -> None:
    sps = h264_units()[7]
    assert h264_key_frame(sps[:1]) == (0, 0)
    assert all(sps_size(sps[:length]) == (0, 0) for length in range(8))


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_a_key_frame_or_not(payload: bytes) -> None:
    for find in (vp8_key_frame, h264_key_frame):
        size = find(payload)
        assert size is None or all(0 <= side <= 0xFFFF for side in size)


@given(st.binary(max_size=100))
def test_an_arbitrary_sps_has_a_size_or_none(body: bytes) -> None:
    assert all(0 <= side <= 0xFFFF for side in sps_size(b"\x67" + body))
