"""Values of MySQL and MariaDB as the text PostgreSQL writes."""

import re
from collections.abc import Callable
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from metaport.migration.catalogue import Column, Kind

Writer = Callable[[Any], str | None]


def writer(column: Column) -> Writer:
    """Return what writes the values of a column that is not null."""
    match column.kind:
        case Kind.BOOLEAN:
            return _boolean
        case Kind.BYTES:
            return lambda value: f"\\x{_bytes(value).hex()}"
        case Kind.DATE | Kind.TIMESTAMP:
            return _moment
        case Kind.INSTANT:
            return _instant
        case Kind.OTHER if column.type.startswith("bit"):
            width = int(column.type[4:-1])
            return lambda value: format(int.from_bytes(_bytes(value)), f"0{width}b")
        case Kind.OTHER if column.type == "text[]":
            return _set
        case Kind.OTHER if column.type == "interval":
            return _interval
        case Kind.FLOAT:
            return lambda value: repr(float(value)).removesuffix(".0")
        case _:
            return _text


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    return format(value, "f") if isinstance(value, Decimal) else str(value)


def _bytes(value: Any) -> bytes:
    return value.encode() if isinstance(value, str) else bytes(value)


def _boolean(value: Any) -> str:
    truth = any(value) if isinstance(value, bytes) else bool(value)
    return "t" if truth else "f"


def _moment(value: Any) -> str | None:
    """Write a date or time; a zero date, which is handed on as a string, is none."""
    match value:
        case datetime():
            return _trimmed(value.isoformat(sep=" "))
        case date():
            return value.isoformat()
        case _:
            text = _text(value)
            return None if re.search(r"-00|^0000-", text) else _trimmed(text)


def _instant(value: Any) -> str | None:
    text = _moment(value)
    return None if text is None else f"{text}+00"


def _trimmed(text: str) -> str:
    return text.rstrip("0").rstrip(".") if "." in text else text


def _interval(value: Any) -> str:
    if not isinstance(value, timedelta):
        return _text(value)
    sign = "-" if value < timedelta(0) else ""
    whole, micros = divmod(abs(value) // timedelta(microseconds=1), 1_000_000)
    rest = f".{micros:06d}".rstrip("0") if micros else ""
    return f"{sign}{whole // 3600:02d}:{whole // 60 % 60:02d}:{whole % 60:02d}{rest}"


def _set(value: Any) -> str:
    """Write a set as PostgreSQL writes an array: in quotes only what would read otherwise."""
    words = [word for word in _text(value).split(",") if word]
    return "{" + ",".join(_quoted(word) for word in words) + "}"


def _quoted(word: str) -> str:
    if re.search(r'[{}"\\\s]', word) is None and word.upper() != "NULL":
        return word
    escaped = word.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
