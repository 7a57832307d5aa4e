"""Loss: which packets of a stream are missing, and the ones kept for those who miss them."""

from math import inf

# Packets may overtake each other; what is still missing after this is lost. WebRTC senders pace
# in bursts 5 ms apart, so 10 ms is two bursts.
REORDER_WAIT_S = 0.010
# Sound leaves a packet every 20 ms: one that the next has overtaken is late by as much already, and
# is asked for at once. What comes after all is dropped as a repeat.
AUDIO_REORDER_WAIT_S = 0.0
# The round trip assumed before the first healed loss has measured it.
FIRST_RTT_S = 0.1
MIN_RETRY_S = 0.020
MAX_TRIES = 10
# A video decoder that has waited a second is better served by a key frame.
GIVE_UP_S = 1.0
# The sender keeps about this many packets; more are not worth asking for. It is also below the
# 1024 packets that libsrtp's window lets a late packet be behind.
MAX_MISSING = 500
MAX_GAP = 1000


class _Loss:
    __slots__ = ("asked_at", "due_at", "since", "tries")

    def __init__(self, since: float, due_at: float) -> None:
        self.since = since
        self.due_at = due_at
        self.asked_at = since
        self.tries = 0


class LossDetector:
    """Extends one SSRC's sequence numbers and tells which are missing, when to ask for them.

    ``deadline`` is when `due` has something to do, infinity for never. ``rtt_s`` is measured from
    the losses that were healed by the first request for them. What is missing is asked for
    after ``reorder_wait_s``.
    """

    __slots__ = (
        "deadline",
        "first",
        "given_up",
        "highest",
        "missing",
        "recovered",
        "reorder_wait_s",
        "rtt_s",
    )

    def __init__(self, reorder_wait_s: float = REORDER_WAIT_S) -> None:
        self.reorder_wait_s = reorder_wait_s
        self.first = 0  # extended, like all numbers here
        self.highest = -1  # before the first packet
        self.missing: dict[int, _Loss] = {}
        self.deadline = inf
        self.rtt_s = FIRST_RTT_S
        self.recovered = 0
        self.given_up = 0

    def receive(self, sequence: int, now: float) -> int | None:
        """Extend a wire number; `None` for a duplicate or one too late to be of use."""
        ahead = (sequence - self.highest) & 0xFFFF
        if ahead == 1 and self.highest >= 0:
            self.highest += 1
            return self.highest
        if self.highest < 0:
            # One cycle up, so that a number before the first is not negative.
            self.first = self.highest = sequence + 0x10000
            return self.highest
        if 0 < ahead < 0x8000:
            self._jump(self.highest + ahead, now)
            return self.highest
        return self._late(self.highest + ahead - (0x10000 if ahead else 0), now)

    def _jump(self, number: int, now: float) -> None:
        if number - self.highest > MAX_GAP:  # another beginning, not a loss
            self.given_up += len(self.missing)
            self.missing.clear()
            self.first += number - self.highest - 1
        else:
            due_at = now + self.reorder_wait_s
            for lost in range(self.highest + 1, number):
                self.missing[lost] = _Loss(now, due_at)
            self.deadline = min(self.deadline, due_at)
            while len(self.missing) > MAX_MISSING:
                del self.missing[next(iter(self.missing))]
                self.given_up += 1
        self.highest = number

    def _late(self, number: int, now: float) -> int | None:
        loss = self.missing.pop(number, None)
        if loss is None or self.highest - number > MAX_GAP:
            return None
        if loss.tries == 1:  # an answer to a repeated request could be to either (Karn)
            sample_s = max(now - loss.asked_at, 0.001)
            self.rtt_s += (sample_s - self.rtt_s) / 8 if self.recovered else sample_s - self.rtt_s
        if loss.tries:
            self.recovered += 1
        if not self.missing:
            self.deadline = inf
        return number

    def due(self, now: float) -> list[int]:
        """Return what to ask for now, in order; what was asked for in vain is given up."""
        asked: list[int] = []
        hopeless: list[int] = []
        deadline = inf
        give_up_s = max(GIVE_UP_S, 4 * self.rtt_s)
        for number, loss in self.missing.items():
            if loss.due_at <= now:
                if loss.tries == MAX_TRIES or now - loss.since >= give_up_s:
                    hopeless.append(number)
                    continue
                asked.append(number)
                loss.tries += 1
                loss.asked_at = now
                loss.due_at = now + max(1.25 * self.rtt_s, MIN_RETRY_S)
            deadline = min(deadline, loss.due_at)
        for number in hopeless:
            del self.missing[number]
        self.given_up += len(hopeless)
        self.deadline = deadline
        return asked


class PacketRing:
    """The last packets of a stream by their extended numbers: at most ``size``, one MTU each."""

    __slots__ = ("_numbers", "_packets", "_size")

    def __init__(self, size: int) -> None:
        self._size = size
        self._numbers = [-1] * size
        self._packets = [b""] * size

    def put(self, number: int, packet: bytes) -> None:
        """Keep a packet in place of the one ``size`` before it."""
        slot = number % self._size
        if number > self._numbers[slot]:
            self._numbers[slot] = number
            self._packets[slot] = packet

    def get(self, number: int) -> bytes | None:
        """Return a packet; `None` when it never came or is gone."""
        slot = number % self._size
        return self._packets[slot] if self._numbers[slot] == number else None
