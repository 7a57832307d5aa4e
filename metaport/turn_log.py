"""What coturn says it relayed, from its log into the ledger.

coturn (4.6 as Debian packages it) tells what a session relayed since it told last: every 4,096
packets, and when the session ends. It publishes that in Redis as well (`redis-statsdb`), but nobody
keeps what is published while no reader is there, and its Prometheus figures know no users. Its log
is kept: a reader goes on where it was.

1. Lines of `peer usage` after the checkpoint are added up by room, user and window.
2. The totals are upserted together with the checkpoint, in one transaction. The identity of a row
   is the file and where reading began, so a crash anywhere reads the same lines into the same rows.
3. After `BATCH_S` the checkpoint moves to where reading has come, and a new batch begins.

A file is known by its first line, which tells when coturn opened it: after rotations the rest of
the old one and those between are read first, by whatever names they go on in the directory. Bytes
are counted in the window in which coturn tells of them. The username of a session tells user and
room (`sfu.turn`).
"""

import asyncio
import hashlib
import json
import logging
import re
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from metering.errors import LedgerUnavailable
from metering.events import Checkpoint, Subject, UsageRow
from metering.ledger import Ledger
from metering.meters import TURN_BYTES
from metering.windows import window_start
from sfu.turn import subject_of

logger = logging.getLogger(__name__)

READ_EVERY_S = 2.0
LONGEST_RETRY_S = 10.0
# A row a user, room and window is kept for each batch; what a crash repeats is this much.
BATCH_S = 900.0
# Read at once: the loop serves chat in between, and 1 MiB is parsed in about 10 ms.
READ_BYTES = 1 << 20
# That nothing was relayed is known too, and is told so that a report says 0 and not "not measured".
TOLD_EVERY_S = 3600
FIRST_LINE_BYTES = 4096

_LINE = re.compile(
    rb"(?P<at>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4}): .*session \d+: peer usage: "
    rb"realm=<[^>]*>, username=<(?P<username>[^>]*)>, rp=\d+, rb=(?P<received>\d+), "
    rb"sp=\d+, sb=(?P<sent>\d+)\s*"
)
_DATED = re.compile(rb"\d{4}-\d\d-\d\dT")
_UNDATED = re.compile(rb"\d+: .*session \d+: peer usage: .*")


class Relayed(NamedTuple):
    """What a session relayed since coturn told last."""

    at_s: int
    room: str
    user: str
    quantity: int


def relayed_in(line: bytes) -> Relayed | None:
    """Read a line of coturn's log; None if it tells of no bytes.

    Raises:
        ValueError: it tells of bytes but not when; coturn needs `new-log-timestamp`.
    """
    found = _LINE.fullmatch(line)
    if found is None:
        if _UNDATED.fullmatch(line):
            raise ValueError("coturn's log tells no times: set new-log-timestamp")
        return None
    at = datetime.strptime(found["at"].decode("ascii"), "%Y-%m-%dT%H:%M:%S%z")
    room, user = subject_of(found["username"].decode("utf-8", "replace"))
    quantity = int(found["received"]) + int(found["sent"])
    return Relayed(int(at.timestamp()), room, user, quantity)


class Position(NamedTuple):
    """A place in a log file; `file` is a digest of its first line."""

    file: str
    offset: int


