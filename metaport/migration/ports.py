"""What copying and verifying need of a database, whichever engine it is.

A source is a snapshot: everything read through it, by any of its readers, is of one moment.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Protocol

from metaport.migration.catalogue import Catalogue, Column, Table
from metaport.migration.catalogue import Sequence as Counter
from metaport.migration.copy_text import Row
from metaport.migration.dialect import Dialect
from metaport.migration.endpoint import Endpoint, Engine
from metaport.migration.errors import Misused
from metaport.migration.record import Chunk, Run
from metaport.migration.rejects import Reject
from metaport.migration.spans import Span


class Reader(Protocol):
    """Reads within the snapshot, one thing at a time."""

    def rows(
        self, table: Table, columns: Sequence[Column], span: Span, where: str,
        *, ordered: bool = False,
    ) -> AsyncGenerator[list[Row]]: ...  # fmt: skip

    async def value(self, statement: str) -> Any: ...

    async def fetch(self, statement: str) -> list[Any]: ...

    async def spans(
        self, table: Table, rows_each: int = ..., *, exact: bool = False
    ) -> list[Span]: ...


class Source(Protocol):
    """A database as it was at one moment; `workers` readers may be at work at once."""

    endpoint: Endpoint
    catalogue: Catalogue

    @property
    def workers(self) -> int: ...

    @property
    def dialect(self) -> Dialect: ...

    def reader(self) -> AbstractAsyncContextManager[Reader]: ...


class Writer(Protocol):
    """Writes chunks, each with its line in the record in one transaction."""

    async def write_rows(
        self, chunk: Chunk, table: Table, columns: Sequence[Column],
        batches: AsyncGenerator[list[Row]], refused: Callable[[list[Reject]], None],
    ) -> int: ...  # fmt: skip

    async def forget(self, chunk: Chunk, table: Table, conditions: Sequence[str]) -> None: ...

    async def step(self, name: str, statement: str) -> None: ...


class Target(Protocol):
    """A database that is copied into, and keeps the record of it."""

    endpoint: Endpoint

    @property
    def workers(self) -> int: ...

    async def catalogue(self) -> Catalogue: ...

    async def rows_in(self, table: Table, at_most: int) -> int: ...

    async def privileges(self) -> list[str]: ...

    async def extensions(self) -> set[str]: ...

    async def lock(self) -> None: ...

    async def run(self) -> Run | None: ...

    async def chunks(self) -> list[Chunk]: ...

    async def steps(self) -> set[str]: ...

    async def begin(
        self, run: Run, chunks: Sequence[Chunk], statements: Sequence[str], drop: Sequence[str], /
    ) -> None: ...

    async def note(self, run: Run) -> None: ...

    def writer(self) -> AbstractAsyncContextManager[Writer]: ...

    async def set_sequences(self, counters: Sequence[Counter], tables: Sequence[Table]) -> None: ...

    async def finish(self, run: Run) -> None: ...


@asynccontextmanager
async def open_source(endpoint: Endpoint) -> AsyncIterator[Source]:
    """Open a snapshot of any engine. Each driver is imported when it is needed."""
    # ruff: noqa: PLC0415
    match endpoint.engine:
        case Engine.POSTGRESQL:
            from metaport.migration.postgres_source import postgres_source

            async with postgres_source(endpoint) as postgres:
                yield postgres
        case Engine.SQLITE:
            from metaport.migration.sqlite_source import sqlite_source

            async with sqlite_source(endpoint) as sqlite:
                yield sqlite
        case Engine.MYSQL:
            from metaport.migration.mysql_source import mysql_source

            async with mysql_source(endpoint) as mysql:
                yield mysql


@asynccontextmanager
async def open_target(endpoint: Endpoint) -> AsyncIterator[Target]:
    """Open a database to be written to. Raises Misused for an engine that is only read."""
    match endpoint.engine:
        case Engine.POSTGRESQL:
            from metaport.migration.postgres_target import postgres_target

            async with postgres_target(endpoint) as postgres:
                yield postgres
        case Engine.SQLITE:
            from metaport.migration.sqlite_target import sqlite_target

            async with sqlite_target(endpoint) as sqlite:
                yield sqlite
        case Engine.MYSQL:
            raise Misused(
                "MySQL에서 복사할 수는 있어도 MySQL로 복사할 수는 없습니다",
                "MySQL can be copied from, not to",
            )
