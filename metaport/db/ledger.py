"""The ledger on SQL: windows, their sums, and how far readers have come, in one transaction.

1. `upsert` takes its turn, keeps the greatest quantity of each row, adds what that adds to the sums
   of its hour, day and month, and keeps the reader's checkpoint (`ledger_postgres`,
   `ledger_sqlite`). A row that comes again adds nothing.
2. `totals` and `by_place` read a stretch of time as whole months, days, hours and windows
   (`metering.rollups`), in one statement.
3. Days and months are those of one zone. When a ledger is opened for another, they are added up
   again from the windows.
4. `drop_details` deletes old windows and keeps their sums. What comes for such a window later can
   no longer be told from what was counted: it is set aside in `usage_late` and in no sum.
"""

from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Select, Table, and_, delete, distinct, func, select, union_all
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from metaport.db.engine import DRIVER_ERRORS, connect, first_line, prepare
from metaport.db.errors import DatabaseError
from metaport.db.ledger_postgres import PostgresWriting
from metaport.db.ledger_sqlite import SqliteWriting
from metaport.db.ledger_writing import batch, session_batch, times_of
from metaport.db.tables.usage import (
    active_user,
    ledger_setting,
    reader_checkpoint,
    usage_day,
    usage_gauge,
    usage_hour,
    usage_month,
    usage_session,
    usage_window,
)
from metering.errors import LedgerUnavailable, PeriodError
from metering.events import Checkpoint, Place, SessionRow, Subject, UsageRow, place_of
from metering.ledger import refuse_unwritable
from metering.rating.rounding import Piece
from metering.rollups import Level, parts
from metering.windows import Period, month_of, month_period, open_zone, window_start

ZONE, DETAIL_FROM_S = "zone", "detail_from_s"
_ROLLUPS = {Level.HOUR: usage_hour, Level.DAY: usage_day, Level.MONTH: usage_month}


async def open_ledger(url: str, zone: str = "Asia/Seoul") -> "SqlLedger":
    """Open the ledger in the SQLite or PostgreSQL database at `url`; close it at the end.

    Raises DatabaseUnavailable, SchemaMismatch.
    """
    ledger = SqlLedger(connect(url), zone)
    try:
        await ledger.prepare()
    except BaseException:
        await ledger.close()
        raise
    return ledger


