"""What a SQLite file holds."""

import re
import sqlite3
from typing import Any

from metaport.migration.catalogue import (
    RECORD_SCHEMA,
    Catalogue,
    Column,
    Index,
    Reference,
    Sequence,
    Table,
)
from metaport.migration.postgres import quoted
from metaport.migration.sqlite_values import kind_of

MAIN = "public"  # what PostgreSQL calls the schema everybody has; names are compared by it


def read_sqlite(connection: sqlite3.Connection) -> Catalogue:
    """Read what stands in a SQLite file."""
    found = connection.execute(
        "SELECT name, sql FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite~_%' "
        "ESCAPE '~' AND name NOT LIKE ? ORDER BY name",
        (f"{RECORD_SCHEMA}%",),
    ).fetchall()
    tables = tuple(_table(connection, name, sql or "") for name, sql in found)
    encoding = connection.execute("PRAGMA encoding").fetchone()[0]
    return Catalogue(
        tables, tuple(_sequences(connection, tables)), sqlite3.sqlite_version, encoding, "BINARY"
    )


def _table(connection: sqlite3.Connection, name: str, sql: str) -> Table:
    rows = connection.execute(f"PRAGMA table_xinfo({quoted(name)})").fetchall()
    key_rows = sorted((row for row in rows if row[5]), key=lambda row: row[5])
    key = tuple(row[1] for row in key_rows)
    counted = len(key) == 1 and key_rows[0][2].upper() == "INTEGER"
    columns = tuple(
        Column(
            row[1],
            row[2],
            kind_of(row[2]),
            not row[3] and row[1] not in key,
            row[4],
            row[6] in (2, 3),
            counted and row[1] in key,
        )
        for row in rows
        if row[6] != 1
    )
    indexes = []
    for row in connection.execute(f"PRAGMA index_list({quoted(name)})").fetchall():
        names = [
            part[2]
            for part in connection.execute(f"PRAGMA index_info({quoted(row[1])})").fetchall()
        ]
        if row[3] != "pk" and not row[4] and None not in names:
            indexes.append(Index(row[1], tuple(names), bool(row[2])))
    if not key:
        nullable = {column.name for column in columns if column.nullable}
        unique = [one for one in indexes if one.unique and not nullable & set(one.columns)]
        key = unique[0].columns if unique else ()
    count = connection.execute(f"SELECT count(*) FROM {quoted(name)}").fetchone()[0]
    lost = tuple(found[0] for found in re.finditer(r"(?i)\bcheck\s*\(.*?\)", sql))
    return Table(
        MAIN, name, columns, key, bool(key_rows), tuple(indexes),
        tuple(_references(connection, name)), count, 0, None, lost,
    )  # fmt: skip


def _references(connection: sqlite3.Connection, name: str) -> list[Reference]:
    grouped: dict[int, list[Any]] = {}
    for row in connection.execute(f"PRAGMA foreign_key_list({quoted(name)})").fetchall():
        grouped.setdefault(row[0], []).append(row)
    references = []
    for number, rows in sorted(grouped.items()):
        rows.sort(key=lambda row: row[1])
        target = rows[0][2]
        theirs = [row[4] for row in rows]
        if None in theirs:  # the primary key, unnamed
            info = connection.execute(f"PRAGMA table_info({quoted(target)})").fetchall()
            theirs = [row[1] for row in sorted(info, key=lambda row: row[5]) if row[5]]
        on_delete = rows[0][6] if rows[0][6] != "NO ACTION" else ""
        references.append(
            Reference(f"{name}_{number}_fkey", tuple(row[3] for row in rows), f"{MAIN}.{target}",
                      tuple(theirs), on_delete)
        )  # fmt: skip
    return references


def _sequences(connection: sqlite3.Connection, tables: tuple[Table, ...]) -> list[Sequence]:
    """Read AUTOINCREMENT's counters; a plain rowid goes on from the greatest that is there."""
    kept: dict[str, int] = {}
    if connection.execute(
        "SELECT count(*) FROM sqlite_master WHERE name = 'sqlite_sequence'"
    ).fetchone()[0]:
        kept = dict(connection.execute("SELECT name, seq FROM sqlite_sequence").fetchall())
    counters = []
    for table in tables:
        for column in table.columns:
            if column.counted:
                last = kept.get(table.name)
                if last is None:
                    query = f"SELECT max({quoted(column.name)}) FROM {quoted(table.name)}"
                    last = connection.execute(query).fetchone()[0]
                counters.append(
                    Sequence(f"{table.full_name}_{column.name}_seq", last,
                             (table.full_name, column.name))
                )  # fmt: skip
    return counters
