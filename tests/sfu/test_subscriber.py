import random
from struct import pack

import pytest
from aiortc.rtp import RtcpPacket, RtcpPsfbPacket, RtcpSdesPacket, RtcpSrPacket
from hypothesis import given
from hypothesis import strategies as st

from sfu import rtcp, transport_feedback
from sfu.codec import TRANSPORT_SEQUENCE
from sfu.forwarding import Publisher, Subscriber, Subscription, Track
from sfu.rewrite import find_transport_sequence
from sfu.rtp import find_element, read_header, unwrap_rtx
from sfu.subscription import RING_PACKETS
from tests.sfu.packets import (
    OPUS,
    PUBLISHED,
    SUBSCRIBED,
    VP8,
    Wire,
    rtp,
    sequence_of,
    ssrc_of,
    timestamp_of,
    vp8_delta,
    vp8_key,
)

VIDEO, AUDIO = 0x20, 0x10
OUT_VIDEO, OUT_RTX, OUT_AUDIO = 0x200, 0x201, 0x100


class Stage:
    """A camera and a microphone, received by one."""

    def __init__(
        self, rtx_ssrc: int | None = OUT_RTX, extensions: dict[str, int] = SUBSCRIBED
    ) -> None:
        self.extensions = extensions
        chance = random.Random(5)
        self.feedback, self.wire = Wire(), Wire()
        self.publisher = Publisher(self.feedback, random=chance.randbytes, participant="p-1")
        self.audio = self.publisher.add_track(
            "a", "audio", "microphone", "0", [OPUS], PUBLISHED, [AUDIO]
        )
        self.video = self.publisher.add_track(
            "v", "video", "camera", "1", [VP8], PUBLISHED, [VIDEO], {VIDEO + 1: VIDEO}
        )
        self.subscriber = Subscriber(self.wire, random=chance.randbytes)
        self.hearing = self.subscribe(self.audio, OUT_AUDIO, None)
        self.seeing = self.subscribe(self.video, OUT_VIDEO, rtx_ssrc)

    def subscribe(self, track: Track, ssrc: int, rtx_ssrc: int | None) -> Subscription:
        return self.subscriber.subscribe(
            track,
            mid="0",
            ssrc=ssrc,
            rtx_ssrc=rtx_ssrc,
            codecs=[OPUS, VP8],
            extensions=self.extensions,
        )

    def video_packets(self, count: int, now: float = 1.0) -> None:
        for index in range(count):
            payload = vp8_delta() if index else vp8_key()
            packet = rtp(
                index, ssrc=VIDEO, timestamp=index * 3000, payload_type=96, payload=payload
            )
            self.publisher.receive_rtp(packet, now)

    def sender_report(self, ssrc: int, ntp: int, timestamp: int, now: float) -> None:
        body = pack(">IQIII", ssrc, ntp, timestamp, 1, 1)
        self.publisher.receive_rtcp(pack(">BBH", 0x80, 200, 6) + body, now)

    def nack(self, ssrc: int, *lost: int, now: float = 1.1) -> list[bytes]:
        before = len(self.wire.rtp)
        for number in lost:
            self.subscriber.receive_rtcp(rtcp.nack(9, ssrc, [number]), now)
        return self.wire.rtp[before:]

    def key_frame_requests(self) -> int:
        blocks = [block for packet in self.feedback.rtcp for block in rtcp.parse(packet)]
        self.feedback.rtcp.clear()
        return sum(isinstance(block, RtcpPsfbPacket) and block.fmt == 1 for block in blocks)


def test_a_lost_packet_is_repeated_in_rtx() -> None:
    stage = Stage()
    stage.video_packets(5)
    lost = stage.wire.rtp[2]
    (repeat,) = stage.nack(OUT_VIDEO, sequence_of(lost), now=1.5)
    header = read_header(repeat)
    assert (header[1], ssrc_of(repeat)) == (97, OUT_RTX)
    original = unwrap_rtx(repeat, header, 96, OUT_VIDEO)
    assert sequence_of(original) == sequence_of(lost)
    assert timestamp_of(original) == timestamp_of(lost)
    assert original[read_header(original)[8] :] == vp8_delta()
    assert find_element(repeat, header, 3) == b"\x06\x00\x00"  # sent at 1.5 s, not at 1 s


