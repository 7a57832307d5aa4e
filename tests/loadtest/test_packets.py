import struct
import time

import pytest
from aiortc.codecs.vpx import VpxPayloadDescriptor
from aiortc.rtcrtpparameters import RTCRtpHeaderExtensionParameters, RTCRtpParameters
from aiortc.rtp import (
    RTCP_PSFB_FIR,
    RTCP_PSFB_PLI,
    HeaderExtensionsMap,
    RtcpPsfbPacket,
    RtcpReceiverInfo,
    RtcpRrPacket,
    RtpPacket,
)

from loadtest.packets import OPUS, VP8, Source, asks_for_key_frame, is_rtcp, stamp_ns


def extensions():
    table = HeaderExtensionsMap()
    uris = {
        1: "urn:ietf:params:rtp-hdrext:sdes:mid",
        2: "urn:ietf:params:rtp-hdrext:ssrc-audio-level",
    }
    table.configure(
        RTCRtpParameters(
            headerExtensions=[RTCRtpHeaderExtensionParameters(id=k, uri=v) for k, v in uris.items()]
        )
    )
    return table


def test_opus_is_one_packet_a_burst_with_mid_and_level():
    [packet] = Source(OPUS, "0", 77).burst()
    parsed = RtpPacket.parse(packet, extensions())
    assert (parsed.ssrc, parsed.payload_type, parsed.marker) == (77, 111, 0)
    assert len(parsed.payload) == 160
    assert (parsed.extensions.mid, parsed.extensions.audio_level) == ("0", (True, 30))


def test_a_picture_is_six_packets_of_one_timestamp_and_ends_with_the_marker():
    source = Source(VP8, "1", 78)
    pictures = [[RtpPacket.parse(p, extensions()) for p in source.burst()] for _ in range(3)]
    for picture in pictures:
        assert [p.marker for p in picture] == [0, 0, 0, 0, 0, 1]
        assert len({p.timestamp for p in picture}) == 1
        assert {len(p.payload) for p in picture} == {1_100}
        starts = [VpxPayloadDescriptor.parse(p.payload)[0].partition_start for p in picture]
        assert starts == [1, 0, 0, 0, 0, 0]
    numbers = [p.sequence_number for picture in pictures for p in picture]
    assert numbers == list(range(numbers[0], numbers[0] + 18))
    assert pictures[1][0].timestamp - pictures[0][0].timestamp == 3_600


def test_the_first_picture_and_the_one_asked_for_are_key_frames():
    source = Source(VP8, "1", 78)
    keys = []
    for number in range(4):
        if number == 2:
            source.want_key_frame()
        [first, *_] = source.burst()
        payload = RtpPacket.parse(first, extensions()).payload
        _, frame = VpxPayloadDescriptor.parse(payload)
        keys.append(frame[0] & 1 == 0)
        if keys[-1]:
            assert frame[3:6] == b"\x9d\x01\x2a"
            assert struct.unpack("<HH", frame[6:10]) == (640, 360)
    assert keys == [True, False, True, False]


@pytest.mark.parametrize("flow", [OPUS, VP8])
def test_a_packet_tells_when_it_left(flow):
    before = time.time_ns()
    [packet, *_] = Source(flow, "0", 1).burst()
    assert before <= stamp_ns(packet) <= time.time_ns()


def test_a_loss_indication_is_found_behind_a_receiver_report():
    report = bytes(RtcpRrPacket(ssrc=1, reports=[RtcpReceiverInfo(2, 0, 0, 0, 0, 0, 0)]))
    loss = bytes(RtcpPsfbPacket(fmt=RTCP_PSFB_PLI, ssrc=1, media_ssrc=2))
    other = bytes(RtcpPsfbPacket(fmt=RTCP_PSFB_FIR, ssrc=1, media_ssrc=2, fci=b"\0" * 8))
    assert asks_for_key_frame(report + loss)
    assert not asks_for_key_frame(report + other)
    assert is_rtcp(report)
    assert not is_rtcp(next(Source(OPUS, "0", 1).burst()))
