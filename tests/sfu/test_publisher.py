import random
from struct import pack

import pytest
from aiortc.rtp import RtcpPsfbPacket, RtcpRrPacket, RtcpRtpfbPacket
from hypothesis import given
from hypothesis import strategies as st

from sfu import rtcp
from sfu.codec import MID, REPAIRED_RID, RID, TRANSPORT_SEQUENCE
from sfu.forwarding import Publisher, Track
from sfu.publisher import MAX_SOURCES_PER_TRACK
from sfu.transport_feedback import TransportFeedback
from tests.sfu.packets import (
    NUMBERED,
    OPUS,
    PUBLISHED,
    VP8,
    Wire,
    one_byte,
    rtp,
    rtx,
    two_byte,
    vp8_delta,
    vp8_key,
)

VIDEO, RTX, AUDIO = 0x20, 0x21, 0x10


class Stage:
    """A publisher of a camera, and optionally a microphone and a second camera."""

    def __init__(self, *, audio: bool = False, screen: bool = False, signalled: bool = True):
        self.wire = Wire()
        self.publisher = Publisher(
            self.wire, random=random.Random(1).randbytes, participant="p", user="u"
        )
        self.video = self.add("v", "1", VIDEO if signalled else None)
        self.audio = (
            self.publisher.add_track(
                "a", "audio", "microphone", "0", [OPUS], PUBLISHED, [AUDIO] if signalled else []
            )
            if audio
            else None
        )
        self.screen = self.add("s", "2", None) if screen else None

    def add(self, name: str, mid: str, ssrc: int | None) -> Track:
        return self.publisher.add_track(
            name,
            "video",
            "camera",
            mid,
            [VP8],
            PUBLISHED,
            [] if ssrc is None else [ssrc],
            {} if ssrc is None else {ssrc + 1: ssrc},
        )

    def send(self, sequence: int, now: float = 1.0, **fields: object) -> None:
        values = {"ssrc": VIDEO, "payload_type": 96, "payload": vp8_delta()} | fields
        self.publisher.receive_rtp(rtp(sequence, **values), now)  # type: ignore[arg-type]

    def sent(self) -> list[rtcp.Block]:
        blocks = [block for packet in self.wire.rtcp for block in rtcp.parse(packet)]
        self.wire.rtcp.clear()
        return blocks


def mid(name: bytes) -> bytes:
    return one_byte((PUBLISHED[MID], name))


def test_a_track_tells_whose_it_is() -> None:
    track = Stage().video
    assert (track.id, track.kind, track.source) == ("v", "video", "camera")
    assert (track.participant, track.user) == ("p", "u")
    assert (track.width, track.height, track.codec, track.muted) == (0, 0, None, False)


def test_a_signalled_ssrc_is_its_tracks() -> None:
    stage = Stage(screen=True)
    stage.send(1, payload=vp8_key(320, 240))
    assert stage.video.packets == 1
    assert (stage.video.width, stage.video.height) == (320, 240)
    assert stage.video.codec is VP8


def test_the_mid_of_the_first_packets_binds_the_ssrc() -> None:
    """Chromium sends MID until a receiver report came; later packets have the SSRC only."""
    stage = Stage(screen=True, signalled=False)
    assert stage.screen is not None
    stage.send(1, ssrc=0x99, extension=mid(b"2"))
    stage.send(2, ssrc=0x99)
    assert (stage.screen.packets, stage.video.packets) == (2, 0)


def test_the_mid_is_read_in_the_two_byte_form_too() -> None:
    stage = Stage(screen=True, signalled=False)
    assert stage.screen is not None
    stage.send(1, ssrc=0x99, extension=two_byte((PUBLISHED[MID], b"2")))
    assert stage.screen.packets == 1


def test_an_unknown_mid_is_not_bound_by_payload_type() -> None:
    stage = Stage(signalled=False)
    stage.send(1, ssrc=0x99, extension=mid(b"elsewhere"))
    stage.send(2, ssrc=0x99, extension=mid(b"\xff"))
    assert stage.video.packets == 0
    assert stage.publisher.tally.dropped == {"unknown_source": 2}


