"""The core as a whole, between two browsers and over links that lose, delay and reorder."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sfu.forwarding import Publisher, Subscriber
from tests.sfu.lossy_link import Call
from tests.sfu.packets import (
    OPUS,
    PUBLISHED,
    SUBSCRIBED,
    VP8,
    Wire,
    anything,
    rtp,
    rtx,
    sequence_of,
    vp8_delta,
    vp8_key,
)


def test_a_clean_link_brings_everything_in_order() -> None:
    call = Call(1, jitter_s=0.0)
    call.run(5)
    received = [call.screen.payloads[number] for number in sorted(call.screen.payloads)]
    assert received == call.camera.sent
    assert call.publisher.tally.nack_out == 0
    assert call.camera.key_frames == 1


@pytest.mark.parametrize("loss", [0.02, 0.05, 0.1])
@pytest.mark.parametrize("seed", range(3))
def test_loss_on_both_links_is_healed_by_retransmissions(loss: float, seed: int) -> None:
    call = Call(seed, loss_up=loss, loss_down=loss)
    call.run(10)
    assert call.up.lost > 20
    assert call.down.lost > 20
    assert call.screen.holes() == []
    first = call.camera.sent.index(call.screen.payloads[min(call.screen.payloads)])
    received = [call.screen.payloads[number] for number in sorted(call.screen.payloads)]
    assert received == call.camera.sent[first : first + len(received)]
    assert len(received) > 1700
    assert call.publisher.tally.rtx_in > 0
    assert call.screen.repeats > 0


@pytest.mark.parametrize("seed", range(3))
def test_bursts_are_healed_within_a_second(seed: int) -> None:
    call = Call(seed, loss_up=0.05, burst=12, delay_s=0.02)
    call.run(10)
    assert call.up.lost > 50
    assert call.screen.holes() == []
    numbers = sorted(call.screen.arrivals)
    latest = 0.0
    for number in numbers:
        latest = max(latest, call.screen.arrivals[number])
        assert latest - call.screen.arrivals[number] < 1.0


def test_an_outage_longer_than_the_history_ends_with_a_key_frame() -> None:
    call = Call(5)
    call.clock.call_at(103.0, lambda: setattr(call.up, "loss", 1.0))
    call.clock.call_at(108.0, lambda: setattr(call.up, "loss", 0.0))
    call.run(12)
    assert call.publisher.tally.given_up > 0
    keys = [
        n for n, payload in call.screen.payloads.items() if payload[4:10].endswith(b"\x9d\x01\x2a")
    ]
    after = [number for number in keys if 108.0 < call.screen.arrivals[number] < 109.0]
    assert after
    assert all(n in call.screen.payloads for n in range(after[0], max(call.screen.payloads)))


def test_reordering_alone_loses_nothing_and_costs_little() -> None:
    call = Call(3, jitter_s=0.008)
    call.run(5)
    assert call.screen.holes() == []
    assert call.publisher.tally.nack_out < len(call.camera.sent) / 50


def test_nothing_is_sent_twice_but_repeats() -> None:
    call = Call(4, loss_up=0.1, loss_down=0.1)
    call.run(5)
    assert call.screen.duplicates <= call.screen.repeats


def room(receivers: int) -> tuple[Publisher, Wire, list[Wire]]:
    """Build one publisher of a microphone and a camera, received by some."""
    chance = random.Random(9)
    feedback = Wire()
    publisher = Publisher(feedback, random=chance.randbytes, participant="p")
    tracks = [
        publisher.add_track("a", "audio", "microphone", "0", [OPUS], PUBLISHED, [0x10]),
        publisher.add_track("v", "video", "camera", "1", [VP8], PUBLISHED, [0x20], {0x21: 0x20}),
    ]
    wires = []
    for _ in range(receivers):
        wire = Wire()
        subscriber = Subscriber(wire, random=chance.randbytes)
        for track, ssrc in zip(tracks, (0x100, 0x200), strict=True):
            subscriber.subscribe(
                track,
                mid="0",
                ssrc=ssrc,
                rtx_ssrc=ssrc + 1,
                codecs=[OPUS, VP8],
                extensions=SUBSCRIBED,
            )
        wires.append(wire)
    return publisher, feedback, wires


def test_a_million_bytes_of_garbage_disturb_nobody() -> None:
    publisher, _, wires = room(2)
    chance = random.Random(7)
    for index in range(5_000):
        garbage = anything(chance) if index % 2 else chance.randbytes(chance.randrange(60))
        publisher.receive_rtp(garbage, index * 0.001)
        publisher.receive_rtcp(garbage, index * 0.001)
        publisher.handle_timeout(index * 0.001)
        if index % 10 == 0:
            publisher.receive_rtp(
                rtp(index // 10, ssrc=0x10, timestamp=index, payload=b"voice"), index * 0.001
            )
    for wire in wires:
        voice = [sequence_of(packet) for packet in wire.rtp if packet.endswith(b"voice")]
        assert len(voice) == 500
        assert voice == [(voice[0] + n) & 0xFFFF for n in range(500)]
    assert {"rtp_short", "rtp_version", "rtp_padding", "unknown_source"} <= set(
        publisher.tally.dropped
    )


STEPS = st.sampled_from(
    [
        *("media", "media", "media", "key", "lost", "late", "padding", "comfort", "again"),
        *("repeat", "mute", "unmute", "nack", "pli", "timeout", "switch"),
    ]
)


@settings(max_examples=200, deadline=None)
@given(st.lists(STEPS, max_size=120), st.integers(0, 0xFFFF), st.sampled_from(["audio", "video"]))
def test_outgoing_numbers_never_mean_two_packets(steps: list[str], first: int, kind: str) -> None:
    """Whatever happens: a repeated number carries the same bytes, and none goes back too far."""
    assert kind in {"audio", "video"}
    chance = random.Random(first)
    wire, feedback = Wire(), Wire()
    publisher = Publisher(feedback, random=chance.randbytes, participant="p")
    codec = OPUS if kind == "audio" else VP8
    track = publisher.add_track("t", kind, "s", "0", [codec], PUBLISHED)  # type: ignore[arg-type]
    subscriber = Subscriber(wire, random=chance.randbytes)
    subscription = subscriber.subscribe(
        track, mid="0", ssrc=5, rtx_ssrc=None, codecs=[codec], extensions=SUBSCRIBED
    )
    ssrc, sequence, now = 0x50, first, 10.0
    lost: list[bytes] = []
    last = b""
    for index, step in enumerate(steps):
        now += 0.007
        if step in {"media", "key", "lost"}:
            body = vp8_key() if step == "key" else vp8_delta()
            packet = rtp(
                sequence,
                ssrc=ssrc,
                timestamp=index * 960,
                payload_type=codec.payload_type,
                payload=body + b"%d" % index,
            )
            sequence += 1
            if step == "lost":
                lost.append(packet)
            else:
                last = packet
                publisher.receive_rtp(packet, now)
        elif step == "late" and lost:
            publisher.receive_rtp(lost.pop(), now)
        elif step == "repeat" and lost and kind == "video":
            packet = lost.pop(0)
            publisher.receive_rtp(rtx(packet, index, ssrc=ssrc + 1, payload_type=97), now)
        elif step == "padding":
            packet = rtp(
                sequence, ssrc=ssrc, payload_type=codec.payload_type, payload=b"", padding=200
            )
            publisher.receive_rtp(packet, now)
            sequence += 1
        elif step == "comfort":
            publisher.receive_rtp(rtp(sequence, ssrc=ssrc, payload_type=13), now)
            sequence += 1
        elif step == "again" and last:
            publisher.receive_rtp(last, now)
        elif step in {"mute", "unmute"}:
            track.muted = step == "mute"
        elif step == "nack" and wire.rtp:
            subscription.repeat([sequence_of(chance.choice(wire.rtp))], now)
        elif step == "pli":
            track.request_key_frame()
        elif step == "timeout":
            publisher.handle_timeout(now)
            subscriber.handle_timeout(now)
        elif step == "switch":
            ssrc, sequence = ssrc + 0x10, chance.randrange(0x10000)
            lost.clear()
    sent: dict[int, bytes] = {}
    highest = sequence_of(wire.rtp[0]) if wire.rtp else 0
    for packet in wire.rtp:
        number = highest + ((sequence_of(packet) - highest + 0x8000) & 0xFFFF) - 0x8000
        assert sent.setdefault(number, packet) == packet
        assert number > highest - 1000
        highest = max(highest, number)
    assert subscription.packets == len(sent)
    assert subscription.egress_bytes == sum(map(len, wire.rtp))
