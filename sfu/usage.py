"""From participation to facts: who was there, receiving how many pixels, over how many bytes.

1. `Usage.enter` when a participant joins media; their interval starts.
2. `Usage.observe` several times a second: a change of the summed pixels splits the interval.
3. `Usage.checkpoint` ends every interval and starts the next one without a gap.
4. `Usage.leave` ends the last interval. Both also say since when somebody was there, so that what
   was counted can be compared with it.
5. `Usage.commit` hands everything to the facts port in one call; refused facts are kept, merged
   with those that continue them, and offered again.

6. `Usage.vouch` says until when nobody else can be metering a participant. What comes later is
   held back: an SFU that is cut off from its hubs may count on whom another SFU counts already.

**The intervals of a participant are contiguous**, so the seconds between joining and leaving are
the same however often they were split. Their lengths are measured by the monotonic clock: setting
the wall clock neither makes nor swallows time, it moves where the next interval begins.
"""

from itertools import islice, takewhile
from math import inf
from typing import NamedTuple

import msgspec

from sfu.errors import FactsRefused
from sfu.facts import Appearance, Attendance, Fact, Facts, MediaBytes, ParticipantInterval

# As far as "forwarded within the last 2 s" looks back. Who was not looked at for longer is in a
# process that stood still, and got nothing.
UNSEEN_S = 2.0
# A wall clock that is further off than this was set, not slewed.
STEP_MS = 1000


class Moment(NamedTuple):
    """One instant by both clocks: `now` measures (monotonic seconds), `utc_ms` places."""

    now: float
    utc_ms: int


class Session(NamedTuple):
    """Which participation a stay is of: those that follow one another on several SFUs are one."""

    name: str
    began_ms: int


class Stay:
    """One participant's metering: opened by `Usage.enter`."""

    __slots__ = (
        "attended_ms",
        "egress_bytes",
        "handed_over",
        "held",
        "ingress_bytes",
        "participant",
        "pixels",
        "room",
        "seen_s",
        "session",
        "since_ms",
        "since_s",
        "told_s",
        "user",
        "vouched_s",
    )

    def __init__(
        self,
        room: str,
        user: str,
        participant: str,
        moment: Moment,
        session: Session | None = None,
    ) -> None:
        self.room = room
        self.user = user
        self.participant = participant
        self.session = session or Session(participant, moment.utc_ms)
        # When the present interval began, by both clocks.
        self.since_s, self.since_ms = moment
        # When the present stretch began: intervals follow it without a gap.
        self.attended_ms = moment.utc_ms
        # When the pixels were last looked at, and when the last checkpoint was.
        self.seen_s = self.told_s = moment.now
        self.pixels = 0
        # Totals already told as `MediaBytes`.
        self.ingress_bytes = 0
        self.egress_bytes = 0
        # Another SFU meters their seconds; bytes that still pass here count on.
        self.handed_over = False
        # Until when it is certain that no other SFU meters their seconds; later ones are `held`
        # until somebody says so.
        self.vouched_s = inf
        self.held: list[Fact] = []

    @property
    def told_ms(self) -> int:
        """Return up to when seconds were told."""
        return _began_ms(self.held[0]) if self.held else self.since_ms


