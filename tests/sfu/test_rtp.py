from contextlib import suppress
from struct import pack

import pytest
from aiortc.rtp import RtpPacket
from aiortc.rtp import unwrap_rtx as aiortc_unwrap_rtx
from hypothesis import given
from hypothesis import strategies as st

from sfu.errors import RtpError
from sfu.rtp import elements, find_element, read_header, unwrap_rtx, wrap_rtx
from tests.sfu.packets import one_byte, rtp, rtx, two_byte

MALFORMED = {
    "nothing": (b"", "rtp_short"),
    "eleven bytes": (rtp(1, payload=b"")[:11], "rtp_short"),
    "version 0": (b"\x00" + rtp(1)[1:], "rtp_version"),
    "version 1, a STUN-like first byte": (b"\x40" + rtp(1)[1:], "rtp_version"),
    "version 3": (b"\xc0" + rtp(1)[1:], "rtp_version"),
    "one CSRC promised, none there": (b"\x81" + rtp(1, payload=b"")[1:], "rtp_csrc"),
    "fifteen CSRCs, the last one cut": (
        rtp(1, csrcs=range(15), payload=b"")[:-1],
        "rtp_csrc",
    ),
    "extension bit, no extension": (b"\x90" + rtp(1, payload=b"")[1:], "rtp_extension"),
    "extension header cut": (
        b"\x90" + rtp(1, payload=b"\xbe\xde\x00")[1:],
        "rtp_extension",
    ),
    "extension longer than the packet": (
        b"\x90" + rtp(1, payload=b"\xbe\xde\xff\xff1234")[1:],
        "rtp_extension",
    ),
    "padding bit on an empty packet": (b"\xa0" + rtp(1, payload=b"")[1:12], "rtp_padding"),
    "padding of zero bytes": (b"\xa0" + rtp(1, payload=b"abc\x00")[1:], "rtp_padding"),
    "padding longer than the payload": (b"\xa0" + rtp(1, payload=b"abc\x05")[1:], "rtp_padding"),
    "padding that reaches into the extension": (
        b"\xb0" + rtp(1, extension=one_byte((1, b"a")), payload=b"ab\x04")[1:],
        "rtp_padding",
    ),
}

BROKEN_ELEMENTS = {
    "one-byte value runs past the extension": pack(">HHBBBB", 0xBEDE, 1, 0x13, 1, 2, 3),
    "one-byte value of 16 in a word": pack(">HHBBBB", 0xBEDE, 1, 0x1F, 1, 2, 3),
    "two-byte length missing": pack(">HHBBBB", 0x1000, 1, 1, 1, 9, 7),
    "two-byte value runs past the extension": pack(">HHBBBB", 0x1000, 1, 1, 3, 9, 9),
    "two-byte value of 255": pack(">HHBBBB", 0x100F, 1, 1, 255, 9, 9),
}


