"""The one local log: append-only, the durable floor under chat and usage.

1. `Log.append` writes what is about to be acknowledged, in one `write`; all of it or none.
2. `Log.sync`, called each second, bounds what a power failure can take.
3. `read` replays at start; `Follower` reads on at its own pace, from any process.
4. `Log.trim` drops segments that every reader has passed.

**What `append` returned from survives `kill -9`; a record is never skipped in silence.**

A log is a directory of segments named by the position they start at. A record is

    u32 length and, in its top bit, "more of the same append follows" · u32 CRC-32 · payload

little endian. The checksum covers position, length and payload: zeros after a power failure, stale
blocks and a payload that imitates a record do not pass for one. A torn tail is cut when the log is
opened. Each opening starts a new segment `_BOOT_STRIDE` further on, so that no position is ever
used twice, even when a power failure took records that a reader had already seen.

Not supported: several writers, random access, compression.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from struct import Struct
from typing import Literal, NamedTuple
from zlib import crc32

logger = logging.getLogger(__name__)

SEGMENT_BYTES = 32 << 20
_BOOT_STRIDE = 1 << 40  # no process writes a tebibyte in its life; 2^23 starts fit 63 bits
_READ_BYTES = 1 << 20
_HEADER = Struct("<II")
_PLACE = Struct("<QI")
_MORE = 1 << 31
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class LogError(Exception):
    """The log cannot do what was asked.

    LogError
    ├── LogFull      nothing of this append was stored; a later one may be
    ├── LogLocked    another process writes this log
    ├── LogTrimmed   the position asked for has been dropped
    └── LogCorrupt   a record in the middle is damaged
    """


class LogFull(LogError):  # noqa: N818 - the name is the sentence
    """No room for the append; the log is as it was before."""

    def __init__(self, path: Path, reason: str) -> None:
        self.path = path
        super().__init__(f"{path}: nothing stored: {reason}")


class LogLocked(LogError):  # noqa: N818
    """Another process holds the log; `pid` is what it wrote of itself, or empty."""

    def __init__(self, directory: Path, pid: str) -> None:
        self.directory, self.pid = directory, pid
        holder = f"process {pid}" if pid else "another process"
        super().__init__(f"{directory}: {holder} is writing this log")


class LogTrimmed(LogError):  # noqa: N818
    """Records from `position` up to `oldest` are gone."""

    def __init__(self, directory: Path, position: int, oldest: int) -> None:
        self.directory, self.position, self.oldest = directory, position, oldest
        super().__init__(f"{directory}: position {position} is gone, the oldest kept is {oldest}")


class LogCorrupt(LogError):  # noqa: N818
    """A record is damaged and valid ones follow it, at `resumes_at` where that is known."""

    def __init__(self, path: Path, position: int, resumes_at: int | None) -> None:
        self.path, self.position, self.resumes_at = path, position, resumes_at
        until = (
            "" if resumes_at is None else f", {resumes_at - position} bytes lost before the next"
        )
        super().__init__(f"{path}: damaged record at position {position}{until}")


class _Segment(NamedTuple):
    start: int
    path: Path


def _segments(directory: Path) -> list[_Segment]:
    try:
        names = os.listdir(directory)
    except FileNotFoundError:
        return []
    found = (name.removesuffix(".log") for name in names if name.endswith(".log"))
    return sorted(_Segment(int(n), directory / f"{n}.log") for n in found if n.isdecimal())


class _Parsed(NamedTuple):
    records: list[tuple[int, bytes]]  # the position after the record, its payload
    end: int  # offset after the last whole append
    damaged: bool  # the bytes at `end` are there and are no record


def _parse(data: bytes | memoryview, position: int, offset: int = 0) -> _Parsed:
    """Read whole appends from `data`, whose first byte stands at `position`."""
    records: list[tuple[int, bytes]] = []
    whole, end, size = 0, offset, len(data)
    while size - offset >= _HEADER.size:
        marked, checksum = _HEADER.unpack_from(data, offset)
        length = marked & ~_MORE
        after = offset + _HEADER.size + length
        if after > size:
            break
        payload = bytes(data[offset + _HEADER.size : after])
        if not length or crc32(payload, crc32(_PLACE.pack(position + offset, marked))) != checksum:
            return _Parsed(records[:whole], end, True)
        records.append((position + after, payload))
        offset = after
        if not marked & _MORE:
            whole, end = len(records), offset
    return _Parsed(records[:whole], end, False)


def _encode(records: Sequence[bytes], position: int) -> bytes:
    parts: list[bytes] = []
    last = len(records) - 1
    for index, payload in enumerate(records):
        if not 0 < len(payload) < _MORE:
            raise ValueError("a record has 1 to 2^31 - 1 bytes")
        marked = len(payload) if index == last else len(payload) | _MORE
        checksum = crc32(payload, crc32(_PLACE.pack(position, marked)))
        parts += (_HEADER.pack(marked, checksum), payload)
        position += _HEADER.size + len(payload)
    return b"".join(parts)


def _next_valid(data: bytes, position: int, offset: int) -> int | None:
    """Find the offset of the next valid record, whether or not its append is whole."""
    view = memoryview(data)
    for at in range(offset + 1, len(data) - _HEADER.size):
        marked, checksum = _HEADER.unpack_from(view, at)
        length = marked & ~_MORE
        after = at + _HEADER.size + length
        if length and after <= len(data):
            payload = view[at + _HEADER.size : after]
            if crc32(payload, crc32(_PLACE.pack(position + at, marked))) == checksum:
                return at
    return None


class Log:
    """Write a log; one process at a time, held by an advisory lock on the directory.

    `on_rotate` returns records that every segment begins with (what a replay needs that older
    segments held). It is called inside `append`, and what it returns stands before its records.

    Raises `LogLocked`, `LogCorrupt`, `OSError` when opened.
    """

    def __init__(
        self,
        directory: Path,
        *,
        segment_bytes: int = SEGMENT_BYTES,
        fsync: Literal["interval", "always"] | str = "interval",
        on_rotate: Callable[[], Sequence[bytes]] | None = None,
    ) -> None:
        self.directory = directory
        self.on_rotate = on_rotate
        self._segment_bytes = segment_bytes
        self._fsync_always = fsync == "always"
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = _lock(directory)
        self._descriptor = -1  # -1 while no segment is open
        self._torn = False  # bytes of a refused append may stand after `_position`
        self._failed: OSError | None = None  # a failed fsync: what is on disk is unknown
        self._unsynced = False
        try:
            self._position = _recover(directory)
            self._start(self._position)
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
        `records` has happened then.
        """
        if not records:
            return
        self._mend()
        if self._position - self._segment_start >= self._segment_bytes:
            self._rotate()
        if self._position == self._segment_start and self.on_rotate is not None:
            records = [*self.on_rotate(), *records]
        data = _encode(records, self._position)
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
        """Flush to the disk what was appended. Raises `LogError`; the log is of no use then."""
        if not self._unsynced:
            return
        try:
            _flush(self._descriptor)
        except OSError as error:
            # After a failed fsync the kernel may have dropped the pages: a second call would lie.
            self._failed = error
            raise LogError(f"{self._path}: {error.strerror}") from error
        self._unsynced = False

    def trim(self, before_position: int) -> None:
        """Drop the segments that hold nothing at or after `before_position`.

        A segment goes only when the next begins at or before it, so that a reader that has read
        everything still finds its place.
        """
        segments = _segments(self.directory)
        for segment, following in pairwise(segments):
            if following.start <= before_position:
                segment.path.unlink()

    def close(self) -> None:
        """Flush and let go of the lock; a second call does nothing."""
        if self._descriptor >= 0:
            try:
                self.sync()
            except LogError as error:
                logger.error("%s", error)
            os.close(self._descriptor)
            self._descriptor = -1
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _rotate(self) -> None:
        self.sync()  # readers and recovery take an older segment to be whole
        self._start(self._position)

    def _start(self, position: int) -> None:
        path = self.directory / f"{position:020d}.log"
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            _sync_directory(self.directory)
        except OSError as error:
            if self._descriptor < 0:
                raise
            raise _refusal(path, error) from error
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor, self._path, self._segment_start = descriptor, path, position

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