def test_a_payload_type_of_one_track_only_binds_the_ssrc() -> None:
    stage = Stage(audio=True, signalled=False)
    stage.send(1, ssrc=0x99)
    stage.send(1, ssrc=0x98, payload_type=111, payload=b"voice")
    assert stage.audio is not None
    assert (stage.video.packets, stage.audio.packets) == (1, 1)


def test_a_payload_type_of_two_tracks_binds_nothing() -> None:
    stage = Stage(screen=True, signalled=False)
    stage.send(1, ssrc=0x99)
    assert stage.publisher.tally.dropped == {"unknown_source": 1}


def test_a_payload_type_does_not_take_a_track_from_an_ssrc_that_sends() -> None:
    stage = Stage()
    stage.send(1, now=1.0)
    stage.send(1, now=1.5, ssrc=0x99)
    assert stage.publisher.tally.dropped == {"unknown_source": 1}
    stage.send(1, now=3.0, ssrc=0x99)
    assert stage.video.packets == 2


def test_an_ssrc_signalled_later_is_bound() -> None:
    stage = Stage(screen=True, signalled=False)
    assert stage.screen is not None
    stage.publisher.bind(stage.screen, [0x99])
    stage.send(1, ssrc=0x99)
    assert stage.screen.packets == 1


def test_made_up_ssrcs_are_bounded_and_do_not_push_out_signalled_ones() -> None:
    stage = Stage(audio=True)
    for index in range(50):
        stage.send(1, now=10.0 * index, ssrc=0x1000 + index, extension=mid(b"1"))
    assert len(stage.publisher._sources) <= MAX_SOURCES_PER_TRACK + 1
    stage.send(1, now=1000.0)
    assert stage.video.current is not None
    assert stage.video.current.ssrc == VIDEO


def test_probing_on_the_rtx_ssrc_before_any_media_is_dropped() -> None:
    """Chromium probes the path with padding on the RTX SSRC, also before the first frame."""
    stage = Stage()
    stage.send(1, ssrc=RTX, payload_type=97, payload=b"", padding=224)
    stage.send(2, ssrc=RTX, payload_type=97, payload=b"\x00\x05early")
    assert stage.video.dropped == {"padding": 1, "unknown_source": 1}
    assert stage.video.packets == 0
    stage.send(1, payload=vp8_key())
    assert stage.video.packets == 1


def test_probing_on_an_unsignalled_rtx_ssrc_is_dropped() -> None:
    stage = Stage(signalled=False)
    stage.send(1, ssrc=0x98, payload_type=97, payload=b"", padding=224)
    assert stage.publisher.tally.dropped == {"unknown_source": 1}


@pytest.mark.parametrize("signalled", [True, False])
def test_a_retransmission_fills_the_gap(signalled: bool) -> None:
    stage = Stage(signalled=signalled)
    stage.send(1, payload=vp8_key())
    lost = rtp(2, ssrc=VIDEO, payload_type=96, payload=vp8_delta())
    stage.send(3)
    stage.publisher.receive_rtp(rtx(lost, 1, ssrc=RTX, payload_type=97), 1.02)
    assert stage.video.packets == 3
    assert stage.publisher.tally.rtx_in == 1


def test_a_retransmission_of_what_came_is_a_duplicate() -> None:
    """Chromium also probes with retransmissions of packets that arrived."""
    stage = Stage()
    stage.send(1, payload=vp8_key())
    again = rtp(1, ssrc=VIDEO, payload_type=96, payload=vp8_key())
    stage.publisher.receive_rtp(rtx(again, 1, ssrc=RTX, payload_type=97), 1.02)
    assert stage.video.dropped == {"duplicate": 1}


def test_a_cut_retransmission_has_its_cause() -> None:
    stage = Stage()
    stage.send(1, payload=vp8_key())
    stage.send(1, ssrc=RTX, payload_type=97, payload=b"\x00")
    assert stage.publisher.tally.dropped == {"rtx_short": 1}


