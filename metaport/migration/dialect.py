"""How the three engines say the same query: values, exact comparison, and stretches of a key."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from metaport.migration.catalogue import Column, Kind, Table
from metaport.migration.postgres import literal, qualified, quoted, row_of, string
from metaport.migration.spans import Key, Span


@dataclass(frozen=True, slots=True)
class Dialect:
    """MySQL speaks the same with ANSI_QUOTES and NO_BACKSLASH_ESCAPES."""

    value: Callable[[str, Column], str]
    exact: str  # {} compared byte by byte
    rows_compare: bool  # whether (a, b) > (x, y) finds its way through an index
    schemas: bool = False  # whether a database has any; the others' tables are in one

    def select(
        self, table: Table, columns: Sequence[Column], span: Span, where: str,
        *, exact: bool = False,
    ) -> str:  # fmt: skip
        """Write the query for a stretch of a table, which is called t0 in `where`."""
        names = ", ".join(f"t0.{quoted(column.name)}" for column in columns)
        return f"SELECT {names} {self.from_span(table, span, where, exact=exact)}"

    def from_span(self, table: Table, span: Span, where: str, *, exact: bool = False) -> str:
        """Write FROM and WHERE for a stretch of a table."""
        conditions = [*self.within(table, span, exact=exact), where or "TRUE"]
        return f"FROM {self.named(table)} AS t0 WHERE {' AND '.join(conditions)}"

    def named(self, table: Table) -> str:
        """Quote a table's name."""
        return qualified(table.schema, table.name) if self.schemas else quoted(table.name)

    def within(self, table: Table, span: Span, *, exact: bool = False) -> list[str]:
        """Write the conditions of a span."""
        keys = self.key(table, exact=exact)
        conditions = []
        if span.after is not None:
            conditions.append(self._compared(keys, ">", ">", self._values(table, span.after)))
        if span.until is not None:
            conditions.append(self._compared(keys, "<", "<=", self._values(table, span.until)))
        return conditions

    def key(self, table: Table, *, exact: bool = False) -> list[str]:
        """Name the columns of the key; `exact` orders text by bytes, whatever the locale."""
        return [
            self.exact.format(f"t0.{quoted(name)}")
            if exact and table.column(name).kind is Kind.TEXT
            else f"t0.{quoted(name)}"
            for name in table.key
        ]

    def _values(self, table: Table, key: Key) -> list[str]:
        return [
            self.value(text, table.column(name)) for name, text in zip(table.key, key, strict=True)
        ]

    def _compared(self, keys: list[str], strict: str, last: str, values: list[str]) -> str:
        if self.rows_compare or len(keys) == 1:
            return f"{row_of(keys)} {last} {row_of(values)}"
        cases = []
        for n, (key, value) in enumerate(zip(keys, values, strict=True)):
            same = [f"{k} = {v}" for k, v in zip(keys[:n], values[:n], strict=True)]
            sign = last if n == len(keys) - 1 else strict
            cases.append(" AND ".join([*same, f"{key} {sign} {value}"]))
        return f"({' OR '.join(f'({case})' for case in cases)})"


def _plain(text: str, column: Column) -> str:
    match column.kind:
        case Kind.INTEGER | Kind.NUMERIC | Kind.FLOAT:
            return text if text.lstrip("-").replace(".", "", 1).isdigit() else string(text)
        case Kind.BOOLEAN:
            return "1" if text == "t" else "0"
        case Kind.BYTES:
            return f"x'{text.removeprefix(chr(92) + 'x')}'"
        case _:
            return string(text)


POSTGRESQL = Dialect(lambda text, column: literal(text, column.type), '{} COLLATE "C"', True, True)
SQLITE = Dialect(_plain, "{} COLLATE BINARY", True)
MYSQL = Dialect(_plain, "CONVERT({} USING utf8mb4) COLLATE utf8mb4_bin", False)
