import pytest
from hypothesis import given
from hypothesis import strategies as st

from sfu.av1 import av1_key_frame
from tests.sfu.frames import encoded, leb128, obus


@pytest.fixture(scope="module")
def units() -> list[bytes]:
    """The sequence header and the frame of a real encoder."""
    return obus(encoded("libsvtav1", 640, 360, preset="12"))


def test_a_real_key_frame_is_seen_in_every_aggregation(units: list[bytes]) -> None:
    header, frame = units[0], units[-1][:900]
    counted = b"\x28" + leb128(len(header)) + header + frame  # W = 2: the last has no length
    uncounted = b"\x08" + b"".join(leb128(len(unit)) + unit for unit in (header, frame))
    alone = b"\x18" + header
    started = b"\x68" + leb128(len(header)) + header + frame[:100]  # Y: the frame goes on
    for payload in (counted, uncounted, alone, started):
        assert av1_key_frame(payload) == (640, 360)
        assert av1_key_frame(payload[:128]) == (640, 360)


@pytest.mark.parametrize("size", [(64, 64), (1280, 720), (1920, 1080), (322, 242)])
def test_the_size_is_that_of_the_sequence(size: tuple[int, int]) -> None:
    (header, *_) = obus(encoded("libsvtav1", *size, preset="12"))
    assert av1_key_frame(b"\x18" + header) == size


def test_a_header_with_extension_and_length_is_read(units: list[bytes]) -> None:
    header = units[0]
    marked = bytes((header[0] | 0x06, 0x00)) + leb128(len(header) - 1) + header[1:]
    assert av1_key_frame(b"\x18" + marked) == (640, 360)


def test_timing_and_decoder_model_are_passed_over() -> None:
    """Fields no encoder here writes: timing, decoder model, display delay, a tier, two points."""
    fields = [(0, 3), (0, 1), (0, 1), (1, 1), (1, 32), (30, 32), (1, 1), (0b00101, 5), (1, 1)]
    fields += [(9, 5), (1, 32), (9, 5), (9, 5), (1, 1), (1, 5)]
    for level in (8, 4):
        fields += [(0, 12), (level, 5), *([(1, 1)] if level > 7 else []), (1, 1), (0, 21)]
        fields += [(1, 1), (3, 4)]
    fields += [(10, 4), (9, 4), (1279, 11), (719, 10)]
    text = "".join(f"{value:0{width}b}" for value, width in fields)
    body = int(text.ljust(-(-len(text) // 8) * 8, "0"), 2).to_bytes(-(-len(text) // 8), "big")
    assert av1_key_frame(b"\x18\x08" + body) == (1280, 720)


def test_the_reduced_header_of_a_still_picture_is_read() -> None:
    fields = [(0, 3), (1, 1), (1, 1), (5, 5), (9, 4), (9, 4), (639, 10), (479, 10)]
    text = "".join(f"{value:0{width}b}" for value, width in fields)
    body = int(text.ljust(48, "0"), 2).to_bytes(6, "big")
    assert av1_key_frame(b"\x18\x08" + body) == (640, 480)


def test_other_packets_are_not_key_frames(units: list[bytes]) -> None:
    assert av1_key_frame(b"") is None
    assert av1_key_frame(b"\x10" + units[-1]) is None  # not a new sequence
    assert av1_key_frame(b"\x98" + units[0]) is None  # goes on from the packet before


def test_a_key_frame_whose_size_is_not_there_has_none(units: list[bytes]) -> None:
    assert av1_key_frame(b"\x08") == (0, 0)
    assert av1_key_frame(b"\x18" + units[-1][:50]) == (0, 0)
    assert av1_key_frame(b"\x18" + units[0][:4]) == (0, 0)
    assert av1_key_frame(b"\x08" + b"\xff" * 9) == (0, 0)


@given(st.binary(max_size=100))
def test_arbitrary_bytes_are_a_key_frame_or_not(payload: bytes) -> None:
    size = av1_key_frame(b"\x08" + payload)
    assert size is not None
    assert all(0 <= side <= 0x10000 for side in size)
