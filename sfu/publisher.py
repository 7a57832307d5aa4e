"""Everything one publishing transport sends us."""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from math import inf
from types import MappingProxyType

from aiortc.rtp import RtcpByePacket, RtcpSrPacket

from sfu import rtcp
from sfu.codec import MID, REPAIRED_RID, RID, TRANSPORT_SEQUENCE, Codec
from sfu.errors import RtcpError, RtpError
from sfu.rewrite import find_element, find_transport_sequence, read_header
from sfu.rtp import Header, unwrap_rtx
from sfu.source import Source
from sfu.subscription import Output
from sfu.tally import Tally
from sfu.track import Kind, Track
from sfu.transport_feedback import TransportArrivals, message

REPORT_INTERVAL_S = 1.0
MAX_REPORTED = 31  # report blocks in one receiver report, SSRCs in one REMB
# A browser uses two SSRCs a track, and two more when it replaces them; hostile senders use all.
MAX_SOURCES_PER_TRACK = 8
MAX_RETIRED = 32

_NOTHING: Mapping[int, int] = MappingProxyType({})


class Publisher:
    """Everything one publishing transport sends us.

    ``random(n)`` gives n random bytes. ``participant`` and ``user`` are copied to its tracks.
    ``bitrate_limit_bps`` is what its video tracks may send together, told by REMB each second.
    A ``tally`` may be shared by all publishers and subscribers of a process.
    """

    def __init__(
        self,
        output: Output,
        *,
        random: Callable[[int], bytes],
        participant: str = "",
        user: str = "",
        bitrate_limit_bps: int = 3_000_000,
        tally: Tally | None = None,
    ) -> None:
        self.participant = participant
        self.user = user
        self.bitrate_limit_bps = bitrate_limit_bps
        self.ingress_bytes = 0  # every RTP byte, also of what was dropped
        self.tracks: list[Track] = []
        self.tally = Tally() if tally is None else tally
        self.ssrc = int.from_bytes(random(4), "big")  # ours, in the feedback we send
        # Of the header extension that numbers the packets of the transport; 0 without it.
        self.transport_id = 0
        self.arrivals = TransportArrivals()
        self._output = output
        self._sources: dict[int, Source] = {}
        # What is still under way must not be taken for another track's by its payload type.
        self._retired: deque[int] = deque(maxlen=MAX_RETIRED)
        self._mids: dict[bytes, Track] = {}
        self._mid_ids: list[int] = []
        self._rid_ids: list[int] = []
        self._repaired_rid_ids: list[int] = []
        self._report_at: float | None = None
        self._deadline = inf

    # Tracks

    def add_track(  # noqa: PLR0917 - the order of an m-line
        self,
        track_id: str,
        kind: Kind,
        source: str,
        mid: str,
        codecs: Sequence[Codec],
        extensions: Mapping[str, int],
        ssrcs: Sequence[int] = (),
        rtx_ssrcs: Mapping[int, int] = _NOTHING,
    ) -> Track:
        """Receive one more m-line.

        ``codecs`` in the publisher's numbering; ``extensions`` maps URI to id;
        ``rtx_ssrcs`` maps each RTX SSRC to the media SSRC it repairs (``ssrc-group:FID`` reversed).
        SSRCs need not be signalled at all: MID, then a payload type of only one track, binds them.
        """
        track = Track(
            track_id,
            kind,
            source,
            mid,
            codecs,
            extensions,
            participant=self.participant,
            user=self.user,
            ask_key_frame=self._ask_key_frame,
            tally=self.tally,
        )
        self.tracks.append(track)
        self._mids[mid.encode()] = track
        self._index_extensions()
        self.bind(track, ssrcs, rtx_ssrcs)
        return track

    def bind(
        self, track: Track, ssrcs: Sequence[int], rtx_ssrcs: Mapping[int, int] = _NOTHING
    ) -> None:
        """Add SSRCs that a negotiation signalled for a track; bound ones stay as they are."""
        for ssrc in ssrcs:
            self._add_source(Source(ssrc, track, signalled=True))
        for ssrc, repaired in rtx_ssrcs.items():
            self._add_source(Source(ssrc, track, repaired, signalled=True))

    def remove_track(self, track: Track) -> None:
        """Stop receiving a track; its subscriptions fall silent until they are unsubscribed."""
        if track not in self.tracks:
            return
        self.tracks.remove(track)
        for ssrc in [s for s, source in self._sources.items() if source.track is track]:
            del self._sources[ssrc]
            self._retired.append(ssrc)
        if self._mids.get(track.mid.encode()) is track:
            del self._mids[track.mid.encode()]
        self._index_extensions()
        track.end()

    def _index_extensions(self) -> None:
        self._mid_ids = self._identifiers(MID)
        self._rid_ids = self._identifiers(RID)
        self._repaired_rid_ids = self._identifiers(REPAIRED_RID)
        self.transport_id = next(iter(self._identifiers(TRANSPORT_SEQUENCE)), 0)

    def _identifiers(self, uri: str) -> list[int]:
        # RFC 8843 9.2: with BUNDLE an identifier means the same in every m-line.
        return sorted({track.extensions[uri] for track in self.tracks if uri in track.extensions})

    def _add_source(self, source: Source) -> None:
        known = self._sources.get(source.ssrc)
        if known is not None:
            known.signalled |= source.signalled
            return
        of_track = [other for other in self._sources.values() if other.track is source.track]
        if len(of_track) >= MAX_SOURCES_PER_TRACK:
            spare = [other for other in of_track if other is not source.track.current]
            oldest = min(spare, key=lambda other: other.signalled)  # an unsignalled one first
            del self._sources[oldest.ssrc]
        self._sources[source.ssrc] = source

    # RTP

    def receive_rtp(self, packet: bytes, now: float) -> None:
        """Take one plain RTP packet and forward it; malformed bytes are counted and dropped."""
        tally = self.tally
        tally.packets_in += 1
        tally.bytes_in += len(packet)
        self.ingress_bytes += len(packet)
        try:
            header = read_header(packet)
            if self.transport_id:
                # Whatever becomes of the packet, it arrived.
                number = find_transport_sequence(packet, header, self.transport_id)
                if number >= 0:
                    self.note_arrival(number, now)
            source = self._sources.get(header[4])
            if source is None:
                source = self._bind_unsignalled(packet, header, now)
                if source is None:
                    tally.drop("unknown_source")
                    return
            source.track.ingress_bytes += len(packet)
            if source.repairs is None:
                self._receive_media(source, packet, header, now, repaired=False)
            else:
                self._receive_rtx(source, packet, header, now)
        except RtpError as error:
            tally.drop(error.cause)
        if self._report_at is None:
            self._report_at = now + REPORT_INTERVAL_S
            self._deadline = min(self._deadline, self._report_at)

    def _receive_media(
        self, source: Source, packet: bytes, header: Header, now: float, *, repaired: bool
    ) -> None:
        track = source.track
        detector = source.detector
        recovered = detector.recovered
        number = detector.receive(header[2], now)
        # Sound is repeated as it was sent, under its own number: Chromium has no RTX for it.
        repaired = repaired or detector.recovered != recovered
        if number is None:
            track.drop("duplicate")
            return
        self._deadline = min(self._deadline, detector.deadline)
        if repaired:
            self.tally.rtx_in += 1
            source.reception.healed += 1
        else:
            if source.first_at < 0:
                source.first_at = now
            codec = track.formats.get(header[1])
            if codec is not None:
                source.reception.receive(header[3], codec.clock_rate, now)
        track.receive(source, packet, header, number, now)
        if track.key_frame_pending:
            self._deadline = min(self._deadline, track.handle_timeout(now) or inf)

    def _receive_rtx(self, rtx: Source, packet: bytes, header: Header, now: float) -> None:
        track = rtx.track
        if header[8] == header[9]:
            track.drop("padding")  # Chromium probes the path with empty retransmissions
            return
        source = self._sources.get(rtx.repairs or 0) or track.current
        payload_type = track.repairs.get(header[1])
        if source is None or source.detector.highest < 0 or payload_type is None:
            track.drop("unknown_source" if payload_type is not None else "payload_type")
            return
        packet = unwrap_rtx(packet, header, payload_type, source.ssrc)
        self._receive_media(source, packet, read_header(packet), now, repaired=True)

    def _bind_unsignalled(self, packet: bytes, header: Header, now: float) -> Source | None:
        """Find the m-line of an SSRC nobody announced (RFC 8843 9.2), and remember it.

        A payload type alone is weak evidence: it does not take a track from an SSRC that sends.
        """
        payload_type, ssrc = header[1], header[4]
        mid = self._read(self._mid_ids, packet, header)
        track = self._track_of(payload_type, ssrc, now) if mid is None else self._mids.get(mid)
        if track is None:
            return None
        if payload_type in track.formats:
            rid = self._read(self._rid_ids, packet, header) or b""
            source = Source(ssrc, track, rid=rid)
        elif payload_type in track.repairs:
            rid = self._read(self._repaired_rid_ids, packet, header) or b""
            repaired = self._layer(track, rid) if rid else track.current
            if repaired is None:
                return None
            source = Source(ssrc, track, repairs=repaired.ssrc, rid=rid)
        else:
            return None
        self._add_source(source)
        return source

    def _layer(self, track: Track, rid: bytes) -> Source | None:
        """Find the media SSRC that a repaired RID means: the one that came last (RFC 8852 3.2)."""
        for source in reversed(self._sources.values()):
            if source.track is track and source.rid == rid and source.repairs is None:
                return source
        return None

    @staticmethod
    def _read(identifiers: Sequence[int], packet: bytes, header: Header) -> bytes | None:
        for identifier in identifiers:
            value = find_element(packet, header, identifier)
            if value is not None:
                return value
        return None

    def _track_of(self, payload_type: int, ssrc: int, now: float) -> Track | None:
        able = [t for t in self.tracks if payload_type in t.formats or payload_type in t.repairs]
        if len(able) != 1 or ssrc in self._retired:
            return None
        (track,) = able
        return None if payload_type in track.formats and track.receiving(now) else track

    # RTCP

    def receive_rtcp(self, packet: bytes, now: float) -> None:
        """Take one plain compound RTCP packet (sender reports, BYE)."""
        try:
            blocks = rtcp.parse(packet)
        except RtcpError as error:
            self.tally.drop(error.cause)
            return
        for block in blocks:
            if isinstance(block, RtcpSrPacket):
                source = self._sources.get(block.ssrc)
                if source is not None and source.repairs is None:
                    info = block.sender_info
                    source.track.receive_sender_report(
                        source, info.ntp_timestamp, info.rtp_timestamp, now
                    )
            elif isinstance(block, RtcpByePacket):
                for ssrc in block.sources:
                    self._say_goodbye(ssrc)

    def _say_goodbye(self, ssrc: int) -> None:
        source = self._sources.get(ssrc)
        if source is None:
            return
        # Bound it stays: Chromium says goodbye and comes back under a signalled SSRC.
        self._sources[ssrc] = Source(ssrc, source.track, source.repairs, signalled=source.signalled)
        if source.track.current is source:
            source.track.current = None

    def _ask_key_frame(self, track: Track) -> bool:
        source = track.current
        if source is None:
            return False
        self._output.send_rtcp(rtcp.picture_loss(self.ssrc, source.ssrc))
        self.tally.pli_out += 1
        track.key_frames_asked += 1
        return True

    # Time

    def handle_timeout(self, now: float) -> None:
        """Send what is due: NACK, PLI, reports, REMB, feedback. Then ask `next_deadline`."""
        deadline = inf
        for source in self._sources.values():
            if source.detector.deadline <= now:
                self._ask_for_lost(source, now)
            deadline = min(deadline, source.detector.deadline)
        for track in self.tracks:
            deadline = min(deadline, track.handle_timeout(now) or inf)
        if self.arrivals.deadline <= now:
            self.send_transport_feedback()
        if self._report_at is not None:
            if self._report_at <= now:
                self._report(now)
                self._report_at = now + REPORT_INTERVAL_S
            deadline = min(deadline, self._report_at)
        self._deadline = deadline

    def next_deadline(self) -> float | None:
        """Tell when `handle_timeout` must run; ask again after each `receive_rtp`."""
        deadline = min(self._deadline, self.arrivals.deadline)
        return deadline if deadline < inf else None

    def note_arrival(self, number: int, now: float) -> None:
        """Take a transport sequence number; tell the sender when that is due.

        Told by what arrives, feedback costs no waking up; by `handle_timeout` only after the last.
        """
        self.arrivals.receive(number, now)
        if now >= self.arrivals.deadline:
            self.send_transport_feedback()

    def send_transport_feedback(self) -> None:
        """Tell the sender when its packets arrived (transport-wide congestion control)."""
        # Chromium listens only to what names one of its SSRCs.
        named = next((s.ssrc for s in self._heard()), 0)
        for body in self.arrivals.drain():
            self._output.send_rtcp(message(self.ssrc, named, body))

    def _ask_for_lost(self, source: Source, now: float) -> None:
        track = source.track
        lost = source.detector.due(now)
        given_up = source.detector.given_up - source.given_up
        source.given_up += given_up
        if track.muted or (source.rid and track.current is not source):
            return
        if given_up:
            self.tally.given_up += given_up
            track.request_key_frame()
        if lost and track.codec is not None and track.codec.nack:
            self.tally.nack_out += len(lost)
            track.nacked += len(lost)
            for at in range(0, len(lost), rtcp.MAX_NACKED):
                part = lost[at : at + rtcp.MAX_NACKED]
                self._output.send_rtcp(rtcp.nack(self.ssrc, source.ssrc, part))

    def _report(self, now: float) -> None:
        heard = list(self._heard())
        for at in range(0, len(heard), MAX_REPORTED):
            part = heard[at : at + MAX_REPORTED]
            compound = rtcp.receiver_report(self.ssrc, [s.report_block(now) for s in part])
            video = [source.ssrc for source in part if source.track.kind == "video"]
            if video:
                compound += rtcp.bitrate_limit(self.ssrc, self.bitrate_limit_bps, video)
            self._output.send_rtcp(compound)

    def _heard(self) -> Iterator[Source]:
        for source in self._sources.values():
            if source.repairs is None and source.detector.highest >= 0:
                yield source
