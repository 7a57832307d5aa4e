"""Write into a PostgreSQL database: chunks and their record in one transaction each."""

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Any

import asyncpg

from metaport.db.engine import first_line
from metaport.migration.catalogue import (
    RECORD_SCHEMA,
    Catalogue,
    Column,
    Table,
)
from metaport.migration.catalogue import (
    Sequence as Counter,
)
from metaport.migration.copy_text import Row, write_line
from metaport.migration.endpoint import Endpoint
from metaport.migration.errors import Misused
from metaport.migration.postgres import (
    INDEXING,
    open_postgres,
    qualified,
    quoted,
    string,
    talking_to,
)
from metaport.migration.postgres_catalogue import read_postgres
from metaport.migration.postgres_ddl import say_all
from metaport.migration.record import (
    CHUNK,
    RUN,
    STEP,
    Chunk,
    Run,
    create,
    key_json,
    read_key,
    read_run,
)
from metaport.migration.rejects import Reject
from metaport.migration.spans import Span

# Keeps two copies into one database apart; any number that nothing else takes.
COPY_LOCK = 0x6D65_7461_636F_7079
# A process that was killed leaves its server's side at work for a moment.
LOCK_WAIT_S = 30
# Rows that are written by one COPY where they can be refused one by one.
BATCH_ROWS = 5_000

_PREFIX = f"{RECORD_SCHEMA}."
_LINE = re.compile(r"line (\d+)")


class PostgresWriter:
    """One connection that writes chunks."""

    def __init__(self, endpoint: Endpoint, connection: Any) -> None:
        self._endpoint = endpoint
        self._connection = connection
        self._lost = asyncio.Event()
        connection.add_termination_listener(lambda _: self._lost.set())

    async def write_raw(
        self, chunk: Chunk, table: Table, columns: Sequence[Column],
        pieces: AsyncGenerator[bytes], form: str,
    ) -> int:  # fmt: skip
        """Write a chunk as the source's COPY streams it; return its rows, all of them or none.

        Raises asyncpg.DataError or IntegrityConstraintViolationError where a row is refused.
        """
        async with aclosing(pieces), self._connection.transaction():
            done = await self._copy(table, columns, pieces, form)
            rows = int(done.split()[-1])
            await self._mark(chunk, rows, 0)
        return rows

    async def write_rows(
        self, chunk: Chunk, table: Table, columns: Sequence[Column],
        batches: AsyncGenerator[list[Row]], refused: Callable[[list[Reject]], None],
    ) -> int:  # fmt: skip
        """Write a chunk row by row where need be; return how many were written.

        Those refused are handed to `refused` before anything is committed: a crash in between
        tells of them twice, never of none.
        """
        rejects: list[Reject] = []
        rows = 0
        waiting: list[Row] = []
        async with talking_to(self._endpoint), aclosing(batches), self._connection.transaction():
            async for batch in batches:
                waiting += batch
                if len(waiting) >= BATCH_ROWS:
                    rows += await self._write(table, columns, waiting, rejects)
                    waiting = []
            rows += await self._write(table, columns, waiting, rejects)
            refused(rejects)
            await self._mark(chunk, rows, len(rejects))
        return rows

    async def _write(
        self, table: Table, columns: Sequence[Column], rows: list[Row], rejects: list[Reject]
    ) -> int:
        """Write rows; those that are refused are named, the others stand.

        PostgreSQL says which line it refuses: what is before it is written, and so on after it.
        Where it cannot say (a reference, at the end), halves are tried.
        """
        written = 0
        while rows:
            try:
                async with self._connection.transaction():
                    await self._copy(table, columns, _lines(rows), "text")
                return written + len(rows)
            except UnicodeEncodeError as error:
                refused = rows.index(next(row for row in rows if not _is_text(row)))
                reason = f"not UTF-8: {error.reason}"
            except (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError) as error:
                found = _LINE.search(error.as_dict().get("context") or "")
                refused = int(found[1]) - 1 if found else -1
                reason = first_line(error)
            if refused < 0 and len(rows) > 1:
                half = len(rows) // 2
                written += await self._write(table, columns, rows[:half], rejects)
                rows = rows[half:]
                continue
            refused = max(0, refused)
            rejects.append(Reject.of(table, columns, rows[refused], reason))
            written += await self._write(table, columns, rows[:refused], rejects)
            rows = rows[refused + 1 :]
        return written

    async def _copy(
        self, table: Table, columns: Sequence[Column], pieces: AsyncIterator[bytes], form: str
    ) -> str:
        """Run one COPY; return what it says. Raises ConnectionDoesNotExistError, see below."""
        copy_task = asyncio.create_task(
            self._connection.copy_to_table(
                table.name, schema_name=table.schema, source=pieces, format=form,
                columns=[column.name for column in columns],
            )
        )  # fmt: skip
        # asyncpg waits for ever for a full buffer to drain where the server is gone meanwhile.
        lost_task = asyncio.create_task(self._lost.wait())
        try:
            await asyncio.wait([copy_task, lost_task], return_when=asyncio.FIRST_COMPLETED)
            if not copy_task.done():
                raise asyncpg.ConnectionDoesNotExistError("the server closed the connection")
            return str(copy_task.result())
        finally:
            lost_task.cancel()
            copy_task.cancel()
            await asyncio.wait([copy_task, lost_task], timeout=5)

    async def _mark(self, chunk: Chunk, rows: int, rejected: int) -> None:
        await self._connection.execute(
            f"UPDATE {_PREFIX}{CHUNK} SET copied = $3, rejected = $4 "
            "WHERE table_name = $1 AND number = $2",
            chunk.table, chunk.number, rows, rejected,
        )  # fmt: skip

    async def forget(self, chunk: Chunk, table: Table, conditions: Sequence[str]) -> None:
        """Take a chunk out again, to be copied anew."""
        async with talking_to(self._endpoint), self._connection.transaction():
            await self._connection.execute(
                f"DELETE FROM {qualified(table.schema, table.name)} AS t0 "
                f"WHERE {' AND '.join(conditions) or 'TRUE'}"
            )
            await self._connection.execute(
                f"UPDATE {_PREFIX}{CHUNK} SET copied = NULL WHERE table_name = $1 AND number = $2",
                chunk.table, chunk.number,
            )  # fmt: skip

    async def step(self, name: str, statement: str) -> None:
        """Run a statement and record it, so that a resumed copy does not repeat it."""
        async with talking_to(self._endpoint), self._connection.transaction():
            await self._connection.execute(statement)
            await self._connection.execute(f"INSERT INTO {_PREFIX}{STEP} (name) VALUES ($1)", name)

    async def close(self) -> None:
        with suppress(Exception):
            await self._connection.close(timeout=5)


