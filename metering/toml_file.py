"""Typed TOML files: read whole, refused with file, line and reason, numbers as decimals."""

import re
import tomllib
from decimal import Decimal
from pathlib import Path
from typing import TypeVar

import msgspec

from metering.errors import FileRefused

T = TypeVar("T")


def read_text(path: Path, refused: type[FileRefused]) -> str:
    """Read a file of UTF-8 text, with or without a byte order mark; raises `refused`."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise refused(str(path), None, error.strerror or "cannot be read") from error
    except UnicodeDecodeError as error:
        raise refused(str(path), None, "is not UTF-8 text") from error


def read_toml(text: str, source: str, kind: type[T], refused: type[FileRefused]) -> T:
    """Read TOML into the structure `kind`; `source` names it in errors. Raises `refused`."""
    try:
        tree = tomllib.loads(text, parse_float=Decimal)
        return msgspec.convert(tree, kind)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"at line (\d+)", str(error))
        raise refused(source, int(found[1]) if found else None, str(error)) from error
    except msgspec.ValidationError as error:
        raise refused(source, line_of(text, str(error)), str(error)) from error


def line_of(text: str, complaint: str) -> int | None:
    """Find the line of the key that a complaint names (`$.key`, `field `key``), None if none.

    In a list of tables it is the line of the key in the table that is counted.
    """
    found = re.search(r"\$\.(\w+)(?:\[(\d+)\])?(?:\.(\w+))?", complaint)
    if found is None:
        named = re.search(r"field `(\w+)`", complaint)
        return None if named is None else _nth(text, rf"{re.escape(named[1])}\s*=", 0, 0)
    head, number, key = re.escape(found[1]), found[2], found[3]
    plain = _nth(text, rf"(?:{head}\s*=|\[\s*{head}\s*\])", 0, 0)
    listed = None if number is None else _nth(text, rf"\[\[\s*{head}\s*\]\]", int(number), 0)
    start = listed or plain
    if key is None or start is None:
        return start
    return _nth(text, rf"{re.escape(key)}\s*=", 0, start) or start


def _nth(text: str, pattern: str, number: int, after: int) -> int | None:
    lines = (
        n
        for n, line in enumerate(text.splitlines(), 1)
        if n > after and re.match(rf"\s*{pattern}", line)
    )
    return next((n for count, n in enumerate(lines) if count == number), None)
