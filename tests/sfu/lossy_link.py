"""A call in simulated time: a browser that publishes, the core, and one that receives.

Both links lose, delay and reorder datagrams by a seeded chance. The two browsers are written
without the code under test: RTP, RTX and NACK on them are aiortc's.
"""

import heapq
import itertools
import random
from collections.abc import Callable

from aiortc.rtp import RtcpPacket, RtcpPsfbPacket, RtcpRtpfbPacket, RtpPacket, unwrap_rtx, wrap_rtx

from sfu.forwarding import Publisher, Subscriber
from tests.sfu.packets import PUBLISHED, SUBSCRIBED, VP8, vp8_delta, vp8_key

FRAMES_PER_S = 30
PACKETS_PER_FRAME = 6
HISTORY = 600
MEDIA_SSRC, RTX_SSRC = 0x1000, 0x2000
OUT_SSRC, OUT_RTX_SSRC = 0x3000, 0x4000


class Clock:
    """Runs what is due, in order, and tells the time."""

    def __init__(self) -> None:
        self.now = 100.0
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._count = itertools.count()

    def call_at(self, when: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._due, (max(when, self.now), next(self._count), action))

    def run_until(self, end: float) -> None:
        while self._due and self._due[0][0] <= end:
            self.now, _, action = heapq.heappop(self._due)
            action()
        self.now = end


class Link:
    """One direction: ``loss`` is a probability; jitter reorders."""

    def __init__(
        self,
        clock: Clock,
        seed: random.Random,
        *,
        loss: float,
        delay_s: float,
        jitter_s: float,
        burst: int = 1,
    ) -> None:
        self.clock = clock
        self.seed = seed
        self.loss = loss
        self.delay_s = delay_s
        self.jitter_s = jitter_s
        self.burst = burst
        self.lost = 0
        self._losing = 0

    def send(self, packet: bytes, deliver: Callable[[bytes], None]) -> None:
        if not self._losing and self.seed.random() < self.loss / self.burst:
            self._losing = self.burst
        if self._losing:
            self._losing -= 1
            self.lost += 1
            return
        delay = self.delay_s + self.seed.random() * self.jitter_s
        self.clock.call_at(self.clock.now + delay, lambda: deliver(packet))


class Camera:
    """The publishing browser: VP8 frames, retransmissions by NACK, key frames by PLI."""

    def __init__(self, clock: Clock, send: Callable[[bytes], None]) -> None:
        self.clock = clock
        self.send = send
        self.sequence = 65_000  # wraps soon
        self.rtx_sequence = 10
        self.frames = 0
        self.key_frames = 0
        self.running = True
        self.sent: list[bytes] = []  # payloads, in order
        self._key_wanted = True
        self._history: dict[int, RtpPacket] = {}

    def frame(self) -> None:
        if not self.running:
            return
        key, self._key_wanted = self._key_wanted, False
        self.key_frames += key
        for index in range(PACKETS_PER_FRAME):
            start = index == 0
            head = vp8_key(size=40) if start and key else vp8_delta(start=start, size=40)
            payload = head + b"%08d" % len(self.sent)
            self.sent.append(payload)
            packet = RtpPacket(
                payload_type=96,
                marker=int(index == PACKETS_PER_FRAME - 1),
                sequence_number=self.sequence,
                timestamp=(self.frames * 3000) & 0xFFFFFFFF,
                ssrc=MEDIA_SSRC,
                payload=payload,
            )
            self._history[self.sequence] = packet
            self._history.pop((self.sequence - HISTORY) & 0xFFFF, None)
            self.sequence = (self.sequence + 1) & 0xFFFF
            self.send(packet.serialize())
        self.frames += 1
        self.clock.call_at(self.clock.now + 1 / FRAMES_PER_S, self.frame)

    def receive_rtcp(self, data: bytes) -> None:
        for block in RtcpPacket.parse(data):
            if isinstance(block, RtcpRtpfbPacket) and block.media_ssrc == MEDIA_SSRC:
                for number in block.lost:
                    self._repeat(number & 0xFFFF)
            elif isinstance(block, RtcpPsfbPacket) and block.fmt == 1:
                self._key_wanted = True

    def _repeat(self, number: int) -> None:
        packet = self._history.get(number)
        if packet is not None:
            repeat = wrap_rtx(packet, 97, self.rtx_sequence, RTX_SSRC)
            self.rtx_sequence = (self.rtx_sequence + 1) & 0xFFFF
            self.send(repeat.serialize())


