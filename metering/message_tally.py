"""Totals of chat messages of this boot, by room, user and window: the counters of the busiest path.

`metering.counters` takes several µs for the four meters of a message; this takes about half a µs,
because it counts them in one list, and because what is written down is that list.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from metering.events import Subject, UsageRow
from metering.meters import (
    MESSAGES_DELIVERED,
    MESSAGES_SENT,
    TEXT_BYTES_IN,
    TEXT_BYTES_OUT,
)
from metering.windows import WINDOW_S, window_start

# room, user, UTC milliseconds, messages sent, frames written for connections, bytes in, bytes out
MessageCount = tuple[str, str, int, int, int, int, int]

_METERS = (MESSAGES_SENT, MESSAGES_DELIVERED, TEXT_BYTES_IN, TEXT_BYTES_OUT)


class Tally(NamedTuple):
    """The totals so far of one room, user and window. Everything before `sent` is its identity.

    `turn` is 0, or a number of its own for a window that was counted before and forgotten, or that
    the clock was set back into: it adds to what has been written for that window.
    """

    turn: int
    room: str
    user: str
    window_start_s: int
    sent: int
    delivered: int
    bytes_in: int
    bytes_out: int


def rows_of(node: str, boot: str, tally: Sequence[Any]) -> Iterable[UsageRow]:
    """Return a tally as rows of the ledger; `boot` is that of the process."""
    turn, room, user, start_s, *quantities = tally
    # Apart from the identities that `metering.counters` uses in the same boot.
    its_boot = f"{boot}.m{turn}" if turn else f"{boot}.m"
    subject = Subject(room, user)
    return (
        UsageRow(node, its_boot, meter, subject, start_s, quantity)
        for meter, quantity in zip(_METERS, quantities, strict=True)
        if quantity
    )


class MessageTallies:
    """Add up messages: `count`, `drain`, write down, acknowledge; `take_back` what was refused.

    Totals only grow until they are pruned. `name_of` tells how a user is called in what is
    written, and need not be quick.
    """

    def __init__(self, name_of: Callable[[str], str] = str) -> None:
        self._name_of = name_of
        # The fields of a `Tally`, whether it stands in `_changed`, the last window that was opened
        # in turn 0 for its room and user, and the quantities as they were last drained.
        self._tallies: dict[tuple[str, str], list[Any]] = {}
        self._changed: list[list[Any]] = []
        self._drained: list[list[Any]] = []
        self._pruned_s = 0  # no window up to this one is opened in turn 0
        self._turns = 0

    def __len__(self) -> int:
        return len(self._tallies)

    def count(self, messages: Iterable[MessageCount]) -> None:
        """Count messages."""
        tallies, changed = self._tallies, self._changed
        for room, user, at_ms, sent, delivered, bytes_in, bytes_out in messages:
            at_s = at_ms // 1000
            tally = tallies.get((room, user))
            if tally is None or not 0 <= at_s - tally[3] < WINDOW_S:
                tally = self._open(room, user, at_s)
            if not tally[8]:
                tally[8] = True
                tally[10] = tally[4:8]
                changed.append(tally)
            tally[4] += sent
            tally[5] += delivered
            tally[6] += bytes_in
            tally[7] += bytes_out

    def drain(self) -> list[list[Any]]:
        """Return the tallies that changed since the last drain, as lists of `Tally`'s fields."""
        self._drained = self._changed
        for tally in self._drained:
            tally[8] = False
        self._changed = []
        return [tally[:8] for tally in self._drained]

    def take_back(self) -> None:
        """Forget what was counted between the last two drains: it could not be written down."""
        for tally in self._drained:
            tally[4:8] = tally[10]

    def prune(self, before_s: int) -> None:
        """Forget drained tallies of windows that ended before `before_s`."""
        last_s = window_start(before_s) - WINDOW_S
        old = [key for key, tally in self._tallies.items() if tally[3] <= last_s and not tally[8]]
        for key in old:
            self._pruned_s = max(self._pruned_s, self._tallies.pop(key)[9])

    def _open(self, room: str, user: str, at_s: int) -> list[Any]:
        key, start_s = (room, user), window_start(at_s)
        before = self._tallies.get(key)
        last_s = before[9] if before is not None else self._pruned_s
        if start_s > last_s:
            turn, last_s = 0, start_s
        else:
            # The same identity again would restart below what was written, and the greatest wins.
            self._turns += 1
            turn = self._turns
        tally = self._tallies[key] = [
            turn, room, self._name_of(user), start_s, 0, 0, 0, 0, False, last_s, ()
        ]  # fmt: skip
        return tally
