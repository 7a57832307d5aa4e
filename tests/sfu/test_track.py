import random

import pytest
from aiortc.rtp import RtcpPsfbPacket

from sfu import rtcp
from sfu.forwarding import Publisher, Subscriber, Subscription, Track
from sfu.rtp import find_element, read_header
from tests.sfu.packets import (
    H264,
    OPUS,
    PUBLISHED,
    SUBSCRIBED,
    VP8,
    Wire,
    one_byte,
    rtp,
    rtx,
    sequence_of,
    ssrc_of,
    timestamp_of,
    vp8_delta,
    vp8_key,
)

SSRC = 0x20


class Stage:
    """One published track and one receiver of it."""

    def __init__(self, kind: str = "video") -> None:
        chance = random.Random(3)
        self.kind = kind
        self.feedback, self.wire = Wire(), Wire()
        self.publisher = Publisher(self.feedback, random=chance.randbytes, participant="p")
        self.track: Track = self.publisher.add_track(
            "t",
            "video" if kind == "video" else "audio",
            "source",
            "0",
            [VP8, H264] if kind == "video" else [OPUS],
            PUBLISHED,
            [SSRC],
            {SSRC + 1: SSRC},
        )
        self.subscriber = Subscriber(self.wire, random=chance.randbytes)
        self.subscription = self.subscribe(self.subscriber, 0x100)

    def subscribe(self, subscriber: Subscriber, ssrc: int) -> Subscription:
        return subscriber.subscribe(
            self.track,
            mid="0",
            ssrc=ssrc,
            rtx_ssrc=ssrc + 1,
            codecs=[OPUS, VP8],
            extensions=SUBSCRIBED,
        )

    def send(self, sequence: int, now: float = 1.0, **fields: object) -> None:
        defaults = {"payload_type": 96, "payload": vp8_delta()}
        if self.kind == "audio":
            defaults = {"payload_type": 111, "payload": b"voice"}
        values = {"ssrc": SSRC, "timestamp": sequence * 100} | defaults | fields
        self.publisher.receive_rtp(rtp(sequence, **values), now)  # type: ignore[arg-type]

    def numbers(self) -> list[int]:
        """Sequence numbers sent, from the first one."""
        first = sequence_of(self.wire.rtp[0])
        return [(sequence_of(packet) - first) & 0xFFFF for packet in self.wire.rtp]

    def key_frame_requests(self) -> int:
        blocks = [block for packet in self.feedback.rtcp for block in rtcp.parse(packet)]
        self.feedback.rtcp.clear()
        return sum(isinstance(block, RtcpPsfbPacket) and block.fmt == 1 for block in blocks)


def test_video_starts_at_a_key_frame() -> None:
    stage = Stage()
    stage.send(1)
    stage.send(2)
    assert stage.wire.rtp == []
    stage.send(3, payload=vp8_key())
    stage.send(4)
    assert stage.numbers() == [0, 1]
    assert stage.track.packets == 4


def test_audio_starts_at_once() -> None:
    stage = Stage("audio")
    stage.send(1)
    assert stage.numbers() == [0]


def test_a_packet_leaves_in_the_subscribers_numbering() -> None:
    stage = Stage("audio")
    extension = one_byte((4, b"0"), (1, b"\x9e"), (2, b"old"), (5, b"xx"), (13, b"\x01"))
    stage.send(7, extension=extension, payload=b"opus", marker=True, now=64.5)
    (packet,) = stage.wire.rtp
    header = read_header(packet)
    assert header[:2] == (1, 111)
    assert ssrc_of(packet) == 0x100
    assert packet.endswith(b"opus")
    assert find_element(packet, header, 2) == b"\x9e"  # audio level
    assert find_element(packet, header, 3) == b"\x02\x00\x00"  # send time: half a second past 64
    assert find_element(packet, header, 4) == b"\x01"  # orientation
    assert find_element(packet, header, 1) is None  # the publisher's MID is not the receiver's
    assert find_element(packet, header, 5) is None


def test_receivers_of_one_flavour_share_all_but_twelve_bytes() -> None:
    stage = Stage()
    wire = Wire()
    stage.subscribe(Subscriber(wire, random=random.Random(8).randbytes), 0x300)
    assert len(stage.track._flavour_list) == 1
    stage.send(1, payload=vp8_key())
    assert stage.wire.rtp[0][:2] == wire.rtp[0][:2]
    assert stage.wire.rtp[0][12:] == wire.rtp[0][12:]
    assert stage.wire.rtp[0][2:12] != wire.rtp[0][2:12]


