"""From participation to facts: who was there, receiving how many pixels, over how many bytes.

1. `Usage.enter` when a participant joins media; their interval starts.
2. `Usage.observe` several times a second: a change of the summed pixels splits the interval.
3. `Usage.checkpoint` ends every interval and starts the next one without a gap.
4. `Usage.leave` ends the last interval.
5. `Usage.commit` hands everything to the facts port in one call; refused facts are kept, merged
   with those that continue them, and offered again.

**The intervals of a participant are contiguous**, so the seconds between joining and leaving are
the same however often they were split.
"""

import msgspec

from sfu.errors import FactsRefused
from sfu.facts import Fact, Facts, MediaBytes, ParticipantInterval


class Stay:
    """One participant's metering: opened by `Usage.enter`."""

    __slots__ = (
        "egress_bytes",
        "ingress_bytes",
        "participant",
        "pixels",
        "room",
        "since_ms",
        "user",
    )

    def __init__(self, room: str, user: str, participant: str, now_ms: int) -> None:
        self.room = room
        self.user = user
        self.participant = participant
        self.since_ms = now_ms
        self.pixels = 0
        # Totals already told as `MediaBytes`.
        self.ingress_bytes = 0
        self.egress_bytes = 0


class Usage:
    """Collects facts of all participants and commits them."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self._pending: list[Fact] = []
        self.refusals = 0

    @property
    def pending(self) -> int:
        """Return how many facts wait for the facts port."""
        return len(self._pending)

    def enter(self, room: str, user: str, participant: str, now_ms: int) -> Stay:
        """Start metering a participant, voice only at first."""
        return Stay(room, user, participant, now_ms)

    def observe(self, stay: Stay, pixels: int, now_ms: int) -> None:
        """Split the interval where the pixels forwarded to the participant changed."""
        if pixels != stay.pixels:
            self._end_interval(stay, now_ms)
            stay.pixels = pixels

    def checkpoint(self, stay: Stay, ingress_bytes: int, egress_bytes: int, now_ms: int) -> None:
        """Tell what happened since the last checkpoint; the byte counts are totals so far."""
        self._end_interval(stay, now_ms)
        received = ingress_bytes - stay.ingress_bytes
        sent = egress_bytes - stay.egress_bytes
        if received or sent:
            self._pending.append(
                MediaBytes(stay.room, stay.user, stay.participant, now_ms, received, sent)
            )
            stay.ingress_bytes, stay.egress_bytes = ingress_bytes, egress_bytes

    def commit(self) -> bool:
        """Hand over what is pending, all or nothing; `False` when the port refused."""
        if not self._pending:
            return True
        try:
            self._facts.commit(self._pending)
        except FactsRefused:
            self.refusals += 1
            self._pending = _merged(self._pending)
            return False
        self._pending = []
        return True

    def _end_interval(self, stay: Stay, now_ms: int) -> None:
        # A wall clock set back must not make an interval negative, nor count its seconds twice.
        if now_ms > stay.since_ms:
            self._pending.append(
                ParticipantInterval(
                    stay.room, stay.user, stay.participant, stay.pixels, stay.since_ms, now_ms
                )
            )
            stay.since_ms = now_ms


def _merged(facts: list[Fact]) -> list[Fact]:
    """Join facts that continue one another, so that a long refusal stays small in memory."""
    merged: list[Fact] = []
    last: dict[tuple[type[Fact], str], int] = {}
    for fact in facts:
        key = (type(fact), fact.participant)
        joined = _joined(merged[last[key]], fact) if key in last else None
        if joined is not None:
            merged[last[key]] = joined
        else:
            last[key] = len(merged)
            merged.append(fact)
    return merged


def _joined(a: Fact, b: Fact) -> Fact | None:
    """Return one fact that says what both say, `None` where there is none."""
    match a, b:
        case ParticipantInterval(), ParticipantInterval():
            if a.pixels == b.pixels and a.end_ms == b.start_ms:
                return msgspec.structs.replace(a, end_ms=b.end_ms)
        case MediaBytes(), MediaBytes():
            # Bytes keep the minute they are counted in: windows of metering begin on minutes.
            if a.at_ms // 60_000 == b.at_ms // 60_000:
                return msgspec.structs.replace(
                    b,
                    ingress_bytes=a.ingress_bytes + b.ingress_bytes,
                    egress_bytes=a.egress_bytes + b.egress_bytes,
                )
    return None
