"""One track as one receiver gets it (`Subscription`), and the receivers that share a form of it."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from sfu import rtcp
from sfu.codec import (
    ABS_SEND_TIME,
    AUDIO_LEVEL,
    DEPENDENCY_DESCRIPTOR,
    TRANSPORT_SEQUENCE,
    VIDEO_ORIENTATION,
    Codec,
)
from sfu.fanout import Flow, Route, TransportNumbers
from sfu.nack import PacketRing
from sfu.rewrite import normalise, patch, read_header
from sfu.rtp import wrap_rtx
from sfu.sequence import extend_sequence
from sfu.tally import Tally

if TYPE_CHECKING:
    from sfu.track import Track

# Elements that keep their meaning on the way. MID and RID are the publisher's names; an absolute
# send time and a number of the receiver's transport are written anew.
_PASSED_ON = (AUDIO_LEVEL, VIDEO_ORIENTATION, DEPENDENCY_DESCRIPTOR)

# As many as LiveKit keeps: at least a second of video at 500 packets/s, 4 s of audio.
RING_PACKETS = {"video": 500, "audio": 200}

# A receiver that asks again sooner than this has not waited for the answer.
MIN_REPEAT_S = 0.020
# Chromium asks for a lost sound with each packet that follows, every 20 ms, until it is too late: a
# packet of sound is small, and the next answer may be the one that gets through.
SOUND_REPEAT_S = 0.010
FIRST_RTT_S = 0.1
# Sender reports remembered for the round trip: the receiver answers to the last one.
KEPT_REPORTS = 8
# Video counts as forwarded (and is metered) this long after its last packet.
FORWARDING_S = 2.0

FlavourKey = tuple[tuple[tuple[int, int], ...], bytes, int, int]


def send_time(now: float) -> int:
    """Return ``now`` as an absolute send time: 6.18 fixed point, to be cut to 24 bits."""
    return int(now * 262144)


class Output(Protocol):
    """Where packets leave: protect and send at once; never raises, never blocks."""

    @property
    def route(self) -> Route | None:
        """Return what `sfu.fanout.forward` may use instead of `send_rtp`, to the same effect."""

    def send_rtp(self, packet: bytes) -> None:
        """Send one RTP packet."""

    def send_rtcp(self, packet: bytes) -> None:
        """Send one compound RTCP packet."""


class Flavour:
    """Receivers of a track whose packets differ in twelve header bytes only.

    They share payload types and extension numbering, so each incoming packet is normalised once
    for all of them, and the ring keeps one copy.
    """

    __slots__ = (
        "flows",
        "identifiers",
        "key",
        "payload_types",
        "ring",
        "send_time_id",
        "transport_id",
        "without_written",
    )

    def __init__(self, key: FlavourKey, ring_packets: int) -> None:
        self.key = key
        self.payload_types = dict(key[0])  # the publisher's to the receivers'
        self.identifiers = key[1]
        self.send_time_id = key[2]
        self.transport_id = key[3]
        written = {self.send_time_id, self.transport_id}
        self.without_written = bytes(0 if i in written else i for i in range(256))
        self.ring = PacketRing(ring_packets)
        self.flows: list[Subscription] = []  # those that packets go to now


def flavour_key(
    published: Sequence[Codec],
    wanted: Sequence[Codec],
    extensions_in: Mapping[str, int],
    extensions_out: Mapping[str, int],
) -> FlavourKey:
    """Tell which receivers can share packets: payload types and identifiers.

    The last two identifiers are of what is written anew, 0 for what is not. **Only who gets
    repeats in RTX gets transport sequence numbers**: a plain repeat has its first bytes again.
    """
    matches = [
        (codec, match) for codec in published if (match := matching(codec, wanted)) is not None
    ]
    payload_types = tuple((codec.payload_type, match.payload_type) for codec, match in matches)
    repaired = all(match.rtx_payload_type is not None for _, match in matches)
    identifiers = bytearray(256)
    for uri in _PASSED_ON:
        if uri in extensions_in:
            identifiers[extensions_in[uri]] = extensions_out.get(uri, 0)
    transport_id = extensions_out.get(TRANSPORT_SEQUENCE, 0) if repaired else 0
    return payload_types, bytes(identifiers), extensions_out.get(ABS_SEND_TIME, 0), transport_id


def matching(codec: Codec, among: Sequence[Codec]) -> Codec | None:
    """Return the codec that means the same in another numbering, the one with equal fmtp first."""
    same = [
        other
        for other in among
        if (other.name.lower(), other.clock_rate) == (codec.name.lower(), codec.clock_rate)
    ]
    return next((other for other in same if other.fmtp == codec.fmtp), same[0] if same else None)


class Subscription(Flow):
    """One track as one receiver gets it, under its own SSRC. Made by `Subscriber.subscribe`.

    **Outgoing numbers never go back and never mean two packets**: they are the track's plus a
    shift that changes only when forwarding starts again, so that a repeated number always carries
    the same bytes, as AES-GCM demands.
    """

    __slots__ = (
        "_budget_at",
        "_next_number",
        "_repeated",
        "_repeated_in_budget",
        "_reports",
        "_rtx_payload_types",
        "_rtx_sequence",
        "first_number",
        "flavour",
        "flowing",
        "fraction_lost",
        "jitter_s",
        "key_frames_asked",
        "mid",
        "nacked",
        "packets_lost",
        "repeated",
        "report_at",
        "rtt_s",
        "rtx_ssrc",
        "tally",
        "track",
    )

    def __init__(
        self,
        track: "Track",
        *,
        mid: str,
        ssrc: int,
        rtx_ssrc: int | None,
        codecs: Sequence[Codec],
        flavour: Flavour,
        output: Output,
        numbers: TransportNumbers,
        seed: bytes,
        tally: Tally,
    ) -> None:
        self.track = track
        self.mid = mid
        self.ssrc = ssrc
        self.rtx_ssrc = rtx_ssrc
        self.flavour = flavour
        self.send = output.send_rtp
        self.route = output.route
        self.numbers = numbers if flavour.transport_id else None
        self.tally = tally
        self.packets = 0
        self.octets = 0
        self.egress_bytes = 0
        self.flowing = False
        # RFC 3711 wants the first sequence number below 2^15: a loss at the very start must not
        # look like a wrapped number.
        self._next_number = 0x10000 + (int.from_bytes(seed[0:2], "big") & 0x7FFF)
        self._rtx_sequence = int.from_bytes(seed[2:4], "big") & 0x7FFF
        self.timestamp_shift = int.from_bytes(seed[4:8], "big")
        self.sequence_shift = 0
        self.first_number = 0  # of the track's; earlier ones are not this receiver's
        self._rtx_payload_types = {
            codec.payload_type: codec.rtx_payload_type
            for codec in codecs
            if codec.rtx_payload_type is not None
        }
        self._repeated: dict[int, float] = {}
        self._repeated_in_budget = 0
        self._budget_at = 0.0
        self._reports: dict[int, float] = {}
        self.report_at = 0.0  # when the next sender report is due
        self.fraction_lost = 0.0
        self.packets_lost = 0
        self.jitter_s = 0.0
        self.rtt_s: float | None = None
        # What the receiver asked for: packets, of those sent again, and key frames.
        self.nacked = self.repeated = self.key_frames_asked = 0

    def forwarding(self, now: float) -> bool:
        """Whether the receiver was sent a packet of this unmuted track within the last 2 s."""
        return self.flowing and now - self.track.forwarded_at <= FORWARDING_S

    def start(self, number: int) -> None:
        """Let packets flow from the track's ``number`` on, continuing the outgoing numbers."""
        self.sequence_shift = self._next_number - number
        self.first_number = number
        self.flowing = True
        self.flavour.flows.append(self)

    def pause(self, highest: int) -> None:
        """Let no packet flow after the track's ``highest``."""
        if self.flowing:
            self.flowing = False
            self.flavour.flows.remove(self)
            self._next_number = highest + 1 + self.sequence_shift

    def repeat(self, lost: Sequence[int], now: float) -> None:
        """Answer a NACK: packets of the ring in RTX where negotiated, else exactly as sent.

        At most a ring of packets each second, and of pictures none twice within a round trip.
        """
        if now - self._budget_at >= 1.0:
            self._budget_at = now
            self._repeated_in_budget = 0
            self._repeated = {n: at for n, at in self._repeated.items() if now - at < 1.0}
        wait = max(self.rtt_s or FIRST_RTT_S, MIN_REPEAT_S)
        if self.track.kind == "audio":
            wait = SOUND_REPEAT_S
        highest = self.track.highest
        limit = RING_PACKETS[self.track.kind]
        for sequence in lost:
            near = highest + self.sequence_shift
            number = extend_sequence(sequence, near) - self.sequence_shift
            if number < self.first_number or self._repeated_in_budget >= limit:
                continue
            template = self.flavour.ring.get(number)
            if template is None or now - self._repeated.get(number, -wait) < wait:
                continue
            self._repeated[number] = now
            self._repeated_in_budget += 1
            self._repeat(template, number, now)

    def _repeat(self, template: bytes, number: int, now: float) -> None:
        rtx_payload_type = self._rtx_payload_types.get(template[1] & 0x7F)
        in_rtx = self.rtx_ssrc is not None and rtx_payload_type is not None
        if in_rtx and (self.flavour.send_time_id or self.numbers is not None):
            template = self._sent_again(template, now)
        timestamp = int.from_bytes(template[4:8], "big") + self.timestamp_shift
        transport_sequence = -1 if self.numbers is None else self.numbers.take()
        packet = patch(
            template, self.ssrc, number + self.sequence_shift, timestamp, transport_sequence
        )
        if self.rtx_ssrc is not None and rtx_payload_type is not None:
            packet = wrap_rtx(packet, rtx_payload_type, self._rtx_sequence, self.rtx_ssrc)
            self._rtx_sequence += 1
        self.send(packet)
        self.egress_bytes += len(packet)
        self.repeated += 1
        self.tally.rtx_out += 1
        self.tally.packets_out += 1
        self.tally.bytes_out += len(packet)

    def _sent_again(self, template: bytes, now: float) -> bytes:
        """Write what is written anew; only RTX may, its sequence number being new."""
        header = read_header(template)
        flavour = self.flavour
        return normalise(
            template,
            header,
            flavour.without_written,
            header[1],
            header[2],
            header[3],
            flavour.send_time_id,
            send_time(now),
            flavour.transport_id,
        )

    def sender_report(self, now: float) -> bytes | None:
        """Build the publisher's sender report in this receiver's numbers.

        `None` before the publisher sent one or a packet went out. Its wall clock stays, so that
        tracks of one participant stay in step.
        """
        clock = self.track.media_clock(now)
        if clock is None or not self.packets:
            return None
        ntp, timestamp = clock
        self._reports[(ntp >> 16) & 0xFFFFFFFF] = now
        while len(self._reports) > KEPT_REPORTS:
            del self._reports[next(iter(self._reports))]
        return rtcp.sender_report(
            self.ssrc, ntp, timestamp + self.timestamp_shift, self.packets, self.octets
        )

    def receive_report(
        self, *, fraction: int, lost: int, jitter: int, last: int, delay: int, now: float
    ) -> None:
        """Take a report block about this stream."""
        self.fraction_lost = fraction / 256
        self.packets_lost = lost
        codec = self.track.codec
        if codec is not None:
            self.jitter_s = jitter / codec.clock_rate
        sent_at = self._reports.get(last)
        if sent_at is not None:
            rtt_s = max(now - sent_at - delay / 65536, 0.0)
            self.rtt_s = rtt_s if self.rtt_s is None else self.rtt_s + (rtt_s - self.rtt_s) / 4