class TurnLogReader:
    """Carries one coturn's log into the ledger; `node` is its name there."""

    def __init__(
        self,
        path: Path,
        ledger: Ledger,
        node: str,
        clock: Callable[[], float],
        name_of: Callable[[str], str] = str,
    ) -> None:
        self._path = path
        self._ledger = ledger
        self._node = node
        self._clock = clock
        self._name_of = name_of
        # Where the present batch began, None: as the checkpoint says; how far it has come; since
        # when it goes on; and its totals by room, user and window.
        self._begin: Position | None = None
        self._offset = 0
        self._began_s = 0.0
        self._totals: dict[tuple[str, str, int], int] = {}
        self._told_s = 0
        self.failing: str | None = None

    async def ship(self) -> int:
        """Bring the ledger up to date; return the number of lines that told of bytes.

        Raises:
            LedgerUnavailable; OSError: the log cannot be read; ValueError: it tells no times.
        """
        # Before anything is read: what was told until then is in what is read.
        now_s = self._clock()
        try:
            return await self._ship(now_s)
        except BaseException:
            self._begin = None  # the next one begins at the checkpoint again
            raise

    async def _ship(self, now_s: float) -> int:
        if self._begin is None:
            self._start(await self._kept(), now_s)
        assert self._begin is not None
        lines = 0
        for which, path in await asyncio.to_thread(self._files_since, self._begin.file):
            if which != self._begin.file:
                self._start(Position(which, 0), now_s)
            lines += await self._read(path, now_s)
        if now_s - self._began_s >= BATCH_S:
            self._start(Position(self._begin.file, self._offset), now_s)
            await self._keep(now_s)
        return lines

    async def _kept(self) -> Position:
        kept = await self._ledger.checkpoint(self._node)
        return Position("", 0) if kept is None else Position(*json.loads(kept))

    def _start(self, begin: Position, now_s: float) -> None:
        self._begin, self._offset, self._began_s, self._totals = begin, begin.offset, now_s, {}

    def _files_since(self, begun: str) -> list[tuple[str, Path]]:
        """Return the file reading began in, if any, and those that followed; the log is the last.

        Raises:
            OSError: the log cannot be read.
        """
        logs = sorted(
            (line, path)
            for path in self._path.parent.glob(f"{self._path.name}*")
            if _DATED.match(line := _first_line(path))
        )
        present = _first_line(self._path)
        files = [(_file_of(line), path) for line, path in logs if line <= present]
        names = [which for which, _ in files]
        if begun in names:
            return files[names.index(begun) :]
        if begun:
            logger.error("%s was replaced, and what it was is gone: relayed bytes may be lost",
                         self._path)  # fmt: skip
        return files[-1:] if begun else files

    async def _read(self, path: Path, now_s: float) -> int:
        assert self._begin is not None
        found = 0
        while True:
            data = await asyncio.to_thread(_whole_lines, path, self._begin.file, self._offset)
            changed = set()
            for line in data.splitlines():
                if (relayed := relayed_in(line)) is not None:
                    key = relayed.room, relayed.user, window_start(relayed.at_s)
                    self._totals[key] = self._totals.get(key, 0) + relayed.quantity
                    changed.add(key)
                    found += 1
            self._offset += len(data)
            last = len(data) < READ_BYTES // 2
            await self._keep(now_s if last else None, changed)
            if last:
                return found

    async def _keep(
        self, now_s: float | None, changed: set[tuple[str, str, int]] | None = None
    ) -> None:
        assert self._begin is not None
        boot = f"{self._begin.file}.{self._begin.offset}"
        rows = [
            UsageRow(
                self._node,
                boot,
                TURN_BYTES,
                Subject(room, self._name_of(user)),
                start_s,
                self._totals[room, user, start_s],
            )
            for room, user, start_s in changed or ()
        ]
        if now_s is None:
            await self._ledger.upsert(rows)
            return
        # A line of this second may still be written.
        hour_s = int(now_s) // TOLD_EVERY_S * TOLD_EVERY_S
        if hour_s != self._told_s:
            rows.append(UsageRow(self._node, "", TURN_BYTES, Subject("", ""), hour_s, 0))
        position = json.dumps(self._begin)
        await self._ledger.upsert(rows, Checkpoint(self._node, position, int(now_s) - 1))
        self._told_s = hour_s

    async def run(self) -> None:
        """Ship until cancelled; slower while it fails."""
        retry_s = READ_EVERY_S
        while True:
            try:
                await self.ship()
            except (LedgerUnavailable, OSError, ValueError) as error:
                retry_s = min(retry_s * 2, LONGEST_RETRY_S)
                if self.failing is None:
                    logger.error("relayed bytes wait in the log of coturn: %s", error)
                self.failing = str(error) or type(error).__name__
            else:
                retry_s, self.failing = READ_EVERY_S, None
            await asyncio.sleep(retry_s)


def _first_line(path: Path) -> bytes:
    """Return the first line of a file, nothing while it has none. Raises `OSError`."""
    with path.open("rb") as file:
        line = file.readline(FIRST_LINE_BYTES)
    return line if line.endswith(b"\n") else b""


def _file_of(line: bytes) -> str:
    return hashlib.sha256(line).hexdigest()[:16]


def _whole_lines(path: Path, which: str, offset: int) -> bytes:
    """Read whole lines of a file. Raises `OSError`; also where it was replaced meanwhile."""
    with path.open("rb") as file:
        if _file_of(file.readline(FIRST_LINE_BYTES)) != which:
            raise OSError(f"{path} was replaced while it was read")
        file.seek(offset)
        data = file.read(READ_BYTES)
    return data[: data.rfind(b"\n") + 1]
