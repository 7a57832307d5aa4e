"""Open a database: driver, pragmas, and the schema created or upgraded where it is needed."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import asyncpg
from sqlalchemy import Connection, event, make_url, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from metaport.db.errors import CopyUnfinished, DatabaseUnavailable, SchemaBehind
from metaport.db.revisions import found, head

# What the drivers raise when a server is away, full or refusing; asyncpg's own come through
# unwrapped while a connection is being made, as do those of the operating system.
DRIVER_ERRORS = (
    SQLAlchemyError,
    sqlite3.Error,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    OSError,
)

_TURNS: WeakKeyDictionary[AsyncEngine, asyncio.Lock] = WeakKeyDictionary()


def sqlite_url(path: Path) -> str:
    """Return the URL of the SQLite database in the file `path`."""
    return URL.create("sqlite+aiosqlite", database=str(path)).render_as_string()


def connect(url: str) -> AsyncEngine:
    """Return an engine for SQLite or PostgreSQL that has not spoken to it yet.

    Dispose of it at the end. Raises DatabaseUnavailable for a URL of neither.
    """
    parsed = _with_driver(url)
    if parsed.get_backend_name() == "postgresql":
        # A connection that died with its server is noticed before it is used, not by a failure.
        return create_async_engine(parsed, pool_pre_ping=True)
    engine = create_async_engine(parsed)
    event.listen(engine.sync_engine, "connect", _set_pragmas)
    return engine


async def prepare(engine: AsyncEngine) -> None:
    """Create the schema if it is not there; on SQLite bring an earlier one up to date.

    Raises DatabaseUnavailable if there is no way in, SchemaUnknown for a database written by a
    later program, and SchemaBehind for an earlier one on PostgreSQL: `metaport db upgrade`.
    """
    # The stores of a process come here at once. SQLite would have them wait for one another in
    # their threads, and give up after 5 s: on a slow disk a schema takes longer.
    turn = _TURNS.setdefault(engine, asyncio.Lock())
    async with turn, reaching(engine), engine.connect() as connection:
        await connection.run_sync(_ensure_schema)


async def reach(engine: AsyncEngine) -> None:
    """Connect once. Raises DatabaseUnavailable."""
    async with reaching(engine), engine.connect():
        pass


@asynccontextmanager
async def reaching(engine: AsyncEngine) -> AsyncIterator[None]:
    """Turn whatever keeps the body from the database into DatabaseUnavailable."""
    try:
        if engine.dialect.name == "sqlite":
            await asyncio.to_thread(_try_file, engine.url)
        yield
    except DRIVER_ERRORS as error:
        shown = engine.url.render_as_string(hide_password=True)
        raise DatabaseUnavailable(f"{shown}: {first_line(error)}") from error


async def open_engine(url: str) -> AsyncEngine:
    """Connect, and create the schema if it is not there; see `connect` and `prepare`."""
    engine = connect(url)
    try:
        await prepare(engine)
    except BaseException:
        await engine.dispose()
        raise
    return engine


def _with_driver(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise DatabaseUnavailable("the database URL cannot be read") from None
    match parsed.get_backend_name():
        case "sqlite":
            return parsed.set(drivername="sqlite+aiosqlite")
        case "postgresql" | "postgres":
            return parsed.set(drivername="postgresql+asyncpg")
        case other:
            raise DatabaseUnavailable(f"{other} is neither sqlite nor postgresql")


def _try_file(url: URL) -> None:
    """Open a SQLite file once without aiosqlite, whose thread outlives a failure to open."""
    with closing(sqlite3.connect(url.database or ":memory:")) as connection:
        connection.execute("PRAGMA schema_version")


def _set_pragmas(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    # Wait this long for another writer; a ledger's transactions take milliseconds.
    cursor.execute("PRAGMA busy_timeout = 5000")
    # Readers (a report from another process) and the writer do not wait for each other.
    cursor.execute("PRAGMA journal_mode = WAL")
    # Checks that rows refer to something are off by default, for the sake of old programs.
    cursor.execute("PRAGMA foreign_keys = ON")
    # A power cut may take the last transactions, never part of one: rows and their checkpoint go
    # together, and the reader writes them again from its log.
    cursor.execute("PRAGMA synchronous = NORMAL")
    cursor.close()


def _ensure_schema(connection: Connection) -> None:
    _refuse_half_copied(connection)
    was = found(connection)
    connection.rollback()
    if was == head():
        return
    if was is not None and connection.dialect.name != "sqlite":
        # Others may be at work on it, with another program: this is for a person to say.
        raise SchemaBehind(was, head())
    from metaport.db.migrate import upgrade  # noqa: PLC0415 - Alembic takes 0.2 s to import

    upgrade(connection)


def _refuse_half_copied(connection: Connection) -> None:
    """Refuse a database that `metaport.migration` has not finished; SQLite files appear whole."""
    if connection.dialect.name != "postgresql":
        return
    record = connection.scalar(text("SELECT to_regclass('metaport_copy.run') IS NOT NULL"))
    if record and connection.scalar(
        text("SELECT EXISTS (SELECT FROM metaport_copy.run WHERE finished = 0)")
    ):
        raise CopyUnfinished(head())


def first_line(error: BaseException) -> str:
    """Return what the driver said, without SQLAlchemy's statement and links."""
    said = getattr(error, "orig", None) or error
    return (str(said) or type(said).__name__).splitlines()[0]