def test_bytes_are_counted_whatever_becomes_of_them() -> None:
    stage = Stage()
    packets = [
        rtp(1, ssrc=VIDEO, payload_type=96, payload=vp8_key()),
        rtp(1, ssrc=VIDEO, payload_type=96, payload=vp8_key()),
        rtp(2, ssrc=VIDEO, payload_type=96, payload=b"", padding=100),
        rtp(1, ssrc=0x77, payload_type=5),
        b"\x80garbage",
    ]
    for packet in packets:
        stage.publisher.receive_rtp(packet, 1.0)
    sizes = [len(packet) for packet in packets]
    assert stage.video.ingress_bytes == sum(sizes[:3])
    assert stage.publisher.ingress_bytes == stage.publisher.tally.bytes_in == sum(sizes)
    assert stage.publisher.tally.packets_in == 5


def test_a_loss_is_asked_for_at_the_deadline() -> None:
    stage = Stage()
    stage.send(1, payload=vp8_key())
    stage.send(3, now=1.001)
    deadline = stage.publisher.next_deadline()
    assert deadline is not None
    assert deadline < 1.02
    stage.publisher.handle_timeout(deadline)
    (block,) = stage.sent()
    assert isinstance(block, RtcpRtpfbPacket)
    assert (block.ssrc, block.media_ssrc) == (stage.publisher.ssrc, VIDEO)
    assert block.lost == [2]
    assert stage.publisher.tally.nack_out == 1


def test_a_peer_without_nack_is_not_asked() -> None:
    wire = Wire()
    publisher = Publisher(wire, random=random.Random(1).randbytes)
    codec = type(OPUS)("opus", 111, 48000, 2, nack=False)
    publisher.add_track("a", "audio", "microphone", "0", [codec], {}, [AUDIO])
    for sequence in (1, 3):
        publisher.receive_rtp(rtp(sequence, ssrc=AUDIO), 1.0)
    publisher.handle_timeout(1.05)
    assert wire.rtcp == []


def test_sound_repeated_under_its_own_number_does_not_hide_the_loss() -> None:
    stage = Stage(audio=True)
    now = 1.0
    for sequence in (1, 3):
        now += 0.02
        stage.send(sequence, now=now, ssrc=AUDIO, payload_type=111, payload=b"voice")
    deadline = stage.publisher.next_deadline()
    assert deadline == now  # sound is not sent in bursts: what is missing is lost
    stage.publisher.handle_timeout(now + 0.006)
    stage.send(2, now=now + 0.03, ssrc=AUDIO, payload_type=111, payload=b"voice")
    assert stage.audio is not None
    assert stage.audio.packets == 3
    assert stage.publisher.tally.rtx_in == 1
    source = stage.publisher._sources[AUDIO]
    assert source.reception.received == 2


def test_audio_is_asked_for_too() -> None:
    stage = Stage(audio=True)
    for sequence in (1, 3):
        stage.send(sequence, ssrc=AUDIO, payload_type=111, payload=b"voice")
    stage.publisher.handle_timeout(1.05)
    (block,) = stage.sent()
    assert isinstance(block, RtcpRtpfbPacket)
    assert block.media_ssrc == AUDIO


