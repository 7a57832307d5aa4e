"""One SSRC of a publisher."""

from typing import TYPE_CHECKING

from sfu import rtcp
from sfu.nack import AUDIO_REORDER_WAIT_S, REORDER_WAIT_S, LossDetector
from sfu.reception import Reception

if TYPE_CHECKING:
    from sfu.track import Track


class Source:
    """One SSRC of a publisher: a stream of media, or of the retransmissions of one."""

    __slots__ = (
        "detector",
        "first_at",
        "fraction_lost",
        "given_up",
        "reception",
        "repairs",
        "rid",
        "signalled",
        "ssrc",
        "track",
    )

    def __init__(
        self,
        ssrc: int,
        track: "Track",
        repairs: int | None = None,
        *,
        signalled: bool = False,
        rid: bytes = b"",
    ) -> None:
        self.ssrc = ssrc
        self.track = track
        self.repairs = repairs  # the SSRC whose packets it repeats; `None` for media
        self.signalled = signalled  # whether a description named it
        self.rid = rid  # of the layer it carries or repairs (RFC 8852); empty without one
        self.given_up = 0  # of the detector's, those already counted
        self.detector = LossDetector(
            AUDIO_REORDER_WAIT_S if track.kind == "audio" else REORDER_WAIT_S
        )
        self.reception = Reception(softened=track.kind == "video")
        self.first_at = -1.0  # `now` of its first packet
        self.fraction_lost = 0.0  # as last reported

    def report_block(self, now: float) -> bytes:
        """Build this stream's block of a receiver report."""
        detector = self.detector
        expected = detector.highest - detector.first + 1
        fraction, lost, jitter, last, delay = self.reception.report(expected, now)
        self.fraction_lost = self.reception.fraction_lost
        highest = detector.highest - 0x10000  # numbering starts one cycle up
        return rtcp.report_block(self.ssrc, fraction, lost, highest, jitter, last, delay)
