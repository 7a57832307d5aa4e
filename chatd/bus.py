"""The bus: orders the messages of a room and keeps what clients recover.

`Bus` is the port, `LocalBus` the one in this process. The port answers through a listener and a
callback, so that a bus behind a network can answer in a later loop iteration; `LocalBus` answers
before the call returns.
"""

import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple, Protocol

import msgspec

from chatd.errors import TOO_MANY_ROOMS, FactsRefused, Refused
from chatd.facts import Fact, MessageAccepted, MonotonicTime, RoomOpened
from chatd.history import Entry, History
from chatd.wire import MSGPACK, Message, Since


class Clock(Protocol):
    """The module `time`, or a hand-driven stand-in."""

    def monotonic(self) -> float:
        """Return seconds that never go back."""

    def time(self) -> float:
        """Return seconds of UTC."""


class Draft(msgspec.Struct, gc=False):
    """A message on its way to its place; `sender` is the listener's and comes back untouched.

    `ephemeral` says that the room's messages need not be kept once everybody has gone.
    """

    room: str
    user: str
    name: str
    body: object
    key: str | None
    sender: object
    request_id: int
    ephemeral: bool = False


class Publication(msgspec.Struct, gc=False):
    """A message with its place. `packed` is its `message` frame's MessagePack payload.

    `own` when a draft of this process made it: then this process is to keep it.
    """

    epoch: str
    key: str | None
    message: Message
    packed: bytes
    own: bool = True
    ephemeral: bool = False


class Receipt(msgspec.Struct, gc=False):
    """Where a draft is now: its own place, or that of the first with the same key.

    `unkept` is its publication when that was delivered here and perhaps nobody has kept it: before
    anybody knew whose it was, or when the process that made it may have died over it. `epoch` is
    told for a first whose epoch has ended.
    """

    draft: Draft
    offset: int
    message_id: str
    at_ms: int
    unkept: Publication | None = None
    repeat: bool = False
    epoch: str | None = None


class Page(msgspec.Struct, gc=False):
    """What a join is told. `recovered` only if `entries` are all that came after `since`.

    A `fresh` one is no older than anything the listener was told before it was answered; of
    another epoch in what was told, that one has ended.
    """

    epoch: str
    offset: int
    recovered: bool
    entries: Sequence[Entry]
    fresh: bool = False


Answer = Callable[[Page | Refused], None]


class BusListener(Protocol):
    """The hub, as the bus sees it."""

    def ordered(self, publications: Sequence[Publication], receipts: Sequence[Receipt]) -> None:
        """Store, acknowledge and deliver, in this order.

        Raises:
            FactsRefused: nothing is stored, acknowledged or delivered. A bus whose only store
                is the facts log takes the batch back. After anything else all is stored.
        """

    def refused(self, drafts: Sequence[Draft], refusal: FactsRefused) -> None:
        """Tell the senders that their drafts have no place and never will."""

    def opened(self, fact: RoomOpened) -> None:
        """Keep the fact that a room began, at the latest with the room's first message."""


class Bus(Protocol):
    """Orders, stores and fans out; one per process.

    Guarantee asked of an implementation: within an epoch the offsets of a room are dense from 1
    and every listener gets its subscribed rooms' publications in offset order, each once. A
    draft with a key is given a place once in 5 minutes per (user, room, key); repeats get the
    first's receipt. A receipt is given only for what survives this process. When anything may
    have been lost, the epoch changes. At least the last 1,000 messages, 512 KiB or 5 minutes of
    a room, whichever is least, can be read.
    """

    def listen(self, listener: BusListener) -> None:
        """Name the listener; once, before anything else."""

    def subscribe(self, room: str) -> None:
        """Want the publications of `room`; the first member here has come."""

    def unsubscribe(self, room: str) -> None:
        """Stop wanting them; the last member here has gone."""

    def publish(self, drafts: Sequence[Draft]) -> None:
        """Give each draft its place, once per loop iteration, and tell the listener."""

    def read(self, room: str, since: Since | None, history: int, answer: Answer) -> None:
        """Answer with what came after `since`, or else with the last `history` messages.

        Opens the room when it is new. Answers TOO_MANY_ROOMS when there can be no more of them,
        BUS_AWAY when nothing can be read now.
        """

    def sweep(self, now: float) -> None:
        """Forget what has had its time; called about once a second."""


