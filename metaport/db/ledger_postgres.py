"""The ledger's writing on PostgreSQL: whole columns to one statement, past SQLAlchemy.

`count` is one statement over a snapshot: what each row adds to what stands is joined once, and goes
to the window, to three sums and to the month's users. A lock makes writers take turns, so that
between the snapshot and the writing nobody else writes.
"""

from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from metaport.db.ledger_writing import Batch, Key, SessionKey, Times
from metering.events import Place

# Held until the end of the transaction; writers of a ledger take turns.
LEDGER_LOCK = 0x6D65746572696E67

_KEY = ", ".join(Key._fields)
_KEY_TYPES = "bigint[], text[], text[], text[], text[], text[], bigint[]"
_ON_KEY = " AND ".join(f"old.{name} = new.{name}" for name in Key._fields)


def _columns(count: int, start: int = 1) -> str:
    return ", ".join(f"${number}" for number in range(start, start + count))


def _sums(table: str, start: str) -> str:
    return f"""
    {table} AS (
        INSERT INTO usage_{table} (start_s, meter, app, space, room, quantity)
        SELECT {start}, meter, app, space, room, sum(more)
        FROM added JOIN times USING (window_start_s) JOIN places USING (room)
        GROUP BY 1, 2, 3, 4, 5
        ON CONFLICT (start_s, meter, app, space, room)
        DO UPDATE SET quantity = usage_{table}.quantity + excluded.quantity
    )"""


_TARGETS = f"""
    times (window_start_s, hour_s, day_s, month_s) AS (
        SELECT * FROM unnest($8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[])
    ),
    places (app, space, room) AS (
        SELECT * FROM unnest($12::text[], $13::text[], $14::text[])
    ),
    {_sums("hour", "hour_s")},
    {_sums("day", "day_s")},
    {_sums("month", "month_s")}
INSERT INTO active_user (month_start_s, user_id)
SELECT DISTINCT month_s, user_id FROM added JOIN times USING (window_start_s)
WHERE user_id <> '' AND more > 0
ON CONFLICT DO NOTHING
"""

_COUNT = f"""
WITH new ({_KEY}, quantity) AS (
        SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[],
                             $6::text[], $7::bigint[])
    ),
    added AS MATERIALIZED (
        SELECT new.*, new.quantity - coalesce(old.quantity, 0) AS more
        FROM new LEFT JOIN usage_window old ON {_ON_KEY}
        WHERE old.quantity IS NULL OR old.quantity < new.quantity
    ),
    written AS (
        INSERT INTO usage_window ({_KEY}, quantity) SELECT {_KEY}, quantity FROM added
        ON CONFLICT ({_KEY}) DO UPDATE SET quantity = excluded.quantity
    ),
    {_TARGETS}
"""

# From the windows as they stand; the first seven parameters have nothing to say here.
_AGAIN = f"""
WITH added AS MATERIALIZED (
        SELECT *, quantity AS more FROM usage_window
        WHERE $1::bigint[] IS NULL AND {
    " AND ".join(f"${n}::{kind} IS NULL" for n, kind in enumerate(_KEY_TYPES.split(", ")[1:], 2))
}
    ),
    {_TARGETS}
"""

_GREATEST = """
INSERT INTO {table} ({columns}, quantity)
SELECT {columns}, quantity FROM unnest({arrays}) AS new ({columns}, quantity)
ON CONFLICT ({columns}) DO UPDATE SET quantity = excluded.quantity
WHERE {table}.quantity < excluded.quantity
"""
_LATE = _GREATEST.format(
    table="usage_late",
    columns=_KEY,
    arrays="$1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::bigint[]",
)
_GAUGES = _GREATEST.format(
    table="usage_gauge",
    columns="at_s, meter, node, boot",
    arrays="$1::bigint[], $2::text[], $3::text[], $4::text[], $5::bigint[]",
)
_SESSIONS = _GREATEST.format(
    table="usage_session",
    columns=", ".join(SessionKey._fields),
    arrays="$1::bigint[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[], "
    "$7::bigint[]",
)
_PARTITIONED = ("usage_window", "usage_session")


