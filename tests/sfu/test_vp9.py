import pytest
from hypothesis import given
from hypothesis import strategies as st

from sfu.vp9 import vp9_key_frame
from tests.sfu.frames import encoded


@pytest.fixture(scope="module")
def frame() -> bytes:
    return encoded("libvpx-vp9", 640, 360)


@pytest.mark.parametrize(
    "descriptor",
    [
        b"\x08",  # nothing but the start of a frame
        b"\x88\x05",  # 7-bit picture id
        b"\x88\x80\x05",  # 15-bit picture id
        b"\xa8\x80\x05\x00\x07",  # layer indices and TL0PICIDX
        b"\xb8\x80\x05\x00",  # the same in flexible mode
        b"\x0a\x18\x02\x80\x01\x68\x01\x04\x01",  # structure: a layer, a picture that needs one
    ],
)
def test_a_real_key_frame_is_seen_past_every_descriptor(descriptor: bytes, frame: bytes) -> None:
    assert vp9_key_frame(descriptor + frame) == (640, 360)


@pytest.mark.parametrize("size", [(2, 2), (1280, 720), (1920, 1080), (321, 243)])
def test_the_size_is_that_of_the_frame(size: tuple[int, int]) -> None:
    assert vp9_key_frame(b"\x08" + encoded("libvpx-vp9", *size)) == size


def test_with_spatial_layers_the_largest_counts(frame: bytes) -> None:
    structure = b"\x30" + b"".join(side.to_bytes(2, "big") for side in (320, 180, 640, 360))
    assert vp9_key_frame(b"\xaa\x80\x05\x00\x07" + structure + frame) == (640, 360)
    assert vp9_key_frame(b"\xa8\x80\x05\x02\x07" + frame) is None  # the upper layer itself


def test_other_packets_are_not_key_frames(frame: bytes) -> None:
    assert vp9_key_frame(b"\x48" + frame) is None  # predicted
    assert vp9_key_frame(b"\x00" + frame) is None  # not the start of a frame
    assert vp9_key_frame(b"\x08" + bytes([frame[0] | 0x04]) + frame[1:]) is None  # frame type
    assert vp9_key_frame(b"\x08" + bytes([frame[0] | 0x08]) + frame[1:]) is None  # shown again
    assert vp9_key_frame(b"\x08" + frame[:1] + b"\x48" + frame[2:]) is None  # no sync code


@pytest.mark.parametrize("length", range(5))
def test_a_cut_key_frame_is_none(length: int, frame: bytes) -> None:
    assert vp9_key_frame((b"\x08" + frame)[:length]) is None


def test_a_key_frame_cut_within_its_size_has_none(frame: bytes) -> None:
    assert vp9_key_frame(b"\x08" + frame[:6]) == (0, 0)


@given(st.binary(max_size=100))
def test_arbitrary_bytes_are_a_key_frame_or_not(payload: bytes) -> None:
    size = vp9_key_frame(b"\x0a" + payload)
    assert size is None or all(0 <= side <= 0x10000 for side in size)
