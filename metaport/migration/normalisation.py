"""When two values are the same, though they are written otherwise.

| Kind | Equal |
|---|---|
| text | in Unicode NFC: Hangul from macOS is decomposed |
| numbers | by value: 1, 1.0 and 1.00; integers of one engine and decimals of another |
| booleans | t and 1, f and 0 |
| moments | in UTC, whatever the zone they are written in; fractions without zeros at their end |
| JSON | by value: order of keys and spaces say nothing, order in lists does |
| zero dates of MySQL | null, as they are copied |

Keys are not normalised: a row under another key is another row.
"""

import json
import unicodedata
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from metaport.migration.catalogue import Kind

Normal = Callable[[str], str]

_NUMBERS = {Kind.INTEGER, Kind.NUMERIC, Kind.FLOAT}
_MOMENTS = {Kind.TIMESTAMP, Kind.INSTANT}


def shared_kind(one: Kind, other: Kind) -> Kind:
    """Choose by which kind values of two columns are compared."""
    kinds = {one, other}
    if len(kinds) == 1:
        return one
    if kinds <= _NUMBERS:
        return Kind.NUMERIC
    for kind in (Kind.BOOLEAN, Kind.JSON, Kind.INSTANT, Kind.TIMESTAMP, Kind.BYTES):
        if kind in kinds:
            return kind
    return Kind.NUMERIC if kinds & _NUMBERS else Kind.TEXT


def normal(kind: Kind) -> Normal:
    """Return what brings a value of a kind to the one way it is written."""
    return _NORMAL.get(kind, _same)


def _same(text: str) -> str:
    return text


def _text(text: str) -> str:
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def _number(text: str) -> str:
    """Write a number as whole digits and a power of ten, without zeros at its end.

    Not by `Decimal.normalize`, which rounds to 28 digits.
    """
    try:
        sign, digits, exponent = Decimal(text).as_tuple()
    except InvalidOperation:
        return text
    if not isinstance(exponent, int):  # NaN, infinity
        return text
    written = "".join(map(str, digits)).lstrip("0")
    kept = written.rstrip("0")
    if not kept:
        return "0"
    return f"{'-' if sign else ''}{kept}e{exponent + len(written) - len(kept)}"


def _float(text: str) -> str:
    try:
        value = float(text)
    except ValueError:
        return text
    return repr(value + 0.0)


def _boolean(text: str) -> str:
    return {"t": "1", "true": "1", "f": "0", "false": "0"}.get(text, text)


def _moment(text: str) -> str:
    return text.rstrip("0").rstrip(".") if "." in text else text


def _instant(text: str) -> str:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:  # infinity, BC
        return text
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return _moment(moment.replace(tzinfo=None).isoformat(sep=" "))


def _json(text: str) -> str:
    try:
        return _written(json.loads(text, parse_float=Decimal, parse_int=Decimal))
    except (ValueError, RecursionError):
        return text


def _written(tree: Any) -> str:
    match tree:
        case dict():
            members = (f"{json.dumps(name)}:{_written(tree[name])}" for name in sorted(tree))
            return "{" + ",".join(members) + "}"
        case list():
            return "[" + ",".join(map(_written, tree)) + "]"
        case Decimal():
            return _number(str(tree))
        case _:
            return json.dumps(tree)


_NORMAL: dict[Kind, Normal] = {
    Kind.TEXT: _text,
    Kind.OTHER: _text,
    Kind.NUMERIC: _number,
    Kind.FLOAT: _float,
    Kind.BOOLEAN: _boolean,
    Kind.TIMESTAMP: _moment,
    Kind.INSTANT: _instant,
    Kind.JSON: _json,
}