def _lock(directory: Path) -> int:
    descriptor = os.open(directory / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        pid = os.pread(descriptor, 20, 0).decode("ascii", "replace").strip()
        os.close(descriptor)
        raise LogLocked(directory, pid) from None
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor


def _recover(directory: Path) -> int:
    """Cut a torn tail, drop empty segments; return where the new segment starts."""
    segments = _segments(directory)
    while segments:
        start, path = segments[-1]
        size = _cut(path, start)
        if size or len(segments) == 1:
            break
        path.unlink()
        segments.pop()
    if not segments:
        return 0
    return (segments[-1].start // _BOOT_STRIDE + 1) * _BOOT_STRIDE


def _cut(path: Path, start: int) -> int:
    """Cut what is no whole append off the end of a segment; return the size that is left."""
    data = path.read_bytes()
    end = _parse(data, start).end
    if end == len(data):
        return end
    resumes = _next_valid(data, start, _first_bad(data, start, end))
    if resumes is not None:
        raise LogCorrupt(path, start + _first_bad(data, start, end), start + resumes)
    logger.warning("%s: cut a torn tail of %d bytes at %d", path, len(data) - end, start + end)
    os.truncate(path, end)
    return end


def _first_bad(data: bytes, start: int, offset: int) -> int:
    """Skip the valid records of an append that is not whole; return the offset after them."""
    while len(data) - offset >= _HEADER.size:
        marked, checksum = _HEADER.unpack_from(data, offset)
        after = offset + _HEADER.size + (marked & ~_MORE)
        payload = data[offset + _HEADER.size : after]
        seed = crc32(_PLACE.pack(start + offset, marked))
        if after > len(data) or not payload or crc32(payload, seed) != checksum:
            break
        offset = after
    return offset


# macOS has no fdatasync.
_flush = getattr(os, "fdatasync", os.fsync)


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
        self._segment: _Segment | None = None
        self._descriptor = -1
        self._told = False  # the gap after the end was logged

    @property
    def position(self) -> int | None:
        """Tell the position after the last record returned; `None` before the first."""
        return self._position

    def poll(self, max_records: int = 1000) -> list[tuple[int, bytes]]:
        """Return up to `max_records` new records, each with the position after it; may be empty.

        Raises `LogTrimmed`, `LogCorrupt`, `LogError`, `OSError`; calling again asks again.
        """
        while len(self._ready) < max_records and self._fill():
            pass
        records = [self._ready.popleft() for _ in range(min(max_records, len(self._ready)))]
        if records:
            self._position = records[-1][0]
        return records

    def lag_bytes(self) -> int:
        """Tell how many bytes of the log were not returned yet."""
        position = self._position or 0
        total = 0
        for segment in _segments(self.directory):
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
        segments = _segments(self.directory)  # listed first: a later one means this one is final
        if self._segment is None and not self._open(segments):
            return False
        assert self._segment is not None
        start, path = self._segment
        position = self._read_to = max(self._read_to or 0, start)
        size = _READ_BYTES
        while True:
            data = os.pread(self._descriptor, size, position - start)
            parsed = _parse(data, position)
            if parsed.records or parsed.damaged or len(data) < size:
                break
            size *= 2  # one append longer than the chunk
        self._ready.extend(parsed.records)
        self._read_to = position + parsed.end
        if parsed.records:
            return True
        if parsed.damaged:
            raise LogCorrupt(path, position + parsed.end, None)
        return self._next(segments, len(data))

    def _next(self, segments: list[_Segment], left: int) -> bool:
        """Go on to the next segment, where there is one."""
        assert self._segment is not None
        assert self._read_to is not None
        start, path = self._segment
        following = next((segment for segment in segments if segment.start > start), None)
        if following is None:
            return False
        if left:
            raise LogCorrupt(path, self._read_to, None)
        self.close()
        self._read_to = following.start
        return self._open(segments)

    def _open(self, segments: list[_Segment]) -> bool:
        if not segments:
            return False
        position = segments[0].start if self._read_to is None else self._read_to
        if position < segments[0].start:
            raise LogTrimmed(self.directory, position, segments[0].start)
        segment = max(s for s in segments if s.start <= position)
        try:
            self._descriptor = os.open(segment.path, os.O_RDONLY)
        except FileNotFoundError:
            return False  # trimmed meanwhile; the next poll says so
        self._segment = segment
        self._tell_gap(segment, position, segments[-1] is segment)
        return True

    def _tell_gap(self, segment: _Segment, position: int, last: bool) -> None:
        end = segment.start + os.fstat(self._descriptor).st_size
        if position <= end or self._told:
            return
        if last and position // _BOOT_STRIDE > segment.start // _BOOT_STRIDE:
            self.close()
            raise LogError(f"{self.directory}: position {position} is after the end, {end}")
        self._told = True
        logger.warning(
            "%s: %d bytes read earlier are gone, as after a power failure",
            segment.path,
            position - end,
        )


def read(directory: Path, position: int | None = None) -> Iterator[tuple[int, bytes]]:
    """Yield every record from `position` to the present end, each with the position after it.

    Raises `LogTrimmed`, `LogCorrupt`, `LogError`, `OSError`.
    """
    follower = Follower(directory, position)
    try:
        while records := follower.poll():
            yield from records
    finally:
        follower.close()