class PostgresWriting:
    """Write batches in a transaction of SQLAlchemy's connection."""

    def __init__(self) -> None:
        self._partitions: set[str] = set()

    async def take_turn(self, connection: AsyncConnection) -> None:
        """Wait until no other writer is at work."""
        await connection.execute(text(f"SELECT pg_advisory_xact_lock({LEDGER_LOCK})"))

    async def count(self, connection: AsyncConnection, new: Batch) -> None:
        """Keep the greatest quantities, and add to the sums what they add."""
        driver = await _driver(connection)
        if new.windows:
            await self._make_partitions(driver, "usage_window", [at.hour_s for at in new.times])
            keys = list(zip(*new.windows, strict=True))
            quantities = list(new.windows.values())
            await driver.execute(_COUNT, *keys, quantities, *_targets(new.times, new.places))
        if new.late:
            await driver.execute(_LATE, *zip(*new.late, strict=True), list(new.late.values()))
        if new.gauges:
            at_s, node, boot, meter, _, _ = zip(*new.gauges, strict=True)
            await driver.execute(_GAUGES, at_s, meter, node, boot, list(new.gauges.values()))

    async def keep_sessions(self, connection: AsyncConnection, new: dict[SessionKey, int]) -> None:
        """Keep the greatest quantities of sessions."""
        driver = await _driver(connection)
        await self._make_partitions(driver, "usage_session", [key.window_start_s for key in new])
        await driver.execute(_SESSIONS, *zip(*new, strict=True), list(new.values()))

    async def sum_again(
        self, connection: AsyncConnection, times: list[Times], places: list[Place]
    ) -> None:
        """Add up all windows into sums that are empty."""
        driver = await _driver(connection)
        await driver.execute(_AGAIN, *[None] * 7, *_targets(times, places))

    async def drop_details(self, connection: AsyncConnection, before_s: int) -> None:
        """Delete windows that start before `before_s`: whole partitions, and rows of one."""
        driver = await _driver(connection)
        for name in sorted(await _partitions(driver)):
            if _month(name, 1) <= before_s:
                await driver.execute(f"DROP TABLE {name}")
                self._partitions.discard(name)
        for table in _PARTITIONED:
            await driver.execute(f"DELETE FROM {table} WHERE window_start_s < $1", before_s)

    async def _make_partitions(self, driver: Any, table: str, seconds: list[int]) -> None:
        names = {f"{table}_{datetime.fromtimestamp(at_s, UTC):%Y%m}" for at_s in seconds}
        missing = names - self._partitions
        if missing:
            missing -= await _partitions(driver)
        for name in sorted(missing):
            await driver.execute(
                f"CREATE TABLE IF NOT EXISTS {name} PARTITION OF {table} "
                f"FOR VALUES FROM ({_month(name, 0)}) TO ({_month(name, 1)})"
            )
        # Not remembered before it is committed: a transaction that fails takes it back.
        self._partitions |= names - missing


def _month(partition: str, after: int) -> int:
    """Return the start of a partition's month of UTC, or of the month `after` it."""
    year, month = int(partition[-6:-2]), int(partition[-2:])
    year, month = year + (month + after - 1) // 12, (month + after - 1) % 12 + 1
    return int(datetime(year, month, 1, tzinfo=UTC).timestamp())


async def _partitions(driver: Any) -> set[str]:
    tables = ", ".join(f"'{table}'::regclass" for table in _PARTITIONED)
    found = await driver.fetch(
        "SELECT relname FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid "
        f"WHERE inhparent IN ({tables})"
    )
    return {record["relname"] for record in found}


async def _driver(connection: AsyncConnection) -> Any:
    """Return asyncpg's connection, inside the transaction that SQLAlchemy has begun on it."""
    return (await connection.get_raw_connection()).driver_connection


def _targets(times: Collection[Times], places: Collection[Place]) -> list[Any]:
    return [*zip(*times, strict=True), *zip(*places, strict=True)]
