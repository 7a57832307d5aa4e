"""Usage counters of one process, in its local log.

A log record is one byte of kind and a MessagePack body. This module's kind is

    u  UsageBatch                       usage counters that changed, with their totals so far

Order of one write, and what a crash after each step costs:
1. what happened is counted in memory (nothing: nobody was told)
2. one `write` carries other records and counters together (nothing: it is in the page cache)
3. the caller acknowledges and delivers (nothing: a replay restores it)
A refused write takes step 1 back: what was not stored is not counted, and may be offered again.
"""

import secrets
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import msgspec

from metaport.log import Log
from metering.counters import Counters, SessionCounters
from metering.events import Session, SessionRow, Subject, UsageRow
from metering.message_tally import MessageCount, MessageTallies, rows_of

USAGE = b"u"

# Totals of windows this old are forgotten: late facts are seconds late, never an hour.
FORGET_AFTER_S = 3600
PRUNE_EVERY_S = 60


class UsageBatch(msgspec.Struct, array_like=True, frozen=True):
    """Usage totals of one process: rows of boot, meter, room, user, window start and total.

    Everything that happened before the second `at_s` and is to be counted stands in the log.
    `messages` are the fields of `metering.message_tally.Tally`, of the boot `boot`. `sessions` are
    rows of boot, meter, start and name of a session, window start and total. Fields are only ever
    appended: logs written yesterday are read tomorrow.
    """

    node: str
    at_s: int
    rows: list[tuple[str, str, str, str, int, int]]
    boot: str = ""
    messages: list[tuple[int, str, str, int, int, int, int, int]] = []
    sessions: list[tuple[str, str, int, str, int, int]] = []


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(UsageBatch).decode


def usage_record(
    node: str,
    at_s: int,
    rows: Iterable[UsageRow],
    boot: str = "",
    messages: list[Any] | None = None,
    *,
    sessions: Iterable[SessionRow] = (),
) -> bytes:
    """Encode changed totals."""
    flat = [(r.boot, r.meter, *r.subject, r.window_start_s, r.quantity) for r in rows]
    theirs = [(r.boot, r.meter, *r.session, r.window_start_s, r.quantity) for r in sessions]
    return USAGE + _encode((node, at_s, flat, boot, messages or [], theirs))


def usage_of(record: bytes) -> tuple[int, list[UsageRow]] | None:
    """Decode a usage record to (at_s, rows); None for records of other kinds."""
    if record[:1] != USAGE:
        return None
    newest = NewestUsage()
    newest.take(record)
    return newest.at_s or 0, newest.rows()


class NewestUsage:
    """The last total of each counter among the records of one log.

    Thousands of records tell the totals of the same counters: only the last becomes a row.
    """

    def __init__(self) -> None:
        self.at_s: int | None = None  # of the last usage record
        self._rows: dict[tuple[Any, ...], int] = {}
        self._messages: dict[tuple[Any, ...], tuple[Any, ...]] = {}
        self._sessions: dict[tuple[Any, ...], int] = {}

    def take(self, record: bytes) -> None:
        """Read a record; those of other kinds are passed over."""
        if record[:1] != USAGE:
            return
        batch = _decode(record[1:])
        self.at_s = batch.at_s
        node, boot = batch.node, batch.boot
        for row in batch.rows:
            self._rows[node, *row[:-1]] = row[-1]
        for tally in batch.messages:
            self._messages[node, boot, *tally[:4]] = tally
        for each in batch.sessions:
            self._sessions[node, *each[:-1]] = each[-1]

    def rows(self) -> list[UsageRow]:
        """Return the totals as rows of the ledger."""
        rows = [
            UsageRow(node, boot, meter, Subject(room, user), start_s, total)
            for (node, boot, meter, room, user, start_s), total in self._rows.items()
        ]
        for (node, boot, *_), tally in self._messages.items():
            rows += rows_of(node, boot, tally)
        return rows

    def sessions(self) -> list[SessionRow]:
        """Return the totals of sessions as rows of the ledger."""
        return [
            SessionRow(node, boot, meter, Session(began_s, name), start_s, total)
            for (node, boot, meter, began_s, name, start_s), total in self._sessions.items()
        ]


