"""From the local logs to webhooks: what endpoints want of it, each event once, none lost.

1. `EventReader.read` asks which types the endpoints want. Nobody wants any: no log is opened.
   When somebody does, it begins with what happened after that was last so.
2. A log is followed from its own checkpoint; records of kinds nobody wants are not decoded.
3. Events and checkpoint are put in one transaction; a crash anywhere repeats, never loses.

A log that is read is trimmed no further than `position`.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from pathlib import Path

from metaport.db.errors import DatabaseError
from metaport.db.webhooks import Endpoint, Event, SqlWebhooks
from metaport.log import Follower, LogError, LogTrimmed
from metaport.log_events import events_of, wanted_types
from metaport.log_records import segments

logger = logging.getLogger(__name__)

READ_EVERY_S = 1.0
LONGEST_RETRY_S = 10.0
# Read at once: the loop serves chat in between; a busy hub's records hold 100 messages each.
RECORDS_AT_A_TIME = 10
EVENTS_A_TRANSACTION = 500


class EventReader:
    """Reads the logs of one machine. `logs` are directories by node."""

    def __init__(
        self, store: SqlWebhooks, logs: Mapping[str, Path], clock: Callable[[], float]
    ) -> None:
        self._store = store
        self._logs = logs
        self._clock = clock
        # What a record must tell to be decoded; also whether people's comings are told at all.
        self.types: frozenset[str] = frozenset()
        # When nobody wanted anything, the last time it was looked; None before the first look.
        self._rested_ms: int | None = None
        # What happened before is nobody's event.
        self._since_ms: dict[str, int] = {}
        # One per log that is read.
        self._followers: dict[str, Follower] = {}
        self.failing: str | None = None

    def position(self, name: str) -> int | None:
        """Return from where on a log is needed, None where it is not."""
        follower = self._followers.get(name)
        return None if follower is None else follower.position

    @property
    def wants_people(self) -> bool:
        """Whether somebody wants to know who comes and goes."""
        return any(name.startswith(("room.", "user.")) for name in self.types)

    async def read(self) -> int:
        """Put what there is; return how many events were new.

        Raises:
            DatabaseError, LogError, OSError: nothing is lost; read again later.
        """
        now_ms = int(self._clock() * 1000)
        endpoints = await self._look()
        if not self.types:
            await self._rest()
            self._rested_ms = now_ms
            return 0
        if self._rested_ms is None:
            # A crash may have come between an endpoint's making and the first checkpoint.
            made_ms = [each.rotated_at_s * 1000 for each in endpoints if wanted_types(each.events)]
            self._rested_ms = max(made_ms)
        return sum([await self._read_one(name) for name in self._logs])

    async def try_to_look(self, deadline_s: float) -> None:
        """Know what is wanted before anybody comes, unless the database is away."""
        try:
            async with asyncio.timeout(deadline_s):
                await self._look()
        except (DatabaseError, TimeoutError) as error:
            logger.warning("who comes is told to webhooks later: %s", error or "no answer")

    async def _look(self) -> list[Endpoint]:
        endpoints = [each for each in await self._store.endpoints() if each.enabled]
        self.types = wanted_types(pattern for each in endpoints for pattern in each.events)
        return endpoints

    async def run(self) -> None:
        """Read until cancelled, slower while it fails; a cancelled transaction is rolled back."""
        retry_s = READ_EVERY_S
        while True:
            try:
                await self.read()
            except Exception as error:
                self.close()  # each begins anew at its checkpoint
                if self.failing is None:
                    bug = not isinstance(error, DatabaseError | LogError | OSError)
                    logger.error("events wait in the local log: %s", error, exc_info=bug)
                self.failing = str(error) or type(error).__name__
                retry_s = min(retry_s * 2, LONGEST_RETRY_S)
            else:
                if self.failing is not None:
                    logger.info("events are read again")
                self.failing, retry_s = None, READ_EVERY_S
            await asyncio.sleep(retry_s)

    def close(self) -> None:
        """Let go of the logs."""
        for follower in self._followers.values():
            follower.close()
        self._followers.clear()

    async def _rest(self) -> None:
        """Read nothing; what comes before somebody wants it is nobody's event."""
        if self._followers:
            self.close()
        await self._store.forget_checkpoints(list(self._logs))

    async def _read_one(self, name: str) -> int:
        follower, since_ms = await self._follow(name)
        new = 0
        while True:
            events: list[Event] = []
            more = True
            while more and len(events) < EVENTS_A_TRANSACTION:
                try:
                    records = follower.poll(RECORDS_AT_A_TIME)
                except LogTrimmed as trimmed:
                    # A database from a backup: what was trimmed meanwhile stands nowhere.
                    logger.error("events are lost: %s", trimmed)
                    follower.close()
                    self._followers[name] = follower = Follower(self._logs[name], trimmed.oldest)
                    continue
                for _, record in records:
                    found = events_of(record, self.types, name)
                    events += (event for event in found if event.at_ms >= since_ms)
                more = len(records) == RECORDS_AT_A_TIME
                await asyncio.sleep(0)  # cancelled: nothing is put
            if follower.position is not None:
                new += await self._store.put_from_log(events, name, follower.position)
            if not more:
                return new

    async def _follow(self, name: str) -> tuple[Follower, int]:
        """Return a log's follower, and since when what it tells is to be put."""
        if name not in self._followers:
            position = await self._store.checkpoint(name)
            self._since_ms[name] = 0
            if position is None:
                self._since_ms[name] = since_ms = self._rested_ms or 0
                position = start_of(self._logs[name], since_ms)
            self._followers[name] = Follower(self._logs[name], position)
        return self._followers[name], self._since_ms[name]


def start_of(directory: Path, since_ms: int) -> int | None:
    """Return the start of the oldest segment written to since a moment, None without a log.

    Where in it that moment was is not known: it is read once, and what is older passed over.
    """
    position = None
    for start, path in reversed(segments(directory)):
        try:
            written_ms = path.stat().st_mtime_ns // 1_000_000
        except FileNotFoundError:
            break  # trimmed meanwhile
        if position is not None and written_ms < since_ms:
            break
        position = start
    return position
