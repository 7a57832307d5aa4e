"""Every message that Redis has given a place comes into the database, whoever died over it.

A hub that dies between the answer of Redis and its own log takes the only copy that its history
writer would have read. The message stands in the room's stream all the same, and people have
heard it. So one hub compares:

1. `SentShipper` tells in which rooms something was said, by the counts of the ordering call;
2. `HistoryAudit.look` compares the offsets of their streams, which are dense, with the database;
3. what is missing for longer than a living hub's writer takes, or is about to be trimmed, is
   copied from the stream.

A place is looked at until it was seen in the database, once: what is deleted there later stays so.
After a change of the hub that looks, the streams (an hour at most) are looked at once more.

Not repaired: what was trimmed before it was looked at, in a room that takes more than its
`Kept.room_messages` within about 5 s; it is counted as `trimmed` and told in the log.
"""

import asyncio
import logging
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

from chatd.errors import ChatError
from chatd.facts import MessageAccepted
from chatd.redis_streams import epoch_of
from chatd.room_book import RoomSettings
from chatd.wire import Message
from metaport.db.errors import DatabaseError

logger = logging.getLogger(__name__)

LOOK_EVERY_S = 2.0
# A writer comes every second; one whose hub is busy with people comes later.
PATIENCE_S = 5.0
# A look at a room takes Redis 20 µs and the database one query: 1 ms on SQLite, 0.5 on PostgreSQL.
ROOMS_A_LOOK = 100
# Copied in one look at most: while a busy hub is behind, its messages need not be written twice.
MESSAGES_A_LOOK = 500
# Rooms whose place is remembered; one that is forgotten is compared from its oldest message again.
KNOWN_ROOMS = 50_000


class Streams(Protocol):
    """What is asked of Redis, as `chatd.redis_streams.Streams` answers."""

    async def ends(self, rooms: Sequence[str]) -> Mapping[str, tuple[Message, Message]]:
        """Return the oldest and the newest message of each room."""

    async def between(self, room: str, first: int, last: int) -> Sequence[Message]:
        """Return what is kept of some offsets."""


class Database(Protocol):
    """What is asked of the database, as `metaport.db.messages.SqlMessages` answers."""

    async def missing(self, room: str, epoch: str, first: int, last: int) -> list[int]:
        """Return the offsets that are not there."""

    async def add(self, facts: Sequence[MessageAccepted]) -> None:
        """Keep messages, unless their places are taken."""


class _Place(NamedTuple):
    epoch: str
    offset: int


class HistoryAudit:
    """Compares rooms in which something was said, those first that said most.

    `settings` says what is laid down about a room: messages of ephemeral ones are not kept.
    `first` says whether this hub does what one of all must do.
    `room_messages` is what Redis keeps of a room at least.
    """

    def __init__(
        self,
        streams: Streams,
        database: Database,
        settings: Callable[[str], RoomSettings | None],
        *,
        first: Callable[[], bool],
        room_messages: int,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._streams = streams
        self._database = database
        self._settings = settings
        self._first = first
        self._room_messages = room_messages
        self._now = now
        # Messages said since the room was last looked at, at most.
        self._due: Counter[str] = Counter()
        # Everything up to here was seen in the database; the room looked at last is last.
        self._known: OrderedDict[str, _Place] = OrderedDict()
        # Since when something is missing.
        self._missing_since: dict[str, float] = {}
        self.copied = 0
        """Messages copied from Redis."""
        self.trimmed = 0
        """Messages that were gone from Redis before they could be."""
        self.failing: str | None = None

    def said(self, rooms: Mapping[str, int]) -> None:
        """Take the rooms in which so many messages were given a place."""
        self._due.update(rooms)

    async def look(self) -> int:
        """Compare the rooms that are due, `ROOMS_A_LOOK` at most; return how many were copied.

        Raises:
            ChatError, DatabaseError: what was not compared stays due.
        """
        if not self._first():
            self._rest()
            return 0
        rooms = [room for room, _ in self._due.most_common(ROOMS_A_LOOK)]
        if not rooms:
            return 0
        counts = {room: self._due[room] for room in rooms}
        ends = await self._streams.ends(rooms)
        copied = 0
        for room in rooms:
            oldest_newest = ends.get(room)
            if oldest_newest is None or self._ephemeral(room):
                self._done(room, counts[room])
                continue
            copied += await self._compare(room, counts[room], *oldest_newest, copied)
        self.copied += copied
        return copied

    async def run(self) -> None:
        """Look until cancelled, slower while it fails."""
        while True:
            try:
                await self.look()
            except (ChatError, DatabaseError) as error:
                if self.failing is None:
                    logger.warning("history is not compared with Redis: %s", error)
                self.failing = str(error) or type(error).__name__
            else:
                self.failing = None
            await asyncio.sleep(LOOK_EVERY_S if self.failing is None else LOOK_EVERY_S * 5)

    def _rest(self) -> None:
        """Forget everything: another hub looks."""
        self._due.clear()
        self._known.clear()
        self._missing_since.clear()

    async def _compare(
        self, room: str, count: int, oldest: Message, newest: Message, copied: int
    ) -> int:
        epoch = epoch_of(newest)
        known = self._known.get(room)
        first = known.offset + 1 if known and known.epoch == epoch else oldest.offset
        missing = await self._database.missing(room, epoch, first, newest.offset)
        if not missing:
            self._know(room, _Place(epoch, newest.offset))
            self._done(room, count)
            return 0
        if missing[0] > first:
            self._know(room, _Place(epoch, missing[0] - 1))
        since = self._missing_since.setdefault(room, self._now())
        # What Redis is about to trim cannot wait for anybody.
        urgent = newest.offset - missing[0] > self._room_messages // 2
        if not urgent and self._now() - since < PATIENCE_S:
            return 0
        wanted = set(missing[: max(0, MESSAGES_A_LOOK - copied)])
        if not wanted:
            return 0
        return await self._copy(room, epoch, wanted)

    async def _copy(self, room: str, epoch: str, wanted: set[int]) -> int:
        first, last = min(wanted), max(wanted)
        kept = await self._streams.between(room, first, last)
        facts = [_fact(m) for m in kept if m.offset in wanted and epoch_of(m) == epoch]
        if facts:
            await self._database.add(facts)
            logger.warning(
                "%d messages of %r were in Redis only (from %d on): copied into history",
                len(facts), room, facts[0].offset,
            )  # fmt: skip
        lost = len(wanted) - len(facts)
        if lost:
            self.trimmed += lost
            logger.error(
                "%d messages of %r (%d to %d) were trimmed in Redis and are not in history",
                lost, room, first, last,
            )  # fmt: skip
        self._know(room, _Place(epoch, last))
        self._missing_since.pop(room, None)
        return len(facts)

    def _ephemeral(self, room: str) -> bool:
        settings = self._settings(room)
        return settings is not None and not settings.persistent

    def _know(self, room: str, place: _Place) -> None:
        self._known[room] = place
        self._known.move_to_end(room)
        if len(self._known) > KNOWN_ROOMS:
            self._known.popitem(last=False)

    def _done(self, room: str, count: int) -> None:
        """Take a room off the list, unless more was said meanwhile."""
        self._due[room] -= count
        if self._due[room] <= 0:
            del self._due[room]
        self._missing_since.pop(room, None)


def _fact(message: Message) -> MessageAccepted:
    """Say what the log of the hub that died would have: it was counted by the ordering call."""
    return MessageAccepted(
        message.room,
        epoch_of(message),
        message.offset,
        message.id,
        message.from_,
        message.name,
        message.at,
        message.body,
        counted=False,
    )
