"""Set damaged bytes of a local log aside, so that everything around them is read again.

1. The damaged bytes are copied to `<position>.damaged` beside the segment.
2. A hole of the same size takes their place: positions do not move, readers pass over it.

A crash after step 1 leaves a copy too many, nothing else. **Nothing of a whole
append is ever overwritten.**
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from metaport.log import lock
from metaport.log_records import (
    RECORD_BYTES,
    Segment,
    encode_hole,
    first_bad,
    next_valid,
    parse,
    segments,
)


class Damage(NamedTuple):
    """Name bytes that hold no record: `torn` ones end the log, as a crash leaves them."""

    path: Path
    position: int
    size: int
    torn: bool


def find(directory: Path) -> Iterator[Damage]:
    """Read the whole log and yield what is damaged. Raises `OSError`."""
    found = segments(directory)
    for segment in found:
        yield from _in_segment(segment, last=segment == found[-1])


def _in_segment(segment: Segment, *, last: bool) -> Iterator[Damage]:
    start, path = segment
    data = path.read_bytes()
    offset = parse(data, start).end
    while offset < len(data):
        bad = first_bad(data, start, offset)
        resumes = next_valid(data, start, bad)
        if resumes is None:
            # An append that is not whole, or bytes that are no record, up to the end.
            yield Damage(path, start + offset, len(data) - offset, torn=last)
            return
        yield Damage(path, start + bad, resumes - bad, torn=False)
        offset = resumes + parse(data[resumes:], start + resumes).end


def repair(directory: Path) -> list[tuple[Damage, Path]]:
    """Set all damage of a log aside; return it with the copies. A torn tail is left to `Log`.

    Raises `LogLocked` while a process writes the log, `OSError`.
    """
    descriptor = lock(directory)
    try:
        found = [damage for damage in find(directory) if not damage.torn]
        return [(damage, _set_aside(damage)) for damage in found]
    finally:
        os.close(descriptor)


def _set_aside(damage: Damage) -> Path:
    """Copy the damaged bytes away and put a hole in their place; return the copy."""
    start = int(damage.path.stem)
    copy = damage.path.with_name(f"{damage.position:020d}.damaged")
    with damage.path.open("r+b") as file:
        file.seek(damage.position - start)
        _write_through(copy, file.read(damage.size))
        file.seek(damage.position - start)
        if damage.size >= RECORD_BYTES:
            file.write(encode_hole(damage.size, damage.position))
        else:  # only at the end of a segment is there less than a record
            file.truncate()
        file.flush()
        os.fsync(file.fileno())
    return copy


def _write_through(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