@pytest.mark.parametrize(("packet", "cause"), MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_packet_has_its_cause(packet: bytes, cause: str) -> None:
    with pytest.raises(RtpError) as raised:
        read_header(packet)
    assert raised.value.cause == cause


@pytest.mark.parametrize("extension", BROKEN_ELEMENTS.values(), ids=BROKEN_ELEMENTS)
def test_a_broken_element_has_its_cause(extension: bytes) -> None:
    packet = rtp(1, extension=extension)
    with pytest.raises(RtpError) as raised:
        list(elements(packet, read_header(packet)))
    assert raised.value.cause == "rtp_element"


def test_a_header_tells_where_everything_is() -> None:
    extension = one_byte((1, b"a"), (2, b"bcd"))
    packet = rtp(
        7,
        ssrc=9,
        timestamp=8,
        payload_type=96,
        marker=True,
        extension=extension,
        csrcs=[5],
        payload=b"media",
        padding=3,
    )
    assert read_header(packet) == (1, 96, 7, 8, 9, 0xBEDE, 20, 28, 28, 33)
    assert packet[28:33] == b"media"


def test_a_packet_of_padding_has_an_empty_payload() -> None:
    header = read_header(rtp(1, payload=b"", padding=224))
    assert header[8] == header[9] == 12


@pytest.mark.parametrize("build", [one_byte, two_byte])
def test_elements_are_found_in_both_forms(build: object) -> None:
    assert callable(build)
    packet = rtp(1, extension=build((4, b"0"), (3, b"abc")))
    header = read_header(packet)
    assert find_element(packet, header, 4) == b"0"
    assert find_element(packet, header, 3) == b"abc"
    assert find_element(packet, header, 5) is None


def test_padding_between_elements_is_skipped() -> None:
    body = b"\x00\x00\x10a\x00\x00\x20b"
    packet = rtp(1, extension=pack(">HH", 0xBEDE, 2) + body)
    assert find_element(packet, read_header(packet), 2) == b"b"


def test_identifier_15_ends_the_one_byte_form() -> None:
    packet = rtp(1, extension=pack(">HHBBBB", 0xBEDE, 1, 0xF0, 1, 0x10, 2))
    assert list(elements(packet, read_header(packet))) == []


def test_an_unknown_profile_has_no_elements() -> None:
    packet = rtp(1, extension=pack(">HHI", 0x1234, 1, 0x10101010))
    assert list(elements(packet, read_header(packet))) == []


def test_a_two_byte_element_may_be_empty() -> None:
    packet = rtp(1, extension=two_byte((200, b""), (7, b"x" * 40)))
    header = read_header(packet)
    assert find_element(packet, header, 200) == b""
    assert find_element(packet, header, 7) == b"x" * 40


def test_a_retransmission_gives_the_original_back() -> None:
    original = rtp(70, timestamp=5, payload_type=96, marker=True, payload=b"lost")
    packet = rtx(original, 1, ssrc=0x2000, payload_type=97)
    assert unwrap_rtx(packet, read_header(packet), 96, 0x1000) == original


def test_padding_of_a_retransmission_is_not_the_originals() -> None:
    packet = rtp(1, payload=b"\x00\x46lost", padding=4)
    original = unwrap_rtx(packet, read_header(packet), 96, 0x1000)
    assert read_header(original)[8:] == (12, 16)
    assert original[12:] == b"lost"


@pytest.mark.parametrize("payload", [b"", b"\x00"])
def test_a_retransmission_without_a_number_has_its_cause(payload: bytes) -> None:
    packet = rtp(1, payload=payload)
    with pytest.raises(RtpError, match="rtx_short"):
        unwrap_rtx(packet, read_header(packet), 96, 1)


def test_wrapping_and_unwrapping_lose_nothing() -> None:
    packet = rtp(
        9,
        timestamp=77,
        payload_type=96,
        marker=True,
        extension=one_byte((2, b"abc")),
        csrcs=[3],
        payload=b"media",
    )
    wrapped = wrap_rtx(packet, 97, 0x10005, 0x2000)
    assert read_header(wrapped)[1:5] == (97, 5, 77, 0x2000)
    assert unwrap_rtx(wrapped, read_header(wrapped), 96, 0x1000) == packet


def test_aiortc_unwraps_what_we_wrap() -> None:
    packet = rtp(9, timestamp=77, payload_type=96, marker=True, payload=b"media")
    theirs = aiortc_unwrap_rtx(RtpPacket.parse(wrap_rtx(packet, 97, 5, 0x2000)), 96, 0x1000)
    assert theirs.serialize() == packet


@given(st.binary(max_size=80))
def test_arbitrary_bytes_are_read_or_refused(packet: bytes) -> None:
    with suppress(RtpError):
        header = read_header(packet)
        for _, start, end in elements(packet, header):
            assert 16 <= start <= end <= header[8]
        unwrap_rtx(packet, header, 96, 1)
