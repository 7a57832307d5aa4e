"""Facts that wait for the next commit."""

import logging
from collections.abc import Iterable, Sequence

import msgspec

from chatd.bus import Clock
from chatd.counters import Counters
from chatd.errors import FactsRefused
from chatd.facts import Attended, ConnectionTime, Fact, Facts, MessagesRecovered, RoomOpened

_log = logging.getLogger("chatd.owed")

# After a facts port that broke instead of refusing.
_RETRY_MS = 1000
_NEVER_MS = 2**63


class OwedFacts:
    """What the log is owed. Nothing here is ever dropped: a refused commit leaves it owed."""

    def __init__(self, facts: Facts, clock: Clock, counters: Counters) -> None:
        self._facts = facts
        self._clock = clock
        self._counters = counters
        self._owed: list[Fact] = []
        # Where in `_owed` the last fact stands that a later one may continue.
        self._last: dict[tuple[str, ...], int] = {}
        self._retry_at = 0.0

    def __len__(self) -> int:
        return len(self._owed)

    @property
    def refused(self) -> bool:
        """Whether the last commit was refused and it is not yet time for another by itself."""
        return self._clock.monotonic() < self._retry_at

    def owe(self, facts: Iterable[Fact]) -> None:
        """Add `facts` to the next commit, one with those they continue.

        So a long refusal holds little more than a fact for each user and minute.
        """
        for fact in facts:
            key = _key(fact)
            place = self._last.get(key)
            joined = None if place is None else _joined(self._owed[place], fact)
            if place is None or joined is None:
                self._last[key] = len(self._owed)
                self._owed.append(fact)
            else:
                self._owed[place] = joined

    def settled_ms(self, utc_ms: int) -> int:
        """Return the beginning of the oldest fact that is owed, `utc_ms` when there is none."""
        return min(map(_began_ms, self._owed), default=utc_ms)

    def commit(self, facts: Sequence[Fact] = ()) -> None:
        """Keep what is owed and then `facts`, in one call of the port.

        Raises:
            FactsRefused: nothing was kept; `facts` are forgotten, the rest is still owed.
        """
        if not self._owed and not facts:
            return
        try:
            self._facts.commit([*self._owed, *facts])
        except FactsRefused as refusal:
            self._wait(refusal.retry_after_ms)
            raise
        except Exception as error:
            _log.exception("the facts port failed")
            self._wait(_RETRY_MS)
            raise FactsRefused(retry_after_ms=_RETRY_MS) from error
        self._owed.clear()
        self._last.clear()
        self._retry_at = 0.0

    def retry(self) -> None:
        """Commit what is owed, unless that was refused a moment ago."""
        if self._owed and not self.refused:
            try:
                self.commit()
            except FactsRefused as refusal:
                _log.error("facts are not stored, trying again: %s", refusal)

    def _wait(self, retry_after_ms: int) -> None:
        self._counters.commits_refused += 1
        self._retry_at = self._clock.monotonic() + retry_after_ms / 1000


def _key(fact: Fact) -> tuple[str, ...]:
    match fact:
        case MessagesRecovered():
            return ("recovered", fact.room, fact.user)
        case ConnectionTime():
            return ("connection", fact.app, fact.user)
        case Attended():
            return ("attended", fact.id)
        case _:
            return ("room", fact.room)


def _joined(a: Fact, b: Fact) -> Fact | None:
    """Return one fact that is counted as both are, None where there is none."""
    match a, b:
        case MessagesRecovered(), MessagesRecovered():
            # What is counted by windows keeps its minute: they begin on minutes.
            if a.at_ms // 60_000 == b.at_ms // 60_000:
                return msgspec.structs.replace(a, count=a.count + b.count)
        case ConnectionTime(), ConnectionTime():
            # floor(end) - floor(start): a gap within a second is none.
            if a.connections == b.connections and a.end_ms // 1000 == b.start_ms // 1000:
                return msgspec.structs.replace(a, end_ms=b.end_ms)
            if b.start_ms // 1000 == b.end_ms // 1000:
                return a
            if a.start_ms // 1000 == a.end_ms // 1000:
                return b
        case RoomOpened(), RoomOpened():
            return b  # nothing was said in it meanwhile
    return None


def _began_ms(fact: Fact) -> int:
    match fact:
        case ConnectionTime():
            return fact.start_ms
        case RoomOpened() | Attended():
            return _NEVER_MS  # nothing is counted of it
        case _:
            return fact.at_ms
