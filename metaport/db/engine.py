"""Open a database: driver, pragmas, and the schema created or upgraded where it is needed."""

import asyncio
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import asyncpg
from sqlalchemy import Connection, event, func, insert, inspect, make_url, select, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from metaport.db.errors import DatabaseUnavailable, SchemaTooNew
from metaport.db.schema import VERSION, metadata, schema_version
from metaport.db.upgrades import upgrade

# What the drivers raise when a server is away, full or refusing; asyncpg's own come through
# unwrapped while a connection is being made, as do those of the operating system.
DRIVER_ERRORS = (
    SQLAlchemyError,
    sqlite3.Error,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    OSError,
)

# Any number will do as long as it is always the same one: it keeps two processes that start at
# once from creating the schema together.
SCHEMA_LOCK = 0x6D657461706F7274


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
    """Create the schema if it is not there, and bring an earlier one up to date.

    Raises DatabaseUnavailable if there is no way in, and SchemaTooNew for a database written by a
    later version of this program.
    """
    try:
        if engine.dialect.name == "sqlite":
            await asyncio.to_thread(_try_file, engine.url)
        async with engine.begin() as connection:
            await connection.run_sync(_ensure_schema)
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
    # A power cut may take the last transactions, never part of one: rows and their checkpoint go
    # together, and the reader writes them again from its log.
    cursor.execute("PRAGMA synchronous = NORMAL")
    cursor.close()


def _ensure_schema(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(SCHEMA_LOCK)))
    if _found_version(connection) == VERSION:
        return
    if connection.dialect.name == "sqlite":
        connection.execute(text("BEGIN IMMEDIATE"))
    # Asked again behind the lock: another process may have done it meanwhile.
    found = _found_version(connection)
    if found > VERSION:
        raise SchemaTooNew(found, VERSION)
    if found == VERSION:
        return
    if found == 0:
        metadata.create_all(connection)
    else:
        upgrade(connection, found)
    connection.execute(
        insert(schema_version).values(version=VERSION, applied_at_s=int(time.time()))
    )


def _found_version(connection: Connection) -> int:
    """Return the version of the schema, 0 where there is none."""
    if not inspect(connection).has_table(schema_version.name):
        return 0
    return connection.scalar(select(func.max(schema_version.c.version))) or 0


def first_line(error: BaseException) -> str:
    """Return what the driver said, without SQLAlchemy's statement and links."""
    said = getattr(error, "orig", None) or error
    return (str(said) or type(said).__name__).splitlines()[0]