@dataclass(frozen=True, slots=True)
class Retention:
    """How much a `LocalBus` keeps. The first three are promises, the others bounds on memory."""

    room_messages: int = 1000
    room_bytes: int = 2 * 1024 * 1024
    hot_s: float = 300.0
    key_s: float = 300.0
    # All rooms together. Over it, the rooms that were quiet longest lose their messages (never
    # their place), unless they spoke within `hot_s`.
    total_bytes: int = 256 * 1024 * 1024
    # A head is about 400 bytes and is never forgotten once a message is in the room.
    rooms: int = 200_000


# A look at a room takes about 1 µs; so a sweep never holds the loop for more than a few ms.
_SWEEP_ROOMS = 2000


class _Place(NamedTuple):
    """What a key was given, and when by the monotonic clock: the wall clock may be set."""

    offset: int
    message_id: str
    at_ms: int
    given_at: float


class _Head:
    """A room as the bus knows it."""

    __slots__ = ("ephemeral", "epoch", "history", "keys", "offset", "stored_offset", "touched_at")

    def __init__(self, epoch: str, offset: int, now: float) -> None:
        self.epoch = epoch
        self.offset = offset
        # Behind `offset` only while a batch is being stored.
        self.stored_offset = offset
        self.touched_at = now
        # As the last message said; then all of it goes `hot_s` after everybody.
        self.ephemeral = False
        self.history: History | None = None
        # By user and key, oldest first.
        self.keys: OrderedDict[tuple[str, str], _Place] | None = None


def _random_epoch() -> str:
    return secrets.token_hex(6)


