"""The book of moderation of one hub, kept the same as what the database says.

1. `ModerationWatch.recall` reads what this hub had on disk: who is banned stays out of a hub that
   starts while the database is away.
2. `ModerationWatch.look` reads what is new: at start, every second, and as soon as another hub
   signals or asks for it.
3. The book tells the hub, which carries it out.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from chatd.moderation import MemoryModeration
from chatd.signals import Signals
from metaport.looking import Looking
from metaport.moderation_act import Act, apply
from metaport.moderation_file import ActFile

logger = logging.getLogger(__name__)

# Read at once: the loop serves chat in between.
ACTS_AT_A_TIME = 500


class Store(Protocol):
    """Where all hubs look; `metaport.db.moderation.SqlModeration` is one."""

    async def since(self, revision: int, limit: int) -> Sequence[Act]:
        """Return the first acts after a revision. Raises `DatabaseError`."""

    async def revision(self) -> int:
        """Return the last revision. Raises `DatabaseError`."""


class ModerationWatch(Looking):
    """Keeps `book` up to date; `failing` says in a sentence what keeps it from that."""

    def __init__(
        self,
        store: Store,
        file: ActFile,
        signals: Signals,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__("moderation", signals)
        self._store = store
        self._file = file
        self._clock = clock
        # One look at a time: another one waits, and then sees what this one missed.
        self._turn = asyncio.Lock()
        # None until everything was read once.
        self._revision: int | None = None
        self.book = MemoryModeration()

    def recall(self) -> None:
        """Put in force what this hub had on disk; call it before anybody connects."""
        try:
            for act in self._file.read():
                apply(act, self.book)
        except OSError as error:
            logger.error("what was known of moderation cannot be read: %s", error)

    async def look(self) -> None:
        """Read what is new.

        Raises:
            DatabaseError: nothing can be read.
            OSError: what was read holds, but is not on this hub's disk.
        """
        async with self._turn:
            last = await self._store.revision()
            if self._revision is None or last < self._revision:  # also a database from a backup
                await self._look_at_everything()
            elif last > self._revision:
                for act in (acts := await self._read(self._revision)):
                    apply(act, self.book)
                self._revision = last
                self._file.append(acts)
            self.book.forget(int(self._clock() * 1000))

    async def _look_at_everything(self) -> None:
        whole = MemoryModeration()
        acts = await self._read(0)
        for act in acts:
            apply(act, whole)
        self.book.become(whole)
        self._revision = acts[-1].revision if acts else 0
        self._file.rewrite(acts)

    async def _read(self, revision: int) -> list[Act]:
        found: list[Act] = []
        while acts := await self._store.since(revision, ACTS_AT_A_TIME):
            found += acts
            revision = acts[-1].revision
        return found
