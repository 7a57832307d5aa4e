"""Reads that are asked often: compiled by SQLAlchemy once, run by asyncpg on a pool of its own.

SQLAlchemy's asynchronous layer takes about four times the CPU of asyncpg for one row by its key,
and a transaction of its own costs two more ways to the server. A single SELECT needs none. SQLite,
and whatever writes, goes through `metaport.db.store.SqlStore`.
"""

import asyncio
from collections.abc import Mapping
from typing import Any

import asyncpg
from sqlalchemy import Select
from sqlalchemy.dialects.postgresql.asyncpg import dialect
from sqlalchemy.engine import URL

from metaport.db.engine import DRIVER_ERRORS, first_line
from metaport.db.errors import DatabaseUnavailable

MOST_CONNECTIONS = 5
TIMEOUT_S = 10.0
# What the connections are called in pg_stat_activity.
NAME = "metaport reads"
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


class Read:
    """One SELECT with its parameters, compiled."""

    def __init__(self, query: Select[Any]) -> None:
        compiled = query.compile(dialect=dialect())  # type: ignore[no-untyped-call]
        self.sql = str(compiled)
        self.names: tuple[str, ...] = tuple(compiled.positiontup or ())
        self.fixed: Mapping[str, Any] = compiled.params


class ReadPool:
    """Connections for reads; none is made before the first one."""

    def __init__(self, url: URL) -> None:
        self._url = url.set(drivername="postgresql").render_as_string(hide_password=False)
        self._pool: asyncpg.Pool | None = None  # None before the first read, and once closed
        self._opening = asyncio.Lock()

    async def first(self, read: Read, **given: Any) -> asyncpg.Record | None:
        """Return the first row, None where there is none. Raises `DatabaseUnavailable`."""
        values = [given.get(name, read.fixed[name]) for name in read.names]
        try:
            for _ in range(TRIES):
                try:
                    pool = self._pool or await self._open()
                    return await pool.fetchrow(read.sql, *values, timeout=TIMEOUT_S)
                except _DEAD as error:
                    dead = error
        except (*DRIVER_ERRORS, TimeoutError) as error:
            raise DatabaseUnavailable(first_line(error)) from error
        raise DatabaseUnavailable(first_line(dead)) from dead

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


async def _leave(_: asyncpg.Connection) -> None:
    pass