class LocalBus:
    """The bus of a single process: order in memory, the facts log as its store.

    A batch counts as stored when the listener's `ordered` returns; when that raises, offsets and
    keys are as before the call. `restore` with the facts of the log makes epochs, offsets, keys
    and recoverable messages go on where the last process stopped.
    """

    def __init__(
        self,
        *,
        clock: Clock = time,
        retention: Retention | None = None,
        new_epoch: Callable[[], str] = _random_epoch,
    ) -> None:
        self._clock = clock
        self._retention = retention or Retention()
        self._new_epoch = new_epoch
        # Least recently published first.
        self._heads: OrderedDict[str, _Head] = OrderedDict()
        self._subscribed: set[str] = set()
        # Rooms that have something to forget, in the order they are looked at.
        self._sweepable: dict[str, None] = {}
        self._history_bytes = 0
        self._listener: BusListener | None = None

    @property
    def rooms(self) -> int:
        """Rooms whose place is remembered."""
        return len(self._heads)

    @property
    def history_bytes(self) -> int:
        """Payload bytes kept for recovery."""
        return self._history_bytes

    def listen(self, listener: BusListener) -> None:
        self._listener = listener

    def subscribe(self, room: str) -> None:
        self._subscribed.add(room)

    def unsubscribe(self, room: str) -> None:
        self._subscribed.discard(room)
        head = self._heads.get(room)
        if head is not None:
            head.touched_at = self._clock.monotonic()

    def publish(self, drafts: Sequence[Draft]) -> None:
        assert self._listener is not None, "listen() comes first"
        # 1. Give places. A crash from here to the end of 2 loses what nobody was promised.
        publications, receipts = self._order(drafts)
        stored = True
        try:
            # 2. Store, then acknowledge and deliver.
            self._listener.ordered(publications, receipts)
        except FactsRefused as refusal:
            # 3. Nothing has happened.
            stored = False
            self._take_back(publications)
            self._listener.refused(drafts, refusal)
        finally:
            # 4. Keep for recovery, also what could not be delivered: the log has it. In a crash
            # before this, a restart takes it from there.
            now = self._clock.monotonic()
            for publication in publications if stored else ():
                message = publication.message
                entry = Entry(message.offset, publication.packed)
                self._keep(message.room, entry, publication.ephemeral, now)

    def read(self, room: str, since: Since | None, history: int, answer: Answer) -> None:
        head = self._heads.get(room)
        if head is None:
            head = self._open(room)
            if head is None:
                answer(Refused(TOO_MANY_ROOMS, retry_after_ms=60_000))
                return
        answer(_page(head, since, history))

    def sweep(self, now: float) -> None:
        for room in list(islice(self._sweepable, _SWEEP_ROOMS)):
            del self._sweepable[room]
            head = self._heads[room]
            _drop_keys(head, now - self._retention.key_s)
            idle = room not in self._subscribed and now - head.touched_at >= self._retention.hot_s
            # Without a message nobody holds an offset that could be contradicted.
            if idle and head.offset == 0:
                del self._heads[room]
                continue
            if idle and head.ephemeral:
                self._begin_anew(room, head, now)
            if head.keys is not None or head.offset == 0 or head.ephemeral:
                self._sweepable[room] = None
        self._shrink(now)

    def restore(self, facts: Iterable[Fact | MonotonicTime], boot: str = "") -> None:
        """Go on from the facts of the log, oldest first; before anything is published.

        `boot` names this run of the machine, as it does in `MonotonicTime`.
        """
        now, utc = self._clock.monotonic(), self._clock.time()
        # Age of the last `MonotonicTime`; None where that is not to be known.
        told_s: float | None = None
        for fact in facts:
            if type(fact) is MessageAccepted:
                # From the future when the clock was set back since: as if said now.
                by_wall_s = max(0.0, utc - fact.at_ms / 1000)
                self._restore_message(fact, now, by_wall_s if told_s is None else told_s)
            elif type(fact) is MonotonicTime:
                known = bool(boot) and fact.boot == boot
                told_s = max(0.0, now - fact.at_ms / 1000) if known else None
            elif type(fact) is RoomOpened:
                self._restore_head(fact, now)
        self._shrink(now + self._retention.hot_s)

    def heads(self) -> list[RoomOpened]:
        """Return facts that stand for every room's place: first records of a new log segment.

        May be called while a batch is being stored; the batch is not in it.
        """
        return [
            RoomOpened(room, head.epoch, head.stored_offset) for room, head in self._heads.items()
        ]

    def _open(self, room: str) -> _Head | None:
        assert self._listener is not None, "listen() comes first"
        if len(self._heads) >= self._retention.rooms:
            return None
        head = _Head(self._new_epoch(), 0, self._clock.monotonic())
        self._heads[room] = head
        self._sweepable[room] = None
        self._listener.opened(RoomOpened(room, head.epoch))
        return head

    def _begin_anew(self, room: str, head: _Head, now: float) -> None:
        """Forget what was said; the log is told, or a restart would bring it back."""
        assert self._listener is not None, "listen() comes first"
        if head.history is not None:
            self._history_bytes -= head.history.size_bytes
        self._heads[room] = _Head(self._new_epoch(), 0, now)
        self._listener.opened(RoomOpened(room, self._heads[room].epoch))

    def _order(self, drafts: Sequence[Draft]) -> tuple[list[Publication], list[Receipt]]:
        now, at_ms = self._clock.monotonic(), int(self._clock.time() * 1000)
        publications: list[Publication] = []
        receipts: list[Receipt] = []
        for draft in drafts:
            head = self._heads[draft.room]
            first = head.keys.get((draft.user, draft.key)) if draft.key and head.keys else None
            if first is not None and now - first.given_at < self._retention.key_s:
                receipts.append(Receipt(draft, first.offset, first.message_id, first.at_ms))
                continue
            publication = _publication(head, draft, at_ms)
            publications.append(publication)
            message_id = publication.message.id
            receipts.append(Receipt(draft, head.offset, message_id, at_ms))
            if draft.key is not None:
                place = _Place(head.offset, message_id, at_ms, now)
                _remember_key(head, draft.user, draft.key, place)
                self._sweepable[draft.room] = None
        return publications, receipts

    def _take_back(self, publications: Sequence[Publication]) -> None:
        for publication in reversed(publications):
            message = publication.message
            head = self._heads[message.room]
            head.offset = message.offset - 1
            if publication.key is not None and head.keys is not None:
                head.keys.pop((message.from_, publication.key), None)

    def _keep(self, room: str, entry: Entry, ephemeral: bool, now: float) -> None:
        head = self._heads[room]
        head.ephemeral = ephemeral
        if ephemeral:
            self._sweepable[room] = None
        history = head.history
        if history is None:
            history = History(self._retention.room_messages, self._retention.room_bytes)
            head.history = history
        before = history.size_bytes
        history.append(entry)
        self._history_bytes += history.size_bytes - before
        head.stored_offset = entry.offset
        head.touched_at = now
        self._heads.move_to_end(room)

    def _shrink(self, now: float) -> None:
        """Drop the messages of the rooms quiet longest until all fit."""
        if self._history_bytes <= self._retention.total_bytes:
            return
        for head in self._heads.values():
            if self._history_bytes <= self._retention.total_bytes:
                return
            if head.history is not None and now - head.touched_at >= self._retention.hot_s:
                self._history_bytes -= head.history.size_bytes
                head.history = None

    def _restore_message(self, fact: MessageAccepted, now: float, age_s: float) -> None:
        self._restore_head(RoomOpened(fact.room, fact.epoch, fact.offset - 1), now)
        head = self._heads[fact.room]
        if fact.offset != head.offset + 1:
            return  # known from an earlier record
        head.offset = fact.offset
        message = Message(
            fact.room, fact.offset, fact.id, fact.user, fact.name, fact.at_ms, fact.body
        )
        self._keep(fact.room, Entry(fact.offset, MSGPACK.encode(message)), fact.ephemeral, now)
        if fact.key is not None and age_s < self._retention.key_s:
            place = _Place(fact.offset, fact.id, fact.at_ms, now - age_s)
            _remember_key(head, fact.user, fact.key, place)
            self._sweepable[fact.room] = None

    def _restore_head(self, fact: RoomOpened, now: float) -> None:
        head = self._heads.get(fact.room)
        if head is not None and head.epoch == fact.epoch and head.offset >= fact.offset:
            return
        if head is not None and head.history is not None:
            self._history_bytes -= head.history.size_bytes
        self._heads[fact.room] = _Head(fact.epoch, fact.offset, now)
        self._sweepable[fact.room] = None


