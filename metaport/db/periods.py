"""Closed months on SQL: closed in one transaction, read as a ledger of their own."""

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import fields, replace
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Row, Select, func, insert, literal, select
from sqlalchemy.ext.asyncio import AsyncConnection

from metaport.db.ledger import SqlLedger
from metaport.db.reconciling import compared_between
from metaport.db.tables.periods import closed_line, closed_month, correction
from metaport.db.tables.usage import reader_checkpoint, usage_day
from metering.dimensions import Dimension
from metering.errors import MonthAltered, MonthClosed, MonthOpen, PeriodError
from metering.events import Place, Subject
from metering.figures import figures_of
from metering.ledger import MemoryLedger
from metering.meters import ACTIVE_USERS
from metering.periods import (
    ClosedLine,
    ClosedMonth,
    ClosedSessions,
    Correction,
    digest_of,
    signature_of,
)
from metering.pricebook import PriceBook, read_price_book
from metering.rating.rounding import Piece
from metering.report import Report, build_report, session_parts
from metering.windows import Period, day_of, day_start, month_of, month_period

LINES_AT_A_TIME = 5_000
_KEY = (
    closed_line.c.day_start_s,
    closed_line.c.meter,
    closed_line.c.app,
    closed_line.c.space,
    closed_line.c.room,
)


class Periods:
    """The closed months of a ledger, and the corrections of them.

    Everything raises LedgerUnavailable where there is no way in.
    """

    def __init__(self, ledger: SqlLedger, key: bytes) -> None:
        self._ledger = ledger
        self._key = key

    async def close(
        self, month: str, price_book: str, source: str, *, by: str, now: float, note: str = ""
    ) -> ClosedMonth:
        """Close a month that is over and fully counted; `note` says why, where it is not.

        1. Writers wait. A crash from here to the end of 3 leaves the month open.
        2. Its sums are read, priced, hashed and signed.
        3. Month and lines are written, in the same transaction.

        Raises MonthClosed, MonthOpen, PriceBookError, PriceMissing, PeriodError.
        """
        zone = self._ledger.zone
        period = month_period(month, zone)
        if int(now) < period.end_s:
            raise MonthOpen(f"{month} is not over")
        figures = await figures_of(self._ledger, period)
        async with self._ledger.writer() as connection:
            if await _closed(connection, month) is not None:
                raise MonthClosed(f"{month} is closed already")
            later = await connection.scalar(
                select(func.min(closed_month.c.month)).where(closed_month.c.month > month)
            )
            if later is not None:
                raise MonthClosed(f"{month} comes before {later}, which is closed")
            known_s = await connection.scalar(select(func.min(reader_checkpoint.c.at_s)))
            if (known_s or 0) < period.end_s and not note:
                raise MonthOpen(f"{month} is not fully counted; to close it as it is, say why")
            booked = await _corrections(connection, correction.c.booked_in == month)
            rows = await connection.execute(_lines_of(period))
            lines = _sorted(rows)
            book = read_price_book(price_book, source)
            sessions = await self._sessions(connection, book, period)
            first, after = (day_of(at_s, zone).isoformat() for at_s in period)
            compared = await compared_between(connection, first, after)
            ledger = ClosedLedger(lines, min(known_s or 0, period.end_s), figures, sessions)
            report = await build_report(
                ledger,
                book,
                month,
                zone.key,
                now,
                corrections=[found.as_adjustment() for found in booked],
            )
            closed = ClosedMonth(
                month=month,
                zone=zone.key,
                start_s=period.start_s,
                end_s=period.end_s,
                as_of_s=min(known_s or 0, period.end_s),
                closed_at_s=int(now),
                closed_by=by,
                note=note,
                price_book=price_book,
                price_book_source=source,
                figures=figures,
                corrections=tuple(found.as_json() for found in booked),
                statement=json.dumps(report.as_json(), ensure_ascii=False),
                sessions=tuple(sessions),
                reconciled=tuple(made.as_json() for made in compared),
            )
            digest = digest_of(closed, lines)
            closed = replace(closed, digest=digest, signature=signature_of(digest, self._key))
            await write_closed(connection, closed, lines)
        return closed

    async def _sessions(
        self, connection: AsyncConnection, book: PriceBook, period: Period
    ) -> list[ClosedSessions]:
        """Return what sessions came to in each part in which the book rounds them."""
        return [
            ClosedSessions(*part, meter, tuple(pieces))
            for part, meters in session_parts(book, period, self._ledger.zone)
            for meter, pieces in sorted(
                (await self._ledger.sessions_in(connection, *part, meters)).items()
            )
        ]

    async def closed(self, month: str) -> ClosedMonth | None:
        """Return a closed month, None while it is open."""
        async with self._ledger.transaction() as connection:
            return await _closed(connection, month)

    async def months(self) -> list[ClosedMonth]:
        """Return all closed months in order."""
        async with self._ledger.transaction() as connection:
            rows = await connection.execute(select(closed_month).order_by(closed_month.c.month))
            return [_month_of(row) for row in rows]

    async def lines(self, month: str) -> list[ClosedLine]:
        """Return the lines of a closed month in their order."""
        async with self._ledger.transaction() as connection:
            return await _lines(connection, month)

    async def corrections(self, *, booked_in: str | None = None) -> list[Correction]:
        """Return corrections, of all months or as booked in one, in order."""
        where = literal(True) if booked_in is None else correction.c.booked_in == booked_in
        async with self._ledger.transaction() as connection:
            return await _corrections(connection, where)

    async def verify(self, month: str) -> str:
        """Return the digest of a closed month as it is kept; raises MonthOpen, MonthAltered."""
        async with self._ledger.transaction() as connection:
            closed = await _closed(connection, month)
            if closed is None:
                raise MonthOpen(f"{month} is not closed")
            digest = digest_of(closed, await _lines(connection, month))
        if digest != closed.digest:
            raise MonthAltered(f"{month} is not what was closed: {digest}, not {closed.digest}")
        return digest

    async def report(
        self, closed: ClosedMonth, *, details: bool = False, by: Dimension | None = None
    ) -> Report:
        """Make the statement of a closed month again, from what was closed.

        Raises MonthAltered where that is not the statement that was closed.
        """
        lines = await self.lines(closed.month)
        report = await _rated(closed, lines, [_correction(one) for one in closed.corrections],
                              details=details, by=by)  # fmt: skip
        if json.dumps(report.as_json(), ensure_ascii=False) != closed.statement:
            raise MonthAltered(f"{closed.month} is priced otherwise now than when it was closed")
        return report

    async def correct(
        self,
        month: str,
        meter: str,
        quantity: int,
        *,
        reason: str,
        person: str,
        now: float,
        room: str = "",
        day_start_s: int | None = None,
    ) -> Correction:
        """Book what a closed month was wrong by, in the first month that is open now or later.

        Its amount is what the month would have cost more, corrections before this one included.

        Raises MonthOpen, PriceMissing, PeriodError; ValueError for more taken than there was.
        """
        closed = await self.closed(month)
        if closed is None:
            raise MonthOpen(f"{month} is not closed")
        zone = ZoneInfo(closed.zone)
        if day_start_s is None:
            day_start_s = day_start(day_of(closed.end_s - 1, zone), zone)
        lines = await self.lines(month)
        async with self._ledger.writer() as connection:
            before = await _corrections(connection, correction.c.corrects == month)
            known = list(map(_line_of, before))
            added = ClosedLine(day_start_s, meter, "", "", room, quantity)
            every = (*lines, *known, added)
            if sum(line.quantity for line in every if line.meter == meter) < 0:
                raise ValueError(f"{month} has no {-quantity:,} of {meter} to take back")
            was, becomes = [
                await _rated(closed, lines, (), corrected=some) for some in (known, [*known, added])
            ]
            last = await connection.scalar(select(func.max(closed_month.c.month)))
            booked_in = max(month_of(int(now), zone), _after(str(last), zone))
            number = (await connection.scalar(select(func.max(correction.c.number))) or 0) + 1
            made = Correction(
                number, month, booked_in, day_start_s, meter, room, quantity,
                becomes.subtotal - was.subtotal, reason, person, int(now),
            )  # fmt: skip
            await write_correction(connection, made)
        return made


