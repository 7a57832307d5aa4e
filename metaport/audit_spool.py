"""Entries of the audit log on disk, until there is a way into the database.

Commands at the terminal write here always: they need no database for it. A hub writes here while
its database is away, and carries everything over when it is back.
"""

import fcntl
import json
import os
from collections.abc import Sequence
from pathlib import Path

from metaport.audit import Entry

SPOOL = "audit.spool"
CARRIED = "audit.spool.carried"


class AuditSpool:
    """One file of lines that any process of the machine may append to."""

    def __init__(self, data_dir: Path) -> None:
        self._path, self._carried = data_dir / SPOOL, data_dir / CARRIED

    def append(self, entries: Sequence[Entry]) -> None:
        """Write entries down, on disk when this returns. Raises `OSError`."""
        lines = "".join(json.dumps(entry, ensure_ascii=False) + "\n" for entry in entries)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        while not self._written(lines):
            pass

    def _written(self, lines: str) -> bool:
        with open(self._path, "a", encoding="utf-8", opener=_private) as file:
            # Whoever takes the file away waits for the lines, and they are never half there.
            fcntl.flock(file, fcntl.LOCK_EX)
            try:
                if not os.path.samestat(os.fstat(file.fileno()), self._path.stat()):
                    return False  # it was taken away in between: another begins
            except FileNotFoundError:
                return False
            file.write(lines)
            file.flush()
            os.fsync(file.fileno())
        return True

    def take(self) -> list[Entry]:
        """Set everything written so far aside and return it; `done` is to be called then.

        What was set aside before and is not done comes again: an entry's id is there once.
        """
        if not self._carried.exists():
            if not self._path.exists():
                return []
            self._path.rename(self._carried)
        with self._carried.open(encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_SH)
            return [entry for line in file if (entry := _read(line)) is not None]

    def done(self) -> None:
        """Delete what was set aside: it is in the database."""
        self._carried.unlink(missing_ok=True)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _read(line: str) -> Entry | None:
    """Read a line; None for one that a power failure has cut short."""
    try:
        return Entry(*json.loads(line))
    except (ValueError, TypeError):
        return None