def test_another_numbering_is_another_flavour() -> None:
    stage = Stage()
    wire = Wire()
    other = Subscriber(wire, random=random.Random(8).randbytes)
    subscription = other.subscribe(
        stage.track,
        mid="0",
        ssrc=1,
        rtx_ssrc=None,
        codecs=[type(VP8)("vp8", 120, 90000)],
        extensions={},
    )
    stage.send(1, payload=vp8_key(), extension=one_byte((1, b"a")))
    assert read_header(wire.rtp[0])[1] == 120
    assert read_header(wire.rtp[0])[5] == 0
    other.unsubscribe(subscription)
    assert len(stage.track._flavour_list) == 1


def test_a_codec_the_receiver_lacks_is_not_forwarded() -> None:
    stage = Stage()
    stage.send(1, payload_type=102, payload=b"\x65slice")
    assert stage.wire.rtp == []
    assert stage.track.dropped == {"codec": 1}
    assert stage.track.codec is H264


def test_padding_and_comfort_noise_leave_no_gap() -> None:
    stage = Stage("audio")
    stage.send(1)
    stage.send(2, payload=b"", padding=200)
    stage.send(3, payload_type=13, payload=b"\x40")
    stage.send(4)
    assert stage.numbers() == [0, 1]
    assert stage.track.dropped == {"padding": 1, "payload_type": 1}


def test_a_packet_late_past_padding_still_has_its_place() -> None:
    stage = Stage("audio")
    for sequence in (1, 3):
        stage.send(sequence)
    stage.send(4, payload=b"", padding=200)
    stage.send(5)
    stage.send(2)
    assert stage.numbers() == [0, 2, 3, 1]


def test_padding_that_comes_late_fills_its_place() -> None:
    """Its gap was shown already: without a packet receivers would ask for it in vain."""
    stage = Stage("audio")
    stage.send(1)
    stage.send(3)
    stage.send(2, payload=b"", padding=200)
    assert stage.numbers() == [0, 2, 1]
    assert read_header(stage.wire.rtp[2])[8] == len(stage.wire.rtp[2])


def test_a_late_packet_from_before_the_start_is_not_sent() -> None:
    stage = Stage()
    stage.send(1)
    stage.send(3, payload=vp8_key())
    stage.send(2)
    assert stage.numbers() == [0]


def test_a_key_frame_whose_start_came_late_brings_what_followed() -> None:
    stage = Stage()
    stage.send(1)
    stage.send(3, payload=vp8_delta(start=False))
    stage.send(4)
    start = rtp(2, ssrc=SSRC, payload_type=96, payload=vp8_key(), timestamp=200)
    stage.publisher.receive_rtp(rtx(start, 1, ssrc=SSRC + 1, payload_type=97), 1.02)
    stage.send(5)
    assert stage.numbers() == [0, 1, 2, 3]
    first = timestamp_of(stage.wire.rtp[0])
    assert [(timestamp_of(p) - first) & 0xFFFFFFFF for p in stage.wire.rtp] == [0, 100, 200, 300]


def test_a_muted_track_is_counted_and_silent() -> None:
    stage = Stage("audio")
    stage.send(1)
    stage.track.muted = True
    for sequence in range(2, 50):
        stage.send(sequence)
    assert stage.numbers() == [0]
    assert stage.track.packets == 49
    assert stage.track.dropped == {"muted": 48}
    assert not stage.subscription.forwarding(1.0)
    stage.track.muted = False
    stage.send(50)
    assert stage.numbers() == [0, 1]
    assert stage.subscription.forwarding(1.0)


def test_video_comes_back_at_a_key_frame_it_asks_for() -> None:
    stage = Stage()
    stage.send(1, payload=vp8_key())
    stage.track.muted = True
    stage.send(2)
    stage.key_frame_requests()
    stage.track.muted = False
    assert stage.key_frame_requests() == 1
    stage.send(3)
    assert stage.numbers() == [0]
    stage.send(4, payload=vp8_key())
    assert stage.numbers() == [0, 1]


def test_a_muted_publisher_is_asked_for_nothing() -> None:
    stage = Stage()
    stage.send(1, payload=vp8_key())
    stage.track.muted = True
    stage.track.request_key_frame()
    stage.send(4)
    stage.publisher.handle_timeout(1.5)
    assert stage.feedback.rtcp == []


def test_timestamps_keep_their_distances() -> None:
    stage = Stage("audio")
    for sequence, timestamp in ((1, 0xFFFFFF00), (2, 0x200)):
        stage.send(sequence, timestamp=timestamp)
    first, second = map(timestamp_of, stage.wire.rtp)
    assert (second - first) & 0xFFFFFFFF == 0x300


