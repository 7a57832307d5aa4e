"""What the stores on SQL share: a transaction on a schema that is there, or one kind of error."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy import func, select, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from metaport.db.engine import DRIVER_ERRORS, first_line, prepare
from metaport.db.errors import DatabaseUnavailable


class SqlStore:
    """Tables on an engine, whether or not there is a way in now.

    Everything a store does raises `DatabaseUnavailable` when there is no way in: try again later;
    and `SchemaBehind` and `SchemaUnknown`: those are for a person to mend.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._prepared = False
        # Both know ON CONFLICT; SQLAlchemy has it in their dialects only.
        on_postgres = engine.dialect.name == "postgresql"
        self._insert = postgresql.insert if on_postgres else sqlite.insert

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[AsyncConnection]:
        """Lend a transaction: committed at the end of the body, rolled back if that raises."""
        try:
            if not self._prepared:
                await prepare(self._engine)
                self._prepared = True
            async with self._engine.begin() as connection:
                yield connection
        except DRIVER_ERRORS as error:
            raise DatabaseUnavailable(first_line(error)) from error

    @asynccontextmanager
    async def _read_then_write(self, *locks: int) -> AsyncIterator[AsyncConnection]:
        """Lend a transaction that writes what depends on what it has read.

        SQLite has one writer at a time and does not let a reader become one when another has
        written since: there it begins as the writer. PostgreSQL holds the advisory `locks`, taken
        in one order, so that no two wait for each other.
        """
        async with self._transaction() as connection:
            if connection.dialect.name == "sqlite":
                await connection.execute(text("BEGIN IMMEDIATE"))
            else:
                for lock in sorted(set(locks)):
                    await connection.execute(select(func.pg_advisory_xact_lock(lock)))
            yield connection