class SqlLedger:
    """`metering.ledger.Ledger` on an engine, whether or not there is a way in now.

    The schema is created before the first transaction that gets through.
    """

    def __init__(self, engine: AsyncEngine, zone: str = "Asia/Seoul") -> None:
        self.engine = engine
        self.zone = open_zone(zone)
        self._prepared = False
        on_postgres = engine.dialect.name == "postgresql"
        self._insert = postgresql.insert if on_postgres else sqlite.insert
        self._writing = PostgresWriting() if on_postgres else SqliteWriting()

    async def prepare(self) -> None:
        """Try the way in and create the schema. Raises DatabaseUnavailable, SchemaMismatch."""
        await prepare(self.engine)
        async with self.engine.begin() as connection:
            settings = await self.settings(connection)
        if settings.get(ZONE) != self.zone.key:
            async with self.engine.begin() as connection:
                await self._sum_again(connection)
        self._prepared = True

    async def upsert(
        self,
        rows: Sequence[UsageRow],
        checkpoint: Checkpoint | None = None,
        sessions: Sequence[SessionRow] = (),
    ) -> None:
        """Keep the greatest quantity of each row's identity, and the reader's checkpoint."""
        refuse_unwritable(rows, checkpoint, sessions)
        async with self.writer() as connection:
            if rows or sessions:
                settings = await self.settings(connection)
                detail_from_s = int(settings.get(DETAIL_FROM_S, 0))
                # The sums are of the zone they were made for, whatever this process was told.
                zone = open_zone(settings[ZONE])
                await self._writing.count(connection, batch(rows, zone, detail_from_s))
                if its := session_batch(sessions, detail_from_s):
                    await self._writing.keep_sessions(connection, its)
            if checkpoint is not None:
                await self.keep(connection, reader_checkpoint, checkpoint._asdict())

    async def checkpoint(self, reader: str) -> str | None:
        """Return the position last kept for `reader`, None if there is none."""
        query = select(reader_checkpoint.c.position).where(reader_checkpoint.c.reader == reader)
        async with self.transaction() as connection:
            return await connection.scalar(query)

    async def as_of(self) -> int | None:
        """Return the second up to which every reader has come, None before the first."""
        async with self.transaction() as connection:
            at_s: int | None = await connection.scalar(select(func.min(reader_checkpoint.c.at_s)))
            return at_s

    async def forget_reader(self, reader: str) -> None:
        """Forget how far `reader` has come: nothing more will come from it."""
        table = reader_checkpoint
        async with self.transaction() as connection:
            await connection.execute(delete(table).where(table.c.reader == reader))

    async def readers(self) -> dict[str, int]:
        """Return the second up to which each reader has come."""
        query = select(reader_checkpoint.c.reader, reader_checkpoint.c.at_s)
        async with self.transaction() as connection:
            return {row.reader: row.at_s for row in await connection.execute(query)}

    async def totals(self, start_s: int, end_s: int) -> dict[str, int]:
        """Add up each meter over the windows that start in [start_s, end_s)."""
        async with self.transaction() as connection:
            sums = await self._sums(connection, Period(start_s, end_s), ("meter",))
            return {meter: quantity for (meter,), quantity in sums.items()}

    async def by_place(self, start_s: int, end_s: int) -> dict[tuple[str, Place], int]:
        """Add up each (meter, place) over the same windows."""
        async with self.transaction() as connection:
            sums = await self._sums(connection, Period(start_s, end_s), ("meter", "room"))
            return {(meter, place_of(room)): q for (meter, room), q in sums.items()}

    async def by_subject(
        self, start_s: int, end_s: int, *, room: str | None = None, user: str | None = None
    ) -> dict[tuple[str, Subject], int]:
        """Add up each (meter, subject) over the same windows, of one room or user if given."""
        table = usage_window.c
        keys = (table.meter, table.room, table.user_id)
        query = select(*keys, func.sum(table.quantity)).where(_within(usage_window, start_s, end_s))
        if room is not None:
            query = query.where(table.room == room)
        if user is not None:
            query = query.where(table.user_id == user)
        async with self.transaction() as connection:
            await self._refuse_forgotten(connection, start_s)
            return {
                (meter, Subject(its_room, its_user)): int(total)
                for meter, its_room, its_user, total in await connection.execute(
                    query.group_by(*keys)
                )
            }

    async def by_node(self, start_s: int, end_s: int) -> dict[tuple[str, str], int]:
        """Add up each (meter, node) over the same windows."""
        table = usage_window.c
        keys = (table.meter, table.node)
        query = select(*keys, func.sum(table.quantity)).where(_within(usage_window, start_s, end_s))
        async with self.transaction() as connection:
            await self._refuse_forgotten(connection, start_s)
            found = await connection.execute(query.group_by(*keys))
            return {(meter, node): int(total) for meter, node, total in found}

    async def sessions(
        self, start_s: int, end_s: int, meters: Collection[str]
    ) -> dict[str, list[Piece]]:
        """Return what each session came to before and through the same windows."""
        async with self.transaction() as connection:
            return await self.sessions_in(connection, start_s, end_s, meters)

    async def sessions_in(
        self, connection: AsyncConnection, start_s: int, end_s: int, meters: Collection[str]
    ) -> dict[str, list[Piece]]:
        """Do as `sessions` does, in a transaction that has begun."""
        await self._refuse_forgotten(connection, start_s)
        table, keys = usage_session.c, (usage_session.c.meter, usage_session.c.session)
        grew = (
            select(
                *keys, func.sum(table.quantity).label("grew"), func.min(table.began_s).label("s")
            )
            .where(_within(usage_session, start_s, end_s), table.meter.in_(meters))
            .group_by(*keys)
            .cte("grew")
        )
        # Few began earlier, and each is found by its name.
        before = (
            select(*keys, func.sum(table.quantity).label("before"))
            .join(grew, (table.session == grew.c.session) & (table.meter == grew.c.meter))
            .where(grew.c.s < start_s, table.window_start_s < start_s)
            .group_by(*keys)
            .cte("before")
        )
        same = (before.c.session == grew.c.session) & (before.c.meter == grew.c.meter)
        came = func.coalesce(before.c.before, 0)
        query = (
            select(grew.c.meter, came, came + grew.c.grew, func.count())
            .select_from(grew.outerjoin(before, same))
            .where(grew.c.grew > 0)
            .group_by(grew.c.meter, came, came + grew.c.grew)
        )
        pieces: dict[str, list[Piece]] = {}
        found = [(m, int(b), int(t), n) for m, b, t, n in await connection.execute(query)]
        for meter, early, through, count in sorted(found):
            pieces.setdefault(meter, []).append(Piece(through, early, count))
        return pieces

    async def peak(self, meter: str, start_s: int, end_s: int) -> int:
        """Return the greatest sum over nodes of a gauge at one time in [start_s, end_s)."""
        table = usage_gauge.c
        sums = (
            select(func.sum(table.quantity).label("quantity"))
            .where(table.meter == meter, _within(usage_gauge, start_s, end_s))
            .group_by(table.at_s)
            .subquery()
        )
        async with self.transaction() as connection:
            return int(await connection.scalar(select(func.max(sums.c.quantity))) or 0)

    async def active_users(self, start_s: int, end_s: int) -> int:
        """Count the users with any usage in the windows that start in [start_s, end_s)."""
        table = usage_window.c
        query = select(func.count(distinct(table.user_id))).where(
            _within(usage_window, start_s, end_s), table.user_id != "", table.quantity > 0
        )
        async with self.transaction() as connection:
            if _is_month(start_s, end_s, self.zone):
                month = active_user.c.month_start_s == start_s
                query = select(func.count()).select_from(active_user).where(month)
            else:
                await self._refuse_forgotten(connection, start_s)
            return await connection.scalar(query) or 0

    async def drop_details(self, before_s: int) -> None:
        """Delete the windows that start before a second, and keep their sums."""
        async with self.writer() as connection:
            before_s = window_start(before_s)
            settings = await self.settings(connection)
            if before_s <= int(settings.get(DETAIL_FROM_S, 0)):
                return
            await self._writing.drop_details(connection, before_s)
            kept = {"name": DETAIL_FROM_S, "value": str(before_s)}
            await self.keep(connection, ledger_setting, kept)

    async def close(self) -> None:
        """Give the connections back; the ledger cannot be used afterwards."""
        await self.engine.dispose()

    async def _sums(
        self, connection: AsyncConnection, period: Period, keys: tuple[str, ...]
    ) -> dict[tuple[str, ...], int]:
        detail_from_s = int((await self.settings(connection)).get(DETAIL_FROM_S, 0))
        queries = []
        for level, start_s, end_s in parts(period, self.zone):
            table = _ROLLUPS.get(level, usage_window)
            if table is usage_window and start_s < detail_from_s:
                raise PeriodError("quarters of hours of this time are no longer kept")
            queries.append(_sum(table, keys, start_s, end_s))
        if not queries:
            return {}
        found = union_all(*queries).subquery()
        by = [found.c[key] for key in keys]
        rows = await connection.execute(select(*by, func.sum(found.c.quantity)).group_by(*by))
        return {tuple(row[:-1]): int(row[-1]) for row in rows}

    async def _refuse_forgotten(self, connection: AsyncConnection, start_s: int) -> None:
        kept_s = int((await self.settings(connection)).get(DETAIL_FROM_S, 0))
        if 0 < start_s < kept_s:
            raise PeriodError("the details of this time are no longer kept")

    async def _sum_again(self, connection: AsyncConnection) -> None:
        """Add up all windows for this ledger's zone."""
        await self._writing.take_turn(connection)
        settings = await self.settings(connection)
        if settings.get(ZONE) == self.zone.key:
            return  # another process was faster
        if int(settings.get(DETAIL_FROM_S, 0)):
            raise DatabaseError(
                f"the sums are of {settings[ZONE]} and cannot be made for {self.zone.key}: "
                "details were dropped; set usage.zone back"
            )
        for table in (*_ROLLUPS.values(), active_user):
            await connection.execute(delete(table))
        starts = set(await connection.scalars(select(usage_window.c.window_start_s).distinct()))
        rooms = await connection.scalars(select(usage_window.c.room).distinct())
        times, places = times_of(starts, self.zone), [place_of(room) for room in rooms]
        if times:
            await self._writing.sum_again(connection, times, places)
        await self.keep(connection, ledger_setting, {"name": ZONE, "value": self.zone.key})

    async def settings(self, connection: AsyncConnection) -> dict[str, str]:
        """Return the zone of the sums, and since when details are kept."""
        return {row.name: row.value for row in await connection.execute(select(ledger_setting))}

    async def keep(self, connection: AsyncConnection, table: Table, row: dict[str, Any]) -> None:
        """Write a row instead of the one with the same key."""
        statement = self._insert(table).values(row)
        new = {c.name: statement.excluded[c.name] for c in table.c if not c.primary_key}
        keys = list(table.primary_key)
        await connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=new))

    @asynccontextmanager
    async def writer(self) -> AsyncIterator[AsyncConnection]:
        """Lend a transaction in which nobody else writes to the ledger."""
        async with self.transaction() as connection:
            await self._writing.take_turn(connection)
            yield connection

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """Lend a transaction; raises LedgerUnavailable."""
        try:
            if not self._prepared:
                await self.prepare()
            async with self.engine.begin() as connection:
                yield connection
        except DRIVER_ERRORS as error:
            raise LedgerUnavailable(first_line(error)) from error
        except DatabaseError as error:
            raise LedgerUnavailable(str(error)) from error


def _within(table: Table, start_s: int, end_s: int) -> Any:
    column = next(iter(table.primary_key))
    return and_(column >= start_s, column < end_s)


def _sum(table: Table, keys: tuple[str, ...], start_s: int, end_s: int) -> Select[Any]:
    by = [table.c[key] for key in keys]
    quantity = func.sum(table.c.quantity).label("quantity")
    return select(*by, quantity).where(_within(table, start_s, end_s)).group_by(*by)


def _is_month(start_s: int, end_s: int, zone: ZoneInfo) -> bool:
    if not 86_400 < start_s < end_s < 2**37:
        return False
    return month_period(month_of(start_s, zone), zone) == (start_s, end_s)