class PostgresTarget:
    """A PostgreSQL database that is copied into; alone, by a lock."""

    workers = 64

    def __init__(self, endpoint: Endpoint, connection: Any) -> None:
        self.endpoint = endpoint
        self._connection = connection

    async def catalogue(self) -> Catalogue:
        """Read what it holds now."""
        async with talking_to(self.endpoint):
            return await read_postgres(self._connection)

    async def rows_in(self, table: Table, at_most: int) -> int:
        """Count the rows of a table, up to so many."""
        async with talking_to(self.endpoint):
            found = await self._connection.fetchval(
                f"SELECT count(*) FROM (SELECT FROM {qualified(table.schema, table.name)} "
                f"LIMIT {at_most}) q"
            )
            return int(found)

    async def privileges(self) -> list[str]:
        """Name what this account may not do here and would have to."""
        async with talking_to(self.endpoint):
            may = await self._connection.fetchval(
                "SELECT has_database_privilege(current_database(), 'CREATE')"
            )
            return [] if may else ["CREATE"]

    async def extensions(self) -> set[str]:
        """Name the extensions that could be made here."""
        async with talking_to(self.endpoint):
            rows = await self._connection.fetch("SELECT name FROM pg_available_extensions")
            return {row[0] for row in rows}

    async def lock(self) -> None:
        """Keep other copies out until this one is closed. Raises Misused while one is at work."""
        async with talking_to(self.endpoint):
            for _ in range(LOCK_WAIT_S * 5):
                if await self._connection.fetchval("SELECT pg_try_advisory_lock($1)", COPY_LOCK):
                    return
                await asyncio.sleep(0.2)
        raise Misused(
            f"다른 복사가 {self.endpoint.shown}에 쓰고 있습니다",
            f"another copy is at work on {self.endpoint.shown}",
        )

    async def run(self) -> Run | None:
        """Read the record of the copy that was made or begun here, None where there is none."""
        async with talking_to(self.endpoint):
            if await self._connection.fetchval("SELECT to_regclass($1)", _PREFIX + RUN) is None:
                return None
            text = await self._connection.fetchval(f"SELECT description FROM {_PREFIX}{RUN}")
            return None if text is None else read_run(text)

    async def chunks(self) -> list[Chunk]:
        """Read the chunks of the record."""
        async with talking_to(self.endpoint):
            rows = await self._connection.fetch(
                f"SELECT * FROM {_PREFIX}{CHUNK} ORDER BY table_name, number"
            )
        return [
            Chunk(row["table_name"], row["number"],
                  Span(read_key(row["after_key"]), read_key(row["until_key"])),
                  row["copied"], row["rejected"])
            for row in rows
        ]  # fmt: skip

    async def steps(self) -> set[str]:
        """Read which steps after the data are done."""
        async with talking_to(self.endpoint):
            return {
                row[0] for row in await self._connection.fetch(f"SELECT name FROM {_PREFIX}{STEP}")
            }

    async def begin(
        self, run: Run, chunks: Sequence[Chunk], statements: Sequence[str], drop: Sequence[str]
    ) -> None:
        """Make the schema and the record of what is to come, in one transaction."""
        async with talking_to(self.endpoint), self._connection.transaction():
            for schema in drop:
                await self._connection.execute(f"DROP SCHEMA IF EXISTS {quoted(schema)} CASCADE")
                await self._connection.execute(f"CREATE SCHEMA {quoted(schema)}")
            await self._connection.execute(f"DROP SCHEMA IF EXISTS {RECORD_SCHEMA} CASCADE")
            await say_all(self._connection, statements)
            await self._connection.execute(f"CREATE SCHEMA {RECORD_SCHEMA}")
            for statement in create(_PREFIX):
                await self._connection.execute(statement)
            await self._connection.execute(
                f"INSERT INTO {_PREFIX}{RUN} VALUES (1, 0, $1)", run.as_json()
            )
            await self._connection.executemany(
                f"INSERT INTO {_PREFIX}{CHUNK} VALUES ($1, $2, $3, $4, NULL, 0)",
                [
                    (chunk.table, chunk.number, key_json(chunk.span.after),
                     key_json(chunk.span.until))
                    for chunk in chunks
                ],
            )  # fmt: skip

    async def note(self, run: Run) -> None:
        """Write the run anew."""
        async with talking_to(self.endpoint):
            await self._connection.execute(
                f"UPDATE {_PREFIX}{RUN} SET description = $1, finished = $2",
                run.as_json(), int(bool(run.finished_at)),
            )  # fmt: skip

    @asynccontextmanager
    async def writer(self) -> AsyncIterator[PostgresWriter]:
        """Lend one more connection that writes.

        A commit does not wait for the disk: chunks and record go together, and what a power cut
        takes of both is copied again.
        """
        connection = await open_postgres(self.endpoint, synchronous_commit="off", **INDEXING)
        writer = PostgresWriter(self.endpoint, connection)
        try:
            yield writer
        finally:
            await writer.close()

    async def set_sequences(self, counters: Sequence[Counter], tables: Sequence[Table]) -> None:
        """Let each counter go on where its source stands, at least after its column's greatest."""
        async with talking_to(self.endpoint):
            for counter in counters:
                await self._set(counter)
            for table in tables:
                for column in table.columns:
                    if column.counted:
                        await self._raise(table, column.name)

    async def _set(self, counter: Counter) -> None:
        name = await self._sequence(counter)
        if name is not None and counter.last is not None:
            await self._connection.execute("SELECT setval($1::regclass, $2)", name, counter.last)

    async def _sequence(self, counter: Counter) -> str | None:
        """Find the counter by the column that owns it, else by name."""
        if counter.owner is not None:
            table, column = counter.owner
            found: str | None = await self._connection.fetchval(
                "SELECT pg_get_serial_sequence($1, $2)", _regclass(table), column
            )
            return found
        named: str | None = await self._connection.fetchval(
            "SELECT to_regclass($1)::text", _regclass(counter.full_name)
        )
        return named

    async def _raise(self, table: Table, column: str) -> None:
        name = qualified(table.schema, table.name)
        sequence = await self._connection.fetchval(
            "SELECT pg_get_serial_sequence($1, $2)", name, column
        )
        if sequence is not None:
            await self._connection.execute(
                f"SELECT setval({string(sequence)}::regclass, m) FROM "
                f"(SELECT max({quoted(column)}) AS m FROM {name}) q "
                "WHERE m > coalesce(pg_sequence_last_value("
                f"{string(sequence)}::regclass), 0)"
            )

    async def finish(self, run: Run) -> None:
        """Let the planner know what came, on disk, and say that the copy is whole."""
        async with talking_to(self.endpoint):
            await self._connection.execute("ANALYZE")
        await self.note(run)

    async def close(self) -> None:
        with suppress(Exception):
            await self._connection.close(timeout=5)


@asynccontextmanager
async def postgres_target(endpoint: Endpoint) -> AsyncIterator[PostgresTarget]:
    """Connect to a database that is to be written to, for as long as it is lent."""
    target = PostgresTarget(endpoint, await open_postgres(endpoint))
    try:
        yield target
    finally:
        await target.close()


async def _lines(rows: Sequence[Row]) -> AsyncIterator[bytes]:
    yield b"".join(write_line(row) for row in rows)


def _regclass(full_name: str) -> str:
    schema, _, name = full_name.partition(".")
    return qualified(schema, name)


def _is_text(row: Row) -> bool:
    try:
        write_line(row)
    except UnicodeEncodeError:
        return False
    return True
