"""One published m-line: where its packets get their place, their key frames and their way out."""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from sfu.codec import AUDIO_LEVEL, Codec
from sfu.fanout import forward
from sfu.keyframes import KEY_FRAMES, Size
from sfu.loudness import Loudness
from sfu.nack import MAX_GAP
from sfu.reception import SenderReport
from sfu.rewrite import find_element, normalise
from sfu.rtp import Header
from sfu.subscription import RING_PACKETS, Flavour, Subscription, flavour_key, send_time
from sfu.tally import Tally

if TYPE_CHECKING:
    from sfu.source import Source

Kind = Literal["audio", "video"]

# LiveKit's lowest throttle: a publisher encodes at most two key frames a second for everybody.
KEY_FRAME_INTERVAL_S = 0.5
# A publisher that sends nothing (a still screen) is reminded less and less often.
MAX_ASK_INTERVAL_S = 4.0
# The source of a track is left for an older one only when it has been silent this long.
SOURCE_SILENT_S = 1.0
# As many as a late packet may be behind.
MAX_SKIPS = MAX_GAP
KEY_FRAME_BYTES = 128  # enough of a payload for any codec's key frame header


class Track:
    """One published m-line. Made by `Publisher.add_track` only.

    Its packets are numbered without end and without holes of our making: padding, unknown payload
    types and a change of SSRC leave no gap, so that a subscription needs only a constant shift.
    """

    def __init__(  # noqa: PLR0917 - as `Publisher.add_track`
        self,
        track_id: str,
        kind: Kind,
        source: str,
        mid: str,
        codecs: Sequence[Codec],
        extensions: Mapping[str, int],
        *,
        participant: str,
        user: str,
        ask_key_frame: Callable[["Track"], bool],
        tally: Tally,
    ) -> None:
        self.id = track_id
        self.kind: Kind = kind
        self.source = source
        self.mid = mid
        self.codecs = tuple(codecs)
        self.extensions = dict(extensions)
        self.participant = participant
        self.user = user
        self.formats = {codec.payload_type: codec for codec in codecs}
        self.repairs = {  # RTX payload type to the one it repairs
            codec.rtx_payload_type: codec.payload_type
            for codec in codecs
            if codec.rtx_payload_type is not None
        }
        self.width = 0  # pixels of the last key frame, 0 before the first
        self.height = 0
        self.codec: Codec | None = None  # of the last media packet
        self.packets = 0  # media packets received; duplicates and padding not counted
        self.ingress_bytes = 0  # every RTP byte received for this track, RTX and padding included
        self.forwarded_at = float("-inf")  # `now` of the last packet that went to anybody
        self.dropped: dict[str, int] = {}  # packets not forwarded, by cause
        self.key_frames = 0
        self.nacked = 0  # packets asked of the publisher, repeats included
        self.key_frames_asked = 0
        self.highest = 0x10000  # last number given
        self.current: Source | None = None  # the SSRC that feeds the track now
        self._tally = tally
        self._loudness = Loudness()
        self._level_id = extensions.get(AUDIO_LEVEL, 0) if kind == "audio" else 0
        self._muted = False
        self._shift = 0  # from the source's extended sequence numbers to the track's
        self._timestamp_shift = 0
        self._timestamp = 0  # last one forwarded in order, and when
        self._arrival = 0.0
        self._skips: deque[int] = deque(maxlen=MAX_SKIPS)
        self._flavours: dict[object, Flavour] = {}
        self._flavour_list: list[Flavour] = []
        self._waiting: list[Subscription] = []
        self._subscriptions: list[Subscription] = []
        self._ask_key_frame = ask_key_frame
        self._key_frame_wanted = False
        self._asked = False
        self._asked_at: float | None = None
        self._ask_interval_s = KEY_FRAME_INTERVAL_S

    # What others see

    @property
    def subscriptions(self) -> Sequence[Subscription]:
        """Everybody who receives or waits for this track."""
        return self._subscriptions

    @property
    def level(self) -> float:
        """Smoothed audio level in dBov: -127 silence to 0."""
        return self._loudness.level

    @property
    def speaking(self) -> bool:
        """Whether someone speaks, with hysteresis."""
        return self._loudness.speaking

    @property
    def muted(self) -> bool:
        """Packets of a muted track are counted, not forwarded; assign to change."""
        return self._muted

    @muted.setter
    def muted(self, muted: bool) -> None:
        if muted == self._muted:
            return
        self._muted = muted
        self._loudness.silence()
        if muted:
            self._pause()
        elif self.kind == "video":
            self.request_key_frame()

    def receiving(self, now: float) -> bool:
        """Whether an SSRC feeds the track now."""
        return self.current is not None and now - self._arrival <= SOURCE_SILENT_S

    def media_clock(self, now: float) -> tuple[int, int] | None:
        """Return the publisher's wall clock (NTP) and the track's timestamp at ``now``."""
        if self.current is None or self.current.reception.sender_report is None:
            return None
        if self.codec is None:
            return None
        report = self.current.reception.sender_report
        ntp, timestamp = report.at(now, self.codec.clock_rate)
        return ntp, timestamp + self._timestamp_shift

    def receive_sender_report(self, source: "Source", ntp: int, timestamp: int, now: float) -> None:
        """Take the publisher's sender report about one SSRC of this track."""
        source.reception.sender_report = SenderReport(ntp, timestamp, now)

    def drop(self, cause: str) -> None:
        """Count a packet that is not forwarded."""
        self.dropped[cause] = self.dropped.get(cause, 0) + 1
        self._tally.drop(cause)

    # Subscriptions come and go

    def flavour(self, codecs: Sequence[Codec], extensions: Mapping[str, int]) -> Flavour:
        """Return the group of receivers that packets are normalised for in the same way."""
        key = flavour_key(self.codecs, codecs, self.extensions, extensions)
        flavour = self._flavours.get(key)
        if flavour is None:
            flavour = self._flavours[key] = Flavour(key, RING_PACKETS[self.kind])
            self._flavour_list.append(flavour)
        return flavour

    def attach(self, subscription: Subscription) -> None:
        """Let a subscription wait for the packet it can start with."""
        self._subscriptions.append(subscription)
        self._waiting.append(subscription)
        if self.kind == "video" and not self._muted:
            self.request_key_frame()

    def detach(self, subscription: Subscription) -> None:
        """Forget a subscription."""
        if subscription not in self._subscriptions:
            return
        self._subscriptions.remove(subscription)
        if subscription in self._waiting:
            self._waiting.remove(subscription)
        subscription.pause(self.highest)
        flavour = subscription.flavour
        if all(other.flavour is not flavour for other in self._subscriptions):
            self._flavours.pop(flavour.key, None)
            if flavour in self._flavour_list:
                self._flavour_list.remove(flavour)

    def end(self) -> None:
        """Fall silent for good; subscriptions stay until they are unsubscribed."""
        self._pause()
        self._waiting.clear()
        self.current = None

    def _pause(self) -> None:
        for subscription in self._subscriptions:
            if subscription.flowing:
                subscription.pause(self.highest)
                self._waiting.append(subscription)

    # Key frames are asked for once for everybody

    def request_key_frame(self) -> None:
        """Ask the publisher for a key frame: merged and throttled, sent at once where allowed."""
        if self.kind != "video":
            return
        self._key_frame_wanted = True
        self._ask()

    def _ask(self) -> None:
        if not self._asked and not self._muted and self._ask_key_frame(self):
            self._asked = True
            self._asked_at = None  # `handle_timeout` reads the clock

    def handle_timeout(self, now: float) -> float | None:
        """Repeat a request for a key frame that did not come; return when to look again."""
        if self._loudness.speaking:
            self._loudness.handle_timeout(now)
        if not self._asked:
            if self._key_frame_wanted:
                self._ask()
            if not self._asked:
                return None
        if self._asked_at is None:
            self._asked_at = now
        elif now - self._asked_at >= self._ask_interval_s:
            silent = self._arrival < self._asked_at
            self._ask_interval_s = (
                min(2 * self._ask_interval_s, MAX_ASK_INTERVAL_S)
                if silent
                else KEY_FRAME_INTERVAL_S
            )
            self._asked = False
            self._asked_at = None
            if self._key_frame_wanted:
                self._ask()
            if not self._asked:
                return None
            self._asked_at = now
        return self._asked_at + self._ask_interval_s

    @property
    def arrived_at(self) -> float:
        """Return `now` of the last packet in order, 0 before the first."""
        return self._arrival

    @property
    def key_frame_pending(self) -> bool:
        """Whether `handle_timeout` has a request to time or to repeat."""
        return self._asked_at is None and (self._asked or self._key_frame_wanted)

    # Packets

    def skip(self, number: int, in_order: bool) -> None:
        """Close the gap that a packet which is not forwarded would leave.

        ``number`` is the source's. A late one has its place already: see `receive`.
        """
        if in_order:
            self._skips.append(number)
            self._shift -= 1

    def receive(
        self, source: "Source", packet: bytes, header: Header, number: int, now: float
    ) -> None:
        """Forward one packet of an SSRC of this track; ``number`` is its extended sequence.

        Raises `RtpError` where its header extension is broken.
        """
        in_order = number == source.detector.highest
        if source is not self.current:
            if not in_order or not self._gives_way(source, now):
                other_layer = self.current is not None and source.rid != self.current.rid
                self.drop("other_layer" if other_layer else "old_source")
                return
            self._switch(source, header[3], number, now)
        codec = self.formats.get(header[1])
        empty = header[8] == header[9]
        if codec is None or (empty and in_order):
            self.drop("payload_type" if codec is None else "padding")
            self.skip(number, in_order)
            return
        self.codec = codec
        self.packets += 1
        place = number + self._shift
        if in_order:
            if place - self.highest > MAX_GAP:
                place = self._close_gap(place)
            self.highest = place
            self._timestamp = header[3]
            self._arrival = now
        else:
            for skipped in reversed(self._skips):
                if skipped < number:
                    break
                place += 1
        if self._level_id:
            level = find_element(packet, header, self._level_id)
            if level:
                self._loudness.receive(level[0] & 0x7F, now)
        size = self._read_key_frame(codec, packet, header) if self.kind == "video" else None
        if self._muted:
            self.drop("muted")
            return
        started = self._waiting and self._start(size is not None, place, in_order)
        self._forward(packet, header, place, in_order and not started, now)
        if started:
            self._catch_up(started, place)

    def _read_key_frame(self, codec: Codec, packet: bytes, header: Header) -> Size | None:
        find = KEY_FRAMES.get(codec.name)
        if find is None:
            return None
        start = header[8]
        size = find(packet[start : min(start + KEY_FRAME_BYTES, header[9])])
        if size is not None:
            self.key_frames += 1
            self._key_frame_wanted = False
            self._ask_interval_s = KEY_FRAME_INTERVAL_S
            if size[0]:
                self.width, self.height = size
        return size

    def _gives_way(self, source: "Source", now: float) -> bool:
        """Whether another SSRC may feed the track: the tail of the last one must not flap it.

        Nor must the other layers of a publisher that sends several, whatever was answered.
        """
        if self.current is None or not self.receiving(now):
            return True
        return source.rid == self.current.rid and source.first_at > self.current.first_at

    def _switch(self, source: "Source", timestamp: int, number: int, now: float) -> None:
        """Let another SSRC feed the track where the last one stopped."""
        if self.codec is not None:
            elapsed = round((now - self._arrival) * self.codec.clock_rate)
            continued = self._timestamp + self._timestamp_shift + max(elapsed, 1)
            self._timestamp_shift = continued - timestamp
            if self.kind == "video":
                self._pause()
                self.request_key_frame()
        self._shift = self.highest + 1 - number
        self._skips.clear()
        self.current = source

    def _close_gap(self, place: int) -> int:
        """Take the next place after a gap that is never healed; video needs a key frame then."""
        self._shift -= place - self.highest - 1
        if self.kind == "video":
            self._pause()
            self.request_key_frame()
        return self.highest + 1

    def _start(self, key_frame: bool, place: int, in_order: bool) -> list[Subscription]:
        """Start those who wait and can begin with this packet; return them."""
        if self.kind == "video" and not key_frame:
            return []
        if self.kind == "audio" and not in_order:
            return []
        started, self._waiting = self._waiting, []
        for subscription in started:
            subscription.start(place)
        return started

    def _forward(
        self, packet: bytes, header: Header, place: int, in_order: bool, now: float
    ) -> None:
        payload_type = header[1]
        timestamp = header[3] + self._timestamp_shift
        octets = header[9] - header[8]
        for flavour in self._flavour_list:
            mapped = flavour.payload_types.get(payload_type)
            if mapped is None:
                self.drop("codec")
                continue
            template = normalise(
                packet,
                header,
                flavour.identifiers,
                mapped,
                place,
                timestamp,
                flavour.send_time_id,
                send_time(now),
                flavour.transport_id,
            )
            flavour.ring.put(place, template)
            flows = flavour.flows
            if not flows:
                continue
            self.forwarded_at = now
            if not in_order:
                flows = [flow for flow in flows if place >= flow.first_number]
            forward(flows, template, place, timestamp, octets)
            self._tally.packets_out += len(flows)
            self._tally.bytes_out += len(flows) * len(template)

    def _catch_up(self, started: list[Subscription], place: int) -> None:
        """Send what followed a key frame whose first packet came late."""
        for subscription in started:
            for number in range(place + 1, self.highest + 1):
                template = subscription.flavour.ring.get(number)
                if template is not None:
                    timestamp = int.from_bytes(template[4:8], "big")
                    forward([subscription], template, number, timestamp, len(template) - 12)
                    self._tally.packets_out += 1
                    self._tally.bytes_out += len(template)
