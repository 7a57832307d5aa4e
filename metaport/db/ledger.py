"""The ledger on SQL: one statement for SQLite and PostgreSQL alike."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import ColumnElement, and_, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from metaport.db.engine import DRIVER_ERRORS, first_line, open_engine, prepare
from metaport.db.errors import DatabaseError
from metaport.db.tables.usage import reader_checkpoint, usage_window
from metering.errors import LedgerUnavailable
from metering.events import Checkpoint, Subject, UsageRow
from metering.ledger import refuse_unwritable

# SQLAlchemy prepares a row in about 10 µs on the loop, which serves chat in between.
ROWS_AT_A_TIME = 500


async def open_ledger(url: str) -> "SqlLedger":
    """Open the ledger in the SQLite or PostgreSQL database at `url`; close it at the end.

    Raises DatabaseUnavailable, SchemaMismatch.
    """
    return SqlLedger(await open_engine(url))


class SqlLedger:
    """`metering.ledger.Ledger` on an engine, whether or not there is a way in now.

    The schema is created before the first transaction that gets through.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self.engine = engine
        self._prepared = False
        on_postgres = engine.dialect.name == "postgresql"
        self._upsert_usage = _upsert_usage(on_postgres)
        self._upsert_checkpoint = _upsert_checkpoint(on_postgres)

    async def prepare(self) -> None:
        """Try the way in and create the schema. Raises DatabaseUnavailable, SchemaMismatch."""
        await prepare(self.engine)
        self._prepared = True

    async def upsert(self, rows: Sequence[UsageRow], checkpoint: Checkpoint | None = None) -> None:
        """Keep the greatest quantity of each row's identity, and the reader's checkpoint."""
        refuse_unwritable(rows, checkpoint)
        async with self._transaction() as connection:
            parameters = _as_parameters(rows)
            for start in range(0, len(parameters), ROWS_AT_A_TIME):
                some = parameters[start : start + ROWS_AT_A_TIME]
                await connection.execute(self._upsert_usage, some)
            if checkpoint is not None:
                await connection.execute(self._upsert_checkpoint, [checkpoint._asdict()])

    async def checkpoint(self, reader: str) -> str | None:
        """Return the position last kept for `reader`, None if there is none."""
        query = select(reader_checkpoint.c.position).where(reader_checkpoint.c.reader == reader)
        async with self._transaction() as connection:
            return await connection.scalar(query)

    async def as_of(self) -> int | None:
        """Return the second up to which every reader has come, None before the first."""
        async with self._transaction() as connection:
            at_s: int | None = await connection.scalar(select(func.min(reader_checkpoint.c.at_s)))
            return at_s

    async def totals(self, start_s: int, end_s: int) -> dict[str, int]:
        """Add up each meter over the windows that start in [start_s, end_s)."""
        table = usage_window.c
        query = (
            select(table.meter, func.sum(table.quantity))
            .where(_within(start_s, end_s))
            .group_by(table.meter)
        )
        async with self._transaction() as connection:
            return {meter: int(total) for meter, total in await connection.execute(query)}

    async def by_subject(
        self, start_s: int, end_s: int, *, room: str | None = None, user: str | None = None
    ) -> dict[tuple[str, Subject], int]:
        """Add up each (meter, subject) over the same windows, of one room or user if given."""
        table = usage_window.c
        keys = (table.meter, table.room, table.user_id)
        query = select(*keys, func.sum(table.quantity)).where(_within(start_s, end_s))
        if room is not None:
            query = query.where(table.room == room)
        if user is not None:
            query = query.where(table.user_id == user)
        async with self._transaction() as connection:
            return {
                (meter, Subject(its_room, its_user)): int(total)
                for meter, its_room, its_user, total in await connection.execute(
                    query.group_by(*keys)
                )
            }

    async def close(self) -> None:
        """Give the connections back; the ledger cannot be used afterwards."""
        await self.engine.dispose()

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[AsyncConnection]:
        try:
            if not self._prepared:
                await self.prepare()
            async with self.engine.begin() as connection:
                yield connection
        except DRIVER_ERRORS as error:
            raise LedgerUnavailable(first_line(error)) from error
        except DatabaseError as error:
            raise LedgerUnavailable(str(error)) from error


def _as_parameters(rows: Sequence[UsageRow]) -> list[dict[str, Any]]:
    # In the order of the key: two writers that touch the same rows then lock them in the same
    # order and cannot wait for each other in a circle.
    ordered = sorted(rows, key=lambda row: (row.window_start_s, *row))
    return [
        {
            "window_start_s": row.window_start_s,
            "node": row.node,
            "boot": row.boot,
            "meter": row.meter,
            "room": row.subject.room,
            "user_id": row.subject.user,
            "quantity": row.quantity,
        }
        for row in ordered
    ]


def _upsert_usage(on_postgres: bool) -> Any:
    insert = postgresql.insert if on_postgres else sqlite.insert
    greatest = func.greatest if on_postgres else func.max
    statement = insert(usage_window)
    quantity = greatest(usage_window.c.quantity, statement.excluded.quantity)
    return statement.on_conflict_do_update(
        index_elements=list(usage_window.primary_key), set_={"quantity": quantity}
    )


def _upsert_checkpoint(on_postgres: bool) -> Any:
    insert = postgresql.insert if on_postgres else sqlite.insert
    statement = insert(reader_checkpoint)
    new = statement.excluded
    return statement.on_conflict_do_update(
        index_elements=list(reader_checkpoint.primary_key),
        set_={"position": new.position, "at_s": new.at_s},
    )


def _within(start_s: int, end_s: int) -> ColumnElement[bool]:
    column = usage_window.c.window_start_s
    return and_(column >= start_s, column < end_s)
