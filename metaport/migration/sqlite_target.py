"""Write a SQLite file beside its place, and put it there when it is whole."""

import asyncio
import os
import sqlite3
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import TypeVar

from metaport.migration.catalogue import RECORD_SCHEMA, Catalogue, Column, Table
from metaport.migration.catalogue import Sequence as Counter
from metaport.migration.copy_text import Row
from metaport.migration.endpoint import Endpoint, Engine
from metaport.migration.errors import Interrupted, Misused
from metaport.migration.postgres import quoted
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
from metaport.migration.sqlite_catalogue import read_sqlite
from metaport.migration.sqlite_values import from_text

_PREFIX = f"{RECORD_SCHEMA}_"

T = TypeVar("T")


class SqliteTarget:
    """The one writer of a file that is not in its place yet."""

    workers = 1

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.part = endpoint.path.with_name(endpoint.path.name + ".copying")
        self._connection: sqlite3.Connection | None = None

    @property
    def part_endpoint(self) -> Endpoint:
        """The file that is written to, as a database."""
        return Endpoint(Engine.SQLITE, self.endpoint.url.set(database=str(self.part)))

    async def open(self) -> None:
        """Open the file that is written to; made by its first word. Raises Interrupted."""

        def begin() -> None:
            self._connection = connection = sqlite3.connect(
                self.part, isolation_level=None, check_same_thread=False
            )
            connection.execute("PRAGMA journal_mode = WAL")
            # References are looked at once, at the end.
            connection.execute("PRAGMA foreign_keys = OFF")
            connection.execute("PRAGMA synchronous = NORMAL")

        await self._do(begin)

    async def _do(self, work: Callable[[], T]) -> T:
        try:
            return await asyncio.to_thread(work)
        except sqlite3.Error as error:
            raise Interrupted(
                f"SQLite 파일에 쓸 수 없습니다: {self.part}: {error}",
                f"cannot write {self.part}: {error}",
            ) from error

    def _open(self) -> sqlite3.Connection:
        assert self._connection is not None
        return self._connection

    async def catalogue(self) -> Catalogue:
        """Read what the file holds now."""
        return await self._do(lambda: read_sqlite(self._open()))

    async def rows_in(self, table: Table, at_most: int) -> int:
        """Count the rows of a table, up to so many."""
        query = f"SELECT count(*) FROM (SELECT 1 FROM {quoted(table.name)} LIMIT {at_most})"
        return int(await self._do(lambda: self._open().execute(query).fetchone()[0]))

    async def privileges(self) -> list[str]:
        """Name what may not be done here and would have to."""
        directory = self.endpoint.path.absolute().parent
        return [] if os.access(directory, os.W_OK) else [f"write {directory}"]

    async def extensions(self) -> set[str]:
        return set()

    async def lock(self) -> None:
        """Keep other copies out. Raises Misused while one is at work."""

        def take() -> None:
            self._open().execute("BEGIN IMMEDIATE")
            self._open().execute("COMMIT")

        try:
            await self._do(take)
        except Interrupted as error:
            raise Misused(error.say.ko, error.say.en) from error

    async def run(self) -> Run | None:
        """Read the record of the copy that was begun here, None where there is none."""

        def read() -> Run | None:
            there = self._open().execute(
                "SELECT count(*) FROM sqlite_master WHERE name = ?", (_PREFIX + RUN,)
            )
            if not there.fetchone()[0]:
                return None
            return read_run(
                self._open().execute(f"SELECT description FROM {_PREFIX}{RUN}").fetchone()[0]
            )

        return await self._do(read)

    async def chunks(self) -> list[Chunk]:
        """Read the chunks of the record."""
        rows = await self._do(
            lambda: (
                self._open()
                .execute(
                    "SELECT table_name, number, after_key, until_key, copied, rejected "
                    f"FROM {_PREFIX}{CHUNK} ORDER BY table_name, number"
                )
                .fetchall()
            )
        )
        return [
            Chunk(row[0], row[1], Span(read_key(row[2]), read_key(row[3])), row[4], row[5])
            for row in rows
        ]

    async def steps(self) -> set[str]:
        """Read which steps after the data are done."""
        query = f"SELECT name FROM {_PREFIX}{STEP}"
        return {row[0] for row in await self._do(lambda: self._open().execute(query).fetchall())}

    async def begin(
        self, run: Run, chunks: Sequence[Chunk], statements: Sequence[str], _: Sequence[str]
    ) -> None:
        """Make the schema and the record of what is to come, in one transaction."""

        def work() -> None:
            connection = self._open()
            for table in (RUN, CHUNK, STEP):
                connection.execute(f"DROP TABLE IF EXISTS {_PREFIX}{table}")
            for statement in (*statements, *create(_PREFIX)):
                connection.execute(statement)
            connection.execute(f"INSERT INTO {_PREFIX}{RUN} VALUES (1, 0, ?)", (run.as_json(),))
            connection.executemany(
                f"INSERT INTO {_PREFIX}{CHUNK} VALUES (?, ?, ?, ?, NULL, 0)",
                [
                    (chunk.table, chunk.number, key_json(chunk.span.after),
                     key_json(chunk.span.until))
                    for chunk in chunks
                ],
            )  # fmt: skip

        await self._do(lambda: self._whole(work))

    def _whole(self, work: Callable[[], T]) -> T:
        connection = self._open()
        connection.execute("BEGIN IMMEDIATE")
        try:
            result = work()
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")
        return result

    async def note(self, run: Run) -> None:
        """Write the run anew."""
        query = f"UPDATE {_PREFIX}{RUN} SET description = ?, finished = ?"
        values = (run.as_json(), int(bool(run.finished_at)))
        await self._do(lambda: self._open().execute(query, values))

    @asynccontextmanager
    async def writer(self) -> AsyncIterator["SqliteTarget"]:
        """Lend the one writer."""
        yield self

    async def write_rows(
        self, chunk: Chunk, table: Table, columns: Sequence[Column],
        batches: AsyncGenerator[list[Row]], refused: Callable[[list[Reject]], None],
    ) -> int:  # fmt: skip
        """Write a chunk in one transaction; return how many rows were written."""
        names = quoted(*(column.name for column in columns))
        marks = ", ".join("?" * len(columns))
        insert = f"INSERT INTO {quoted(table.name)} ({names}) VALUES ({marks})"
        rejects: list[Reject] = []
        rows = 0
        connection = self._open()
        await self._do(lambda: connection.execute("BEGIN IMMEDIATE"))
        try:
            async with aclosing(batches):
                async for batch in batches:
                    rows += await self._do(
                        lambda batch=batch: _insert(  # type: ignore[misc]
                            connection, insert, table, columns, batch=batch, rejects=rejects
                        )
                    )
            refused(rejects)
            mark = (
                f"UPDATE {_PREFIX}{CHUNK} SET copied = ?, rejected = ? "
                "WHERE table_name = ? AND number = ?"
            )
            values = (rows, len(rejects), chunk.table, chunk.number)
            await self._do(lambda: connection.execute(mark, values))
            await self._do(lambda: connection.execute("COMMIT"))
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        return rows

    async def forget(self, chunk: Chunk, table: Table, conditions: Sequence[str]) -> None:
        """Take a chunk out again, to be copied anew."""

        def work() -> None:
            self._open().execute(
                f"DELETE FROM {quoted(table.name)} AS t0 WHERE {' AND '.join(conditions) or 'TRUE'}"
            )
            self._open().execute(
                f"UPDATE {_PREFIX}{CHUNK} SET copied = NULL WHERE table_name = ? AND number = ?",
                (chunk.table, chunk.number),
            )

        await self._do(lambda: self._whole(work))

    async def step(self, name: str, statement: str) -> None:
        """Run a statement and record it, so that a resumed copy does not repeat it."""

        def work() -> None:
            self._open().execute(statement)
            self._open().execute(f"INSERT INTO {_PREFIX}{STEP} (name) VALUES (?)", (name,))

        await self._do(lambda: self._whole(work))

    async def set_sequences(self, counters: Sequence[Counter], tables: Sequence[Table]) -> None:
        """A rowid goes on from the greatest that is there; only AUTOINCREMENT keeps more."""

        def work() -> None:
            connection = self._open()
            kept = "SELECT count(*) FROM sqlite_master WHERE name = 'sqlite_sequence'"
            if not connection.execute(kept).fetchone()[0]:
                return
            names = {table.full_name: table.name for table in tables}
            for counter in counters:
                if counter.owner and counter.owner[0] in names and counter.last is not None:
                    connection.execute(
                        "UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = ?",
                        (counter.last, names[counter.owner[0]]),
                    )

        await self._do(work)

    async def finish(self, run: Run) -> None:
        """Look at the references, write everything to disk, and put the file in its place.

        Raises Misused where a row refers to nothing.
        """

        def work() -> None:
            connection = self._open()
            broken = connection.execute("PRAGMA foreign_key_check").fetchall()
            if broken:
                raise Misused(
                    f"없는 행을 가리키는 행이 {len(broken)}개 있습니다 (예: {broken[0][0]})",
                    f"{len(broken)} rows refer to none, of {broken[0][0]} for one",
                )
            connection.execute("ANALYZE")

        await self._do(work)
        await self.note(run)

        def place() -> None:
            connection = self._open()
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            connection.execute("PRAGMA journal_mode = DELETE")
            connection.close()
            self._connection = None
            with self.part.open("rb") as file:
                os.fsync(file.fileno())
            self.part.chmod(0o600)
            # What an earlier database of this name left would be replayed into the new one.
            for suffix in ("-wal", "-shm"):
                self.endpoint.path.with_name(self.endpoint.path.name + suffix).unlink(
                    missing_ok=True
                )
            self.part.replace(self.endpoint.path)
            _sync_directory(self.endpoint.path.absolute().parent)

        await self._do(place)

    async def close(self) -> None:
        if self._connection is not None:
            await asyncio.to_thread(self._connection.close)


