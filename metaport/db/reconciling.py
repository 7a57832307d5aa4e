"""The figures that `metering.reconciliation` compares, read from the database."""

import json
from collections.abc import Collection, Iterable
from typing import Any

from sqlalchemy import ColumnElement, Table, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from metaport.db.ledger import DETAIL_FROM_S, SqlLedger
from metaport.db.tables.history import message
from metaport.db.tables.periods import closed_line, closed_month, correction
from metaport.db.tables.reconciliation import reconciliation
from metaport.db.tables.usage import (
    usage_day,
    usage_hour,
    usage_month,
    usage_session,
    usage_window,
)
from metering.events import place_of
from metering.meters import MESSAGES_SENT, SESSION_METERS
from metering.reconciliation import Key, Reconciliation, reconciliation_of
from metering.rollups import HOUR_S
from metering.windows import Period, month_of, month_period

Figures = dict[Key, int]


class Reconciliations:
    """What is compared, and what has been; raises LedgerUnavailable where there is no way in."""

    def __init__(self, ledger: SqlLedger) -> None:
        self._ledger = ledger

    async def sent(self, day: Period) -> Figures:
        """Return the messages counted, by room."""
        table = usage_day.c
        where = (table.meter == MESSAGES_SENT, table.start_s == day.start_s)
        query = select(table.room, func.sum(table.quantity)).where(*where).group_by(table.room)
        return await self._figures(query)

    async def offsets(self, day: Period) -> tuple[Figures, Figures]:
        """Return the offsets that messages of a day were given, and the messages kept, by room."""
        table = message.c
        first, last = func.min(table.message_offset), func.max(table.message_offset)
        query = (
            select(table.room, last - first + 1, func.count())
            .where(table.at_ms >= day.start_s * 1000, table.at_ms < day.end_s * 1000)
            .group_by(table.room, table.epoch)
        )
        offsets: Figures = {}
        kept: Figures = {}
        async with self._ledger.transaction() as connection:
            for room, given, rows in await connection.execute(query):
                offsets[room,] = offsets.get((room,), 0) + given
                kept[room,] = kept.get((room,), 0) + rows
        return offsets, kept

    async def attended(
        self, day: Period, nodes: Collection[str], meters: Collection[str]
    ) -> Figures:
        """Return the seconds counted by some nodes, by room and user."""
        table = usage_window.c
        query = (
            select(table.room, table.user_id, func.sum(table.quantity))
            .where(
                *_within(table.window_start_s, day),
                table.node.in_(nodes),
                table.meter.in_(meters),
            )
            .group_by(table.room, table.user_id)
        )
        return await self._figures(query)

    async def by_session(self, day: Period) -> tuple[Figures, Figures]:
        """Return the seconds of people and those of sessions, by meter, node and boot."""
        figures = []
        for table in (usage_window, usage_session):
            keys = (table.c.meter, table.c.node, table.c.boot)
            query = select(*keys, func.sum(table.c.quantity)).group_by(*keys)
            where = _within(table.c.window_start_s, day)
            found = await self._figures(query.where(*where, table.c.meter.in_(SESSION_METERS)))
            figures.append(found)
        return figures[0], figures[1]

    async def windows(self, day: Period) -> Figures:
        """Return the sums of windows, by meter, app, space and room."""
        table = usage_window.c
        query = (
            select(table.meter, table.room, func.sum(table.quantity))
            .where(*_within(table.window_start_s, day))
            .group_by(table.meter, table.room)
        )
        return {
            (meter, *place_of(room)): quantity
            for (meter, room), quantity in (await self._figures(query)).items()
        }

    async def hours(self, day: Period) -> Figures | None:
        """Return the sums of the day's hours; None where it is not made of whole ones."""
        if day.start_s % HOUR_S or day.end_s % HOUR_S:
            return None
        return await self._sums(usage_hour, day)

    async def days(self, period: Period) -> Figures:
        """Return the sums of days."""
        return await self._sums(usage_day, period)

    async def month(self, at_s: int) -> tuple[Figures, Figures]:
        """Return the sums of the month that holds a second, and those of its days."""
        period = month_period(month_of(at_s, self._ledger.zone), self._ledger.zone)
        return await self._sums(usage_month, period), await self._sums(usage_day, period)

    async def closed(self) -> tuple[Figures, Figures]:
        """Return what closed months hold with their corrections, and what the ledger does now."""
        lines, day = closed_line.c, usage_day.c
        closed = await self._figures(
            select(lines.month, lines.meter, func.sum(lines.quantity)).group_by(
                lines.month, lines.meter
            )
        )
        for key, quantity in (
            await self._figures(
                select(
                    correction.c.corrects, correction.c.meter, func.sum(correction.c.quantity)
                ).group_by(correction.c.corrects, correction.c.meter)
            )
        ).items():
            closed[key] = closed.get(key, 0) + quantity
        month = closed_month.c
        now = await self._figures(
            select(month.month, day.meter, func.sum(day.quantity))
            .join_from(
                closed_month,
                usage_day,
                (day.start_s >= month.start_s) & (day.start_s < month.end_s),
            )
            .group_by(month.month, day.meter)
        )
        return closed, now

    async def detail_from_s(self) -> int:
        """Return the second before which there are sums only."""
        async with self._ledger.transaction() as connection:
            return int((await self._ledger.settings(connection)).get(DETAIL_FROM_S, 0))

    async def keep(self, made: Reconciliation) -> None:
        """Keep what was found, instead of what its node found for the same day before."""
        row = made.as_json()
        for column in ("compared", "differences", "skipped"):
            row[column] = json.dumps(row[column], ensure_ascii=False)
        async with self._ledger.writer() as connection:
            await self._ledger.keep(connection, reconciliation, row)

    async def between(self, first_day: str, after_day: str) -> list[Reconciliation]:
        """Return what each node found for the days in [first_day, after_day), in order."""
        async with self._ledger.transaction() as connection:
            return await compared_between(connection, first_day, after_day)

    async def _sums(self, table: Table[Any], period: Period) -> Figures:
        keys = (table.c.meter, table.c.app, table.c.space, table.c.room)
        query = select(*keys, func.sum(table.c.quantity)).group_by(*keys)
        return await self._figures(query.where(*_within(table.c.start_s, period)))

    async def _figures(self, query: Any) -> Figures:
        async with self._ledger.transaction() as connection:
            return {tuple(key): int(q) for *key, q in await connection.execute(query)}


async def compared_between(
    connection: AsyncConnection, first_day: str, after_day: str
) -> list[Reconciliation]:
    """Do as `Reconciliations.between` does, in a transaction that has begun."""
    day = reconciliation.c.day
    query = select(reconciliation).where(day >= first_day, day < after_day)
    kept = [row._asdict() for row in await connection.execute(query)]
    for row in kept:
        row |= {name: json.loads(row[name]) for name in ("compared", "differences", "skipped")}
    # Ordered here: databases order text by rules of their own.
    return sorted(map(reconciliation_of, kept), key=lambda made: (made.day, made.node))


def _within(column: ColumnElement[int], period: Period) -> Iterable[ColumnElement[bool]]:
    return column >= period.start_s, column < period.end_s
