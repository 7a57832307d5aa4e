import pytest
from hypothesis import given
from hypothesis import strategies as st

from sfu.errors import FramingError
from sfu.framing import LIMIT_BYTES, FrameReader, frame


@given(st.lists(st.binary(max_size=300), max_size=8), st.data())
def test_packets_come_out_however_the_stream_is_cut(
    packets: list[bytes], data: st.DataObject
) -> None:
    stream = b"".join(map(frame, packets))
    places = data.draw(st.lists(st.integers(0, len(stream)), max_size=6).map(sorted))
    reader, found = FrameReader(), []
    for start, end in zip([0, *places], [*places, len(stream)], strict=True):
        found += reader.receive_data(stream[start:end])
    assert found == [packet for packet in packets if packet]


def test_the_longest_packet_passes_and_one_more_byte_does_not() -> None:
    assert FrameReader().receive_data(frame(bytes(LIMIT_BYTES))) == [bytes(LIMIT_BYTES)]
    with pytest.raises(FramingError, match="tcp_frame_too_long"):
        FrameReader().receive_data(b"\x08\x01")


def test_a_web_request_is_no_stream_of_packets() -> None:
    with pytest.raises(FramingError):
        FrameReader().receive_data(b"GET / HTTP/1.1\r\n\r\n")
