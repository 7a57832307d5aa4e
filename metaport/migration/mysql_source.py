"""Read MySQL or MariaDB in one snapshot, row by row, on a thread of its own."""

import asyncio
import re
from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any, TypeVar

import pymysql
from pymysql.constants import FIELD_TYPE
from pymysql.converters import conversions
from pymysql.cursors import SSCursor

from metaport.migration.catalogue import (
    Catalogue,
    Column,
    Index,
    Kind,
    Reference,
    Table,
)
from metaport.migration.catalogue import Sequence as Counter
from metaport.migration.copy_text import Row
from metaport.migration.dialect import MYSQL
from metaport.migration.endpoint import Endpoint
from metaport.migration.errors import Interrupted
from metaport.migration.mysql_values import writer
from metaport.migration.postgres import quoted
from metaport.migration.spans import SPAN_ROWS, WHOLE, Key, Span, spans_between
from metaport.migration.sqlite_catalogue import MAIN
from metaport.migration.type_mapping import UNMAPPED, Mapped, from_mysql

FETCHED = 2_000

_TABLES = """
SELECT TABLE_NAME, TABLE_ROWS, DATA_LENGTH + INDEX_LENGTH, TABLE_COMMENT, AUTO_INCREMENT
FROM information_schema.TABLES
WHERE TABLE_SCHEMA = DATABASE() AND TABLE_TYPE = 'BASE TABLE' ORDER BY TABLE_NAME
"""
_COLUMNS = """
SELECT TABLE_NAME, COLUMN_NAME, COLUMN_TYPE, IS_NULLABLE, COLUMN_DEFAULT, EXTRA, COLUMN_COMMENT,
  GENERATION_EXPRESSION FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE()
ORDER BY TABLE_NAME, ORDINAL_POSITION
"""
_INDEXES = """
SELECT TABLE_NAME, INDEX_NAME, NON_UNIQUE, COLUMN_NAME, SUB_PART
FROM information_schema.STATISTICS WHERE TABLE_SCHEMA = DATABASE()
ORDER BY TABLE_NAME, INDEX_NAME, SEQ_IN_INDEX
"""
_REFERENCES = """
SELECT k.TABLE_NAME, k.CONSTRAINT_NAME, k.COLUMN_NAME, k.REFERENCED_TABLE_NAME,
  k.REFERENCED_COLUMN_NAME, r.DELETE_RULE
FROM information_schema.KEY_COLUMN_USAGE k JOIN information_schema.REFERENTIAL_CONSTRAINTS r
  ON r.CONSTRAINT_SCHEMA = k.CONSTRAINT_SCHEMA AND r.CONSTRAINT_NAME = k.CONSTRAINT_NAME
  AND r.TABLE_NAME = k.TABLE_NAME
WHERE k.TABLE_SCHEMA = DATABASE() AND k.REFERENCED_TABLE_NAME IS NOT NULL
ORDER BY k.TABLE_NAME, k.CONSTRAINT_NAME, k.ORDINAL_POSITION
"""
_CHECKS = """
SELECT t.TABLE_NAME, c.CONSTRAINT_NAME, c.CHECK_CLAUSE FROM information_schema.CHECK_CONSTRAINTS c
JOIN information_schema.TABLE_CONSTRAINTS t ON t.CONSTRAINT_SCHEMA = c.CONSTRAINT_SCHEMA
  AND t.CONSTRAINT_NAME = c.CONSTRAINT_NAME AND t.CONSTRAINT_TYPE = 'CHECK'
WHERE c.CONSTRAINT_SCHEMA = DATABASE() ORDER BY 1, 2
"""

T = TypeVar("T")


