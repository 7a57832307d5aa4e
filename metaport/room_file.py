"""What is laid down about rooms, on this hub's own disk: what holds while the database is away.

One JSON object a line, `{"settings": …}` or `{"removed": room}`; the last one about a room counts.
A torn last line is left out.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from chatd.room_book import RoomSettings
from metaport.secret_files import write_secret


class _Line(msgspec.Struct, omit_defaults=True):
    settings: RoomSettings | None = None
    removed: str | None = None


_encode, _decode = msgspec.json.Encoder().encode, msgspec.json.Decoder(_Line).decode


class RoomFile:
    """An append-only file; `rewrite` it at start, so that it holds each room once."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def exists(self) -> bool:
        """Whether anything was ever known of rooms here."""
        return self._path.exists()

    def read(self) -> Iterator[tuple[str, RoomSettings | None]]:
        """Yield rooms and what was laid down about them, oldest first. Raises `OSError`."""
        try:
            lines = self._path.read_bytes().splitlines()
        except FileNotFoundError:
            return
        yield from filter(None, map(read_line, lines))

    def rewrite(self, everything: Iterable[RoomSettings]) -> None:
        """Keep exactly this. Raises `OSError`."""
        lines = (_encode(_Line(settings=settings)).decode() + "\n" for settings in everything)
        write_secret(self._path, "".join(lines), replace=True)

    def append(self, changes: Iterable[tuple[str, RoomSettings | None]]) -> None:
        """Keep this as well. Raises `OSError`."""
        # A newline first: what follows a torn line is a line of its own.
        data = b"".join(
            b"\n" + _encode(_Line(settings=settings, removed=None if settings else room))
            for room, settings in changes
        )
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(descriptor, data + b"\n")
        finally:
            os.close(descriptor)


def read_line(line: bytes) -> tuple[str, RoomSettings | None] | None:
    """Return a room and what is laid down about it; None for a line that says nothing."""
    try:
        found = _decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if found.settings is not None:
        return found.settings.room, found.settings
    return None if found.removed is None else (found.removed, None)