def test_rtx_numbers_follow_each_other() -> None:
    stage = Stage()
    stage.video_packets(5)
    repeats = stage.nack(OUT_VIDEO, *map(sequence_of, stage.wire.rtp[1:4]))
    first = sequence_of(repeats[0])
    assert [sequence_of(packet) for packet in repeats] == [first, first + 1, first + 2]


def test_without_rtx_a_packet_is_repeated_byte_for_byte() -> None:
    """AES-GCM must never see one number with two contents: not even the send time changes."""
    stage = Stage(rtx_ssrc=None)
    stage.video_packets(5)
    lost = stage.wire.rtp[2]
    assert stage.nack(OUT_VIDEO, sequence_of(lost), now=1.5) == [lost]


def test_audio_is_repeated_too() -> None:
    stage = Stage()
    for index in range(3):
        stage.publisher.receive_rtp(rtp(index, ssrc=AUDIO), 1.0)
    lost = stage.wire.rtp[1]
    assert stage.nack(OUT_AUDIO, sequence_of(lost)) == [lost]


def test_what_was_never_sent_is_not_repeated() -> None:
    stage = Stage()
    assert stage.nack(OUT_VIDEO, 7) == []
    stage.video_packets(3)
    first = sequence_of(stage.wire.rtp[0])
    assert stage.nack(OUT_VIDEO, (first - 1) & 0xFFFF, (first + 3) & 0xFFFF) == []
    assert stage.nack(0xDEAD, first) == []


def test_a_packet_that_left_the_ring_is_not_repeated() -> None:
    stage = Stage()
    stage.video_packets(RING_PACKETS["video"] + 1)
    assert stage.nack(OUT_VIDEO, sequence_of(stage.wire.rtp[0])) == []
    assert len(stage.nack(OUT_VIDEO, sequence_of(stage.wire.rtp[1]))) == 1


def test_a_packet_is_not_repeated_twice_within_a_round_trip() -> None:
    stage = Stage()
    stage.video_packets(3)
    lost = sequence_of(stage.wire.rtp[1])
    assert len(stage.nack(OUT_VIDEO, lost, lost, now=1.1)) == 1
    assert len(stage.nack(OUT_VIDEO, lost, now=1.15)) == 0
    assert len(stage.nack(OUT_VIDEO, lost, now=1.25)) == 1


def test_repeats_of_a_second_are_at_most_a_ring() -> None:
    stage = Stage()
    stage.video_packets(400)
    numbers = [sequence_of(packet) for packet in stage.wire.rtp]
    repeats = stage.nack(OUT_VIDEO, *numbers, now=1.2) + stage.nack(OUT_VIDEO, *numbers, now=1.5)
    assert len(repeats) == RING_PACKETS["video"]
    assert len(stage.nack(OUT_VIDEO, *numbers, now=2.3)) == 400


def test_everything_sent_is_counted() -> None:
    stage = Stage()
    stage.video_packets(5)
    stage.nack(OUT_VIDEO, sequence_of(stage.wire.rtp[2]))
    sent = sum(map(len, stage.wire.rtp))
    tally = stage.subscriber.tally
    assert stage.seeing.packets == 5
    assert stage.seeing.egress_bytes == sent
    assert stage.subscriber.egress_bytes == sent
    assert (tally.nack_in, tally.rtx_out, tally.packets_out) == (1, 1, 1)
    assert stage.publisher.tally.packets_out == 5
    stage.subscriber.unsubscribe(stage.seeing)
    assert stage.subscriber.egress_bytes == sent