def _insert(
    connection: sqlite3.Connection, insert: str, table: Table, columns: Sequence[Column],
    *, batch: list[Row], rejects: list[Reject],
) -> int:  # fmt: skip
    """Insert a batch; where that is refused, row by row. Return how many were."""
    kinds = [column.kind for column in columns]

    def values(row: Row) -> list[object]:
        return [from_text(text, kind) for text, kind in zip(row, kinds, strict=True)]

    refusals = (sqlite3.IntegrityError, ValueError, OverflowError)
    connection.execute("SAVEPOINT batch")
    try:
        connection.executemany(insert, [values(row) for row in batch])
    except refusals:
        connection.execute("ROLLBACK TO batch")
    else:
        connection.execute("RELEASE batch")
        return len(batch)
    written = 0
    for row in batch:
        try:
            connection.execute(insert, values(row))
            written += 1
        except refusals as error:
            rejects.append(Reject.of(table, columns, row, str(error)))
    connection.execute("RELEASE batch")
    return written


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@asynccontextmanager
async def sqlite_target(endpoint: Endpoint) -> AsyncIterator[SqliteTarget]:
    """Open the file beside a SQLite database's place for as long as it is lent."""
    target = SqliteTarget(endpoint)
    try:
        await target.open()
        yield target
    finally:
        await target.close()
