from struct import pack

import pytest
from aiortc.rtp import (
    RtcpByePacket,
    RtcpPacket,
    RtcpPsfbPacket,
    RtcpRrPacket,
    RtcpRtpfbPacket,
    RtcpSdesPacket,
    RtcpSrPacket,
    unpack_remb_fci,
)
from hypothesis import given
from hypothesis import strategies as st

from sfu import rtcp
from sfu.errors import RtcpError

RR = rtcp.receiver_report(1, [])

MALFORMED = {
    "nothing": (b"", "rtcp_short"),
    "three bytes": (b"\x80\xc9\x00", "rtcp_short"),
    "a second header cut": (RR + b"\x81\xce\x00", "rtcp_short"),
    "version 1": (b"\x40" + RR[1:], "rtcp_version"),
    "a second block of version 0": (RR + b"\x00\xc9\x00\x00", "rtcp_version"),
    "longer than the datagram": (b"\x80\xc9\xff\xff" + RR[4:], "rtcp_length"),
    "one byte cut": (RR[:-1], "rtcp_length"),
    "padding bit without a body": (b"\xa0\xc9\x00\x00", "rtcp_padding"),
    "padding of zero bytes": (b"\xa0\xc9\x00\x01\x00\x00\x00\x00", "rtcp_padding"),
    "padding longer than the body": (b"\xa0\xc9\x00\x01\x00\x00\x00\x05", "rtcp_padding"),
    "sender report of a header only": (b"\x80\xc8\x00\x00", "rtcp_block"),
    "sender report without sender info": (b"\x80\xc8\x00\x01\x00\x00\x00\x01", "rtcp_block"),
    "report block promised, none there": (b"\x81" + RR[1:], "rtcp_block"),
    "31 report blocks promised, one there": (
        b"\x9f\xc9\x00\x07" + bytes(28),
        "rtcp_block",
    ),
    "goodbye of a source not there": (b"\x81\xcb\x00\x00", "rtcp_block"),
    "NACK without a media SSRC": (b"\x81\xcd\x00\x01" + bytes(4), "rtcp_block"),
    "PLI without a media SSRC": (b"\x81\xce\x00\x01" + bytes(4), "rtcp_block"),
}


