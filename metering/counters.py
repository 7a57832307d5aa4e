"""Cumulative totals of this boot, by meter, subject or session, and window."""

from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from metering.events import Session, SessionRow, Subject, UsageRow
from metering.windows import WINDOW_S, seconds_by_window, window_start

About = TypeVar("About", Subject, Session)
Row = TypeVar("Row", UsageRow, SessionRow)


class Totals(Generic[About, Row]):
    """Add up what happens on `node`; `boot` must never have been used by that node before.

    Totals only grow until they are pruned. `drain` returns every total that changed since the last
    drain; write those rows down before acknowledging what they count. Rows that could not be
    written may be dropped: `undrain` marks them changed again.
    """

    def __init__(self, node: str, boot: str, row: Callable[..., Row]) -> None:
        self.node = node
        self.boot = boot
        self._row: Callable[..., Row] = row
        # By window, so that forgetting one takes no look at the others.
        self._totals: dict[int, dict[tuple[str, str, About, int], int]] = {}
        self._changed: set[tuple[str, str, About, int]] = set()
        self._border_s = 0  # of the last prune
        self._pruned_before_s = 0  # the furthest border ever
        self._prunes = 0

    def __len__(self) -> int:
        return sum(map(len, self._totals.values()))

    def add(self, meter: str, subject: About, at_s: int, quantity: int = 1) -> None:
        """Count `quantity` (not negative) of `meter` in the window that holds `at_s`."""
        if quantity <= 0:
            if quantity < 0:
                raise ValueError(f"{meter} cannot shrink by {-quantity}")
            return
        self._add(meter, subject, window_start(at_s), quantity)

    def add_interval(self, meter: str, subject: About, start_ms: int, end_ms: int) -> None:
        """Count the whole seconds of an interval in the windows they fall in.

        A second is counted when the interval passes its end, so that two intervals that meet
        anywhere count what the interval over both would. One that ends before it starts is nothing.
        """
        for start_s, seconds in seconds_by_window(start_ms, end_ms):
            self._add(meter, subject, start_s, seconds)

    def _add(self, meter: str, subject: About, start_s: int, quantity: int) -> None:
        key = self._key(meter, subject, start_s)
        totals = self._totals.get(start_s)
        if totals is None:
            totals = self._totals[start_s] = {}
        totals[key] = totals.get(key, 0) + quantity
        self._changed.add(key)

    def _key(self, meter: str, subject: About, start_s: int) -> tuple[str, str, About, int]:
        if start_s >= self._pruned_before_s:
            return self.boot, meter, subject, start_s
        # The total of this window has been forgotten. Counting on under the same identity would
        # restart below what was written, and the greatest would win: a loss.
        return f"{self.boot}.{self._prunes}", meter, subject, start_s

    def drain(self) -> list[Row]:
        """Return the totals that changed since the last drain, as rows."""
        rows = [
            self._row(self.node, boot, meter, subject, start_s, self._totals[start_s][key])
            for key in self._changed
            for boot, meter, subject, start_s in (key,)
        ]
        self._changed.clear()
        return rows

    def undrain(self, rows: Sequence[Row]) -> None:
        """Take back rows that `drain` returned and that could not be written down."""
        self._changed.update(
            key
            for row in rows
            for key in (_key_of(row),)
            if key in self._totals.get(row.window_start_s, ())
        )

    def retract(self, meter: str, subject: About, at_s: int, quantity: int = 1) -> None:
        """Take back what `add` has counted, because it did not happen after all.

        Only for what was never written down: a ledger keeps the greatest total it has seen.
        """
        if quantity == 0:
            return
        start_s = window_start(at_s)
        key = self._key(meter, subject, start_s)
        totals = self._totals.get(start_s, {})
        left = totals.get(key, 0) - quantity
        if left < 0:
            raise ValueError(f"{quantity} of {meter} were never counted")
        totals[key] = left
        if left == 0:
            del totals[key]
            self._changed.discard(key)

    def prune(self, before_s: int) -> None:
        """Forget drained totals of windows that ended before `before_s`.

        What still arrives for such a window is counted under an identity of its own and adds to
        what has been written. Costs nothing until `before_s` passes the next border of windows, or
        an earlier one because the clock was set back.
        """
        border_s = window_start(before_s)
        if border_s == self._border_s:
            return
        for start_s in [start_s for start_s in self._totals if start_s + WINDOW_S <= border_s]:
            totals = self._totals.pop(start_s)
            undrained = {key: totals[key] for key in self._changed if key[3] == start_s}
            if undrained:
                self._totals[start_s] = undrained
        self._border_s = border_s
        self._pruned_before_s = max(self._pruned_before_s, border_s)
        self._prunes += 1


class Counters(Totals[Subject, UsageRow]):
    """Totals about users in rooms."""

    def __init__(self, node: str, boot: str) -> None:
        super().__init__(node, boot, UsageRow)


class SessionCounters(Totals[Session, SessionRow]):
    """Totals of sessions."""

    def __init__(self, node: str, boot: str) -> None:
        super().__init__(node, boot, SessionRow)


def _key_of(row: UsageRow | SessionRow) -> tuple[str, str, Any, int]:
    _, boot, meter, about, start_s, _ = row
    return boot, meter, about, start_s
