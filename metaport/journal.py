"""What is written to the local log, and how it is read back.

A record is one byte of kind and a MessagePack body:

    m  chatd.facts.MessageAccepted      an ordered chat message, with its key
    r  chatd.facts.RoomOpened           a room's epoch and the offset it has reached
    u  UsageBatch                       usage counters that changed, with their totals so far

Order of one commit, and what a crash after each step costs:
1. facts are counted in memory (nothing: nobody was told)
2. one `write` carries messages and counters together (nothing: it is in the page cache)
3. the caller acknowledges and delivers (nothing: replay restores it)
A refused write takes step 1 back: what was not stored is not counted, and may be offered again.
"""

import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from chatd import facts as chat
from chatd.errors import FactsRefused
from metaport.log import Log, LogError, read
from metering import meters
from metering.counters import Counters
from metering.events import Subject, UsageRow
from metering.windows import seconds_by_window
from sfu import facts as media
from sfu.errors import FactsRefused as MediaFactsRefused

MESSAGE, ROOM, USAGE = b"m", b"r", b"u"

# Totals of windows this old are forgotten: late facts are seconds late, never an hour.
FORGET_AFTER_S = 3600
REPLAY_BYTES = 64 << 20


class UsageBatch(msgspec.Struct, array_like=True, frozen=True):
    """Usage totals of one process: rows of boot, meter, room, user, window start and total.

    `at_s` is the second up to which everything counted so far stands in the log.
    """

    node: str
    at_s: int
    rows: list[tuple[str, str, str, str, int, int]]


_encode = msgspec.msgpack.Encoder().encode
_decode_usage = msgspec.msgpack.Decoder(UsageBatch).decode
_decode_message = msgspec.msgpack.Decoder(chat.MessageAccepted).decode
_decode_room = msgspec.msgpack.Decoder(chat.RoomOpened).decode


def room_record(fact: chat.RoomOpened) -> bytes:
    """Encode a room's place."""
    return ROOM + _encode(fact)


def usage_record(node: str, at_s: int, rows: Iterable[UsageRow]) -> bytes:
    """Encode changed totals."""
    flat = [(r.boot, r.meter, *r.subject, r.window_start_s, r.quantity) for r in rows]
    return USAGE + _encode(UsageBatch(node, at_s, flat))


def usage_of(record: bytes) -> tuple[int, list[UsageRow]] | None:
    """Decode a usage record to (at_s, rows); None for records of other kinds."""
    if record[:1] != USAGE:
        return None
    batch = _decode_usage(record[1:])
    rows = [
        UsageRow(batch.node, boot, meter, Subject(room, user), start_s, total)
        for boot, meter, room, user, start_s, total in batch.rows
    ]
    return batch.at_s, rows


class Count(NamedTuple):
    """One addition to a counter."""

    meter: str
    subject: Subject
    at_s: int
    quantity: int


class UsageLog:
    """Counters of one process and the log they are written to."""

    def __init__(self, log: Log, node: str, clock: Callable[[], float]) -> None:
        self._log = log
        self._clock = clock
        self._node = node
        self._counters = Counters(node, secrets.token_hex(8))
        self._prune_at_s = 0
        self.failures = 0
        self.failing: str | None = None  # why the last write was refused

    def write(self, records: Sequence[bytes] = (), counts: Sequence[Count] = ()) -> None:
        """Append `records` and every changed total in one write.

        Raises:
            LogError: nothing of it was written or counted.
        """
        at_s = int(self._clock())
        for count in counts:
            self._counters.add(*count)
        rows = self._counters.drain()
        try:
            self._log.append([*records, usage_record(self._node, at_s, rows)])
        except LogError as error:
            self._counters.undrain(rows)
            for count in counts:
                self._counters.retract(*count)
            self.failures += 1
            self.failing = str(error)
            raise
        self.failing = None
        if at_s >= self._prune_at_s:
            self._counters.prune(at_s - FORGET_AFTER_S)
            self._prune_at_s = at_s + 60


