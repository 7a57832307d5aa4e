"""Writes the audit log: what comes at once in one statement, before any of it is answered."""

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

from metaport.audit import Batch, Entry, Sealer
from metaport.audit_spool import AuditSpool
from metaport.db.audit import MOST_ROWS, SqlAudit
from metaport.db.errors import DatabaseError
from metaport.secret_files import write_secret

logger = logging.getLogger(__name__)

SEAL_EVERY_S = 2.0
FORGET_EVERY_S = 3_600.0
DAY_S = 86_400
ANCHOR = "audit.anchor"


class AuditWriter:
    """Entries of one hub process into the database, or on disk while that is away."""

    def __init__(self, store: SqlAudit, spool: AuditSpool) -> None:
        self._store, self._spool = store, spool
        self._waiting: list[tuple[Entry, asyncio.Future[None]]] = []
        self._write_task: asyncio.Task[None] | None = None  # None while there is nothing to write

    async def write(self, entry: Entry) -> None:
        """Write an entry down; it is in the database, or on disk, when this returns.

        Raises `OSError` where neither takes it.
        """
        written = asyncio.get_running_loop().create_future()
        self._waiting.append((entry, written))
        if self._write_task is None:
            self._write_task = asyncio.create_task(self._write(), name="write audit")
        # A request that is cancelled does not take the others' entries with it.
        await asyncio.shield(written)

    async def _write(self) -> None:
        try:
            while self._waiting:
                taken, self._waiting = self._waiting, []
                try:
                    await self._put([entry for entry, _ in taken])
                except Exception as error:
                    for _, written in taken:
                        written.set_exception(error)
                else:
                    for _, written in taken:
                        written.set_result(None)
        finally:
            self._write_task = None

    async def _put(self, entries: list[Entry]) -> None:
        try:
            await self._store.add(entries)
        except DatabaseError as error:
            logger.warning("the audit log is kept on disk for now: %s", error)
            await asyncio.to_thread(self._spool.append, entries)


class AuditKeeper:
    """Carries over what is on disk, seals what is new, deletes what is old: one hub a machine."""

    def __init__(
        self,
        store: SqlAudit,
        spool: AuditSpool,
        sealer: Sealer,
        *,
        data_dir: Path,
        days: int,
        clock: Callable[[], float],
    ) -> None:
        self._store, self._spool, self._sealer = store, spool, sealer
        self._anchor, self._days, self._clock = data_dir / ANCHOR, days, clock
        self.failing: str | None = None

    async def run(self) -> None:
        """Keep the log until cancelled."""
        forgotten_at = 0.0
        while True:
            try:
                await self.turn()
                if self._days and self._clock() - forgotten_at >= FORGET_EVERY_S:
                    forgotten_at = self._clock()
                    await self._store.forget(self._sealer, forgotten_at - self._days * DAY_S)
            except (DatabaseError, OSError) as error:
                self.failing = str(error)
            else:
                self.failing = None
            await asyncio.sleep(SEAL_EVERY_S)

    async def turn(self) -> None:
        """Carry, and seal all that is new."""
        if entries := await asyncio.to_thread(self._spool.take):
            await self._store.add(entries)
        await asyncio.to_thread(self._spool.done)
        last = None
        while (batch := await self._store.seal(self._sealer, self._clock())) is not None:
            last = batch
            if batch.rows < MOST_ROWS:
                break
        if last is not None:
            await asyncio.to_thread(write_anchor, self._anchor, last)


def write_anchor(path: Path, batch: Batch) -> None:
    """Keep the last seal beside the database."""
    write_secret(path, f"{batch.number} {batch.seal.hex()}\n", replace=True)


def read_anchor(said: str) -> Batch:
    """Read a seal as an anchor or a person has noted it. Raises `ValueError`."""
    number, seal = said.replace(":", " ").split()
    return Batch(int(number), b"", 0, b"", 0, bytes.fromhex(seal))