def test_another_ssrc_continues_where_the_last_one_stopped() -> None:
    stage = Stage("audio")
    stage.send(100, timestamp=48000, now=1.0)
    stage.publisher.bind(stage.track, [0x77])
    stage.send(60000, ssrc=0x77, timestamp=5, now=1.5)
    stage.send(60001, ssrc=0x77, timestamp=965, now=1.52)
    assert stage.numbers() == [0, 1, 2]
    first = timestamp_of(stage.wire.rtp[0])
    steps = [(timestamp_of(packet) - first) & 0xFFFFFFFF for packet in stage.wire.rtp]
    assert steps == [0, 24000, 24960]


def test_the_tail_of_the_last_ssrc_does_not_take_the_track_back() -> None:
    stage = Stage("audio")
    stage.send(100)
    stage.publisher.bind(stage.track, [0x77])
    stage.send(5, ssrc=0x77, now=1.1)
    stage.send(101, now=1.11)
    stage.send(6, ssrc=0x77, now=1.12)
    assert stage.numbers() == [0, 1, 2]
    assert stage.track.dropped == {"old_source": 1}


def test_a_gap_beyond_healing_is_closed() -> None:
    stage = Stage("audio")
    stage.send(1)
    stage.send(20000)
    assert stage.numbers() == [0, 1]


def test_video_needs_a_key_frame_after_a_gap_beyond_healing() -> None:
    stage = Stage()
    stage.send(1, payload=vp8_key())
    stage.key_frame_requests()
    stage.send(20000, now=2.0)
    assert stage.key_frame_requests() == 1
    stage.send(20001, payload=vp8_key())
    assert stage.numbers() == [0, 1]


def test_key_frame_requests_are_merged_and_throttled() -> None:
    stage = Stage()
    stage.send(1, payload=vp8_key(), now=1.0)
    stage.send(2, now=1.03)
    for _ in range(10):
        stage.track.request_key_frame()
    assert stage.key_frame_requests() == 1
    stage.send(3, now=1.06, payload=vp8_key())
    stage.track.request_key_frame()  # somebody else came after that key frame
    assert stage.key_frame_requests() == 0
    stage.send(4, now=1.1)
    deadline = stage.publisher.next_deadline()
    assert deadline == pytest.approx(1.56)
    stage.publisher.handle_timeout(1.56)
    assert stage.key_frame_requests() == 1


def test_a_request_that_got_lost_is_repeated_until_the_key_frame() -> None:
    stage = Stage()
    now, asked = 1.0, 0
    stage.send(1, now=now)
    for sequence in range(2, 100):
        now += 0.033
        stage.send(sequence, now=now)
        stage.publisher.handle_timeout(now)
    asked = stage.key_frame_requests()
    assert 6 <= asked <= 8  # twice a second for three seconds
    stage.send(100, now=now, payload=vp8_key())
    for sequence in range(101, 150):
        now += 0.033
        stage.send(sequence, now=now)
        stage.publisher.handle_timeout(now)
    assert stage.key_frame_requests() == 0


def test_a_silent_publisher_is_reminded_less_and_less() -> None:
    stage = Stage()
    stage.send(1, now=1.0)
    asked = 0
    for tick in range(600):
        stage.publisher.handle_timeout(1.0 + tick * 0.1)
        asked += stage.key_frame_requests()
    assert 10 < asked < 25


def test_levels_are_read_and_silence_follows_a_mute() -> None:
    stage = Stage("audio")
    for index in range(20):
        stage.send(index, now=1 + index * 0.02, extension=one_byte((1, b"\x94")))
    assert stage.track.speaking
    assert -30 < stage.track.level <= -20
    stage.track.muted = True
    assert not stage.track.speaking
    assert stage.track.level == -127


def test_discontinuous_transmission_ends_a_voice() -> None:
    stage = Stage("audio")
    for index in range(20):
        stage.send(index, now=1 + index * 0.02, extension=one_byte((1, b"\x94")))
    stage.publisher.handle_timeout(2.4)
    assert not stage.track.speaking


def test_a_broken_extension_is_counted_and_not_sent() -> None:
    stage = Stage("audio")
    stage.send(1)
    stage.send(2, extension=b"\xbe\xde\x00\x01\x1fabc")
    stage.send(3)
    assert stage.numbers() == [0, 2]
    assert stage.publisher.tally.dropped == {"rtp_element": 1}


def test_an_ended_track_keeps_its_subscriptions_silent() -> None:
    stage = Stage("audio")
    stage.send(1)
    stage.publisher.remove_track(stage.track)
    stage.send(2)
    assert stage.numbers() == [0]
    assert list(stage.track.subscriptions) == [stage.subscription]
    stage.subscriber.unsubscribe(stage.subscription)
    assert list(stage.track.subscriptions) == []
