"""How long users were connected, as facts whose sum does not depend on how they are split."""

from collections.abc import Iterator
from heapq import heappop, heappush
from itertools import islice
from typing import NamedTuple

from chatd.facts import DEFAULT_APP, ConnectionTime

# A wall clock that is further off than this was set, not slewed.
_STEP_MS = 1000


class Person(NamedTuple):
    """A user of an app."""

    id: str
    app: str = DEFAULT_APP


class _Stretch:
    """A stretch of time in which a user's number of connections did not change."""

    __slots__ = ("connections", "since_ms", "since_s")

    def __init__(self, now: float, utc_ms: int) -> None:
        self.connections = 0
        self.since_s = now
        self.since_ms = utc_ms


class Timesheet:
    """Open stretches by user. All times are `now` (monotonic, s) and `utc_ms`.

    Lengths are measured by the monotonic clock, so a wall clock that is set while people are
    connected neither makes nor swallows time; their place in UTC follows at the next stretch.
    """

    def __init__(self, checkpoint_s: float = 4.0) -> None:
        self._checkpoint_s = checkpoint_s
        # Least recently checkpointed first.
        self._stretches: dict[Person, _Stretch] = {}
        # Beginnings by age, some of stretches that have ended: the wall clock may be set, so the
        # least recently checkpointed need not be the first in UTC.
        self._beginnings: list[tuple[int, Person]] = []

    def opened(self, user: Person, now: float, utc_ms: int) -> ConnectionTime | None:
        """Count one more connection of `user`; return the stretch this ends."""
        ended = self._end(user, now, utc_ms)
        stretch = self._stretches.get(user)
        if stretch is None:
            stretch = self._stretches[user] = _Stretch(now, utc_ms)
            heappush(self._beginnings, (utc_ms, user))
        stretch.connections += 1
        return ended

    def closed(self, user: Person, now: float, utc_ms: int) -> ConnectionTime | None:
        """Count one connection less; return the stretch this ends."""
        ended = self._end(user, now, utc_ms)
        stretch = self._stretches[user]
        stretch.connections -= 1
        if not stretch.connections:
            del self._stretches[user]
        return ended

    def checkpoint(self, now: float, utc_ms: int, limit: int) -> list[ConnectionTime]:
        """Return the stretches due for a checkpoint, at most `limit`, and begin new ones.

        Call it often enough that `limit` users a call covers everyone in `checkpoint_s`.
        """
        self._forget_ended()
        due = list(islice(self._due(now), limit))
        return [fact for user in due if (fact := self._end(user, now, utc_ms)) is not None]

    def checkpoint_all(self, now: float, utc_ms: int) -> list[ConnectionTime]:
        """Return everyone's stretch up to now."""
        facts = [self._end(user, now, utc_ms) for user in list(self._stretches)]
        return [fact for fact in facts if fact is not None]

    def settled_ms(self, utc_ms: int) -> int:
        """Return the beginning of the oldest stretch, `utc_ms` when there is none."""
        self._forget_ended()
        return min(self._beginnings[0][0], utc_ms) if self._beginnings else utc_ms

    def __len__(self) -> int:
        return len(self._stretches)

    def _due(self, now: float) -> Iterator[Person]:
        for user, stretch in self._stretches.items():
            if now - stretch.since_s < self._checkpoint_s:
                return
            yield user

    def _end(self, user: Person, now: float, utc_ms: int) -> ConnectionTime | None:
        stretch = self._stretches.get(user)
        if stretch is None:
            return None
        start_ms = stretch.since_ms
        end_ms = start_ms + max(0, round((now - stretch.since_s) * 1000))
        # Not `now`: what rounding leaves over belongs to the next stretch.
        stretch.since_s += (end_ms - start_ms) / 1000
        stretch.since_ms = end_ms if abs(utc_ms - end_ms) <= _STEP_MS else utc_ms
        self._stretches[user] = self._stretches.pop(user)
        heappush(self._beginnings, (stretch.since_ms, user))
        if end_ms == start_ms:
            return None
        return ConnectionTime(user.id, start_ms, end_ms, stretch.connections, user.app)

    def _forget_ended(self) -> None:
        beginnings = self._beginnings
        while beginnings:
            since_ms, user = beginnings[0]
            stretch = self._stretches.get(user)
            if stretch is not None and stretch.since_ms == since_ms:
                return
            heappop(beginnings)
