"""Everything one receiving transport gets from us."""

from collections.abc import Callable, Mapping, Sequence

from aiortc.rtp import RtcpPsfbPacket, RtcpRrPacket, RtcpRtpfbPacket, RtcpSrPacket

from sfu import rtcp
from sfu.codec import TRANSPORT_SEQUENCE, Codec
from sfu.errors import RtcpError
from sfu.fanout import TransportNumbers
from sfu.subscription import Output, Subscription
from sfu.tally import Tally
from sfu.track import Track
from sfu.transport_feedback import TransportFeedback

REPORT_INTERVAL_S = 1.0
# Lips are in step only after the first report, and it can follow the publisher's own only.
FIRST_REPORT_INTERVAL_S = 0.2
# Reports of many receivers leave at the same tenths of a second: waking up for one costs more
# than the report.
REPORT_GRID_S = 0.1
MAX_REPORTED = 16  # a sender report and a CNAME are about 60 bytes: these fit one datagram


class Subscriber:
    """Everything one receiving transport gets from us.

    ``random(n)`` gives n random bytes; ``tally`` may be shared within a process.
    """

    def __init__(
        self, output: Output, *, random: Callable[[int], bytes], tally: Tally | None = None
    ) -> None:
        self.tally = Tally() if tally is None else tally
        self.remb_bps: int | None = None  # what the receiver last said it can take
        # Of all packets on the way to the receiver, 0 to 1; smoothed, `None` before it told.
        self.path_loss: float | None = None
        self._output = output
        self._random = random
        self._numbers = TransportNumbers()
        self._by_ssrc: dict[int, Subscription] = {}
        self._ended_bytes = 0
        self._report_at: float | None = None

    @property
    def subscriptions(self) -> Sequence[Subscription]:
        """What the receiver gets or waits for."""
        return list(self._by_ssrc.values())

    @property
    def egress_bytes(self) -> int:
        """Every RTP byte sent, ended subscriptions included."""
        return self._ended_bytes + sum(s.egress_bytes for s in self._by_ssrc.values())

    def subscribe(
        self,
        track: Track,
        *,
        mid: str,
        ssrc: int,
        rtx_ssrc: int | None,
        codecs: Sequence[Codec],
        extensions: Mapping[str, int],
    ) -> Subscription:
        """Forward a track to this receiver; video starts at the key frame this asks for.

        ``codecs`` and ``extensions`` in the subscriber's numbering. Call it when the receiver's
        description is known (after its answer), else its first packets are lost on it. Raises
        `ValueError` for an SSRC in use.
        """
        if ssrc in self._by_ssrc:
            raise ValueError(f"SSRC {ssrc} is in use")
        if rtx_ssrc is None:
            # Repeats will be plain ones: see `sfu.subscription.flavour_key`.
            extensions = {u: n for u, n in extensions.items() if u != TRANSPORT_SEQUENCE}
        subscription = Subscription(
            track,
            mid=mid,
            ssrc=ssrc,
            rtx_ssrc=rtx_ssrc,
            codecs=codecs,
            flavour=track.flavour(codecs, extensions),
            output=self._output,
            numbers=self._numbers,
            seed=self._random(8),
            tally=self.tally,
        )
        self._by_ssrc[ssrc] = subscription
        track.attach(subscription)
        self._report_at = 0.0
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        """Stop forwarding. Doing it twice is harmless."""
        if self._by_ssrc.get(subscription.ssrc) is not subscription:
            return
        del self._by_ssrc[subscription.ssrc]
        self._ended_bytes += subscription.egress_bytes
        subscription.track.detach(subscription)
        if not self._by_ssrc:
            self._report_at = None

    def receive_rtcp(self, packet: bytes, now: float) -> None:
        """Take one plain compound RTCP packet (NACK, PLI, FIR, reports, transport feedback)."""
        try:
            blocks = rtcp.parse(packet)
        except RtcpError as error:
            self.tally.drop(error.cause)
            return
        for block in blocks:
            if isinstance(block, RtcpRtpfbPacket):
                self._receive_nack(block, now)
            elif isinstance(block, TransportFeedback):
                self._receive_transport_feedback(block)
            elif isinstance(block, RtcpPsfbPacket):
                self._receive_psfb(block)
            elif isinstance(block, RtcpRrPacket | RtcpSrPacket):
                self._receive_reports(block, now)

    def _receive_nack(self, block: RtcpRtpfbPacket, now: float) -> None:
        subscription = self._by_ssrc.get(block.media_ssrc)
        if subscription is not None:
            self.tally.nack_in += len(block.lost)
            subscription.nacked += len(block.lost)
            subscription.repeat(block.lost, now)

    def _receive_transport_feedback(self, feedback: TransportFeedback) -> None:
        if not feedback.arrivals:
            return
        loss = feedback.arrivals.count(None) / len(feedback.arrivals)
        self.path_loss = loss if self.path_loss is None else self.path_loss * 0.875 + loss / 8

    def _receive_psfb(self, block: RtcpPsfbPacket) -> None:
        if block.fmt == rtcp.PLI:
            asked = [block.media_ssrc]
        elif block.fmt == rtcp.FIR:
            asked = rtcp.fir_targets(block)
        else:
            if block.fmt == rtcp.APPLICATION:
                self.remb_bps = rtcp.remb_bps(block) or self.remb_bps
            return
        for ssrc in asked:
            subscription = self._by_ssrc.get(ssrc)
            if subscription is not None:
                self.tally.pli_in += 1
                subscription.key_frames_asked += 1
                subscription.track.request_key_frame()

    def _receive_reports(self, block: RtcpRrPacket | RtcpSrPacket, now: float) -> None:
        for report in block.reports:
            subscription = self._by_ssrc.get(report.ssrc)
            if subscription is not None:
                subscription.receive_report(
                    fraction=report.fraction_lost,
                    lost=report.packets_lost,
                    jitter=report.jitter,
                    last=report.lsr,
                    delay=report.dlsr,
                    now=now,
                )

    def handle_timeout(self, now: float) -> None:
        """Send the sender reports that are due. Then ask `next_deadline`."""
        if self._report_at is None or now < self._report_at:
            return
        next_at = round((now + REPORT_INTERVAL_S) / REPORT_GRID_S) * REPORT_GRID_S
        self._report_at = next_at
        reports: list[bytes] = []
        names: list[tuple[int, str]] = []
        for subscription in self._by_ssrc.values():
            due_at = subscription.report_at
            if due_at <= now:
                report = subscription.sender_report(now)
                if report is not None:
                    reports.append(report)
                    names.append((subscription.ssrc, subscription.track.participant))
                    due_at = next_at
                else:
                    due_at = now + FIRST_REPORT_INTERVAL_S
                subscription.report_at = due_at
            self._report_at = min(self._report_at, due_at)
            if len(reports) == MAX_REPORTED:
                self._send_reports(reports, names)
                reports, names = [], []
        if reports:
            self._send_reports(reports, names)

    def _send_reports(self, reports: list[bytes], names: list[tuple[int, str]]) -> None:
        self._output.send_rtcp(b"".join(reports) + rtcp.source_description(names))

    def next_deadline(self) -> float | None:
        """Tell when `handle_timeout` must run; `None` without subscriptions.

        Ask again after each `subscribe`.
        """
        return self._report_at
