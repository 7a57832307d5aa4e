"""The book of spaces of one hub, kept the same as what the database says.

1. `SpaceWatch.recall` reads what this hub had on disk: a space that was closed stays closed in a
   hub that starts while the database is away.
2. `SpaceWatch.look` reads what has changed: at start, every second, and as soon as another hub
   signals. What this hub's own API changes is read back by `SpaceWatch.changed`, which signals.
"""

import asyncio
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from chatd.signals import Signals
from chatd.spaces import MemorySpaces, SpaceSettings
from metaport.db.spaces import SpaceChange
from metaport.looking import DEADLINE_S, Looking
from metaport.secret_files import write_secret

logger = logging.getLogger(__name__)

CHANGES_AT_A_TIME = 200

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(list[SpaceSettings]).decode


class Store(Protocol):
    """Where all hubs look; `metaport.db.spaces.SqlSpaces` is one."""

    async def since(self, revision: int, limit: int) -> Sequence[SpaceChange]:
        """Return the first changes after a revision. Raises `DatabaseError`."""

    async def revision(self) -> int:
        """Return the last revision. Raises `DatabaseError`."""


class SpaceWatch(Looking):
    """Keeps `book` up to date. `path` is the file of this hub, written whole: spaces are few."""

    def __init__(self, store: Store, path: Path, signals: Signals) -> None:
        super().__init__("spaces", signals)
        self._store = store
        self._path = path
        # One look at a time: another one waits, and then sees what this one missed.
        self._turn = asyncio.Lock()
        # None until everything was read once.
        self._revision: int | None = None
        self.book = MemorySpaces()

    def recall(self) -> None:
        """Lay down what this hub had on disk; call it before anybody connects."""
        try:
            for settings in _decode(self._path.read_bytes()):
                self.book.put(settings)
        except FileNotFoundError:
            return
        except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
            logger.error("what was known of spaces cannot be read: %s", error)

    async def look(self) -> None:
        """Read what has changed.

        Raises:
            DatabaseError: nothing can be read.
            OSError: what was read holds, but is not on this hub's disk.
        """
        async with self._turn:
            last = await self._store.revision()
            whole = self._revision is None or last < self._revision  # or one from a backup
            at = 0 if self._revision is None or whole else self._revision
            unheard = {settings.space for settings in self.book.everything()} if whole else set()
            changed = whole
            while changes := await self._store.since(at, CHANGES_AT_A_TIME):
                for space, settings, _ in changes:
                    unheard.discard(space)
                    self._take(space, settings)
                at, changed = changes[-1].revision, True
            for space in unheard:
                self.book.remove(space)
            self._revision = at
            if changed:
                write_secret(self._path, _encode(self.book.everything()).decode(), replace=True)

    async def changed(self) -> None:
        """Read back what was changed here, and tell the other hubs."""
        self.tell()
        await self.try_to_look(DEADLINE_S)

    def _take(self, space: str, settings: SpaceSettings | None) -> None:
        if settings is None:
            self.book.remove(space)
        else:
            self.book.put(settings)