class Usage:
    """Collects facts of all participants and commits them."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        # Least recently checkpointed first.
        self._stays: dict[str, Stay] = {}
        self._pending: list[Fact] = []
        self.refusals = 0

    @property
    def pending(self) -> int:
        """Return how many facts wait for the facts port."""
        return len(self._pending)

    def settled_ms(self, utc_ms: int) -> int:
        """Tell up to when everything was told: facts to come are of that instant or later."""
        since_ms = min((stay.told_ms for stay in self._stays.values()), default=utc_ms)
        pending_ms = min(map(_began_ms, self._pending), default=utc_ms)
        return min(since_ms, pending_ms, utc_ms)

    def enter(
        self,
        room: str,
        user: str,
        participant: str,
        moment: Moment,
        session: Session | None = None,
    ) -> Stay:
        """Start metering a participant, voice only at first; `session` if it began elsewhere."""
        stay = self._stays[participant] = Stay(room, user, participant, moment, session)
        return stay

    def observe(self, stay: Stay, pixels: int, moment: Moment) -> None:
        """Split the interval where the pixels forwarded to the participant changed."""
        self._forget_unseen(stay, moment.now)
        stay.seen_s = moment.now
        if pixels != stay.pixels:
            self._end_interval(stay, moment.now)
            stay.pixels = pixels

    def due(self, told_s: float, limit: int) -> list[Stay]:
        """Return up to `limit` stays without a checkpoint since `told_s`, the oldest first."""
        waiting = takewhile(lambda stay: stay.told_s <= told_s, self._stays.values())
        return list(islice(waiting, limit))

    def checkpoint(self, stay: Stay, ingress_bytes: int, egress_bytes: int, moment: Moment) -> None:
        """Tell what happened since the last checkpoint; the byte counts are totals so far."""
        self._forget_unseen(stay, moment.now)
        self._end_interval(stay, moment.now)
        received = ingress_bytes - stay.ingress_bytes
        sent = egress_bytes - stay.egress_bytes
        if received or sent:
            self._pending.append(
                MediaBytes(stay.room, stay.user, stay.participant, stay.since_ms, received, sent)
            )
            stay.ingress_bytes, stay.egress_bytes = ingress_bytes, egress_bytes
        stay.told_s = moment.now
        self._stays[stay.participant] = self._stays.pop(stay.participant)
        stepped = abs(moment.utc_ms - stay.since_ms) > STEP_MS
        self._attend(stay, ended=stepped)
        if stepped:
            stay.since_ms = stay.attended_ms = moment.utc_ms

    def leave(self, stay: Stay, ingress_bytes: int, egress_bytes: int, moment: Moment) -> None:
        """Tell the rest of a participation and stop metering it; what is held is nobody's."""
        self.checkpoint(stay, ingress_bytes, egress_bytes, moment)
        self._attend(stay, ended=True)
        del self._stays[stay.participant]

    def vouch(self, stay: Stay, until_s: float) -> None:
        """Know that nobody else meters their seconds so far, nor will until ``until_s``."""
        self._pending += stay.held
        stay.held = []
        stay.vouched_s = until_s

    def hand_over(self, stay: Stay, moment: Moment) -> None:
        """End the seconds counted here: another SFU counts on, and none may count twice."""
        self._forget_unseen(stay, moment.now)
        self._end_interval(stay, moment.now)
        self._attend(stay, ended=True)
        stay.held = []
        stay.handed_over = True

    def take_back(self, stay: Stay, moment: Moment) -> None:
        """Count their seconds again; those in between were another SFU's or nobody's."""
        if stay.handed_over:
            self._end_interval(stay, moment.now)
            stay.handed_over = False
            stay.attended_ms = stay.since_ms

    def tell(self, fact: Appearance) -> None:
        """Keep with the next commit what is only told, not counted."""
        self._pending.append(fact)

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

    def _attend(self, stay: Stay, *, ended: bool) -> None:
        """Say that somebody was there until now, unless another SFU says so."""
        if not stay.handed_over and stay.told_ms > stay.attended_ms:
            self._pending.append(
                Attendance(
                    stay.room,
                    stay.user,
                    stay.participant,
                    stay.attended_ms,
                    stay.told_ms,
                    ended,
                    stay.ingress_bytes,
                    stay.egress_bytes,
                )
            )

    def _forget_unseen(self, stay: Stay, now: float) -> None:
        """Make voice of the time in which nobody looked whether video is forwarded."""
        if stay.pixels and now - stay.seen_s > UNSEEN_S:
            self._end_interval(stay, stay.seen_s + UNSEEN_S)
            stay.pixels = 0

    def _end_interval(self, stay: Stay, now: float) -> None:
        if now > stay.vouched_s:
            self._tell(stay, stay.vouched_s, self._pending)
            self._tell(stay, now, stay.held)
            stay.held = _merged(stay.held)
        else:
            self._tell(stay, now, self._pending)

    @staticmethod
    def _tell(stay: Stay, now: float, told: list[Fact]) -> None:
        length_ms = round((now - stay.since_s) * 1000)
        if length_ms <= 0:
            return
        end_ms = stay.since_ms + length_ms
        if not stay.handed_over:
            told.append(
                ParticipantInterval(
                    stay.room,
                    stay.user,
                    stay.participant,
                    stay.pixels,
                    stay.since_ms,
                    end_ms,
                    *stay.session,
                )
            )
        # Not `now`: what rounding leaves over belongs to the next interval.
        stay.since_s += length_ms / 1000
        stay.since_ms = end_ms


def _began_ms(fact: Fact) -> int:
    match fact:
        case ParticipantInterval():
            return fact.start_ms
        case MediaBytes():
            return fact.at_ms
        case Attendance():
            return fact.until_ms
        case Appearance():
            return fact.at_ms


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
        case Attendance(), Attendance():
            if a.since_ms == b.since_ms:
                return b
        case MediaBytes(), MediaBytes():
            # Bytes keep the minute they are counted in: windows of metering begin on minutes.
            if a.at_ms // 60_000 == b.at_ms // 60_000:
                return msgspec.structs.replace(
                    b,
                    ingress_bytes=a.ingress_bytes + b.ingress_bytes,
                    egress_bytes=a.egress_bytes + b.egress_bytes,
                )
    return None
