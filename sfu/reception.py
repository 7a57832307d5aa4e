"""What a receiver report says about one SSRC (RFC 3550 6.4.1, appendix A.3 and A.8)."""

from sfu.sequence import extend_timestamp


class Reception:
    """Counts and times the packets of one SSRC.

    ``received`` counts what arrived as sent. Of the pictures that a retransmission brought,
    ``healed``, half is reported as lost: loss is all that tells a sender of congestion, but a link
    that loses 10 % by chance made Chromium send 30 kbit/s, at which one key frame takes a second
    (measured). Of sound all is: Opus puts in as much forward error correction as is reported lost.
    """

    __slots__ = (
        "_arrival",
        "_expected_prior",
        "_lost_prior",
        "_reported_prior",
        "_timestamp",
        "fraction_lost",
        "healed",
        "jitter",
        "received",
        "sender_report",
        "softened",
    )

    def __init__(self, *, softened: bool = True) -> None:
        self.softened = softened
        self.received = 0
        self.healed = 0
        self.fraction_lost = 0.0  # of what was sent between the last two reports, healed or not
        self.jitter = 0.0  # in timestamp units
        self.sender_report: SenderReport | None = None
        self._timestamp = -1
        self._arrival = 0.0
        self._expected_prior = 0
        self._lost_prior = 0
        self._reported_prior = 0

    def receive(self, timestamp: int, clock_rate: int, now: float) -> None:
        """Count one packet."""
        self.received += 1
        if self._timestamp >= 0:
            sent = extend_timestamp(timestamp, self._timestamp) - self._timestamp
            drift = (now - self._arrival) * clock_rate - sent
            self.jitter += (abs(drift) - self.jitter) / 16
        self._timestamp = timestamp
        self._arrival = now

    def report(self, expected: int, now: float) -> tuple[int, int, int, int, int]:
        """Return fraction lost (1/256), packets lost, jitter, LSR and DLSR since the last call.

        ``expected`` is how many packets the sequence numbers account for so far.
        """
        expected_now = expected - self._expected_prior
        self._expected_prior = expected
        lost = expected - self.received
        self.fraction_lost = _fraction(lost - self._lost_prior, expected_now) / 256
        self._lost_prior = lost
        reported = lost - self.healed // 2 if self.softened else lost
        fraction = _fraction(reported - self._reported_prior, expected_now)
        self._reported_prior = reported
        last, delay = 0, 0
        if self.sender_report is not None:
            last = (self.sender_report.ntp >> 16) & 0xFFFFFFFF
            delay = min(int((now - self.sender_report.arrival) * 65536), 0xFFFFFFFF)
        return fraction, reported, int(self.jitter), last, delay


def _fraction(lost: int, expected: int) -> int:
    return min(255, (lost << 8) // expected) if lost > 0 and expected > 0 else 0


class SenderReport:
    """One sender report: the same instant on the sender's wall clock and on its media clock."""

    __slots__ = ("arrival", "ntp", "timestamp")

    def __init__(self, ntp: int, timestamp: int, arrival: float) -> None:
        self.ntp = ntp  # 32.32 fixed point
        self.timestamp = timestamp
        self.arrival = arrival  # on our clock

    def at(self, now: float, clock_rate: int) -> tuple[int, int]:
        """Carry the pair on to ``now``: NTP and media time."""
        elapsed = now - self.arrival
        ntp = (self.ntp + int(elapsed * 4294967296)) & 0xFFFFFFFFFFFFFFFF
        return ntp, self.timestamp + round(elapsed * clock_rate)