def test_each_second_the_publisher_hears_what_arrived() -> None:
    stage = Stage(audio=True)
    for index in range(5):
        stage.send(0xFFFE + index, now=1 + index * 0.01, payload=vp8_key())
    stage.send(9, ssrc=AUDIO, payload_type=111, payload=b"voice", now=1.05)
    report = pack(">IQIII", VIDEO, 0x1122_3344_5566_7788, 7, 0, 0)
    stage.publisher.receive_rtcp(pack(">BBH", 0x80, 200, 6) + report, 1.5)
    stage.publisher.handle_timeout(2.0)
    blocks = stage.sent()
    assert [type(block) for block in blocks] == [RtcpRrPacket, RtcpPsfbPacket]
    receiver, estimate = blocks
    assert isinstance(receiver, RtcpRrPacket)
    video = next(block for block in receiver.reports if block.ssrc == VIDEO)
    assert (video.highest_sequence, video.packets_lost) == (0x10002, 0)
    assert (video.lsr, video.dlsr) == (0x3344_5566, 32768)
    assert {block.ssrc for block in receiver.reports} == {VIDEO, AUDIO}
    assert isinstance(estimate, RtcpPsfbPacket)
    assert rtcp.remb_bps(estimate) == pytest.approx(3_000_000, rel=1e-4)
    assert stage.publisher.next_deadline() == 3.0


def test_nothing_is_due_before_the_first_packet() -> None:
    stage = Stage()
    assert stage.publisher.next_deadline() is None
    stage.publisher.handle_timeout(5.0)
    assert stage.sent() == []


def test_reports_of_many_tracks_take_several_packets() -> None:
    stage = Stage()
    for index in range(40):
        stage.add(f"v{index}", f"m{index}", 0x4000 + 2 * index)
        stage.send(1, ssrc=0x4000 + 2 * index)
    stage.publisher.handle_timeout(2.0)
    assert len(stage.wire.rtcp) == 2
    assert all(len(packet) < 1200 for packet in stage.wire.rtcp)


def test_a_goodbye_resets_the_ssrc_and_keeps_it_bound() -> None:
    stage = Stage(screen=True)
    stage.send(100)
    stage.publisher.receive_rtcp(pack(">BBHI", 0x81, 203, 1, VIDEO), 1.1)
    assert stage.video.current is None
    stage.send(50)  # comes back with other numbers
    assert stage.video.packets == 2


def test_broken_rtcp_is_counted() -> None:
    stage = Stage()
    stage.publisher.receive_rtcp(b"\x80\xc8\x00\x00", 1.0)
    stage.publisher.receive_rtcp(b"", 1.0)
    assert stage.publisher.tally.dropped == {"rtcp_block": 1, "rtcp_short": 1}


def test_a_removed_track_hears_nothing_more() -> None:
    """Nor does the one other track of its payload type hear what was still under way."""
    stage = Stage(screen=True)
    stage.send(1)
    stage.publisher.remove_track(stage.video)
    stage.publisher.remove_track(stage.video)
    stage.send(2)
    assert stage.video.packets == 1
    assert stage.publisher.tracks == [stage.screen]
    stage.publisher.handle_timeout(2.0)
    assert stage.sent() == []


@given(st.lists(st.binary(max_size=60), max_size=30))
def test_arbitrary_bytes_never_raise(packets: list[bytes]) -> None:
    stage = Stage(audio=True)
    for index, packet in enumerate(packets):
        now = 1 + index * 0.01
        stage.publisher.receive_rtp(packet, now)
        stage.publisher.receive_rtp(b"\x90\x60" + packet[:6].ljust(6, b"\0") + bytes(3), now)
        stage.publisher.receive_rtp(
            pack(">BBHII", 0x80 | (index & 0x3F), 96, index, 0, VIDEO) + packet, now
        )
        stage.publisher.receive_rtp(pack(">BBHII", 0x80, 97, index, 0, RTX) + packet, now)
        stage.publisher.receive_rtcp(packet, now)
        stage.publisher.handle_timeout(now)


def layered(rid: bytes, repaired: bytes = b"") -> bytes:
    elements = [(NUMBERED[MID], b"7")]
    elements += [(NUMBERED[RID], rid)] if rid else []
    elements += [(NUMBERED[REPAIRED_RID], repaired)] if repaired else []
    return one_byte(*elements)


def layers() -> tuple[Stage, Track]:
    stage = Stage()
    track = stage.publisher.add_track("l", "video", "camera", "7", [VP8], NUMBERED)
    return stage, track


