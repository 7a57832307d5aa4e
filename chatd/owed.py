"""Facts that wait for the next commit."""

import logging
from collections.abc import Iterable, Sequence

from chatd.bus import Clock
from chatd.counters import Counters
from chatd.errors import FactsRefused
from chatd.facts import Fact, Facts

_log = logging.getLogger("chatd.owed")

# After a facts port that broke instead of refusing.
_RETRY_MS = 1000


class OwedFacts:
    """What the log is owed. Nothing here is ever dropped: a refused commit leaves it owed."""

    def __init__(self, facts: Facts, clock: Clock, counters: Counters) -> None:
        self._facts = facts
        self._clock = clock
        self._counters = counters
        self._owed: list[Fact] = []
        self._retry_at = 0.0

    def __len__(self) -> int:
        return len(self._owed)

    @property
    def refused(self) -> bool:
        """Whether the last commit was refused and it is not yet time for another by itself."""
        return self._clock.monotonic() < self._retry_at

    def owe(self, facts: Iterable[Fact]) -> None:
        """Add `facts` to the next commit."""
        self._owed.extend(facts)

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