class MysqlSource:
    """A MySQL database as it was at one moment; also the one reader of it."""

    workers = 1
    dialect = MYSQL

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.catalogue = Catalogue(())
        self._thread = ThreadPoolExecutor(1, "mysql")
        self._connection: Any = None

    async def open(self) -> None:
        """Begin the snapshot, and read what there is. Raises Interrupted."""

        def begin() -> None:
            url = self.endpoint.url
            self._connection = pymysql.connect(
                host=url.host or "localhost",
                port=url.port or 3306,
                user=url.username,
                password=url.password or "",
                database=url.database,
                unix_socket=url.query.get("unix_socket"),
                charset="utf8mb4",
                cursorclass=SSCursor,
                conv=_conversions(),
                connect_timeout=20,
            )
            for statement in (
                "SET SESSION sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES'",
                "SET SESSION time_zone = '+00:00'",
                "SET SESSION net_write_timeout = 3600",
                "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ",
                "START TRANSACTION WITH CONSISTENT SNAPSHOT",
            ):
                self._run(statement)

        await self._on_thread(begin)
        self.catalogue = await self._on_thread(self._read)

    async def _on_thread(self, work: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        except (pymysql.MySQLError, OSError) as error:
            said = error.args[-1] if error.args else error
            raise Interrupted(
                f"MySQL을 읽을 수 없습니다: {self.endpoint.shown}: {said}",
                f"cannot read {self.endpoint.shown}: {said}",
            ) from error

    def _run(self, statement: str) -> list[Any]:
        with self._connection.cursor() as cursor:
            cursor.execute(statement)
            return list(cursor.fetchall())

    async def close(self) -> None:
        """Leave the snapshot."""
        with suppress(Interrupted, pymysql.Error):
            if self._connection is not None and self._connection.open:
                await self._on_thread(self._connection._force_close)
        self._thread.shutdown()

    @asynccontextmanager
    async def reader(self) -> AsyncIterator["MysqlSource"]:
        """Lend the one reader."""
        yield self

    def _read(self) -> Catalogue:
        version = str(self._run("SELECT VERSION()")[0][0])
        charset = self._run("SELECT @@character_set_database, @@collation_database")[0]
        columns: dict[str, list[Column]] = defaultdict(list)
        json_columns = set()
        lost: dict[str, list[str]] = defaultdict(list)
        for table, name, clause in self._run(_CHECKS):
            json_found = re.fullmatch(r"json_valid\([`\"](.+)[`\"]\)", clause)
            if json_found:
                json_columns.add((table, json_found[1]))
            else:
                lost[table].append(f"CHECK {name} ({clause})")
        for row in self._run(_COLUMNS):
            columns[row[0]].append(_column(row, is_json=(row[0], row[1]) in json_columns))
        indexes: dict[str, dict[str, list[Any]]] = defaultdict(lambda: defaultdict(list))
        for row in self._run(_INDEXES):
            indexes[row[0]][row[1]].append(row)
        references: dict[str, dict[str, list[Any]]] = defaultdict(lambda: defaultdict(list))
        for row in self._run(_REFERENCES):
            references[row[0]][row[1]].append(row)
        tables, counters = [], []
        for name, rows, size, comment, following in self._run(_TABLES):
            table = _table(name, columns[name], indexes[name], references[name])
            tables.append(
                replace(table, rows=rows or 0, size_bytes=size or 0, comment=comment or None,
                        lost=tuple(lost[name]))
            )  # fmt: skip
            counted = [column.name for column in columns[name] if column.counted]
            if counted and following:
                counters.append(
                    Counter(f"{table.full_name}_seq", following - 1 or None,
                            (table.full_name, counted[0]))
                )  # fmt: skip
        return Catalogue(tuple(tables), tuple(counters), version, str(charset[0]), str(charset[1]))

    async def fetch(self, statement: str) -> list[Any]:
        """Return the rows of a query."""
        return await self._on_thread(lambda: self._run(statement))

    async def value(self, statement: str) -> Any:
        """Return the one value of a query."""
        return (await self.fetch(statement))[0][0]

    async def rows(
        self, table: Table, columns: Sequence[Column], span: Span, where: str,
        *, ordered: bool = False,
    ) -> AsyncGenerator[list[Row]]:  # fmt: skip
        """Stream the rows as text; `ordered` by key, byte by byte."""
        query = MYSQL.select(table, columns, span, where, exact=ordered)
        if ordered:
            query += f" ORDER BY {', '.join(MYSQL.key(table, exact=True))}"
        writers = [writer(column) for column in columns]

        def begin() -> Any:
            cursor = self._connection.cursor()
            cursor.execute(query)
            return cursor

        cursor = await self._on_thread(begin)
        try:
            while found := await self._on_thread(lambda: cursor.fetchmany(FETCHED)):
                yield [
                    tuple([
                        None if value is None else write(value)
                        for value, write in zip(row, writers, strict=True)
                    ])
                    for row in found
                ]  # fmt: skip
        finally:
            await self._on_thread(cursor.close)

    async def spans(
        self, table: Table, rows_each: int = SPAN_ROWS, *, exact: bool = False
    ) -> list[Span]:
        """Cut a table into equal stretches of its key, by stepping through it."""
        if table.rows <= rows_each or not table.key:
            return [WHOLE]
        names = ", ".join(f"t0.{quoted(name)}" for name in table.key)
        order = ", ".join(MYSQL.key(table, exact=exact))
        writers = [writer(table.column(name)) for name in table.key]
        bounds: list[Key] = []
        while True:
            rest = MYSQL.from_span(table, Span(bounds[-1] if bounds else None), "", exact=exact)
            found = await self.fetch(
                f"SELECT {names} {rest} ORDER BY {order} LIMIT 1 OFFSET {rows_each - 1}"
            )
            if not found:
                return spans_between(bounds)
            texts = [write(value) for value, write in zip(found[0], writers, strict=True)]
            bounds.append(tuple(text or "" for text in texts))


def _conversions() -> dict[Any, Any]:
    """Read JSON, times and sets as they are sent; the rest as PyMySQL does."""
    known = dict(conversions)
    known[FIELD_TYPE.BIT] = bytes
    return known


def _column(row: Any, *, is_json: bool) -> Column:
    _, name, type_name, nullable, default, extra, comment, expression = row
    type_name = type_name.decode() if isinstance(type_name, bytes) else type_name
    mapped = from_mysql(type_name, is_json=is_json) or Mapped(UNMAPPED + type_name, Kind.OTHER)
    default = None if expression or default is None else str(default)
    if default is not None and not re.fullmatch(r"'.*'|-?[\d.]+|NULL|b'\d+'|\w+\(.*\)", default):
        default = f"'{default}'" if mapped.kind is Kind.TEXT else default
    is_dated = mapped.kind in (Kind.DATE, Kind.TIMESTAMP, Kind.INSTANT)
    words = re.findall(r"'((?:[^']|'')*)'", type_name) if type_name.startswith("enum") else []
    return Column(
        name,
        mapped.type,
        mapped.kind,
        nullable == "YES" or is_dated,
        default,
        False,
        "auto_increment" in extra.lower(),
        comment or None,
        words=tuple(word.replace("''", "'") for word in words),
    )


def _table(
    name: str, columns: list[Column], indexes: dict[str, list[Any]],
    references: dict[str, list[Any]],
) -> Table:  # fmt: skip
    key = tuple(row[3] for row in indexes.get("PRIMARY", ()))
    nullable = {column.name for column in columns if column.nullable}
    found = [
        Index(label, tuple(row[3] for row in rows), not rows[0][2])
        for label, rows in indexes.items()
        if label != "PRIMARY" and not any(row[4] for row in rows)
    ]
    unique = [one for one in found if one.unique and not nullable & set(one.columns)]
    fkeys = tuple(
        Reference(
            label, tuple(row[2] for row in rows), f"{MAIN}.{rows[0][3]}",
            tuple(row[4] for row in rows),
            rows[0][5] if rows[0][5] in ("CASCADE", "SET NULL") else "",
        )
        for label, rows in references.items()
    )  # fmt: skip
    return Table(
        MAIN, name, tuple(columns), key or (unique[0].columns if unique else ()), bool(key),
        tuple(found), fkeys,
    )  # fmt: skip


@asynccontextmanager
async def mysql_source(endpoint: Endpoint) -> AsyncIterator[MysqlSource]:
    """Open a snapshot of a MySQL database for as long as it is lent."""
    source = MysqlSource(endpoint)
    try:
        await source.open()
        yield source
    finally:
        await source.close()
