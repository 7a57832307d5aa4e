"""The keys of apps in one hub, kept the same as what the database says, and on its own disk.

1. `AppKeyWatch.recall` reads what this hub had on disk, so that tokens of apps are known while the
   database is away. There are no secrets in that file.
2. `look` reads all keys: each second, and as soon as another hub signals.
3. A key that is void now takes back what it signed: whoever is here by it is signed out.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from chatd.signals import Signals
from metaport.app_keys import AppKey, AppKeyBook
from metaport.looking import DEADLINE_S, Looking
from metaport.secret_files import write_secret

_encode, _decode = msgspec.json.encode, msgspec.json.Decoder(list[AppKey]).decode


class Store(Protocol):
    """Where all hubs look; `metaport.db.apps.SqlApps` is one."""

    async def all_keys(self) -> Sequence[AppKey]:
        """Return every key, void ones too. Raises `DatabaseError`."""


class AppKeyWatch(Looking):
    """Keeps `book` up to date.

    Args:
        void: called with the id of a key that has become void, once.
    """

    def __init__(
        self,
        store: Store,
        book: AppKeyBook,
        path: Path,
        signals: Signals,
        *,
        void: Callable[[str], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__("app-keys", signals)
        self._store = store
        self._book = book
        self._path = path
        self._void = void
        self._clock = clock
        self._kept: Sequence[AppKey] = ()
        self._voided: set[str] = set()

    def recall(self) -> None:
        """Know what this hub had on disk; a damaged file is as none."""
        try:
            self._kept = _decode(self._path.read_bytes())
        except (OSError, msgspec.DecodeError):
            return
        self._book.take(self._kept)

    async def look(self) -> None:
        """Read all keys. Raises `DatabaseError`, `OSError`."""
        found = list(await self._store.all_keys())
        if found != self._kept or self._book.away:
            self._book.take(found)
            await asyncio.to_thread(write_secret, self._path, _encode(found).decode(), replace=True)
            self._kept = found
        now = self._clock()
        over = {key.id for key in found if key.ends_at_s is not None and key.ends_at_s <= now}
        for key_id in over - self._voided:
            self._void(key_id)
        # One that holds again (of an app that was suspended) may become void again.
        self._voided = over

    async def changed(self) -> None:
        """Read back what was changed here, and have the other hubs look."""
        self.tell()
        await self.try_to_look(DEADLINE_S)