def test_each_layer_is_a_source_and_one_of_them_feeds_the_track() -> None:
    stage, track = layers()
    for number in range(10):
        for at, rid in enumerate((b"h", b"l")):
            stage.send(number, 1.0 + number / 30, ssrc=0x70 + at, extension=layered(rid))
    assert track.current is not None
    assert (track.current.rid, track.packets) == (b"h", 10)
    assert track.dropped == {"other_layer": 10}
    stage.send(10, 3.0, ssrc=0x71)  # the first has been silent, the second is known by now
    assert (track.current.rid, track.packets) == (b"l", 11)


def test_a_repaired_rid_tells_whose_retransmission_it_is() -> None:
    stage, track = layers()
    for at, rid in enumerate((b"h", b"l")):
        stage.send(1, ssrc=0x70 + at, extension=layered(rid))
        stage.send(3, ssrc=0x70 + at)
    for at, rid in enumerate((b"l", b"h")):
        wrapped = rtx(
            rtp(2, ssrc=0x71 - at, payload=vp8_delta()), 1, ssrc=0x80 + at, payload_type=97
        )
        named = rtp(
            1,
            ssrc=0x80 + at,
            payload_type=97,
            extension=layered(b"", rid),
            payload=wrapped[12:],
        )
        stage.publisher.receive_rtp(named, 1.1)
    sources = stage.publisher._sources
    assert (sources[0x80].repairs, sources[0x81].repairs) == (0x71, 0x70)
    assert (sources[0x70].reception.healed, sources[0x71].reception.healed) == (1, 1)
    assert track.packets == 3


def test_a_repair_of_a_layer_nobody_knows_is_not_bound() -> None:
    stage, _ = layers()
    stage.send(1, ssrc=0x70, extension=layered(b"h"))
    stage.send(1, ssrc=0x80, payload_type=97, extension=layered(b"", b"x"))
    assert 0x80 not in stage.publisher._sources
    assert stage.publisher.tally.dropped == {"unknown_source": 1}


def test_nothing_is_asked_again_for_a_layer_that_goes_nowhere() -> None:
    stage, _ = layers()
    for number in (1, 2, 4):
        for at, rid in enumerate((b"h", b"l")):
            stage.send(number, ssrc=0x70 + at, extension=layered(rid))
    stage.publisher.handle_timeout(1.02)
    nacks = [block for block in stage.sent() if isinstance(block, RtcpRtpfbPacket)]
    assert [(block.media_ssrc, block.lost) for block in nacks] == [(0x70, [3])]


def numbered(number: int) -> bytes:
    return one_byte(
        (NUMBERED[MID], b"7"), (NUMBERED[TRANSPORT_SEQUENCE], number.to_bytes(2, "big"))
    )


def test_a_sender_is_told_when_its_packets_arrived_whatever_became_of_them() -> None:
    stage, _ = layers()
    stage.send(1, 1.0, ssrc=0x70, extension=numbered(100))
    stage.send(1, 1.01, ssrc=0x70, extension=numbered(101))  # a repeat
    stage.send(9, 1.02, ssrc=0x99, payload_type=55, extension=numbered(103))  # of no track
    assert stage.publisher.next_deadline() == pytest.approx(1.1)
    stage.publisher.handle_timeout(1.1)
    (feedback,) = [block for block in stage.sent() if isinstance(block, TransportFeedback)]
    assert (feedback.base, feedback.arrivals) == (100, [4000, 4040, None, 4080])
    assert feedback.number == 0


def test_feedback_leaves_with_what_arrives_when_it_is_due() -> None:
    stage, _ = layers()
    for number in range(12):
        stage.send(number, 1.0 + number / 100, ssrc=0x70, extension=numbered(number))
    packets = list(stage.wire.rtcp)
    (feedback,) = [block for block in stage.sent() if isinstance(block, TransportFeedback)]
    assert len(feedback.arrivals) == 11
    (named,) = {packet[8:12] for packet in packets if packet[1] == 205 and packet[0] & 31 == 15}
    assert named == pack(">I", 0x70)