async def write_closed(
    connection: AsyncConnection, closed: ClosedMonth, lines: list[ClosedLine]
) -> None:
    """Write a month and its lines as they are."""
    row = {name: getattr(closed, name) for name in closed_month.c.keys()}  # noqa: SIM118
    row["figures"] = json.dumps(dict(closed.figures))
    for name in ("corrections", "sessions", "reconciled"):
        row[name] = json.dumps(list(row[name]), ensure_ascii=False)
    await connection.execute(insert(closed_month), [row])
    for start in range(0, len(lines), LINES_AT_A_TIME):
        some = [
            line._asdict() | {"month": closed.month}
            for line in lines[start : start + LINES_AT_A_TIME]
        ]
        await connection.execute(insert(closed_line), some)


async def write_correction(connection: AsyncConnection, made: Correction) -> None:
    """Write a correction as it is."""
    row = {field.name: getattr(made, field.name) for field in fields(made)}
    await connection.execute(insert(correction), [row | {"amount": f"{made.amount:f}"}])


def _after(month: str, zone: ZoneInfo) -> str:
    return month_of(month_period(month, zone).end_s, zone)


def _lines_of(period: Period) -> Select[Any]:
    table = usage_day.c
    return select(
        table.start_s, table.meter, table.app, table.space, table.room, table.quantity
    ).where(table.start_s >= period.start_s, table.start_s < period.end_s)


async def _closed(connection: AsyncConnection, month: str) -> ClosedMonth | None:
    rows = await connection.execute(select(closed_month).where(closed_month.c.month == month))
    row = rows.first()
    return None if row is None else _month_of(row)


