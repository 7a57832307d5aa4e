"""The ledger's writing on SQLite: rows into a table of this connection, then whole statements.

A transaction is begun as a writer, so between reading what stands and writing nobody else writes.
"""

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncConnection

from metaport.db.ledger_writing import Batch, Key, SessionKey, Times
from metering.events import Place

_KEY = ", ".join(Key._fields)
_ON_KEY = " AND ".join(f"old.{name} = new.{name}" for name in Key._fields)

_WORKING_TABLES = (
    f"CREATE TEMP TABLE IF NOT EXISTS new ({_KEY}, quantity)",
    f"CREATE TEMP TABLE IF NOT EXISTS added ({_KEY}, quantity, more)",
    "CREATE TEMP TABLE IF NOT EXISTS times "
    "(window_start_s INTEGER PRIMARY KEY, hour_s, day_s, month_s)",
    "CREATE TEMP TABLE IF NOT EXISTS places (app, space, room PRIMARY KEY)",
)
_CLEAR = tuple(f"DELETE FROM temp.{name}" for name in ("new", "added", "times", "places"))


def _sums(table: str) -> str:
    return f"""
    INSERT INTO usage_{table} (start_s, meter, app, space, room, quantity)
    SELECT {table}_s, meter, app, space, room, sum(more)
    FROM added JOIN times USING (window_start_s) JOIN places USING (room)
    WHERE true GROUP BY 1, 2, 3, 4, 5
    ON CONFLICT (start_s, meter, app, space, room)
    DO UPDATE SET quantity = quantity + excluded.quantity
    """


_ADDED = f"""
INSERT INTO added SELECT new.*, new.quantity - coalesce(old.quantity, 0)
FROM new LEFT JOIN usage_window old ON {_ON_KEY}
WHERE old.quantity IS NULL OR old.quantity < new.quantity
"""
_WRITE = f"""
INSERT INTO usage_window ({_KEY}, quantity) SELECT {_KEY}, quantity FROM added WHERE true
ORDER BY 1, 2, 3, 4, 5, 6
ON CONFLICT ({_KEY}) DO UPDATE SET quantity = excluded.quantity
"""
_ACTIVE = """
INSERT OR IGNORE INTO active_user (month_start_s, user_id)
SELECT DISTINCT month_s, user_id FROM added JOIN times USING (window_start_s)
WHERE user_id <> '' AND more > 0
"""
_TARGETS = (_sums("hour"), _sums("day"), _sums("month"), _ACTIVE)

_LATE = f"""
INSERT INTO usage_late ({_KEY}, quantity) VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT ({_KEY}) DO UPDATE SET quantity = max(quantity, excluded.quantity)
"""
_GAUGES = """
INSERT INTO usage_gauge (at_s, node, boot, meter, quantity) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (at_s, meter, node, boot) DO UPDATE SET quantity = max(quantity, excluded.quantity)
"""
_SESSION_KEY = ", ".join(SessionKey._fields)
_SESSIONS = f"""
INSERT INTO usage_session ({_SESSION_KEY}, quantity) VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT ({_SESSION_KEY}) DO UPDATE SET quantity = max(quantity, excluded.quantity)
"""


class SqliteWriting:
    """Write batches in a transaction of SQLAlchemy's connection."""

    async def take_turn(self, connection: AsyncConnection) -> None:
        """Wait until no other writer is at work."""
        await connection.execute(text("BEGIN IMMEDIATE"))

    async def count(self, connection: AsyncConnection, new: Batch) -> None:
        """Keep the greatest quantities, and add to the sums what they add."""
        await connection.run_sync(_count, new)

    async def keep_sessions(self, connection: AsyncConnection, new: dict[SessionKey, int]) -> None:
        """Keep the greatest quantities of sessions."""
        rows = [(*key, quantity) for key, quantity in sorted(new.items())]
        await connection.run_sync(_many, _SESSIONS, rows)

    async def sum_again(
        self, connection: AsyncConnection, times: list[Times], places: list[Place]
    ) -> None:
        """Add up all windows into sums that are empty."""
        await connection.run_sync(_sum_again, times, places)

    async def drop_details(self, connection: AsyncConnection, before_s: int) -> None:
        """Delete windows that start before `before_s`."""
        for table in ("usage_window", "usage_session"):
            await connection.exec_driver_sql(
                f"DELETE FROM {table} WHERE window_start_s < ?", (before_s,)
            )


def _count(connection: Connection, new: Batch) -> None:
    if new.windows:
        _begin(connection, new.times, new.places)
        _many(
            connection,
            "INSERT INTO temp.new VALUES (?, ?, ?, ?, ?, ?, ?)",
            [(*key, quantity) for key, quantity in new.windows.items()],
        )
        for statement in (_ADDED, _WRITE, *_TARGETS):
            connection.exec_driver_sql(statement)
    if new.late:
        _many(connection, _LATE, [(*key, quantity) for key, quantity in new.late.items()])
    if new.gauges:
        _many(connection, _GAUGES, [(*key[:4], quantity) for key, quantity in new.gauges.items()])


def _sum_again(connection: Connection, times: list[Times], places: list[Place]) -> None:
    _begin(connection, times, places)
    connection.exec_driver_sql("INSERT INTO added SELECT *, quantity FROM usage_window")
    for statement in _TARGETS:
        connection.exec_driver_sql(statement)


def _begin(connection: Connection, times: Collection[Times], places: Collection[Place]) -> None:
    for statement in (*_WORKING_TABLES, *_CLEAR):
        connection.exec_driver_sql(statement)
    _many(connection, "INSERT INTO temp.times VALUES (?, ?, ?, ?)", list(map(tuple, times)))
    _many(connection, "INSERT INTO temp.places VALUES (?, ?, ?)", list(map(tuple, places)))


def _many(connection: Connection, statement: str, rows: Sequence[tuple[Any, ...]]) -> None:
    if rows:
        connection.exec_driver_sql(statement, list(rows))
