"""Read a PostgreSQL database in one snapshot that several connections share."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Any

from metaport.migration.catalogue import Catalogue, Column, Table
from metaport.migration.copy_text import Lines, Row, read_line
from metaport.migration.dialect import POSTGRESQL
from metaport.migration.endpoint import Endpoint
from metaport.migration.postgres import open_postgres, qualified, quoted, talking_to
from metaport.migration.postgres_catalogue import read_postgres
from metaport.migration.postgres_ddl import Words, read_words
from metaport.migration.spans import SPAN_ROWS, WHOLE, Span, quantiles, spans_between

# Rows of a sample for each span to be cut: pages are sampled whole, so a few pages each.
SAMPLE_ROWS = 1_000
# Pieces of COPY's output that wait for a slower target; a piece has up to 64 KiB.
PIECES = 64


class PostgresReader:
    """One connection within the snapshot."""

    def __init__(self, endpoint: Endpoint, connection: Any) -> None:
        self._endpoint = endpoint
        self._connection = connection

    async def raw(
        self, table: Table, columns: Sequence[Column], span: Span, where: str, form: str,
        *, exact: bool = False,
    ) -> AsyncGenerator[bytes]:  # fmt: skip
        """Stream the rows as COPY writes them, in the form `binary` or `text`."""
        query = POSTGRESQL.select(table, columns, span, where, exact=exact)
        pieces: asyncio.Queue[bytes | None] = asyncio.Queue(PIECES)

        async def copy() -> None:
            try:
                async with talking_to(self._endpoint):
                    await self._connection.copy_from_query(query, output=pieces.put, format=form)
            finally:
                await pieces.put(None)

        # Ends with the query; cancelled when nobody reads on.
        copy_task = asyncio.create_task(copy(), name=f"read {table.full_name}")
        try:
            while (piece := await pieces.get()) is not None:
                yield piece
            await copy_task
        finally:
            if not copy_task.done():
                copy_task.cancel()
                while not copy_task.done():  # it may wait to put its last piece
                    with suppress(asyncio.QueueEmpty):
                        pieces.get_nowait()
                    await asyncio.wait([copy_task], timeout=0.01)
            if not copy_task.cancelled():
                copy_task.exception()

    async def rows(
        self,
        table: Table,
        columns: Sequence[Column],
        span: Span,
        where: str,
        *,
        ordered: bool = False,
    ) -> AsyncGenerator[list[Row]]:
        """Stream the rows as text; `ordered` by key, byte by byte where it is text."""
        lines = Lines()
        order = f" ORDER BY {', '.join(POSTGRESQL.key(table, exact=True))}" if ordered else ""
        pieces = self.raw(table, columns, span, (where or "TRUE") + order, "text", exact=ordered)
        async with aclosing(pieces):
            async for piece in pieces:
                batch = [read_line(line) for line in lines.feed(piece)]
                if batch:
                    yield batch

    async def value(self, statement: str) -> Any:
        """Return the one value of a query."""
        async with talking_to(self._endpoint):
            return await self._connection.fetchval(statement)

    async def fetch(self, statement: str) -> list[Any]:
        """Return the rows of a query."""
        async with talking_to(self._endpoint):
            found: list[Any] = await self._connection.fetch(statement)
            return found

    async def spans(
        self, table: Table, rows_each: int = SPAN_ROWS, *, exact: bool = False
    ) -> list[Span]:
        """Cut a table into about equal stretches of its key by a sample; `exact` compares bytes."""
        expected = table.expected_rows
        parts = -(-expected // rows_each)
        if parts < 2 or not table.key:
            return [WHOLE]
        percent = min(100.0, max(0.1, 100 * parts * SAMPLE_ROWS / expected))
        keys = ", ".join(f"{quoted(name)}::text" for name in table.key)
        found = await self.fetch(
            f"SELECT {keys} FROM {qualified(table.schema, table.name)} AS t0 "
            f"TABLESAMPLE SYSTEM ({percent:.4f}) REPEATABLE (1) "
            f"ORDER BY {', '.join(POSTGRESQL.key(table, exact=exact))}"
        )
        return spans_between(quantiles([tuple(row) for row in found], parts))

    async def close(self) -> None:
        """Leave the snapshot."""
        with suppress(Exception):
            await self._connection.close(timeout=5)


class PostgresSource:
    """A PostgreSQL database as it was at one moment; readers share that moment."""

    workers = 64
    dialect = POSTGRESQL

    def __init__(self, endpoint: Endpoint, connection: Any, snapshot: str) -> None:
        self.endpoint = endpoint
        self.catalogue = Catalogue(())
        self._connection = connection
        self._snapshot = snapshot

    async def words(self, catalogue: Catalogue) -> Words:
        """Read the words that make its schema again."""
        async with talking_to(self.endpoint):
            return await read_words(self._connection, catalogue)

    @asynccontextmanager
    async def reader(self) -> AsyncIterator[PostgresReader]:
        """Lend one more connection to the snapshot."""
        connection = await open_postgres(self.endpoint)
        reader = PostgresReader(self.endpoint, connection)
        try:
            async with talking_to(self.endpoint):
                await connection.execute(
                    "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; "
                    f"SET TRANSACTION SNAPSHOT '{self._snapshot}'"
                )
            yield reader
        finally:
            await reader.close()


@asynccontextmanager
async def postgres_source(endpoint: Endpoint) -> AsyncIterator[PostgresSource]:
    """Open a snapshot for as long as it is lent, and read what it holds."""
    connection = await open_postgres(endpoint)
    try:
        async with talking_to(endpoint):
            await connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            snapshot = await connection.fetchval("SELECT pg_export_snapshot()")
            source = PostgresSource(endpoint, connection, snapshot)
            source.catalogue = await read_postgres(connection)
        yield source
    finally:
        with suppress(Exception):
            await connection.close(timeout=5)