def _month_of(row: Row[Any]) -> ClosedMonth:
    values = row._asdict()
    values["figures"] = json.loads(values["figures"])
    for name in ("corrections", "sessions", "reconciled"):
        values[name] = tuple(json.loads(values[name]))
    values["sessions"] = tuple(map(ClosedSessions.read, values["sessions"]))
    return ClosedMonth(**values)


async def _lines(connection: AsyncConnection, month: str) -> list[ClosedLine]:
    query = select(*_KEY, closed_line.c.quantity).where(closed_line.c.month == month)
    return _sorted(await connection.execute(query))


def _sorted(rows: Iterable[Any]) -> list[ClosedLine]:
    # Ordered here: databases order text by rules of their own.
    return sorted(
        ClosedLine(start_s, meter, app, space, room, int(quantity))
        for start_s, meter, app, space, room, quantity in rows
    )


async def _corrections(connection: AsyncConnection, where: Any) -> list[Correction]:
    rows = await connection.execute(select(correction).where(where).order_by(correction.c.number))
    return [_correction(row._asdict()) for row in rows]


def _correction(values: Mapping[str, Any]) -> Correction:
    known = {field.name: values[field.name] for field in fields(Correction)}
    return Correction(**known | {"amount": Decimal(known["amount"])})


def _line_of(made: Correction) -> ClosedLine:
    return ClosedLine(made.day_start_s, made.meter, "", "", made.room, made.quantity)


async def _rated(
    closed: ClosedMonth,
    lines: list[ClosedLine],
    booked: Any,
    *,
    details: bool = False,
    by: Dimension | None = None,
    corrected: Iterable[ClosedLine] = (),
) -> Report:
    return await build_report(
        ClosedLedger(lines, closed.as_of_s, closed.figures, closed.sessions, corrected),
        read_price_book(closed.price_book, closed.price_book_source),
        closed.month,
        closed.zone,
        closed.closed_at_s,
        details=details,
        corrections=[found.as_adjustment() for found in booked],
        by=by,
    )


class ClosedLedger(MemoryLedger):
    """The lines and figures of a closed month, as the ledger its report is made from.

    Each line of `corrected` is as a session of its own where sessions are rounded.
    """

    def __init__(
        self,
        lines: list[ClosedLine],
        as_of_s: int,
        figures: Mapping[str, int],
        sessions: Iterable[ClosedSessions] = (),
        corrected: Iterable[ClosedLine] = (),
    ) -> None:
        super().__init__()
        self._corrected = list(corrected)
        self._lines = [*lines, *self._corrected]
        self._as_of_s = as_of_s
        self._figures = figures
        self._kept = {(each.start_s, each.end_s, each.meter): each.pieces for each in sessions}

    async def as_of(self) -> int | None:
        """Return up to when the figures were known."""
        return self._as_of_s or None

    async def totals(self, start_s: int, end_s: int) -> dict[str, int]:
        """Add up each meter over whole days."""
        sums: dict[str, int] = {}
        for line in self._lines:
            if start_s <= line.day_start_s < end_s:
                sums[line.meter] = sums.get(line.meter, 0) + line.quantity
        return sums

    async def by_place(self, start_s: int, end_s: int) -> dict[tuple[str, Place], int]:
        """Add up each (meter, place) over whole days."""
        sums: dict[tuple[str, Place], int] = {}
        for line in self._lines:
            if start_s <= line.day_start_s < end_s:
                key = line.meter, Place(line.app, line.space, line.room)
                sums[key] = sums.get(key, 0) + line.quantity
        return sums

    async def by_node(self, start_s: int, end_s: int) -> dict[tuple[str, str], int]:
        """Refuse: a closed month keeps places."""
        raise PeriodError("a closed month is kept by day and room, not by node")

    async def by_subject(
        self, start_s: int, end_s: int, *, room: str | None = None, user: str | None = None
    ) -> dict[tuple[str, Subject], int]:
        """Refuse: a closed month keeps places."""
        raise PeriodError("a closed month is kept by day and room, not by user")

    async def sessions(
        self, start_s: int, end_s: int, meters: Collection[str]
    ) -> dict[str, list[Piece]]:
        """Return what sessions came to in a part of the month, as it was closed."""
        pieces = {meter: list(self._kept.get((start_s, end_s, meter), ())) for meter in meters}
        for line in self._corrected:
            if line.meter in pieces and start_s <= line.day_start_s < end_s:
                taken = max(0, -line.quantity)
                pieces[line.meter].append(Piece(max(0, line.quantity), taken))
        return pieces

    async def peak(self, meter: str, start_s: int, end_s: int) -> int:
        """Return the month's peak."""
        return self._figures.get(meter, 0)

    async def active_users(self, start_s: int, end_s: int) -> int:
        """Return the month's users."""
        return self._figures.get(ACTIVE_USERS, 0)
