"""What a receiver report says about one SSRC (RFC 3550 6.4.1, appendix A.3 and A.8)."""

from sfu.sequence import extend_timestamp


class Reception:
    """Counts and times the packets of one SSRC.

    ``received`` counts what arrived as sent: retransmissions do not hide the network's loss.
    """

    __slots__ = (
        "_arrival",
        "_expected_prior",
        "_received_prior",
        "_timestamp",
        "jitter",
        "received",
        "sender_report",
    )

    def __init__(self) -> None:
        self.received = 0
        self.jitter = 0.0  # in timestamp units
        self.sender_report: SenderReport | None = None
        self._timestamp = -1
        self._arrival = 0.0
        self._expected_prior = 0
        self._received_prior = 0

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
        lost_now = (expected - self._expected_prior) - (self.received - self._received_prior)
        expected_now = expected - self._expected_prior
        self._expected_prior = expected
        self._received_prior = self.received
        fraction = min(255, (lost_now << 8) // expected_now) if lost_now > 0 else 0
        last, delay = 0, 0
        if self.sender_report is not None:
            last = (self.sender_report.ntp >> 16) & 0xFFFFFFFF
            delay = min(int((now - self.sender_report.arrival) * 65536), 0xFFFFFFFF)
        return fraction, expected - self.received, int(self.jitter), last, delay


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
