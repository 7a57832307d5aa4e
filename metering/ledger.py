"""The ledger: where counts are kept and added up. The port, and the one in memory.

Most meters add up. A gauge (`meters.GAUGES`) does not: its rows say how much there was on one node
at `window_start_s`, and what counts is the greatest sum over nodes.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Protocol, TypeVar

from metering.events import Checkpoint, Place, Session, SessionRow, Subject, UsageRow, place_of
from metering.meters import GAUGES
from metering.rating.rounding import Piece

# The largest integer both SQLite and PostgreSQL keep; 8 exabytes of traffic in one window.
LARGEST_QUANTITY = 2**63 - 1


class Ledger(Protocol):
    """Keep the greatest quantity seen of every row's identity, forever.

    `upsert` is one transaction: after it returns, all rows and the checkpoint stand, also after a
    crash; if it raises, none does. Rows may come again, in any order, in other groups, from
    several callers at once: the ledger is the same afterwards. So a reader that crashes anywhere
    between reading and checkpointing starts again at its last checkpoint and neither loses nor
    doubles anything.

    Raises LedgerUnavailable when the storage cannot be reached; try again later.
    """

    async def upsert(
        self,
        rows: Sequence[UsageRow],
        checkpoint: Checkpoint | None = None,
        sessions: Sequence[SessionRow] = (),
    ) -> None:
        """Keep the greatest quantity of each row's identity, and the reader's checkpoint.

        Raises ValueError, and keeps nothing, for a row that no storage can hold: a quantity below
        0 or above 2^63 - 1, text with NUL or lone surrogates.
        """

    async def checkpoint(self, reader: str) -> str | None:
        """Return the position last kept for `reader`, None if there is none."""

    async def as_of(self) -> int | None:
        """Return the second up to which every reader has come, None before the first."""

    async def totals(self, start_s: int, end_s: int) -> Mapping[str, int]:
        """Add up each meter over the windows that start in [start_s, end_s)."""

    async def by_subject(
        self, start_s: int, end_s: int, *, room: str | None = None, user: str | None = None
    ) -> Mapping[tuple[str, Subject], int]:
        """Add up each (meter, subject) over the same windows, of one room or user if given.

        Raises PeriodError where the details of the time asked for are no longer kept.
        """

    async def by_place(self, start_s: int, end_s: int) -> Mapping[tuple[str, Place], int]:
        """Add up each (meter, place) over the same windows."""

    async def by_node(self, start_s: int, end_s: int) -> Mapping[tuple[str, str], int]:
        """Add up each (meter, node) over the same windows.

        Raises PeriodError where the details of the time asked for are no longer kept.
        """

    async def sessions(
        self, start_s: int, end_s: int, meters: Collection[str]
    ) -> Mapping[str, Sequence[Piece]]:
        """Return what each session with windows in [start_s, end_s) came to before and through it.

        Those that came to the same are one piece; pieces are in order.

        Raises PeriodError where the details of the time asked for are no longer kept.
        """

    async def peak(self, meter: str, start_s: int, end_s: int) -> int:
        """Return the greatest sum over nodes of a gauge at one time in [start_s, end_s)."""

    async def active_users(self, start_s: int, end_s: int) -> int:
        """Count the users with any usage in the windows that start in [start_s, end_s)."""


def refuse_unwritable(
    rows: Sequence[UsageRow],
    checkpoint: Checkpoint | None,
    sessions: Sequence[SessionRow] = (),
) -> None:
    """Raise ValueError for the first row or checkpoint that no storage can hold."""
    for row in rows:
        if not 0 <= row.quantity <= LARGEST_QUANTITY:
            raise ValueError(f"quantity {row.quantity} of {row.meter} cannot be kept")
        _refuse_text(row.node, row.boot, row.meter, *row.subject)
    for each in sessions:
        if not 0 <= each.quantity <= LARGEST_QUANTITY:
            raise ValueError(f"quantity {each.quantity} of {each.meter} cannot be kept")
        _refuse_text(each.node, each.boot, each.meter, each.session.name)
    if checkpoint is not None:
        _refuse_text(checkpoint.reader, checkpoint.position)


def _refuse_text(*texts: str) -> None:
    joined = "".join(texts)
    if joined.isascii() and "\0" not in joined:  # nearly always, and 100 times as fast
        return
    for text in texts:
        if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
            raise ValueError(f"{text!r} holds characters no database keeps")


class MemoryLedger:
    """A ledger that lives as long as its process: for tests and trials."""

    def __init__(self) -> None:
        self._quantities: dict[tuple[str, str, str, Subject, int], int] = {}
        self._sessions: dict[tuple[str, str, str, Session, int], int] = {}
        self._checkpoints: dict[str, Checkpoint] = {}

    async def upsert(
        self,
        rows: Sequence[UsageRow],
        checkpoint: Checkpoint | None = None,
        sessions: Sequence[SessionRow] = (),
    ) -> None:
        """Keep the greatest quantity of each row's identity, and the reader's checkpoint."""
        refuse_unwritable(rows, checkpoint, sessions)
        for node, boot, meter, subject, window_start_s, quantity in rows:
            key = (node, boot, meter, subject, window_start_s)
            self._quantities[key] = max(self._quantities.get(key, 0), quantity)
        for node, boot, meter, session, window_start_s, quantity in sessions:
            its = (node, boot, meter, session, window_start_s)
            self._sessions[its] = max(self._sessions.get(its, 0), quantity)
        if checkpoint is not None:
            self._checkpoints[checkpoint.reader] = checkpoint

    async def checkpoint(self, reader: str) -> str | None:
        """Return the position last kept for `reader`, None if there is none."""
        kept = self._checkpoints.get(reader)
        return None if kept is None else kept.position

    async def as_of(self) -> int | None:
        """Return the second up to which every reader has come, None before the first."""
        return min((kept.at_s for kept in self._checkpoints.values()), default=None)

    async def totals(self, start_s: int, end_s: int) -> dict[str, int]:
        """Add up each meter over the windows that start in [start_s, end_s)."""
        return _summed((meter, quantity) for meter, _, quantity in self._rows(start_s, end_s))

    async def by_subject(
        self, start_s: int, end_s: int, *, room: str | None = None, user: str | None = None
    ) -> dict[tuple[str, Subject], int]:
        """Add up each (meter, subject) over the same windows, of one room or user if given."""
        return _summed(
            ((meter, subject), quantity)
            for meter, subject, quantity in self._rows(start_s, end_s)
            if room in (None, subject.room) and user in (None, subject.user)
        )

    async def by_place(self, start_s: int, end_s: int) -> dict[tuple[str, Place], int]:
        """Add up each (meter, place) over the same windows."""
        return _summed(
            ((meter, place_of(subject.room)), quantity)
            for meter, subject, quantity in self._rows(start_s, end_s)
        )

    async def by_node(self, start_s: int, end_s: int) -> dict[tuple[str, str], int]:
        """Add up each (meter, node) over the same windows."""
        return _summed(
            ((meter, node), quantity)
            for (node, _, meter, _, window_start_s), quantity in self._quantities.items()
            if meter not in GAUGES and start_s <= window_start_s < end_s
        )

    async def sessions(
        self, start_s: int, end_s: int, meters: Collection[str]
    ) -> dict[str, list[Piece]]:
        """Return what each session came to before and through the same windows."""
        came: dict[tuple[str, Session], list[int]] = {}
        for (_, _, meter, session, window_start_s), quantity in self._sessions.items():
            if meter in meters and window_start_s < end_s:
                before, grew = came.setdefault((meter, session), [0, 0])
                early = window_start_s < start_s
                came[meter, session] = [before + quantity * early, grew + quantity * (not early)]
        return pieces_of(
            (meter, before, before + grew) for (meter, _), (before, grew) in came.items() if grew
        )

    async def peak(self, meter: str, start_s: int, end_s: int) -> int:
        """Return the greatest sum over nodes of a gauge at one time in [start_s, end_s)."""
        return max(
            _summed(
                (at_s, quantity)
                for (_, _, name, _, at_s), quantity in self._quantities.items()
                if name == meter and start_s <= at_s < end_s
            ).values(),
            default=0,
        )

    async def active_users(self, start_s: int, end_s: int) -> int:
        """Count the users with any usage in the windows that start in [start_s, end_s)."""
        users = {subject.user for _, subject, quantity in self._rows(start_s, end_s) if quantity}
        return len(users - {""})

    def _rows(self, start_s: int, end_s: int) -> Iterator[tuple[str, Subject, int]]:
        for (_, _, meter, subject, window_start_s), quantity in self._quantities.items():
            if meter not in GAUGES and start_s <= window_start_s < end_s:
                yield meter, subject, quantity


def pieces_of(came: Iterable[tuple[str, int, int]]) -> dict[str, list[Piece]]:
    """Gather (meter, before, through) of sessions into pieces, in order."""
    pieces: dict[str, list[Piece]] = {}
    for (meter, before, through), count in sorted(Counter(came).items()):
        pieces.setdefault(meter, []).append(Piece(through, before, count))
    return pieces


Key = TypeVar("Key")


def _summed(pairs: Iterable[tuple[Key, int]]) -> dict[Key, int]:
    sums: dict[Key, int] = {}
    for key, quantity in pairs:
        sums[key] = sums.get(key, 0) + quantity
    return sums
