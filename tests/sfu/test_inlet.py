"""Both twins by one test class: a datagram has the same effect whichever way it gets in."""

import dataclasses
import importlib
import random
from types import ModuleType
from typing import Any

import pytest
from pylibsrtp import Error, Policy, Session
from pylibsrtp._binding import ffi, lib

from sfu import inlet, inlet_pure
from sfu.aiortc_seam import Receiver
from sfu.codec import AUDIO_LEVEL, TRANSPORT_SEQUENCE, Codec
from sfu.publisher import Publisher
from sfu.subscriber import Subscriber
from sfu.subscription import Subscription
from sfu.track import Track
from sfu.transport import TransportCounters
from tests.sfu.packets import (
    H264,
    NUMBERED,
    OPUS,
    PUBLISHED,
    SUBSCRIBED,
    VP8,
    Wire,
    one_byte,
    rtp,
    rtx,
    two_byte,
    vp8_delta,
    vp8_key,
)

TWINS = [inlet_pure]
try:
    TWINS.append(importlib.import_module("sfu._inlet"))
except ImportError:  # no compiler here: the specification is all there is
    assert inlet.TWIN == "python"

UNPROTECT = int(ffi.cast("uintptr_t", ffi.addressof(lib, "srtp_unprotect")))
KEY = bytes(range(28))
VIDEO, RTX, AUDIO, OTHER = 0x20, 0x21, 0x10, 0x30


def session(direction: int) -> Session:
    policy = Policy(key=KEY, ssrc_type=direction, srtp_profile=Policy.SRTP_PROFILE_AEAD_AES_128_GCM)
    policy.allow_repeat_tx = True
    policy.window_size = 1024
    return Session(policy)


class Door:
    """One publisher with a camera and a microphone, entered by an inlet or by its own method."""

    def __init__(self, twin: ModuleType, codec: Codec = VP8) -> None:
        self.wire = Wire()
        self.codec = codec
        self.publisher = Publisher(self.wire, random=random.Random(1).randbytes)
        self.video = self.publisher.add_track(
            "v", "video", "camera", "1", [codec], NUMBERED, [VIDEO, OTHER], {RTX: VIDEO}
        )
        self.audio = self.publisher.add_track(
            "a", "audio", "microphone", "0", [OPUS], NUMBERED, [AUDIO]
        )
        self.counters = TransportCounters()
        self.outgoing = session(Policy.SSRC_ANY_OUTBOUND)
        self.incoming = session(Policy.SSRC_ANY_INBOUND)
        self.inlet = twin.Inlet(self.counters)
        srtp = self.incoming._srtp
        self.inlet.key(Receiver(srtp, int(ffi.cast("uintptr_t", srtp[0])), UNPROTECT))
        self.inlet.serve(self.publisher)
        self.receivers: list[tuple[Wire, Subscriber]] = []
        self.forwarded = 0

    def listen(self, track: Track, extensions: dict[str, int] = SUBSCRIBED) -> Subscription:
        number = len(self.receivers)
        wire = Wire()
        subscriber = Subscriber(wire, random=random.Random(number).randbytes)
        self.receivers.append((wire, subscriber))
        return subscriber.subscribe(
            track,
            mid="0",
            ssrc=0x100 + number,
            rtx_ssrc=0x200 + number,
            codecs=track.codecs,
            extensions=extensions,
        )

    def enter(self, packet: bytes, now: float = 1.0) -> int:
        """Receive a plain packet, as the transport does with its protected form."""
        try:
            datagram = self.outgoing.protect(packet)
        except Error:  # older than the sender's window
            return inlet.FORWARDED
        taken = self.inlet.receive(datagram, now)
        if taken == inlet.NOT_TAKEN:
            try:
                packet = self.incoming.unprotect(datagram)
            except Error:
                self.counters.dropped["srtp_replayed"] += 1
            else:
                self.publisher.receive_rtp(packet, now)
        self.forwarded += taken == inlet.FORWARDED
        return int(taken)

    def state(self) -> Any:
        """Return everything that a later packet, a report or a figure could depend on."""
        publisher = self.publisher
        return (
            dataclasses.asdict(publisher.tally),
            dict(self.counters.dropped),
            publisher.ingress_bytes,
            publisher._report_at,
            (publisher.arrivals.deadline, dict(publisher.arrivals._waiting)),
            self.wire.rtcp,
            [(wire.rtp, s.egress_bytes) for wire, s in self.receivers],
            [of_track(track) for track in publisher.tracks],
            [
                (ssrc, source.first_at, source.given_up, slots(source.reception))
                for ssrc, source in publisher._sources.items()
            ],
            [
                (source.detector.highest, source.detector.deadline, list(source.detector.missing))
                for source in publisher._sources.values()
            ],
        )


