"""Who was in media when, as the SFUs themselves say: what the ledger is compared with.

1. `MediaJournal` writes an attendance record into an SFU's local log with each checkpoint, in the
   same write as the seconds it counts. The local log is trimmed once the ledger has it.
2. Attendances that ended go into the SFU's book, which is kept. What a crash left open, or out of
   the book, is copied there from the local log when the process starts (`Book.copy`).
3. What is older than the details of usage it is compared with is dropped from the book, a file
   at a time (`keep_trimmed`).
4. `read_attendance` merges the books and the local logs of all SFUs of this machine.

A log record is `a` and a MessagePack list of `sfu.facts.Attendance`.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import msgspec

from metaport.config import Config
from metaport.log import Log, LogError, LogTrimmed, read
from metaport.log_records import segments
from sfu.facts import Attendance

logger = logging.getLogger(__name__)

DAY_S = 86_400
ATTENDANCE = b"a"
# A stay is 100 bytes, so a file holds 10,000 of them, and a start looks at 40,000: those that the
# local log may still tell of. One that is written down twice is read once.
SEGMENT_BYTES = 1 << 20
LOOK_BACK_BYTES = 4 << 20
# A hub may trim a log while it is read; then it is read again, this often.
TRIMMED_MEANWHILE = 3

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Attendance]).decode

Key = tuple[str, int]


def attendance_record(attended: Sequence[Attendance]) -> bytes:
    """Encode attendances for a log."""
    return ATTENDANCE + _encode(attended)


def attendances_of(record: bytes) -> list[Attendance]:
    """Decode a log record; none of records of other kinds."""
    return _decode(record[1:]) if record[:1] == ATTENDANCE else []


class Book:
    """The attendances of one SFU that ended; one process at a time writes it."""

    def __init__(self, directory: Path) -> None:
        """Open the book. Raises `LogError`, `OSError`."""
        self._look_from = _look_from(directory)
        self._log = Log(directory, segment_bytes=SEGMENT_BYTES)
        # What could not be written down yet: the log it came from may be trimmed meanwhile.
        self._owed: list[Attendance] = []

    def keep(self, attended: Sequence[Attendance] = ()) -> None:
        """Write down attendances; when it returns they survive the process.

        Raises:
            LogError: they are written down with the next call.
        """
        self._owed += attended
        if self._owed:
            self._log.append([attendance_record(self._owed)])
            self._owed = []

    def copy(self, log: Path) -> None:
        """Write down what stands in an SFU's local log and not here: what a crash cut short.

        Raises:
            LogError, OSError
        """
        kept = _merged(_attendances(self._log.directory, self._look_from))
        left = _left(log)
        self.keep([each for key, each in left.items() if each != kept.get(key)])

    def trim(self, before_ms: int) -> None:
        """Drop the files of which everybody had left before an instant; the last one stays.

        Raises:
            LogError, OSError
        """
        for segment, following in pairwise(segments(self._log.directory)):
            records = read(self._log.directory, segment.start)
            for position, record in records:
                if any(each.until_ms >= before_ms for each in attendances_of(record)):
                    records.close()
                    return
                if position >= following.start:
                    break
            records.close()
            self._log.trim(following.start)

    def close(self) -> None:
        """Let go of the book."""
        self._log.close()


async def keep_trimmed(book: Book | None, days: int, clock: Callable[[], float]) -> None:
    """Drop what is older than `days` each day until cancelled; 0 keeps all."""
    while book is not None and days:
        before_ms = int((clock() - days * DAY_S) * 1000)
        try:
            # A file of 1 MiB takes 10 ms to read, which media would notice.
            await asyncio.to_thread(book.trim, before_ms)
        except (LogError, OSError) as error:
            logger.error("old attendance is dropped later: %s", error)
        await asyncio.sleep(DAY_S)


def book_path(config: Config, log: Path) -> Path:
    """Return where the book of the SFU with this local log is."""
    return config.attendance_dir / log.name


def read_attendance(config: Config, start_ms: int, end_ms: int) -> list[Attendance]:
    """Return everybody's stretches in media that touch [start_ms, end_ms), the earliest first.

    Those of people who are there now end where their last checkpoint was (`ended` is false), at
    most 5 s ago. What was metered for a user in a room is the sum of their seconds,
    floor(until) - floor(since) in UTC; of one that reaches beyond the range, its part within.

    Raises:
        LogError, OSError
    """
    found: dict[Key, Attendance] = {}
    for log in config.sfu_logs:
        found = _merged(_attendances(book_path(config, log)), found)
        found = _merged(_left(log).values(), found)
    within = [
        each for each in found.values() if each.since_ms < end_ms and each.until_ms > start_ms
    ]
    return sorted(within, key=lambda each: (each.since_ms, each.participant))


def _left(log: Path) -> dict[Key, Attendance]:
    for _ in range(TRIMMED_MEANWHILE):
        with suppress(LogTrimmed):
            return _merged(_attendances(log))
    return _merged(_attendances(log))


def _look_from(directory: Path) -> int | None:
    """Return the position from which the newest part of a book is read, `None` for all of it."""
    left = LOOK_BACK_BYTES
    for segment in reversed(segments(directory)):
        left -= segment.path.stat().st_size
        if left < 0:
            return segment.start
    return None


def _attendances(directory: Path, position: int | None = None) -> Iterator[Attendance]:
    if directory.exists():
        for _, record in read(directory, position):
            yield from attendances_of(record)


def _merged(
    attended: Iterable[Attendance], found: dict[Key, Attendance] | None = None
) -> dict[Key, Attendance]:
    """Return the last word on each stretch."""
    found = {} if found is None else found
    for each in attended:
        key = (each.participant, each.since_ms)
        before = found.get(key)
        if before is None or (each.until_ms, each.ended) >= (before.until_ms, before.ended):
            found[key] = each
    return found
