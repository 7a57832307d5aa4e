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
    try:
        value = Decimal(text)
    except InvalidOperation:
        return text
    if not value.is_finite():
        return text
    return "0" if value == 0 else format(value.normalize(), "f")


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
        tree = json.loads(text, parse_float=Decimal, parse_int=Decimal)
    except ValueError:
        return text
    return json.dumps(tree, ensure_ascii=False, sort_keys=True, default=lambda d: _number(str(d)))


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
