"""The revocations of one hub on its own disk: what holds while the database is away.

One JSON array a line: kind, subject, before (s), until (s). A torn last line is left out.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from metaport.revocation import Revocation
from metaport.secret_files import write_secret


class RevocationFile:
    """An append-only file; `rewrite` it at start, so that it holds only what is in force."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> Iterator[Revocation]:
        """Yield what is kept. Raises `OSError`."""
        try:
            lines = self._path.read_text("utf-8", "replace").splitlines()
        except FileNotFoundError:
            return
        for line in lines:
            try:
                kind, subject, before_s, until_s = json.loads(line)
                if kind in ("token", "user"):
                    yield Revocation(kind, str(subject), float(before_s), float(until_s))
            except (ValueError, TypeError):
                continue

    def rewrite(self, revocations: Iterable[Revocation]) -> None:
        """Keep exactly these. Raises `OSError`."""
        write_secret(self._path, "".join(map(_line, revocations)), replace=True)

    def append(self, revocations: Iterable[Revocation]) -> None:
        """Keep these as well; on disk when it returns. Raises `OSError`."""
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            # A newline first: what follows a torn line is a line of its own.
            os.write(descriptor, ("\n" + "".join(map(_line, revocations))).encode())
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _line(entry: Revocation) -> str:
    return json.dumps([entry.kind, entry.subject, entry.before_s, entry.until_s]) + "\n"
