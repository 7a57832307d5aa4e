"""What a database holds, in words that hold for every engine."""

import enum
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cached_property
from graphlib import CycleError, TopologicalSorter

# Where the record of a copy is kept; never part of what is copied or compared.
RECORD_SCHEMA = "metaport_copy"
REVISION_TABLE = "schema_revision"
# Of a row with its share of the indexes, where nothing better is known.
ROW_BYTES = 200


class Kind(enum.StrEnum):
    """How values of a column are written as text, and when two of them are equal."""

    BOOLEAN = "boolean"
    INTEGER = "integer"
    NUMERIC = "numeric"
    FLOAT = "float"
    TEXT = "text"
    BYTES = "bytes"
    DATE = "date"
    TIMESTAMP = "timestamp"
    INSTANT = "instant"  # a timestamp with a zone
    JSON = "json"
    OTHER = "other"  # compared as the text it is


@dataclass(frozen=True, slots=True)
class Column:
    """A column; `type` in the words of its own engine, `default` an SQL expression of it."""

    name: str
    type: str
    kind: Kind
    nullable: bool = True
    default: str | None = None
    generated: bool = False
    counted: bool = False  # numbers itself: serial, identity, auto_increment
    comment: str | None = None
    collation: str = ""
    words: tuple[str, ...] = ()  # of an enum or a set


@dataclass(frozen=True, slots=True)
class Index:
    """An index over plain columns; those over expressions are carried by PostgreSQL's own words."""

    name: str
    columns: tuple[str, ...]
    unique: bool


@dataclass(frozen=True, slots=True)
class Reference:
    """A foreign key."""

    name: str
    columns: tuple[str, ...]
    table: str  # full name
    targets: tuple[str, ...]
    on_delete: str = ""


@dataclass(frozen=True)
class Table:
    """A table. `key` identifies a row: the primary key, or else a unique one without nulls."""

    schema: str
    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...] = ()
    primary: bool = True
    indexes: tuple[Index, ...] = ()
    references: tuple[Reference, ...] = ()
    rows: int = 0  # as the engine estimates
    size_bytes: int = 0
    comment: str | None = None
    lost: tuple[str, ...] = ()  # rules of this table that cannot be carried to another engine

    @property
    def full_name(self) -> str:
        return f"{self.schema}.{self.name}"

    @property
    def expected_rows(self) -> int:
        """About how many rows there are; by its size where the engine has not looked yet."""
        return self.rows or self.size_bytes // ROW_BYTES

    @cached_property
    def stored(self) -> tuple[Column, ...]:
        """The columns that are written; generated ones follow from them."""
        return tuple(column for column in self.columns if not column.generated)

    def column(self, name: str) -> Column:
        return next(column for column in self.columns if column.name == name)


@dataclass(frozen=True, slots=True)
class Sequence:
    """A counter with the value it gave last, None where it gave none."""

    full_name: str
    last: int | None
    owner: tuple[str, str] | None = None  # full name of the table, column


@dataclass(frozen=True)
class Catalogue:
    """The tables and counters of one database, and what else it is."""

    tables: tuple[Table, ...]
    sequences: tuple[Sequence, ...] = ()
    version: str = ""
    encoding: str = ""
    collation: str = ""
    extensions: dict[str, str] = field(default_factory=dict)
    zone: str = "UTC"

    def __contains__(self, full_name: str) -> bool:
        return full_name in self._by_name

    def __getitem__(self, full_name: str) -> Table:
        return self._by_name[full_name]

    @cached_property
    def _by_name(self) -> dict[str, Table]:
        return {table.full_name: table for table in self.tables}

    @property
    def is_ours(self) -> bool:
        """Whether it holds this product's schema."""
        return any(table.name == REVISION_TABLE for table in self.tables)

    def chosen(self, include: Iterable[str], exclude: Iterable[str]) -> "Catalogue":
        """Keep the tables that a pattern of `include` names (all without any) and none excludes."""
        include, exclude = tuple(include), tuple(exclude)
        kept = tuple(
            table
            for table in self.tables
            if (not include or matches(table, include)) and not matches(table, exclude)
        )
        names = {table.full_name for table in kept}
        counters = tuple(
            sequence
            for sequence in self.sequences
            if sequence.owner is None or sequence.owner[0] in names
        )
        return Catalogue(
            kept, counters, self.version, self.encoding, self.collation, self.extensions, self.zone
        )

    def levels(self) -> Iterator[list[Table]]:
        """Group tables so that each refers only to those of groups before it, or to itself.

        Tables in a circle of references come last, in one group.
        """
        graph = {
            table.full_name: {
                reference.table
                for reference in table.references
                if reference.table in self and reference.table != table.full_name
            }
            for table in self.tables
        }
        sorter = TopologicalSorter(graph)
        try:
            sorter.prepare()
        except CycleError:
            yield list(self.tables)
            return
        while sorter.is_active():
            ready = sorter.get_ready()
            yield [self[name] for name in sorted(ready)]
            sorter.done(*ready)


def matches(table: Table, patterns: Iterable[str]) -> bool:
    """Tell whether a pattern names a table, with its schema or without."""
    return any(
        fnmatchcase(table.name, pattern) or fnmatchcase(table.full_name, pattern)
        for pattern in patterns
    )