def _publication(head: _Head, draft: Draft, at_ms: int) -> Publication:
    head.offset += 1
    message_id = f"{head.epoch}-{head.offset}"
    message = Message(
        draft.room, head.offset, message_id, draft.user, draft.name, at_ms, draft.body
    )
    packed = MSGPACK.encode(message)
    return Publication(head.epoch, draft.key, message, packed, ephemeral=draft.ephemeral)


def _remember_key(head: _Head, user: str, key: str, place: _Place) -> None:
    if head.keys is None:
        head.keys = OrderedDict()
    head.keys[user, key] = place
    head.keys.move_to_end((user, key))


def _drop_keys(head: _Head, expired_at: float) -> None:
    keys = head.keys
    if keys is None:
        return
    while keys:
        oldest = next(iter(keys))
        if keys[oldest].given_at > expired_at:
            return
        del keys[oldest]
    head.keys = None


def _page(head: _Head, since: Since | None, history: int) -> Page:
    kept = head.history
    if since is None:
        entries = kept.last(history) if kept is not None and history else ()
        return Page(head.epoch, head.offset, False, entries)
    if since.epoch != head.epoch:
        return Page(head.epoch, head.offset, False, ())
    if kept is None:
        return Page(head.epoch, head.offset, since.offset == head.offset, ())
    missed = kept.after(since.offset, head.offset)
    return Page(head.epoch, head.offset, missed is not None, missed or ())
