"""Takes tokens back: here at once, on the other hubs within a second, and after a restart too.

1. `RevocationWatch.revoke` writes to this hub's disk; a crash before that has revoked nothing.
2. It is in force here: `enforce` closes whoever is connected; a crash after 1 is a start that
   reads it back.
3. The other hubs are told by a signal, as a rule within milliseconds.
4. It goes into the database, where every hub looks each `LOOK_S`: whoever missed the signal, and
   for what the command line revokes. While the database is away it waits here.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from chatd.signals import Signals
from metaport.db.errors import DatabaseError
from metaport.revocation import Revocation, Revocations
from metaport.revocation_file import RevocationFile

logger = logging.getLogger(__name__)

# With the query this is how long another hub may let a revoked token live: below a second.
LOOK_S = 0.4
# Everything is read again: what another hub could write late, and a database from a backup.
WHOLE_S = 60.0
DEADLINE_S = 5.0


# What other hubs are told.
TOPIC = "revoked"
_encode, _decode = msgspec.json.Encoder().encode, msgspec.json.Decoder(Revocation).decode


class Store(Protocol):
    """Where all hubs look; `metaport.db.revocations.SqlRevocations` is one."""

    async def add(self, revocations: Sequence[Revocation], at_s: float) -> None:
        """Keep revocations. Raises `DatabaseError`."""

    async def since(self, serial: int) -> tuple[list[Revocation], int]:
        """Return what came after `serial`, and the serial reached. Raises `DatabaseError`."""

    async def forget(self, now: float) -> None:
        """Delete what is over. Raises `DatabaseError`."""


class RevocationWatch:
    """Keeps the revocations of one hub the same as everybody's.

    Args:
        enforce: called after something new is in force.
    """

    def __init__(
        self,
        revocations: Revocations,
        store: Store,
        file: RevocationFile,
        signals: Signals,
        *,
        enforce: Callable[[], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._revocations = revocations
        self._store = store
        self._file = file
        self._signals = signals
        self._enforce = enforce
        self._clock = clock
        self._serial = 0
        # Made here and not yet in the database.
        self._waiting: list[Revocation] = []
        # None until the first whole reading; monotonic.
        self._read_whole_at: float | None = None
        self.failing: str | None = None

    def recall(self) -> None:
        """Put in force what this hub had on disk; call it before anybody connects."""
        now = self._clock()
        try:
            for entry in self._file.read():
                if entry.until_s > now:
                    self._revocations.add(entry)
            self._file.rewrite(self._revocations)
        except OSError as error:
            logger.error("revocations of the last run cannot be read: %s", error)

    async def revoke(self, revocation: Revocation) -> bool:
        """Take tokens back; True when all hubs will know, False while the database is away.

        Raises:
            OSError: not even this hub's disk keeps it, though it is in force until a restart.
        """
        new = self._revocations.add(revocation)
        if new:
            self._waiting.append(revocation)
        try:
            if new:
                self._file.append([revocation])
        finally:
            self._enforce()
            self._signals.tell(TOPIC, _encode(revocation))
        try:
            async with asyncio.timeout(DEADLINE_S):
                await self._hand_over()
        except (DatabaseError, TimeoutError) as error:
            self._fails(error)
            return False
        return True

    async def run(self) -> None:
        """Look what other hubs revoked, until cancelled."""
        self._signals.hear(TOPIC, self._heard, self._look_through)
        while True:
            try:
                async with asyncio.timeout(DEADLINE_S):
                    await self.look()
                if self.failing is not None:
                    logger.info("revocations of other hubs can be read again")
                self.failing = None
            except (DatabaseError, TimeoutError) as error:
                self._fails(error)
            except OSError as error:
                logger.error("revocations are not kept on disk: %s", error)
            await asyncio.sleep(LOOK_S)

    async def look(self) -> None:
        """Read what is new and hand over what waits.

        Raises:
            DatabaseError: nothing can be read.
            OSError: what was read is in force but not on this hub's disk.
        """
        now = time.monotonic()
        whole = self._read_whole_at is None or now - self._read_whole_at >= WHOLE_S
        found, self._serial = await self._store.since(0 if whole else self._serial)
        self._take([entry for entry in found if entry.until_s > self._clock()])
        if whole:
            # A database from a backup may have forgotten what this hub knows.
            known = {(entry.kind, entry.subject, entry.before_s) for entry in found}
            self._waiting = [
                entry
                for entry in self._revocations
                if (entry.kind, entry.subject, int(entry.before_s * 1000) / 1000) not in known
            ]
            self._revocations.forget(self._clock())
            await self._store.forget(self._clock())
            self._read_whole_at = now
        await self._hand_over()

    def _heard(self, news: bytes) -> None:
        try:
            self._take([_decode(news)])
        except msgspec.DecodeError as error:
            logger.warning("a signal is no revocation: %s", error)
        except OSError as error:
            logger.error("revocations are not kept on disk: %s", error)

    def _look_through(self) -> None:
        """Read everything at the next look: signals may have been missed."""
        self._read_whole_at = None

    def _take(self, found: Sequence[Revocation]) -> None:
        new = [entry for entry in found if self._revocations.add(entry)]
        if not new:
            return
        try:
            self._file.append(new)
        finally:
            self._enforce()

    async def _hand_over(self) -> None:
        waiting = list(self._waiting)
        if waiting:
            await self._store.add(waiting, self._clock())
            self._waiting = [entry for entry in self._waiting if entry not in waiting]

    def _fails(self, error: Exception) -> None:
        said = str(error) or "no answer"
        if self.failing is None:
            logger.error("revocations do not reach other hubs: %s", said)
        self.failing = said
