"""Rows as PostgreSQL's COPY writes them: a line a row, tabs between, `\\N` for null.

**A row between databases is always this: a tuple with the text of each value, None for null**, in
the words PostgreSQL uses for it (`t`, `2026-11-28 09:00:00+00`, `\\\\x00ff`).
"""

import re
from collections.abc import Iterable, Iterator

Row = tuple[str | None, ...]

_SPECIAL = re.compile(r"[\\\b\f\n\r\t\v]")
_ESCAPED = {"\\": "\\\\", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t",
            "\v": "\\v"}  # fmt: skip
_ESCAPE = re.compile(r"\\(.)")
_MEANT = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


def write_line(row: Row) -> bytes:
    """Write one row as a line; a lone surrogate, which is no text, raises UnicodeEncodeError."""
    return ("\t".join([_field(value) for value in row]) + "\n").encode()


def _field(value: str | None) -> str:
    if value is None:
        return "\\N"
    if _SPECIAL.search(value) is None:
        return value
    return _SPECIAL.sub(lambda found: _ESCAPED[found[0]], value)


def read_line(line: bytes) -> Row:
    """Read one line without its end."""
    fields = line.decode().split("\t")
    return tuple(
        [None if field == "\\N" else _unescaped(field) if "\\" in field else field
         for field in fields]
    )  # fmt: skip


def _unescaped(field: str) -> str:
    return _ESCAPE.sub(lambda found: _MEANT.get(found[1], found[1]), field)


class Lines:
    """Cut a stream of bytes into lines."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """Return the lines that are whole now, without their ends."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        return lines


def batched(rows: Iterable[Row], size: int) -> Iterator[list[Row]]:
    """Group rows into lists of `size`."""
    batch: list[Row] = []
    for row in rows:
        batch.append(row)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
