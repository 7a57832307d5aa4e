"""Values of SQLite as the text PostgreSQL writes, and back."""

import math
import re
from typing import Any

from metaport.migration.catalogue import Kind

# How decimals and times are declared where we make a SQLite table: "TEXT" in a name gives a column
# the affinity of text (sqlite.org/datatype3.html), so that nothing becomes a float on the way.
DECLARED = {
    Kind.BOOLEAN: "BOOLEAN",
    Kind.INTEGER: "BIGINT",
    Kind.NUMERIC: "NUMERIC_TEXT",
    Kind.FLOAT: "REAL",
    Kind.TEXT: "TEXT",
    Kind.BYTES: "BLOB",
    Kind.DATE: "DATE_TEXT",
    Kind.TIMESTAMP: "TIMESTAMP_TEXT",
    Kind.INSTANT: "TIMESTAMPTZ_TEXT",
    Kind.JSON: "JSON_TEXT",
    Kind.OTHER: "TEXT",
}
_KINDS = (
    (re.compile("BOOL"), Kind.BOOLEAN),
    (re.compile("INT"), Kind.INTEGER),
    (re.compile("NUMERIC|DECIMAL"), Kind.NUMERIC),
    (re.compile("TIMESTAMPTZ"), Kind.INSTANT),
    (re.compile("DATETIME|TIMESTAMP"), Kind.TIMESTAMP),
    (re.compile("DATE"), Kind.DATE),
    (re.compile("JSON"), Kind.JSON),
    (re.compile("CHAR|CLOB|TEXT"), Kind.TEXT),
    (re.compile("BLOB|^$"), Kind.BYTES),
    (re.compile("REAL|FLOA|DOUB"), Kind.FLOAT),
)


def kind_of(declared: str) -> Kind:
    """Tell what a column that is declared so holds."""
    upper = declared.upper()
    return next((kind for pattern, kind in _KINDS if pattern.search(upper)), Kind.NUMERIC)


def as_text(value: Any, kind: Kind) -> str | None:
    """Write a value; one that is not of its column's kind is written as it is, to be refused."""
    match value:
        case None:
            return None
        case bytes():
            return f"\\x{value.hex()}" if kind is Kind.BYTES else value.decode("utf-8", "replace")
        case int() if kind is Kind.BOOLEAN and value in (0, 1):
            return "t" if value else "f"
        case float():
            return _float_text(value)
        case str() if kind is Kind.BYTES:
            return f"\\x{value.encode('utf-8', 'surrogatepass').hex()}"
        case _:
            return str(value)


def _float_text(value: float) -> str:
    if math.isfinite(value):
        return repr(value).removesuffix(".0")
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def from_text(text: str | None, kind: Kind) -> Any:
    """Read a value for a column that is declared as `DECLARED` says.

    An integer beyond 64 bits raises OverflowError when it is bound.
    """
    if text is None:
        return None
    match kind:
        case Kind.BOOLEAN:
            return int(text in ("t", "true", "1"))
        case Kind.INTEGER:
            return int(text)
        case Kind.FLOAT:
            return float(text)
        case Kind.BYTES:
            return bytes.fromhex(text.removeprefix("\\x"))
        case _:
            return text
