"""Facts of the chat hub in its local log, and back from it at the next start.

Kinds of record beside the usage of `metaport.usage_log`:

    m  chatd.facts.MessageAccepted      an ordered chat message, with its key
    b  list of MessageAccepted          those of one loop iteration, when there are several
    r  chatd.facts.RoomOpened           a room's epoch and the offset it has reached
    p  list of chatd.facts.Attended     who came and went, where an endpoint wants to know
    t  chatd.facts.MonotonicTime        before a message, once a second: wall clocks are set
"""

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec

from chatd.body import body_bytes
from chatd.errors import FactsRefused
from chatd.facts import (
    Attended,
    ConnectionTime,
    Fact,
    MessageAccepted,
    MessagesDelivered,
    MessagesRecovered,
    MonotonicTime,
    RoomOpened,
)
from metaport.boot import boot_id
from metaport.log import LogError, read
from metaport.usage_log import Count, UsageLog
from metering import meters
from metering.events import Subject, no_room_of
from metering.message_tally import MessageCount
from metering.windows import seconds_by_window

MESSAGE, BATCH, ROOM, TIME, PEOPLE = b"m", b"b", b"r", b"t", b"p"

# A key is 5 minutes old, give or take this.
TIME_EVERY_S = 1.0

# About 0.6 s of replay; a room's hot history is at most 2 MiB.
REPLAY_BYTES = 64 << 20

_encode = msgspec.msgpack.Encoder().encode
_decode_message = msgspec.msgpack.Decoder(MessageAccepted).decode
_decode_batch = msgspec.msgpack.Decoder(list[MessageAccepted]).decode
_decode_people = msgspec.msgpack.Decoder(list[Attended]).decode
_decode_room = msgspec.msgpack.Decoder(RoomOpened).decode
_decode_time = msgspec.msgpack.Decoder(MonotonicTime).decode


class ChatJournal:
    """The facts port of the chat hub over the local log.

    `orders` is False where a server elsewhere orders messages and counts what was sent, and its
    bytes, in the same call; its answers may come late, so frames are counted when they are written.
    """

    def __init__(
        self,
        usage: UsageLog,
        *,
        orders: bool = True,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._monotonic = monotonic
        self._told_s = float("-inf")
        self._usage = usage
        self._orders = orders
        self._clock = clock

    def commit(self, facts: Sequence[Fact]) -> None:
        """Store facts; when it returns, they survive the end of this process.

        Raises:
            FactsRefused: the log could not be written; nothing of the batch happened.
        """
        accepted: list[MessageAccepted] = []
        records: list[bytes] = []
        messages: list[MessageCount] = []
        people: list[Attended] = []
        counts: list[Count] = []
        for fact in facts:
            if type(fact) is MessageAccepted:
                accepted.append(fact)
                if fact.counted:
                    messages.append(self._count(fact))
            elif type(fact) is MessagesDelivered:
                messages.append(self._count(fact))
            elif type(fact) is RoomOpened:
                # A room is told before what is said in it, and after what was.
                records += _records(accepted)
                accepted = []
                records.append(room_record(fact))
            elif type(fact) is Attended:
                people.append(fact)
            else:
                counts += chat_counts(fact)
        records += _records(accepted)
        if people:
            records.append(people_record(people))
        now = self._monotonic()
        tells = self._orders and bool(records) and now - self._told_s >= TIME_EVERY_S
        if tells:
            records.insert(0, time_record(now))
        try:
            self._usage.write(records, counts, messages)
        except LogError as error:
            raise FactsRefused(str(error)) from error
        if tells:
            self._told_s = now

    def _count(self, fact: MessageAccepted | MessagesDelivered) -> MessageCount:
        at_ms = fact.at_ms if self._orders else int(self._clock() * 1000)
        if isinstance(fact, MessagesDelivered):
            size, frames = fact.body_bytes, fact.count
            return fact.room, fact.user, at_ms, 0, frames, 0, size * frames
        body, frames = fact.body, fact.delivered
        size = len(body) if type(body) is str and body.isascii() else body_bytes(body)
        sent, bytes_in = (1, size) if self._orders else (0, 0)
        return fact.room, fact.user, at_ms, sent, frames, bytes_in, size * frames


def time_record(now: float) -> bytes:
    """Encode what the monotonic clock says."""
    return TIME + _encode(MonotonicTime(boot_id(), int(now * 1000)))


def room_record(fact: RoomOpened) -> bytes:
    """Encode a room's place."""
    return ROOM + _encode(fact)


def people_record(people: Sequence[Attended]) -> bytes:
    """Encode who came and went."""
    return PEOPLE + _encode(people)


def people_of(record: bytes) -> list[Attended]:
    """Decode who came and went; nobody in records of other kinds."""
    return _decode_people(record[1:]) if record[:1] == PEOPLE else []


def left_behind(directory: Path) -> list[Attended]:
    """Return who had come and not gone when the log ended: people of a process that died.

    Raises:
        LogError: the log is damaged.
    """
    here: dict[tuple[str, str], Attended] = {}
    for _, record in read(directory, replay_from(directory)):
        for fact in people_of(record):
            if fact.here:
                here[fact.room, fact.user] = fact
            else:
                here.pop((fact.room, fact.user), None)
    return list(here.values())


def messages_of(record: bytes) -> list[MessageAccepted]:
    """Decode the messages in a record; none in those of other kinds."""
    match record[:1]:
        case b"m":
            return [_decode_message(record[1:])]
        case b"b":
            return _decode_batch(record[1:])
    return []


def _records(accepted: list[MessageAccepted]) -> list[bytes]:
    """Encode messages as one record: head, checksum and each reader's look at it cost 3 µs."""
    if len(accepted) > 1:
        return [BATCH + _encode(accepted)]
    return [MESSAGE + _encode(fact) for fact in accepted]


def chat_counts(fact: Fact) -> Iterator[Count]:
    """Say what a chat fact adds to which counters; messages are counted apart."""
    match fact:
        case MessagesRecovered():
            subject = Subject(fact.room, fact.user)
            yield Count(meters.MESSAGES_RECOVERED, subject, fact.at_ms // 1000, fact.count)
        case ConnectionTime():
            subject = Subject(no_room_of(fact.app), fact.user)
            for start_s, seconds in seconds_by_window(fact.start_ms, fact.end_ms):
                held_s = seconds * fact.connections
                yield Count(meters.CONNECTION_SECONDS, subject, start_s, held_s)


def replay(directory: Path) -> Iterator[MessageAccepted | MonotonicTime | RoomOpened]:
    """Yield the chat facts of a log in their order, for `LocalBus.restore`.

    Raises:
        LogError: the log is damaged.
    """
    for _, record in read(directory, replay_from(directory)):
        if record[:1] == ROOM:
            yield _decode_room(record[1:])
        elif record[:1] == TIME:
            yield _decode_time(record[1:])
        else:
            yield from messages_of(record)


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