class Count(NamedTuple):
    """One addition to a counter, and to that of a session where it is one's."""

    meter: str
    subject: Subject
    at_s: int
    quantity: int
    session: Session | None = None


class UsageLog:
    """Counters of one process and the log they are written to.

    A stretch of time is told to `write` when it ends or at a checkpoint, `late_s` seconds late at
    most. A record may claim to know only what was told before; a statement would otherwise be
    called complete and still change. `name_of` tells how a user is called in the ledger.
    """

    def __init__(
        self,
        log: Log,
        node: str,
        clock: Callable[[], float],
        *,
        late_s: int = 0,
        name_of: Callable[[str], str] = str,
    ) -> None:
        self._log = log
        self._clock = clock
        self._node = node
        # Up to when all is told, given the present, both in UTC milliseconds; whoever tells may
        # replace this by what it knows exactly.
        self.settled_ms: Callable[[int], int] = lambda utc_ms: utc_ms - late_s * 1000
        self._boot = secrets.token_hex(8)
        self._counters = Counters(node, self._boot)
        self._sessions = SessionCounters(node, self._boot)
        self._tallies = MessageTallies(name_of)
        self._name_of = name_of
        self._gauges: list[UsageRow] = []
        self._prune_at_s = 0
        self.failures = 0
        self.failing: str | None = None  # why the last write was refused

    def gauge(self, meter: str, at_s: int, quantity: int) -> None:
        """Tell with the next write how much of a gauge there was at `at_s`."""
        boot = f"{self._boot}.g"
        self._gauges.append(UsageRow(self._node, boot, meter, Subject("", ""), at_s, quantity))

    def write(
        self,
        records: Sequence[bytes] = (),
        counts: Sequence[Count] = (),
        messages: Sequence[MessageCount] = (),
    ) -> None:
        """Append `records` and every changed total in one write.

        Whatever it raises, nothing of it was written or counted.

        Raises:
            LogError: the log could not be written.
        """
        utc_ms = int(self._clock() * 1000)
        for meter, subject, at_s, quantity, session in counts:
            self._counters.add(meter, subject, at_s, quantity)
            if session is not None:
                self._sessions.add(meter, session, at_s, quantity)
        self._tallies.count(messages)
        rows, tallies = self._counters.drain(), self._tallies.drain()
        sessions = self._sessions.drain()
        try:
            at_s = self.settled_ms(utc_ms) // 1000
            told = [*map(self._named, rows), *self._gauges]
            usage = usage_record(self._node, at_s, told, self._boot, tallies, sessions=sessions)
            self._log.append([*records, usage])
        except BaseException as error:
            self._counters.undrain(rows)
            self._sessions.undrain(sessions)
            self._tallies.take_back()
            for meter, subject, at_s, quantity, session in counts:
                self._counters.retract(meter, subject, at_s, quantity)
                if session is not None:
                    self._sessions.retract(meter, session, at_s, quantity)
            self.failures += 1
            self.failing = str(error) or type(error).__name__
            raise
        self._gauges.clear()
        self.failing = None
        self._prune(utc_ms // 1000)

    def _named(self, row: UsageRow) -> UsageRow:
        room, user = row.subject
        return row._replace(subject=Subject(room, self._name_of(user)))

    def _prune(self, now_s: int) -> None:
        # A clock that was set back is not waited for.
        if not 0 < self._prune_at_s - now_s <= PRUNE_EVERY_S:
            self._counters.prune(now_s - FORGET_AFTER_S)
            self._sessions.prune(now_s - FORGET_AFTER_S)
            self._tallies.prune(now_s - FORGET_AFTER_S)
            self._prune_at_s = now_s + PRUNE_EVERY_S