def test_a_shared_tally_counts_for_all() -> None:
    chance = random.Random(1)
    publisher = Publisher(Wire(), random=chance.randbytes)
    tally = publisher.tally
    track = publisher.add_track("a", "audio", "microphone", "0", [OPUS], {}, [AUDIO])
    wires = [Wire(), Wire()]
    for wire in wires:
        Subscriber(wire, random=chance.randbytes, tally=tally).subscribe(
            track, mid="0", ssrc=1, rtx_ssrc=None, codecs=[OPUS], extensions={}
        )
    publisher.receive_rtp(rtp(1, ssrc=AUDIO), 1.0)
    assert (tally.packets_in, tally.packets_out) == (1, 2)
    assert tally.bytes_out == sum(len(packet) for wire in wires for packet in wire.rtp)


@pytest.mark.parametrize(
    "request_bytes",
    [rtcp.picture_loss(9, OUT_VIDEO), rtcp.full_intra_request(9, OUT_VIDEO, 1)],
    ids=["PLI", "FIR"],
)
def test_a_key_frame_request_is_passed_on(request_bytes: bytes) -> None:
    stage = Stage()
    stage.video_packets(3)
    stage.key_frame_requests()
    stage.publisher.handle_timeout(1.0)
    stage.publisher.handle_timeout(2.0)
    stage.subscriber.receive_rtcp(request_bytes, 2.0)
    assert stage.key_frame_requests() == 1
    assert stage.subscriber.tally.pli_in == 1


def test_a_new_receiver_asks_for_a_key_frame() -> None:
    stage = Stage()
    stage.video_packets(3)
    stage.key_frame_requests()
    stage.subscribe(stage.video, 0x777, None)
    assert stage.key_frame_requests() == 1


def test_sender_reports_leave_in_the_receivers_numbers() -> None:
    stage = Stage()
    stage.video_packets(3)
    stage.sender_report(VIDEO, 100 << 32, 5000, now=1.0)
    stage.subscriber.handle_timeout(1.5)
    report, description = RtcpPacket.parse(stage.wire.rtcp[0])
    assert isinstance(report, RtcpSrPacket)
    assert report.ssrc == OUT_VIDEO
    info = report.sender_info
    assert info.ntp_timestamp == (100 << 32) + (1 << 31)
    shift = timestamp_of(stage.wire.rtp[0])  # the publisher's was 0
    assert (info.rtp_timestamp - shift) & 0xFFFFFFFF == 5000 + 45000
    assert info.packet_count == 3
    assert info.octet_count == 3 * 200
    assert isinstance(description, RtcpSdesPacket)
    assert description.chunks[0].ssrc == OUT_VIDEO
    assert description.chunks[0].items == [(1, b"p-1")]


def test_lips_stay_in_step() -> None:
    """What was captured at one instant has one NTP time in both streams' reports."""
    stage = Stage()
    stage.video_packets(1)
    stage.publisher.receive_rtp(rtp(1, ssrc=AUDIO, timestamp=777), 1.0)
    stage.sender_report(VIDEO, 100 << 32, 0, now=1.0)
    stage.sender_report(AUDIO, (100 << 32) + (1 << 30), 777 + 12000, now=1.3)
    stage.subscriber.handle_timeout(2.0)
    clocks = {}
    for packet in stage.wire.rtp:
        clocks[ssrc_of(packet)] = timestamp_of(packet)
    reports = [b for b in RtcpPacket.parse(stage.wire.rtcp[0]) if isinstance(b, RtcpSrPacket)]
    captured = {}
    for report in reports:
        rate = 90000 if report.ssrc == OUT_VIDEO else 48000
        behind = (report.sender_info.rtp_timestamp - clocks[report.ssrc]) & 0xFFFFFFFF
        captured[report.ssrc] = report.sender_info.ntp_timestamp / (1 << 32) - behind / rate
    assert captured[OUT_VIDEO] == pytest.approx(captured[OUT_AUDIO], abs=1e-4)


