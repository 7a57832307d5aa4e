"""The book of rooms of one hub, kept the same as what the database says.

1. `RoomWatch.recall` reads what this hub had on disk, so that a start without the database knows
   who may enter where. A hub that never knew lets nobody in until it does.
2. `RoomWatch.look` reads what has changed: at start, each second (`metaport.looking`), and as soon
   as another hub signals. What this hub's own API changes is read back by `RoomWatch.changed`,
   which signals.
3. The book tells the hub, which looks again at everybody in the room.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Protocol

from chatd.room_book import MemoryRoomBook
from chatd.signals import Signals
from metaport.db.rooms import RoomChange
from metaport.looking import DEADLINE_S, Looking
from metaport.room_file import RoomFile

logger = logging.getLogger(__name__)

# Read at once: the loop serves chat in between, and this many hold it for about 5 ms.
CHANGES_AT_A_TIME = 500


class Store(Protocol):
    """Where all hubs look; `metaport.db.rooms.SqlRooms` is one."""

    async def since(self, revision: int, limit: int) -> Sequence[RoomChange]:
        """Return the first changes after a revision. Raises `DatabaseError`."""

    async def revision(self) -> int:
        """Return the last revision. Raises `DatabaseError`."""


class RoomWatch(Looking):
    """Keeps `book` up to date."""

    def __init__(self, store: Store, file: RoomFile, signals: Signals) -> None:
        super().__init__("rooms", signals)
        self._store = store
        self._file = file
        self._revision = 0
        # Everything is to be read, and what is not there was never laid down.
        self._whole = True
        # One look at a time: another one waits, and then sees what this one missed.
        self._one = asyncio.Lock()
        self._turn = asyncio.Lock()
        # The look that waits for the one under way; None where none waits. Ends by itself.
        self._next: asyncio.Task[None] | None = None
        self.book = MemoryRoomBook()
        self.book.away = True

    def recall(self) -> None:
        """Lay down what this hub had on disk; call it before anybody connects."""
        try:
            known = self._file.exists
            for room, settings in self._file.read():
                if settings is None:
                    self.book.remove(room)
                else:
                    self.book.put(settings)
            if known:
                self._file.rewrite(self.book.everything())
            self.book.away = not known
        except OSError as error:
            logger.error("what was known of rooms cannot be read: %s", error)

    async def look(self) -> None:
        """Read what has changed.

        Raises:
            DatabaseError: nothing can be read.
            OSError: what was read holds, but is not on this hub's disk.
        """
        async with self._one:
            if await self._store.revision() < self._revision:
                self._whole = True  # a database from a backup
            at = 0 if self._whole else self._revision
            # All rooms there are: only where all of them are read again.
            unheard = {s.room for s in self.book.everything()} if self._whole else set()
            more = True
            while more and (changes := await self._store.since(at, CHANGES_AT_A_TIME)):
                self._take(changes)
                at = changes[-1].revision
                unheard.difference_update(change.room for change in changes)
                more = len(changes) == CHANGES_AT_A_TIME
            if self._whole:
                for room in unheard:
                    self.book.remove(room)
                self._file.rewrite(self.book.everything())
                self._whole = False
            self._revision = at
            self.book.away = False

    async def changed(self) -> None:
        """Read back what was changed here, and tell the other hubs."""
        self.tell()
        # Of those who wait while somebody looks, the first looks for all: what they have changed
        # is committed, so one look that begins after sees all of it.
        if self._next is None:
            self._next = asyncio.create_task(self._look_next(), name="look at rooms")
        await asyncio.shield(self._next)

    async def _look_next(self) -> None:
        async with self._turn:
            self._next = None  # who comes from now on may be too late for this look
            await self.try_to_look(DEADLINE_S)

    def _take(self, changes: Sequence[RoomChange]) -> None:
        news = []
        for room, settings, _ in changes:
            if settings is None:
                self.book.remove(room)
            else:
                self.book.put(settings)
            news.append((room, settings))
        if not self._whole:
            self._file.append(news)
