"""The format of the local log: records, appends, segments. Bytes in, records out.

A log is a directory of segments named by the position they start at. A record is

    u32 length and two flags · u32 CRC-32 · payload

little endian. The flag MORE says that the next record belongs to the same append: readers take an
append whole or not at all. A HOLE stands where `log_repair` set damaged bytes aside. The checksum
covers position, length and payload, so that zeros after a power failure, stale blocks and a payload
that imitates a record do not pass for one.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from struct import Struct
from typing import NamedTuple
from zlib import crc32

MORE, HOLE = 1 << 31, 1 << 30
LENGTH_MASK = HOLE - 1
_HEADER = Struct("<II")
_HEADER_BYTES = _HEADER.size
_pack, _unpack, _place = _HEADER.pack, _HEADER.unpack_from, Struct("<QI").pack
RECORD_BYTES = _HEADER_BYTES + 1  # the shortest record


class LogError(Exception):
    """The log cannot do what was asked.

    LogError
    ├── LogFull      nothing of this append was stored; a later one may be
    ├── LogLocked    another process writes this log
    ├── LogTrimmed   the position asked for has been dropped
    └── LogCorrupt   a record in the middle is damaged
    """


class LogFull(LogError):
    """No room for the append; the log is as it was before."""

    def __init__(self, path: Path, reason: str) -> None:
        self.path = path
        super().__init__(f"{path}: nothing stored: {reason}")


class LogLocked(LogError):
    """Another process holds the log; `pid` is what it wrote of itself, or empty."""

    def __init__(self, directory: Path, pid: str) -> None:
        self.directory, self.pid = directory, pid
        holder = f"process {pid}" if pid else "another process"
        super().__init__(f"{directory}: {holder} is writing this log")


class LogTrimmed(LogError):
    """Records from `position` up to `oldest` are gone."""

    def __init__(self, directory: Path, position: int, oldest: int) -> None:
        self.directory, self.position, self.oldest = directory, position, oldest
        super().__init__(f"{directory}: position {position} is gone, the oldest kept is {oldest}")


class LogCorrupt(LogError):
    """A record is damaged and others follow it, at `resumes_at` where that is known."""

    def __init__(self, path: Path, position: int, resumes_at: int | None = None) -> None:
        self.path, self.position, self.resumes_at = path, position, resumes_at
        span = "" if resumes_at is None else f" ({resumes_at - position} bytes)"
        super().__init__(
            f"{path}: damaged at position {position}{span};"
            " stop the server and run `metaport log repair`"
        )


class Segment(NamedTuple):
    """Name one file of a log; the first byte of the file stands at `start`."""

    start: int
    path: Path


class Parsed(NamedTuple):
    """Hold what a stretch of bytes contains."""

    records: list[tuple[int, bytes]]  # the position after the record, its payload
    end: int  # offset after the last whole append
    bad: int | None  # offset of a damaged record, if there is one


def segments(directory: Path) -> list[Segment]:
    """List the segments of a log in order; none where there is no log."""
    try:
        names = os.listdir(directory)
    except FileNotFoundError:
        return []
    found = (name.removesuffix(".log") for name in names if name.endswith(".log"))
    return sorted(Segment(int(n), directory / f"{n}.log") for n in found if n.isdecimal())


def segment_path(directory: Path, start: int) -> Path:
    return directory / f"{start:020d}.log"


def encode(records: Sequence[bytes], position: int) -> bytes:
    """Return the bytes of one append that begins at `position`."""
    parts: list[bytes] = []
    left = len(records)
    for payload in records:
        length = len(payload)
        if not 0 < length <= LENGTH_MASK:
            raise ValueError(f"a record has 1 to {LENGTH_MASK} bytes, not {length}")
        left -= 1
        marked = length | MORE if left else length
        # In line: a call less saves 0.2 of 1 µs a record.
        parts.append(_pack(marked, crc32(payload, crc32(_place(position, marked)))))
        parts.append(payload)
        position += _HEADER_BYTES + length
    return b"".join(parts)


def encode_hole(size: int, position: int) -> bytes:
    """Return `size` bytes that a reader passes over; `size` is at least `RECORD_BYTES`."""
    payload = bytes(size - _HEADER_BYTES)
    marked = len(payload) | HOLE
    return _pack(marked, crc32(payload, crc32(_place(position, marked)))) + payload


def parse(data: bytes, position: int) -> Parsed:
    """Read the whole appends in `data`, whose first byte stands at `position`."""
    records: list[tuple[int, bytes]] = []
    whole = end = offset = 0
    # `record_end` and `_valid` in line: a replay reads every record, at 1.8 instead of 2.5 µs.
    while len(data) - offset >= _HEADER_BYTES:
        marked, checksum = _unpack(data, offset)
        after = offset + _HEADER_BYTES + (marked & LENGTH_MASK)
        if after > len(data):
            break
        payload = data[offset + _HEADER_BYTES : after]
        place = crc32(_place(position + offset, marked))
        if not payload or crc32(payload, place) != checksum:
            return Parsed(records[:whole], end, offset)
        if not marked & HOLE:
            records.append((position + after, payload))
        offset = after
        if not marked & MORE:
            whole, end = len(records), offset
    return Parsed(records[:whole], end, None)


def record_end(data: bytes, offset: int) -> int | None:
    """Return the offset after the record at `offset`, `None` when its end is not in `data`."""
    if len(data) - offset < _HEADER_BYTES:
        return None
    length: int = _unpack(data, offset)[0] & LENGTH_MASK
    after = offset + _HEADER_BYTES + length
    return after if after <= len(data) else None


def first_bad(data: bytes, position: int, offset: int) -> int:
    """Return the offset after the valid records from `offset` on, whole append or not."""
    while (after := record_end(data, offset)) is not None:
        if not _valid(data, position, offset, after):
            break
        offset = after
    return offset


def next_valid(data: bytes, position: int, bad: int) -> int | None:
    """Return the offset of the first valid record after the damaged one at `bad`."""
    for offset in range(bad + RECORD_BYTES, len(data) - RECORD_BYTES + 1):
        after = record_end(data, offset)
        if after is not None and _valid(data, position, offset, after):
            return offset
    return None


def _valid(data: bytes, position: int, offset: int, after: int) -> bool:
    """Tell whether the checksum of the record between two offsets holds."""
    marked, checksum = _unpack(data, offset)
    payload = data[offset + _HEADER_BYTES : after]
    return bool(payload) and crc32(payload, crc32(_place(position + offset, marked))) == checksum