class ChatJournal:
    """The facts port of the chat hub over the local log."""

    def __init__(self, usage: UsageLog) -> None:
        self._usage = usage

    def commit(self, facts: Sequence[chat.Fact]) -> None:
        """Store facts; when it returns, they survive the end of this process.

        Raises:
            FactsRefused: the log could not be written; nothing of the batch happened.
        """
        records = [
            _chat_record(f) for f in facts if isinstance(f, chat.MessageAccepted | chat.RoomOpened)
        ]
        try:
            self._usage.write(records, [count for fact in facts for count in chat_counts(fact)])
        except LogError as error:
            raise FactsRefused(str(error)) from error


class MediaJournal:
    """The facts port of the SFU over the local log."""

    def __init__(self, usage: UsageLog) -> None:
        self._usage = usage

    def commit(self, facts: Sequence[media.Fact]) -> None:
        """Store facts; when it returns, they survive the end of this process.

        Raises:
            FactsRefused: the log could not be written; nothing of the batch happened.
        """
        try:
            self._usage.write((), [count for fact in facts for count in media_counts(fact)])
        except LogError as error:
            raise MediaFactsRefused(str(error)) from error


def _chat_record(fact: chat.MessageAccepted | chat.RoomOpened) -> bytes:
    if isinstance(fact, chat.RoomOpened):
        return room_record(fact)
    return MESSAGE + _encode(fact)


def chat_counts(fact: chat.Fact) -> Iterator[Count]:
    """Say what a chat fact adds to which counters."""
    match fact:
        case chat.MessageAccepted():
            subject, at_s = Subject(fact.room, fact.user), fact.at_ms // 1000
            yield Count(meters.MESSAGES_SENT, subject, at_s, 1)
            yield Count(meters.MESSAGES_DELIVERED, subject, at_s, fact.delivered)
        case chat.MessagesRecovered():
            subject = Subject(fact.room, fact.user)
            yield Count(meters.MESSAGES_RECOVERED, subject, fact.at_ms // 1000, fact.count)
        case chat.ConnectionTime():
            subject = Subject("", fact.user)
            for start_s, seconds in seconds_by_window(fact.start_ms, fact.end_ms):
                held_s = seconds * fact.connections
                yield Count(meters.CONNECTION_SECONDS, subject, start_s, held_s)


def media_counts(fact: media.Fact) -> Iterator[Count]:
    """Say what a fact of the SFU adds to which counters."""
    subject = Subject(fact.room, fact.user)
    match fact:
        case media.ParticipantInterval():
            meter = meters.participation_meter(fact.pixels)
            for start_s, seconds in seconds_by_window(fact.start_ms, fact.end_ms):
                yield Count(meter, subject, start_s, seconds)
        case media.MediaBytes():
            at_s = fact.at_ms // 1000
            yield Count(meters.INGRESS_BYTES, subject, at_s, fact.ingress_bytes)
            yield Count(meters.EGRESS_BYTES, subject, at_s, fact.egress_bytes)


def replay(directory: Path) -> Iterator[chat.MessageAccepted | chat.RoomOpened]:
    """Yield the chat facts of a log in their order, for `LocalBus.restore`.

    Raises:
        LogError: the log is damaged.
    """
    for _, record in read(directory, replay_from(directory)):
        match record[:1]:
            case b"m":
                yield _decode_message(record[1:])
            case b"r":
                yield _decode_room(record[1:])


def replay_from(directory: Path) -> int | None:
    """Return where a replay may begin: enough segments for hot history, not all there are.

    Every segment begins with the epoch and offset of each room, so older ones may be left out
    when the newer hold `REPLAY_BYTES`; a replay takes about 0.3 s for each 32 MiB.
    """
    total = 0
    starts = []
    for path in sorted(directory.glob("*.log"), reverse=True):
        starts.append(int(path.stem))
        total += path.stat().st_size
        if total >= REPLAY_BYTES:
            break
    return starts[-1] if starts else None
