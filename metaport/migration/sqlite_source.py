"""Read a SQLite file in one snapshot, on a thread of its own."""

import asyncio
import sqlite3
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any, TypeVar
from urllib.parse import quote

from metaport.migration.catalogue import Catalogue, Column, Table
from metaport.migration.copy_text import Row
from metaport.migration.dialect import SQLITE
from metaport.migration.endpoint import Endpoint
from metaport.migration.errors import Interrupted, Misused
from metaport.migration.postgres import quoted
from metaport.migration.spans import SPAN_ROWS, WHOLE, Key, Span, spans_between
from metaport.migration.sqlite_catalogue import read_sqlite
from metaport.migration.sqlite_values import as_text

FETCHED = 2_000

T = TypeVar("T")


class SqliteSource:
    """A SQLite file as it was at one moment; also the one reader of it."""

    workers = 1
    dialect = SQLITE

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.catalogue = Catalogue(())
        # SQLite's connections like to stay on the thread that made them.
        self._thread = ThreadPoolExecutor(1, "sqlite")
        self._connection: sqlite3.Connection | None = None

    async def open(self) -> None:
        """Begin the snapshot. Raises Misused where there is no such database."""

        def begin() -> Catalogue:
            uri = f"file:{quote(str(self.endpoint.path.absolute()))}?mode=ro"
            connection = sqlite3.connect(uri, uri=True, isolation_level=None)
            self._connection = connection
            # Text that is no UTF-8 is carried as it can be, and refused by who minds.
            connection.text_factory = lambda raw: raw.decode("utf-8", "surrogateescape")
            connection.execute("PRAGMA busy_timeout = 5000")
            connection.execute("BEGIN")
            return read_sqlite(connection)

        try:
            self.catalogue = await self._on_thread(begin)
        except Interrupted as error:
            raise Misused(error.say.ko, error.say.en) from error

    async def _on_thread(self, work: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        except sqlite3.Error as error:
            raise Interrupted(
                f"SQLite 파일을 읽을 수 없습니다: {self.endpoint.path}: {error}",
                f"cannot read {self.endpoint.path}: {error}",
            ) from error

    async def close(self) -> None:
        """Leave the snapshot."""
        if self._connection is not None:
            await self._on_thread(self._connection.close)
        self._thread.shutdown()

    @asynccontextmanager
    async def reader(self) -> AsyncIterator["SqliteSource"]:
        """Lend the one reader."""
        yield self

    def _open(self) -> sqlite3.Connection:
        assert self._connection is not None
        return self._connection

    async def fetch(self, statement: str) -> list[Any]:
        """Return the rows of a query."""
        return await self._on_thread(lambda: self._open().execute(statement).fetchall())

    async def value(self, statement: str) -> Any:
        """Return the one value of a query."""
        return (await self.fetch(statement))[0][0]

    async def rows(
        self, table: Table, columns: Sequence[Column], span: Span, where: str,
        *, ordered: bool = False,
    ) -> AsyncGenerator[list[Row]]:  # fmt: skip
        """Stream the rows as text; `ordered` by key, byte by byte."""
        query = SQLITE.select(table, columns, span, where, exact=ordered)
        if ordered:
            query += f" ORDER BY {', '.join(SQLITE.key(table, exact=True))}"
        kinds = [column.kind for column in columns]
        cursor = await self._on_thread(lambda: self._open().execute(query))
        while found := await self._on_thread(lambda: cursor.fetchmany(FETCHED)):
            yield [
                tuple([as_text(value, kind) for value, kind in zip(row, kinds, strict=True)])
                for row in found
            ]
        await self._on_thread(cursor.close)

    async def spans(
        self, table: Table, rows_each: int = SPAN_ROWS, *, exact: bool = False
    ) -> list[Span]:
        """Cut a table into equal stretches of its key, by stepping through it."""
        if table.rows <= rows_each or not table.key:
            return [WHOLE]
        names = ", ".join(f"t0.{quoted(name)}" for name in table.key)
        order = ", ".join(SQLITE.key(table, exact=exact))
        kinds = [table.column(name).kind for name in table.key]
        bounds: list[Key] = []
        while True:
            after = Span(bounds[-1] if bounds else None)
            rest = SQLITE.from_span(table, after, "", exact=exact)
            found = await self.fetch(
                f"SELECT {names} {rest} ORDER BY {order} LIMIT 1 OFFSET {rows_each - 1}"
            )
            if not found:
                return spans_between(bounds)
            texts = [as_text(value, kind) for value, kind in zip(found[0], kinds, strict=True)]
            if None in texts:  # SQLite allows nulls in a primary key, which have no order with keys
                return [WHOLE]
            bounds.append(tuple(text for text in texts if text is not None))


@asynccontextmanager
async def sqlite_source(endpoint: Endpoint) -> AsyncIterator[SqliteSource]:
    """Open a snapshot of a SQLite file for as long as it is lent."""
    source = SqliteSource(endpoint)
    try:
        await source.open()
        yield source
    finally:
        await source.close()
