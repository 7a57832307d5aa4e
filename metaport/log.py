"""The one local log: append-only, the durable floor under chat and usage.

1. `Log.append` writes what is about to be acknowledged, in one `write`; all of it or none.
2. `Log.sync`, called each second, bounds what a power failure can take.
3. `read` replays at start; `Follower` reads on at its own pace, from any process.
4. `Log.trim` drops segments that every reader has passed.

**What `append` returned from survives `kill -9`; a record is never skipped in silence.**

A torn tail is cut when the log is opened; damage with valid records behind it is refused (see
`log_repair`). Each opening starts a new segment `BOOT_STRIDE` further on, so that no position is
ever used twice, even when a power failure took records that a reader had already seen.

Not supported: several writers, random access, compression. `log_records` has the format.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import threading
from collections import deque
from collections.abc import Callable, Generator, Sequence
from itertools import pairwise
from pathlib import Path

from metaport.log_records import (
    LogCorrupt,
    LogError,
    LogFull,
    LogLocked,
    LogTrimmed,
    Segment,
    encode,
    first_bad,
    next_valid,
    parse,
    segment_path,
    segments,
)

__all__ = [
    "Follower", "Log", "LogCorrupt", "LogError", "LogFull", "LogLocked", "LogTrimmed",
    "lock", "read", "trim",
]  # fmt: skip

logger = logging.getLogger(__name__)

SEGMENT_BYTES = 32 << 20
BOOT_STRIDE = 1 << 40  # no process writes a tebibyte in its life; 2^23 starts fit 63 bits
READ_BYTES = 1 << 20
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
# macOS has no fdatasync.
_flush = getattr(os, "fdatasync", os.fsync)


class Log:
    """Write a log; one process at a time, held by an advisory lock on the directory.

    `fsync` is "interval" (the caller calls `sync` each second) or "always" (every append does).
    `on_rotate` returns records that every segment begins with (what a replay needs that older
    segments held). It is called inside `append`, and what it returns stands before its records.

    Raises `LogLocked`, `LogCorrupt`, `LogFull`, `OSError` when opened.
    """

    def __init__(
        self,
        directory: Path,
        *,
        segment_bytes: int = SEGMENT_BYTES,
        fsync: str = "interval",
        on_rotate: Callable[[], Sequence[bytes]] | None = None,
    ) -> None:
        self.directory = directory
        self.on_rotate = on_rotate
        self._segment_bytes = segment_bytes
        self._fsync_always = fsync == "always"
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = lock(directory)
        self._descriptor = -1  # -1 while no segment is open
        self._handover = threading.Lock()  # `_descriptor` is not replaced while it is flushed
        self._torn = False  # bytes of a refused append may stand after `_position`
        self._failed: OSError | None = None  # a failed fsync: what is on disk is unknown
        self._unsynced = False
        try:
            empty = _recover(directory)
            self._position = _next_start(directory)
            self._start(self._position)
            for path in empty:  # only now: their names kept the highest position ever used
                path.unlink(missing_ok=True)
        except BaseException:
            self.close()
            raise

    @property
    def position(self) -> int:
        """Tell the position after the last record."""
        return self._position

    def append(self, records: Sequence[bytes]) -> None:
        """Store all records or none, in one write.

        Raises `LogFull` when the disk is full, `LogError` when the disk fails; nothing of
        `records` has happened then. (A failed fsync with `fsync="always"` is the exception: what
        it left is known after a restart.)
        """
        if not records:
            return
        self._mend()
        if self._position - self._segment_start >= self._segment_bytes:
            self._rotate()
        if self._position == self._segment_start and self.on_rotate is not None:
            records = [*self.on_rotate(), *records]
        data = encode(records, self._position)
        try:
            written = os.write(self._descriptor, data)
        except OSError as error:
            self._refuse(error)
        if written != len(data):  # a regular file takes less only when there is no room for more
            self._refuse(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
        self._position += written
        self._unsynced = True
        if self._fsync_always:
            self.sync()

    def sync(self) -> None:
        """Flush to the disk what was appended; may be called from a thread besides the writer's.

        Raises `LogError`; the log takes no more appends then.
        """
        with self._handover:
            if not self._unsynced or self._descriptor < 0:
                return
            self._unsynced = False  # before the flush: an append meanwhile sets it again
            try:
                _flush(self._descriptor)
            except OSError as error:
                # After a failed fsync the kernel may have dropped the pages; a second would lie.
                self._failed = error
                raise LogError(f"{self._path}: {error.strerror}") from error

    def trim(self, before_position: int) -> None:
        """Drop the segments that hold nothing at or after `before_position`; see `trim`."""
        trim(self.directory, before_position)

    def close(self) -> None:
        """Flush and let go of the lock; a second call does nothing."""
        if self._descriptor >= 0:
            try:
                self.sync()
            except LogError as error:
                logger.error("%s", error)
            with self._handover:
                os.close(self._descriptor)
                self._descriptor = -1
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _rotate(self) -> None:
        self.sync()  # readers and recovery take an older segment to be whole
        self._start(self._position)

    def _start(self, position: int) -> None:
        """Begin a segment. Raises `LogError`, `LogFull`; the log goes on where it was then."""
        path = segment_path(self.directory, position)
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            _sync_directory(self.directory)
        except OSError as error:
            raise _refusal(path, error) from error
        with self._handover:
            old, self._descriptor = self._descriptor, descriptor
        self._path, self._segment_start = path, position
        if old >= 0:
            os.close(old)

    def _mend(self) -> None:
        """Take away what a refused append left behind, before anything follows it."""
        if self._failed is not None:
            raise LogError(f"{self._path}: {self._failed.strerror} (since an earlier sync)")
        if not self._torn:
            return
        try:
            os.ftruncate(self._descriptor, self._position - self._segment_start)
        except OSError as error:
            raise LogError(f"{self._path}: {error.strerror}") from error
        self._torn = False

    def _refuse(self, error: OSError) -> None:
        self._torn = True
        try:
            self._mend()
        except LogError:
            logger.exception("a refused append could not be taken back yet")
        raise _refusal(self._path, error) from error


def _refusal(path: Path, error: OSError) -> LogError:
    reason = error.strerror or str(error)
    return LogFull(path, reason) if error.errno in _FULL else LogError(f"{path}: {reason}")


def lock(directory: Path) -> int:
    """Take a log's lock and return the descriptor that holds it. Raises `LogLocked`, `OSError`."""
    descriptor = os.open(directory / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        pid = os.pread(descriptor, 20, 0).decode("ascii", "replace").strip()
        os.close(descriptor)
        raise LogLocked(directory, pid) from None
    with contextlib.suppress(OSError):  # a full disk: then the next one is not told who holds it
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor


def trim(directory: Path, before_position: int) -> None:
    """Drop the segments that hold nothing at or after `before_position`, from any process.

    A segment goes only when the next begins at or before it, so that a reader that has read
    everything still finds its place, and a writer its last segment. Raises `OSError`.
    """
    for segment, following in pairwise(segments(directory)):
        if following.start <= before_position:
            segment.path.unlink(missing_ok=True)


def _recover(directory: Path) -> list[Path]:
    """Cut a torn tail; return the empty segments that may go."""
    found = segments(directory)
    empty: list[Path] = []
    for start, path in reversed(found):
        try:
            if _cut(path, start):
                break
        except FileNotFoundError:
            break  # trimmed meanwhile by another process: a reader has passed it and all before
        if path != found[0].path:  # a reader that has seen nothing yet starts at the first
            empty.append(path)
    return empty


def _next_start(directory: Path) -> int:
    found = segments(directory)
    return (found[-1].start // BOOT_STRIDE + 1) * BOOT_STRIDE if found else 0


def _cut(path: Path, start: int) -> int:
    """Cut what is no whole append off the end of a segment; return the size that is left."""
    data = path.read_bytes()
    end = parse(data, start).end
    if end == len(data):
        return end
    bad = first_bad(data, start, end)
    resumes = next_valid(data, start, bad)
    if resumes is not None:
        raise LogCorrupt(path, start + bad, start + resumes)
    logger.warning("%s: cut a torn tail of %d bytes at %d", path, len(data) - end, start + end)
    os.truncate(path, end)
    return end


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class Follower:
    """Read a log as it grows, in the process that writes it or any other.

    `position` is where the next record begins; hand it back to go on after a restart. `None`
    starts at the oldest record kept. A log that does not exist yet is one without records.
    """

    def __init__(self, directory: Path, position: int | None = None) -> None:
        self.directory = directory
        self._position = position
        self._ready: deque[tuple[int, bytes]] = deque()
        self._read_to = position  # position after the last record in `_ready`
        self._segment: Segment | None = None
        self._descriptor = -1

    @property
    def position(self) -> int | None:
        """Tell the position after the last record returned; `None` before the first."""
        return self._position

    def poll(self, max_records: int = 1000) -> list[tuple[int, bytes]]:
        """Return up to `max_records` new records, each with the position after it; may be empty.

        Raises `LogTrimmed`, `LogCorrupt`, `LogError`, `OSError`; calling again asks again.
        """
        try:
            while len(self._ready) < max_records and self._fill():
                pass
        except (LogError, OSError):
            if not self._ready:
                raise  # else what stands before it comes first, and the next call meets it again
        records = [self._ready.popleft() for _ in range(min(max_records, len(self._ready)))]
        if records:
            self._position = records[-1][0]
        return records

    def lag_bytes(self) -> int:
        """Tell how many bytes of the log were not returned yet."""
        position = self._position or 0
        total = 0
        for segment in segments(self.directory):
            try:
                end = segment.start + segment.path.stat().st_size
            except FileNotFoundError:
                continue  # trimmed meanwhile
            total += max(0, end - max(position, segment.start))
        return total

    def close(self) -> None:
        """Let go of the open segment; a second call does nothing."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        self._segment = None

    def _fill(self) -> bool:
        """Read on by one chunk; tell whether there was something."""
        found = segments(self.directory)  # listed first: a later one means that this one is final
        if self._segment is None and not self._open(found):
            return False
        assert self._segment is not None
        assert self._read_to is not None
        start, path = self._segment
        size = READ_BYTES
        while True:
            data = os.pread(self._descriptor, size, self._read_to - start)
            parsed = parse(data, self._read_to)
            if parsed.end or parsed.bad is not None or len(data) < size:
                break
            size *= 2  # one append longer than the chunk
        if parsed.end:
            self._ready.extend(parsed.records)
            self._read_to += parsed.end
            return True
        if parsed.bad is not None:
            raise LogCorrupt(path, self._read_to + parsed.bad)
        return self._next(found, unread=len(data))

    def _next(self, found: list[Segment], unread: int) -> bool:
        """Go on to the next segment, where there is one."""
        assert self._segment is not None
        assert self._read_to is not None
        start, path = self._segment
        following = next((segment for segment in found if segment.start > start), None)
        if following is None:
            return False  # an append under way, or none
        if unread:
            raise LogCorrupt(path, self._read_to)
        self.close()
        self._read_to = following.start
        return self._open(found)

    def _open(self, found: list[Segment]) -> bool:
        if not found:
            return False
        position = found[0].start if self._read_to is None else self._read_to
        if position < found[0].start:
            raise LogTrimmed(self.directory, position, found[0].start)
        segment = max(s for s in found if s.start <= position)
        try:
            descriptor = os.open(segment.path, os.O_RDONLY)
        except FileNotFoundError:
            return False  # trimmed meanwhile; the next poll says so
        end = segment.start + os.fstat(descriptor).st_size
        if position > end and segment == found[-1] and position - end >= BOOT_STRIDE // 2:
            os.close(descriptor)
            raise LogError(f"{self.directory}: position {position} is after the end, {end}")
        if position > end:
            gone = position - end
            logger.warning(
                "%s: %d bytes read earlier are gone (power failure?)", segment.path, gone
            )
        self._descriptor, self._segment, self._read_to = descriptor, segment, position
        return True


def read(directory: Path, position: int | None = None) -> Generator[tuple[int, bytes], None, None]:
    """Yield every record from `position` to the present end, each with the position after it.

    Raises `LogTrimmed`, `LogCorrupt`, `LogError`, `OSError`.
    """
    follower = Follower(directory, position)
    try:
        while records := follower.poll():
            yield from records
    finally:
        follower.close()
