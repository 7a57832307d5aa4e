"""Acts of moderators on one hub's own disk: what holds while the database is away.

One JSON array a line, an `Act` field by field. A torn last line is left out.
"""

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from metaport.moderation_act import Act
from metaport.secret_files import write_secret

_decode = msgspec.json.Decoder(Act).decode


class ActFile:
    """An append-only file, rewritten whenever everything was read from the database."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> Iterator[Act]:
        """Yield what is kept, oldest first. Raises `OSError`."""
        try:
            lines = self._path.read_bytes().splitlines()
        except FileNotFoundError:
            return
        for line in lines:
            try:
                yield _decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                continue

    def rewrite(self, acts: Iterable[Act]) -> None:
        """Keep exactly these. Raises `OSError`."""
        write_secret(self._path, "".join(map(_line, acts)), replace=True)

    def append(self, acts: Iterable[Act]) -> None:
        """Keep these as well. Raises `OSError`."""
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            # A newline first: what follows a torn line is a line of its own.
            os.write(descriptor, ("\n" + "".join(map(_line, acts))).encode())
        finally:
            os.close(descriptor)


def _line(act: Act) -> str:
    return json.dumps(act, ensure_ascii=False) + "\n"