def of_track(track: Track) -> Any:
    return (
        track.packets,
        track.ingress_bytes,
        track.highest,
        track.forwarded_at,
        track.dropped,
        track.key_frames,
        track.level,
        track.speaking,
        (track._shift, track._timestamp, track._arrival, list(track._skips)),
        [(f.ring._numbers, f.ring._packets) for f in track._flavour_list],
        [(s.packets, s.octets, s.egress_bytes, s.flowing) for s in track.subscriptions],
    )


def slots(reception: Any) -> Any:
    names = [name for name in reception.__slots__ if name != "sender_report"]
    return [getattr(reception, name) for name in names]


@pytest.fixture(params=TWINS, ids=[twin.__name__ for twin in TWINS])
def door(request: pytest.FixtureRequest) -> Door:
    return Door(request.param)


def level(value: int) -> bytes:
    return one_byte((PUBLISHED[AUDIO_LEVEL], bytes((value,))))


class TestInlet:
    def test_what_is_taken_reaches_every_receiver_in_its_numbers(self, door: Door) -> None:
        flows = [door.listen(door.audio) for _ in range(3)]
        for number in range(100, 120):
            door.enter(rtp(number, ssrc=AUDIO, extension=level(20), timestamp=number * 960))
        assert [flow.packets for flow in flows] == [20] * 3
        assert door.publisher.tally.packets_out == 60
        assert door.audio.speaking
        if inlet.TWIN == "compiled" and door.inlet.__class__ is inlet.Inlet:
            assert door.forwarded == 19  # the first binds, starts and sets the clock of reports

    def test_a_datagram_that_does_not_decrypt_is_counted_and_goes_nowhere(self, door: Door) -> None:
        door.listen(door.audio)
        for number in (1, 2):
            door.enter(rtp(number, ssrc=AUDIO))
        datagram = bytearray(door.outgoing.protect(rtp(3, ssrc=AUDIO)))
        datagram[-1] ^= 1
        if door.inlet.receive(bytes(datagram), 1.0) == inlet.FORWARDED:
            assert door.counters.dropped == {"srtp_bad_authentication": 1}
        assert (door.audio.packets, door.publisher.tally.packets_in) == (2, 2)
        door.enter(rtp(3, ssrc=AUDIO))
        assert door.audio.packets == 3

    def test_without_keys_nothing_is_taken(self, door: Door) -> None:
        door.enter(rtp(1, ssrc=AUDIO))
        door.inlet.unkey()
        datagram = door.outgoing.protect(rtp(2, ssrc=AUDIO))
        assert door.inlet.receive(datagram, 1.0) == inlet.NOT_TAKEN

    @pytest.mark.parametrize("size", [0, 1, 11, 12, 27, 2048, 2049, 5000])
    def test_datagrams_of_any_length_do_no_harm(self, door: Door, size: int) -> None:
        door.enter(rtp(1, ssrc=AUDIO))
        datagram = rtp(2, ssrc=AUDIO)[:size].ljust(size, b"\xff")
        door.inlet.receive(datagram, 1.0)
        door.enter(rtp(2, ssrc=AUDIO))
        assert door.audio.packets == 2

    @pytest.mark.parametrize("codec", [VP8, H264])
    def test_a_key_frame_is_never_missed(self, door: Door, codec: Codec) -> None:
        door = Door(TWINS[-1], codec)
        key = {"VP8": vp8_key(), "H264": bytes((0x65,)) * 50}[codec.name]
        delta = {"VP8": vp8_delta(), "H264": bytes((0x41,)) * 50}[codec.name]
        for number in range(1, 9):
            door.enter(
                rtp(
                    number,
                    ssrc=VIDEO,
                    payload_type=codec.payload_type,
                    payload=key if number % 4 == 0 else delta,
                )
            )
        assert door.video.key_frames == 2