@pytest.mark.parametrize(("packet", "cause"), MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_packet_has_its_cause(packet: bytes, cause: str) -> None:
    with pytest.raises(RtcpError) as raised:
        rtcp.parse(packet)
    assert raised.value.cause == cause


def test_kinds_without_use_are_passed_over_unread() -> None:
    nonsense = b"\xff" * 8
    compound = b"".join(
        pack(">BBH", 0x80 | count, kind, 2) + nonsense
        for count, kind in ((31, 202), (3, 204), (14, 205), (0, 207), (0, 255))
    )
    assert rtcp.parse(compound + RR) == [RtcpRrPacket(ssrc=1)]


def test_profile_specific_extensions_of_reports_are_passed_over() -> None:
    report = rtcp.sender_report(7, 1 << 40, 9, 1, 2)
    extended = report[:2] + pack(">H", 8) + report[4:] + b"more" * 2
    assert rtcp.parse(extended) == rtcp.parse(report)


def test_padding_is_not_read() -> None:
    bye = b"\xa1\xcb\x00\x02" + pack(">I", 9) + b"\x00\x00\x00\x04"
    assert rtcp.parse(bye) == [RtcpByePacket(sources=[9])]


def test_aiortc_reads_our_reports() -> None:
    block = rtcp.report_block(2, 128, -5, 0x20001, 77, 3, 4)
    compound = (
        rtcp.sender_report(1, 0x0123456789ABCDEF, 0x1_0000_0005, 6, 0x1_0000_0007)
        + rtcp.receiver_report(8, [block])
        + rtcp.source_description([(1, "participant")])
    )
    sender, receiver, description = RtcpPacket.parse(compound)
    assert isinstance(sender, RtcpSrPacket)
    info = sender.sender_info
    assert (info.ntp_timestamp, info.rtp_timestamp) == (0x0123456789ABCDEF, 5)
    assert (info.packet_count, info.octet_count) == (6, 7)
    assert isinstance(receiver, RtcpRrPacket)
    (report,) = receiver.reports
    assert (report.ssrc, report.fraction_lost, report.packets_lost) == (2, 128, -5)
    assert (report.highest_sequence, report.jitter) == (0x20001, 77)
    assert (report.lsr, report.dlsr) == (3, 4)
    assert isinstance(description, RtcpSdesPacket)
    assert description.chunks[0].items == [(1, b"participant")]


@pytest.mark.parametrize("name", ["", "a", "ab", "abc", "abcd", "참가자", "x" * 300])
def test_each_chunk_of_a_description_ends_on_its_own_boundary(name: str) -> None:
    packet = rtcp.source_description([(1, name), (2, name)])
    half = (len(packet) - 4) // 2
    assert half % 4 == 0
    assert packet[4 : 4 + half][4:] == packet[4 + half :][4:]
    assert packet[-1] == 0
    assert len(packet) == 4 * (int.from_bytes(packet[2:4], "big") + 1)


def test_the_loss_of_a_report_is_clamped() -> None:
    for lost, seen in ((1 << 30, 0x7FFFFF), (-(1 << 30), -0x800000)):
        packet = rtcp.receiver_report(1, [rtcp.report_block(2, 0, lost, 0, 1 << 40, 0, 0)])
        (receiver,) = rtcp.parse(packet)
        assert isinstance(receiver, RtcpRrPacket)
        assert receiver.reports[0].packets_lost == seen


@given(st.sets(st.integers(0, 400), min_size=1, max_size=rtcp.MAX_NACKED), st.integers(0, 1 << 20))
def test_aiortc_reads_every_number_we_ask_for(offsets: set[int], first: int) -> None:
    lost = sorted(first + offset for offset in offsets)
    (block,) = rtcp.parse(rtcp.nack(1, 2, lost))
    assert isinstance(block, RtcpRtpfbPacket)
    assert (block.fmt, block.ssrc, block.media_ssrc) == (1, 1, 2)
    assert {number & 0xFFFF for number in block.lost} == {number & 0xFFFF for number in lost}


def test_the_longest_nack_fits_a_datagram() -> None:
    assert len(rtcp.nack(1, 2, range(0, 20 * rtcp.MAX_NACKED, 20))) < 1200


def test_key_frame_requests_are_read_back() -> None:
    pli, fir = rtcp.parse(rtcp.picture_loss(1, 2) + rtcp.full_intra_request(1, 2, 257))
    assert isinstance(pli, RtcpPsfbPacket)
    assert isinstance(fir, RtcpPsfbPacket)
    assert (pli.fmt, pli.media_ssrc) == (rtcp.PLI, 2)
    assert (fir.fmt, rtcp.fir_targets(fir)) == (rtcp.FIR, [2])
    assert fir.fci[4] == 1


@given(st.integers(0, 1 << 40), st.lists(st.integers(0, 0xFFFFFFFF), max_size=31))
def test_aiortc_reads_our_bitrate_limit(bitrate_bps: int, ssrcs: list[int]) -> None:
    (block,) = rtcp.parse(rtcp.bitrate_limit(1, bitrate_bps, ssrcs))
    assert isinstance(block, RtcpPsfbPacket)
    read, targets = unpack_remb_fci(block.fci)
    assert targets == ssrcs
    assert read <= bitrate_bps <= read + (read >> 16)
    assert rtcp.remb_bps(block) == read


def test_another_applications_feedback_is_no_estimate() -> None:
    block = RtcpPsfbPacket(fmt=15, ssrc=1, media_ssrc=0, fci=b"ABCD1234")
    assert rtcp.remb_bps(block) is None
    block.fci = b"REMB"
    assert rtcp.remb_bps(block) is None


def test_a_cut_fir_entry_is_left_out() -> None:
    block = RtcpPsfbPacket(fmt=4, ssrc=1, media_ssrc=0, fci=pack(">II", 5, 0) + b"cut")
    assert rtcp.fir_targets(block) == [5]


def read_all(packet: bytes) -> None:
    try:
        blocks = rtcp.parse(packet)
    except RtcpError:
        return
    for block in blocks:
        if isinstance(block, RtcpPsfbPacket):
            rtcp.fir_targets(block)
            rtcp.remb_bps(block)


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_read_or_refused(packet: bytes) -> None:
    read_all(packet)


@given(st.integers(0, 31), st.integers(192, 223), st.binary(max_size=120), st.booleans())
def test_arbitrary_blocks_are_read_or_refused(
    count: int, kind: int, body: bytes, padded: bool
) -> None:
    body += bytes(-len(body) % 4)
    read_all(pack(">BBH", 0xA0 | count if padded else 0x80 | count, kind, len(body) // 4) + body)
