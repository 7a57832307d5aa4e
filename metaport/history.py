"""Every message from the hub's local log into the database, and back as pages.

1. `HistoryWriter.write` follows the log of the accepting hub from its own checkpoint and
2. upserts messages, those of ephemeral rooms left out, and checkpoint in one transaction; a crash
   anywhere repeats, never loses.
3. `HistoryArchive` answers `chatd.archive.Archive` from the database, once the writer has stored
   what was in the log when it was asked.

While the database is away the log grows; it is trimmed no further than `HistoryWriter.stored`.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from collections.abc import Set as AbstractSet
from pathlib import Path

from chatd.archive import ArchiveAway, Stretch
from chatd.facts import MessageAccepted
from chatd.wire import Since, tombstone
from metaport.chat_journal import messages_of
from metaport.db.errors import DatabaseError
from metaport.db.messages import SqlMessages
from metaport.log import Follower, LogError, LogTrimmed

logger = logging.getLogger(__name__)

WRITE_EVERY_S = 1.0
# Read at once: the loop serves chat in between, and a busy hub's records hold 100 messages each.
RECORDS_AT_A_TIME = 10
# A transaction: 16 KiB bodies make it 16 MiB.
MESSAGES_A_TRANSACTION = 1_000
# A log in which nobody speaks grows too; so little of it is read again after a crash.
CHECKPOINT_BYTES = 1 << 20
# What may wait on disk while people talk without a pause: minutes of the most a hub takes.
LONGEST_LAG_BYTES = 1 << 30
# A database that comes back is noticed within this time.
LONGEST_RETRY_S = 10.0
# After a failure those who ask are told so for this long, instead of each trying again.
FAIL_FAST_S = 1.0

# A transaction of this many takes milliseconds, and others get theirs in between.
FORGET_AT_A_TIME = 500
FORGET_PAUSE_S = 0.1
FORGET_EVERY_S = 3600.0
DAY_MS = 86_400_000


class HistoryWriter:
    """Bring the messages of one hub's log into the database."""

    def __init__(
        self,
        messages: SqlMessages,
        directory: Path,
        reader: str,
        loaded: Callable[[], bool] = lambda: False,
    ) -> None:
        """`loaded` tells whether the loop has no time to spare."""
        self._loaded = loaded
        self._messages = messages
        self._directory = directory
        self._reader = reader
        # None at the start and after any failure; then it begins at the checkpoint.
        self._follower: Follower | None = None
        self._failed_at = 0.0
        self._waiting: list[asyncio.Future[None]] = []
        self._wanted = asyncio.Event()
        self.stored: int | None = None
        """What is before this position of the log is in the database; None: as far as is known."""
        self.failing: str | None = None

    def lag_bytes(self) -> int:
        """Tell how many bytes of the log are not in the database, as far as is known."""
        return (self._follower or Follower(self._directory, self.stored)).lag_bytes()

    async def write(self, *, give_way: bool = False) -> int:
        """Store what is there; return the number of messages.

        With `give_way` a loaded loop is taken time from for one transaction only, as long as
        what waits is less than `LONGEST_LAG_BYTES`.

        Raises:
            DatabaseError, LogError, OSError: nothing is lost; write again later.
        """
        written = 0
        try:
            while True:
                began = time.monotonic()
                count, more = await self._write_some()
                written += count
                if not more or (give_way and self._may_wait()):
                    return written
                # Whoever talks now goes before what was said: half the time is theirs.
                await asyncio.sleep(time.monotonic() - began)
        except BaseException:
            self.close()
            raise

    async def caught_up(self) -> None:
        """Return once everything that is in the log now is in the database.

        Raises:
            ArchiveAway: it cannot be written now.
        """
        now = asyncio.get_running_loop().time()
        if self.failing is not None and now - self._failed_at < FAIL_FAST_S:
            raise ArchiveAway(self.failing)
        done = asyncio.get_running_loop().create_future()
        self._waiting.append(done)
        self._wanted.set()
        await done

    async def run(self) -> None:
        """Write until cancelled, slower while it fails; a cancelled transaction is rolled back."""
        retry_s = WRITE_EVERY_S
        while True:
            # Who asks from here on waits for the next turn: this one may have read past it.
            waiting, self._waiting = self._waiting, []
            self._wanted.clear()
            try:
                # Who asks for what was said is told everything; else it can wait.
                await self.write(give_way=not waiting)
            except Exception as error:
                retry_s = min(retry_s * 2, LONGEST_RETRY_S)
                self._fail(error, waiting)
            else:
                retry_s = WRITE_EVERY_S
                self._succeed(waiting)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(retry_s):
                    await self._wanted.wait()

    def close(self) -> None:
        """Let go of the log; the next write begins at the checkpoint."""
        if self._follower is not None:
            self._follower.close()
            self._follower = None

    def _may_wait(self) -> bool:
        return self._loaded() and self.lag_bytes() < LONGEST_LAG_BYTES

    async def _write_some(self) -> tuple[int, bool]:
        """Store one transaction; tell how many messages, and whether there may be more."""
        follower = await self._follow()
        facts: list[MessageAccepted] = []
        more = True
        while more and len(facts) < MESSAGES_A_TRANSACTION:
            try:
                records = follower.poll(RECORDS_AT_A_TIME)
            except LogTrimmed as error:
                # A database restored from a backup: to wait for what was trimmed meanwhile would
                # lose the rest as well.
                logger.error("messages are missing from history, restore a later backup: %s", error)
                follower.close()
                self._follower = follower = Follower(self._directory, error.oldest)
                continue
            except LogError:
                if not facts:
                    raise
                break  # what stands before it comes first, and the next call meets it again
            found = (fact for _, record in records for fact in messages_of(record))
            facts += (fact for fact in found if not fact.ephemeral)
            more = len(records) == RECORDS_AT_A_TIME
            await asyncio.sleep(0)  # cancelled: nothing is stored, and the follower is closed
        position = follower.position
        if position is not None and (facts or position - (self.stored or 0) >= CHECKPOINT_BYTES):
            await self._messages.upsert(facts, self._reader, position)
            self.stored = position
        return len(facts), more

    async def _follow(self) -> Follower:
        if self._follower is None:
            self.stored = await self._messages.checkpoint(self._reader)
            self._follower = Follower(self._directory, self.stored)
        return self._follower

    def _fail(self, error: Exception, waiting: list[asyncio.Future[None]]) -> None:
        if self.failing is None:
            bug = not isinstance(error, DatabaseError | LogError | OSError)
            logger.error("messages wait in the local log: %s", error, exc_info=bug)
        self.failing = str(error) or type(error).__name__
        self._failed_at = asyncio.get_running_loop().time()
        for done in waiting:
            if not done.done():
                done.set_exception(ArchiveAway(self.failing))

    def _succeed(self, waiting: list[asyncio.Future[None]]) -> None:
        if self.failing is not None:
            logger.info("messages are written to history again")
        self.failing = None
        for done in waiting:
            if not done.done():
                done.set_result(None)