def test_a_report_follows_the_publishers_first_one_soon_then_each_second() -> None:
    stage = Stage()
    assert stage.subscriber.next_deadline() == 0.0
    stage.video_packets(3)
    stage.subscriber.handle_timeout(1.0)
    assert stage.wire.rtcp == []
    assert stage.subscriber.next_deadline() == pytest.approx(1.2)
    stage.sender_report(VIDEO, 100 << 32, 0, now=1.1)
    times = []
    now = 1.0
    while now < 5:
        now += 0.1
        stage.subscriber.handle_timeout(now)
        if stage.wire.rtcp:
            times.append(now)
            stage.wire.rtcp.clear()
    assert times == pytest.approx([1.2, 2.2, 3.2, 4.2], abs=0.11)


def test_many_reports_take_several_packets() -> None:
    stage = Stage()
    for index in range(40):
        stage.subscribe(stage.audio, 0x1000 + index, None)
    stage.publisher.receive_rtp(rtp(1, ssrc=AUDIO), 1.0)
    stage.sender_report(AUDIO, 100 << 32, 0, now=1.0)
    stage.subscriber.handle_timeout(2.0)
    assert len(stage.wire.rtcp) == 3
    assert all(len(packet) < 1200 for packet in stage.wire.rtcp)


def test_receiver_reports_tell_loss_jitter_and_round_trip() -> None:
    stage = Stage()
    stage.video_packets(3)
    stage.sender_report(VIDEO, 100 << 32, 0, now=1.0)
    stage.subscriber.handle_timeout(2.0)
    (report, _) = RtcpPacket.parse(stage.wire.rtcp[0])
    assert isinstance(report, RtcpSrPacket)
    last = (report.sender_info.ntp_timestamp >> 16) & 0xFFFFFFFF
    blocks = [
        rtcp.report_block(OUT_VIDEO, 64, 7, 3, 900, last, 32768),
        rtcp.report_block(0xDEAD, 1, 1, 1, 1, 1, 1),
    ]
    stage.subscriber.receive_rtcp(rtcp.receiver_report(9, blocks), 2.58)
    seeing = stage.seeing
    assert (seeing.fraction_lost, seeing.packets_lost) == (0.25, 7)
    assert seeing.jitter_s == pytest.approx(0.01)
    assert seeing.rtt_s == pytest.approx(0.08)


def test_a_report_about_an_unknown_sender_report_has_no_round_trip() -> None:
    stage = Stage()
    stage.video_packets(3)
    block = rtcp.report_block(OUT_VIDEO, 0, 0, 3, 0, 0x1234, 0)
    stage.subscriber.receive_rtcp(rtcp.receiver_report(9, [block]), 2.0)
    assert stage.seeing.rtt_s is None


def test_the_receivers_estimate_is_kept() -> None:
    stage = Stage()
    stage.subscriber.receive_rtcp(rtcp.bitrate_limit(9, 512_000, [OUT_VIDEO]), 1.0)
    stage.subscriber.receive_rtcp(
        bytes(RtcpPsfbPacket(fmt=15, ssrc=9, media_ssrc=0, fci=b"other app ok")), 1.0
    )
    assert stage.subscriber.remb_bps == 512_000


def test_a_transport_counts_all_it_is_sent_repeats_too() -> None:
    stage = Stage(extensions=SUBSCRIBED | {TRANSPORT_SEQUENCE: 6})
    other = stage.subscribe(stage.video, OUT_VIDEO + 8, OUT_RTX + 8)
    stage.video_packets(3)
    (lost,) = [p for p in stage.wire.rtp if ssrc_of(p) == other.ssrc][1:2]
    stage.nack(other.ssrc, sequence_of(lost))
    numbers = [find_transport_sequence(p, read_header(p), 6) for p in stage.wire.rtp]
    assert numbers == [0, 1, 2, 3, 4, 5, 6]
    repeat = stage.wire.rtp[-1]
    original = unwrap_rtx(repeat, read_header(repeat), 96, other.ssrc)
    assert original[-100:] == lost[-100:]


