"""What is asked often, past SQLAlchemy: run by asyncpg on a pool of its own.

SQLAlchemy's asynchronous layer takes about four times the CPU of asyncpg for one row by its key,
and a transaction of its own costs two more ways to the server. A single statement needs none. On
SQLite, and for everything else, there is `metaport.db.store.SqlStore`.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeVar

import asyncpg
from sqlalchemy import Select
from sqlalchemy.dialects.postgresql.asyncpg import dialect
from sqlalchemy.engine import URL

from metaport.db.engine import DRIVER_ERRORS, first_line
from metaport.db.errors import DatabaseUnavailable

MOST_CONNECTIONS = 5
TIMEOUT_S = 10.0
# What the connections are called in pg_stat_activity.
NAME = "metaport direct"
# A connection that died with its server is noticed when it is used; another one may be dead too.
TRIES = MOST_CONNECTIONS + 1
# The client is confused (InternalClientError) where it was told of its end before it asked.
_DEAD = (
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,
    ConnectionError,
)


Answer = TypeVar("Answer")


class Read:
    """One SELECT with its parameters, compiled by SQLAlchemy once."""

    def __init__(self, query: Select[Any]) -> None:
        compiled = query.compile(dialect=dialect())  # type: ignore[no-untyped-call]
        self.sql = str(compiled)
        self.names: tuple[str, ...] = tuple(compiled.positiontup or ())
        self.fixed: Mapping[str, Any] = compiled.params

    def values(self, given: Mapping[str, Any]) -> list[Any]:
        """Return the parameters in their order."""
        return [given.get(name, self.fixed[name]) for name in self.names]


class DirectPool:
    """Connections; none is made before it is needed. All it does raises `DatabaseUnavailable`."""

    def __init__(self, url: URL) -> None:
        self._url = url.set(drivername="postgresql").render_as_string(hide_password=False)
        self._pool: asyncpg.Pool | None = None  # None before the first read, and once closed
        self._opening = asyncio.Lock()

    async def first(self, read: Read, **given: Any) -> asyncpg.Record | None:
        """Return the first row, None where there is none."""
        values = read.values(given)
        return await self._again(lambda pool: pool.fetchrow(read.sql, *values, timeout=TIMEOUT_S))

    async def all(self, read: Read, **given: Any) -> list[asyncpg.Record]:
        """Return all rows."""
        values = read.values(given)
        return await self._again(lambda pool: pool.fetch(read.sql, *values, timeout=TIMEOUT_S))

    async def repeat(self, sql: str, *values: Any) -> None:
        """Run a statement that may be done twice: where a connection ends it is asked again."""
        await self._again(lambda pool: pool.execute(sql, *values, timeout=TIMEOUT_S))

    @asynccontextmanager
    async def transaction(self, lock: int) -> AsyncIterator[asyncpg.Connection]:
        """Lend a transaction that holds an advisory lock, for statements with time limits.

        It is committed at the end of the body, and not at all where that raises: then nothing is
        done, unless it was the commit that was not answered.
        """
        with _told():
            # Nothing is done yet, so a connection that died may be followed by another one.
            pool, connection = await self._again(lambda pool: _begin(pool, lock))
            try:
                yield connection
                await connection.execute("COMMIT", timeout=TIMEOUT_S)
            except BaseException:
                connection.terminate()  # whatever was under way on it
                raise
            finally:
                await pool.release(connection)

    async def _again(self, ask: Callable[[asyncpg.Pool], Awaitable[Answer]]) -> Answer:
        with _told():
            for _ in range(TRIES):
                try:
                    return await ask(self._pool or await self._open())
                except _DEAD as error:
                    dead = error
            raise dead

    async def _open(self) -> asyncpg.Pool:
        async with self._opening:
            if self._pool is None:
                self._pool = await asyncpg.create_pool(
                    self._url,
                    min_size=1,
                    max_size=MOST_CONNECTIONS,
                    timeout=TIMEOUT_S,
                    server_settings={"application_name": NAME},
                    # Nothing that these connections do leaves anything to reset.
                    reset=_leave,
                )
        return self._pool

    async def close(self) -> None:
        """End all connections; what is under way fails."""
        if self._pool is not None:
            self._pool.terminate()
            self._pool = None


async def _begin(pool: asyncpg.Pool, lock: int) -> tuple[asyncpg.Pool, asyncpg.Connection]:
    connection = await pool.acquire(timeout=TIMEOUT_S)
    try:
        await connection.execute(
            f"BEGIN; SELECT pg_advisory_xact_lock({int(lock)})", timeout=TIMEOUT_S
        )
    except BaseException:
        connection.terminate()
        await pool.release(connection)
        raise
    return pool, connection


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except (*DRIVER_ERRORS, asyncpg.InternalClientError, TimeoutError) as error:
        raise DatabaseUnavailable(first_line(error)) from error


async def _leave(_: asyncpg.Connection) -> None:
    pass