def steps(seed: random.Random, count: int) -> list[tuple[str, Any]]:
    """Make what may happen to a publisher: mostly packets in order, sometimes anything."""
    sequences = {VIDEO: 65_400, AUDIO: 65_500, OTHER: 9, RTX: 0}
    sent: list[bytes] = []
    made: list[tuple[str, Any]] = []
    camera, transport = VIDEO, 65_000
    while len(made) < count:
        chance = seed.random()
        if chance < 0.01:
            made.append((seed.choice(("listen", "leave", "mute", "unmute", "time")), seed.random()))
            continue
        ssrc = seed.choice((camera, camera, AUDIO))
        if chance < 0.013:
            camera = OTHER if camera == VIDEO else VIDEO
        sequences[ssrc] += 1 if chance > 0.03 else seed.choice((2, 3, 20, 1200))
        number = sequences[ssrc]
        if chance > 0.98:
            number -= seed.choice((1, 2, 5, 700))
        if ssrc == AUDIO:
            payload = seed.randbytes(seed.choice((0, 1, 60, 100)) if chance > 0.95 else 80)
            kind = 111 if chance > 0.04 else 99
        else:
            payload = seed.choice((vp8_delta(), vp8_delta(start=False), vp8_delta(start=False)))
            payload = vp8_key(seed.choice((320, 640))) if seed.random() < 0.02 else payload
            if seed.random() < 0.1:  # descriptors of every length, and cut ones
                first = seed.choice((0x10, 0x90, 0x80, 0x91, 0x30))
                payload = bytes((first,)) + seed.randbytes(seed.choice((0, 1, 2, 9, 10, 12, 40)))
            kind = 96
        transport += 1 if chance < 0.9 else seed.choice((1, 2, 60, 3000))
        numbered = (NUMBERED[TRANSPORT_SEQUENCE], (transport & 0xFFFF).to_bytes(2, "big"))
        extension = seed.choice(
            (
                b"",
                level(seed.randrange(128)),
                two_byte((1, b"ab"), (99, b"")),
                one_byte(numbered),
                two_byte((7, b""), numbered),
                one_byte((1, b"a"), numbered),
            )
        )
        if 0.05 < chance < 0.06:
            extension = b"\xbe\xde\x00\x01\x5f\x00\x00\x00"  # an element longer than the block
        packet = rtp(
            number,
            ssrc=ssrc,
            payload_type=kind,
            timestamp=number * 960,
            extension=extension,
            payload=payload,
            padding=seed.choice((0, 0, 0, 4)),
            marker=seed.random() < 0.3,
        )
        if ssrc == VIDEO and not extension and seed.random() < 0.02:
            sent.append(packet)
            continue  # lost, and perhaps repeated later
        if sent and seed.random() < 0.05:
            sequences[RTX] += 1
            packet = rtx(sent.pop(), sequences[RTX], ssrc=RTX, payload_type=97)
        made.append(("packet", packet))
    return made


def perform(door: Door, step: tuple[str, Any], now: float) -> None:
    kind, value = step
    track = door.video if isinstance(value, float) and value < 0.5 else door.audio
    match kind:
        case "packet":
            door.enter(value, now)
        case "listen":
            some = SUBSCRIBED | {TRANSPORT_SEQUENCE: 6} if value * 100 % 1 < 0.5 else SUBSCRIBED
            door.listen(track, some if value * 10 % 1 < 0.7 else {})
        case "leave":
            present = [
                (subscriber, subscription)
                for _, subscriber in door.receivers
                for subscription in subscriber.subscriptions
            ]
            if present:
                subscriber, subscription = present[int(value * len(present))]
                subscriber.unsubscribe(subscription)
        case "mute" | "unmute":
            track.muted = kind == "mute"
        case "time":
            door.publisher.handle_timeout(now)


def differ(seed: int, count: int) -> int:
    """Let the same happen to both twins; returns how many packets the last one took."""
    doors = [Door(twin) for twin in TWINS]
    now = 10.0
    for at, step in enumerate(steps(random.Random(seed), count)):
        now += 0.003
        for door in doors:
            perform(door, step, now)
        if at % 100 == 0 or at == count - 1:
            first, *others = [door.state() for door in doors]
            for other in others:
                assert other == first, f"seed {seed}, step {at}"
            for door in doors:
                for wire, _ in door.receivers:
                    wire.rtp.clear()
                door.wire.rtcp.clear()
    return doors[-1].forwarded


@pytest.mark.parametrize("seed", range(4))
def test_both_twins_do_the_same_with_a_random_call(seed: int) -> None:
    forwarded = differ(seed, 5_000)
    assert inlet.TWIN == "python" or forwarded > 600