def test_without_rtx_a_repeat_stays_what_it_was_and_nothing_is_numbered() -> None:
    stage = Stage(rtx_ssrc=None, extensions=SUBSCRIBED | {TRANSPORT_SEQUENCE: 6})
    stage.video_packets(3)
    (repeat,) = stage.nack(OUT_VIDEO, sequence_of(stage.wire.rtp[1]))
    assert repeat == stage.wire.rtp[1]
    assert find_transport_sequence(repeat, read_header(repeat), 6) == -1


def test_sound_is_repeated_as_often_as_it_is_asked_for() -> None:
    """Whose first answer was lost too had to wait for a round trip, and played a guess."""
    stage = Stage()
    for number in range(3):
        stage.publisher.receive_rtp(rtp(number, ssrc=AUDIO, timestamp=number * 960), 1.0)
    (lost,) = [packet for packet in stage.wire.rtp if ssrc_of(packet) == OUT_AUDIO][1:2]
    for asked_at in (1.1, 1.12, 1.14):
        assert stage.nack(OUT_AUDIO, sequence_of(lost), now=asked_at) == [lost]


def test_loss_on_the_way_is_what_transport_feedback_says() -> None:
    stage = Stage()
    assert stage.subscriber.path_loss is None
    body, _ = transport_feedback.build(1, 0, [4000, None, 4010, 4020])
    stage.subscriber.receive_rtcp(transport_feedback.message(9, OUT_VIDEO, body), 1.0)
    assert stage.subscriber.path_loss == 0.25
    body, _ = transport_feedback.build(5, 1, [4000])
    stage.subscriber.receive_rtcp(transport_feedback.message(9, OUT_VIDEO, body), 1.1)
    assert stage.subscriber.path_loss == 0.25 * 0.875


def test_unsubscribing_twice_is_harmless() -> None:
    stage = Stage()
    stage.video_packets(2)
    stage.subscriber.unsubscribe(stage.seeing)
    stage.subscriber.unsubscribe(stage.seeing)
    stage.video_packets(2, now=1.5)
    assert len(stage.wire.rtp) == 2
    assert list(stage.subscriber.subscriptions) == [stage.hearing]
    stage.subscriber.unsubscribe(stage.hearing)
    assert stage.subscriber.next_deadline() is None


def test_an_ssrc_in_use_is_refused() -> None:
    stage = Stage()
    with pytest.raises(ValueError, match="SSRC 512 is in use"):
        stage.subscribe(stage.audio, OUT_VIDEO, None)


def test_the_first_sequence_number_is_below_half_of_the_space() -> None:
    for seed in range(50):
        chance = random.Random(seed)
        publisher, wire = Publisher(Wire(), random=chance.randbytes), Wire()
        track = publisher.add_track("a", "audio", "microphone", "0", [OPUS], {}, [AUDIO])
        Subscriber(wire, random=chance.randbytes).subscribe(
            track, mid="0", ssrc=1, rtx_ssrc=None, codecs=[OPUS], extensions={}
        )
        publisher.receive_rtp(rtp(65535, ssrc=AUDIO), 1.0)
        assert sequence_of(wire.rtp[0]) < 0x8000


@given(st.lists(st.binary(max_size=80), max_size=20))
def test_arbitrary_bytes_never_raise(packets: list[bytes]) -> None:
    stage = Stage()
    stage.video_packets(3)
    for index, packet in enumerate(packets):
        now = 1 + index * 0.1
        body = packet + bytes(-len(packet) % 4)
        for kind in (200, 201, 205, 206):
            for count in (1, 4, 15):
                header = pack(">BBH", 0x80 | count, kind, len(body) // 4 + 2)
                stage.subscriber.receive_rtcp(header + pack(">II", 1, OUT_VIDEO) + body, now)
        stage.subscriber.receive_rtcp(packet, now)
        stage.subscriber.handle_timeout(now)