class Screen:
    """The receiving browser: asks for what is missing and keeps what it got, by number."""

    RETRY_S = 0.05
    GIVE_UP_S = 1.0

    def __init__(self, clock: Clock, send: Callable[[bytes], None]) -> None:
        self.clock = clock
        self.send = send
        self.payloads: dict[int, bytes] = {}  # by extended number
        self.arrivals: dict[int, float] = {}
        self.repeats = 0
        self.duplicates = 0
        self.highest: int | None = None
        self._missing: dict[int, float] = {}

    def receive_rtp(self, data: bytes) -> None:
        packet = RtpPacket.parse(data)
        if packet.ssrc == OUT_RTX_SSRC:
            self.repeats += 1
            packet = unwrap_rtx(packet, 96, OUT_SSRC)
        assert packet.ssrc == OUT_SSRC
        assert packet.payload_type == 96
        if self.highest is None:
            self.highest = packet.sequence_number
            self.clock.call_at(self.clock.now + 0.01, self._ask)
        step = ((packet.sequence_number - self.highest + 0x8000) & 0xFFFF) - 0x8000
        number = self.highest + step
        for lost in range(self.highest + 1, number):
            self._missing[lost] = self.clock.now
        self.highest = max(self.highest, number)
        self._missing.pop(number, None)
        if number in self.payloads:
            self.duplicates += 1
            assert self.payloads[number] == packet.payload
        else:
            self.arrivals[number] = self.clock.now
        self.payloads[number] = packet.payload

    def _ask(self) -> None:
        now = self.clock.now
        self._missing = {n: at for n, at in self._missing.items() if now - at < self.GIVE_UP_S}
        lost = sorted(self._missing)[:100]
        if lost:
            wire = [number & 0xFFFF for number in lost]
            if wire != sorted(wire):  # aiortc's writer does not look across the wrap
                wire = [number for number in wire if number > 0x8000]
            self.send(bytes(RtcpRtpfbPacket(fmt=1, ssrc=9, media_ssrc=OUT_SSRC, lost=wire)))
        self.clock.call_at(now + self.RETRY_S, self._ask)

    def holes(self) -> list[int]:
        """Return the numbers between the first and the last packet that never came."""
        return [n for n in range(min(self.payloads), max(self.payloads)) if n not in self.payloads]


class _Datagrams:
    route = None

    def __init__(self, rtp: Callable[[bytes], None], rtcp: Callable[[bytes], None]) -> None:
        self.send_rtp = rtp
        self.send_rtcp = rtcp


class Call:
    """A camera, the forwarding core and a screen, each link with its own loss."""

    def __init__(
        self,
        seed: int,
        *,
        loss_up: float = 0.0,
        loss_down: float = 0.0,
        delay_s: float = 0.01,
        jitter_s: float = 0.004,
        burst: int = 1,
    ) -> None:
        self.clock = Clock()
        chance = random.Random(seed)
        up, down, back_up, back_down = (
            Link(
                self.clock,
                random.Random(chance.random()),
                loss=loss,
                delay_s=delay_s,
                jitter_s=jitter_s,
                burst=burst,
            )
            for loss in (loss_up, loss_down, loss_up, loss_down)
        )
        self.up, self.down = up, down
        self.camera = Camera(self.clock, lambda data: up.send(data, self._published))
        self.screen = Screen(self.clock, lambda data: back_down.send(data, self._answered))
        self.publisher = Publisher(
            _Datagrams(lambda _: None, lambda data: back_up.send(data, self.camera.receive_rtcp)),
            random=chance.randbytes,
            participant="camera",
        )
        self.subscriber = Subscriber(
            _Datagrams(
                lambda data: down.send(data, self.screen.receive_rtp),
                lambda data: down.send(data, lambda _: None),
            ),
            random=chance.randbytes,
        )
        self.track = self.publisher.add_track(
            "track", "video", "camera", "0", [VP8], PUBLISHED, [MEDIA_SSRC], {RTX_SSRC: MEDIA_SSRC}
        )
        self.subscription = self.subscriber.subscribe(
            self.track,
            mid="0",
            ssrc=OUT_SSRC,
            rtx_ssrc=OUT_RTX_SSRC,
            codecs=[VP8],
            extensions=SUBSCRIBED,
        )

    def run(self, seconds: float) -> None:
        """Publish for some seconds, then wait until everything is settled."""
        self._tick()
        self.camera.frame()
        self.clock.run_until(self.clock.now + seconds)
        self.camera.running = False
        self.clock.run_until(self.clock.now + 2)

    def _published(self, data: bytes) -> None:
        self.publisher.receive_rtp(data, self.clock.now)

    def _answered(self, data: bytes) -> None:
        self.subscriber.receive_rtcp(data, self.clock.now)

    def _tick(self) -> None:
        for part in (self.publisher, self.subscriber):
            deadline = part.next_deadline()
            if deadline is not None and deadline <= self.clock.now:
                part.handle_timeout(self.clock.now)
        self.clock.call_at(self.clock.now + 0.005, self._tick)