class HistoryArchive:
    """`chatd.archive.Archive` over the database that `writer` fills."""

    def __init__(
        self,
        messages: SqlMessages,
        writer: HistoryWriter,
        gone: Callable[[str, str], AbstractSet[int]] = lambda room, epoch: frozenset(),
    ) -> None:
        """`gone` tells which offsets of a room's epoch are not to be read any more."""
        self._messages = messages
        self._writer = writer
        self._gone = gone

    async def before(self, room: str, place: Since | None, limit: int) -> Stretch:
        """Return the messages that end right before `place`, or the newest."""
        found = await self._read(self._messages.before, room, place, limit)
        if place is not None and _reaches(found, place.epoch, -1, place.offset - 1):
            return found
        await self._writer.caught_up()
        return await self._read(self._messages.before, room, place, limit)

    async def after(self, room: str, place: Since | None, limit: int) -> Stretch:
        """Return the messages that begin right after `place`, or the oldest."""
        found = await self._read(self._messages.after, room, place, limit)
        if place is not None and found.more and _reaches(found, place.epoch, 0, place.offset + 1):
            return found
        await self._writer.caught_up()
        return await self._read(self._messages.after, room, place, limit)

    async def _read(
        self,
        read: Callable[[str, Since | None, int], Awaitable[Stretch]],
        room: str,
        place: Since | None,
        limit: int,
    ) -> Stretch:
        try:
            found = await read(room, place, limit)
        except DatabaseError as error:
            raise ArchiveAway(str(error)) from error
        gone = self._gone(room, found.epoch)
        if not gone:
            return found
        told = [tombstone(each) if each.offset in gone else each for each in found.messages]
        return Stretch(found.epoch, told, found.more)


def _reaches(found: Stretch, epoch: str, index: int, offset: int) -> bool:
    """Tell whether a stretch borders on the place asked for, so that nothing can be missing."""
    messages = found.messages
    return found.epoch == epoch and bool(messages) and messages[index].offset == offset


async def forget_old(messages: SqlMessages, days: int, clock: Callable[[], float]) -> None:
    """Delete messages older than `days`, a few at a time, until cancelled."""
    while True:
        try:
            deleted = await messages.forget(int(clock() * 1000) - days * DAY_MS, FORGET_AT_A_TIME)
        except DatabaseError as error:
            logger.warning("old messages are deleted later: %s", error)
            deleted = 0
        await asyncio.sleep(FORGET_PAUSE_S if deleted == FORGET_AT_A_TIME else FORGET_EVERY_S)
