"""The statement of a month: usage, unit prices, amounts, VAT, total.

1. `windows.month_period` cuts the month out of time, `PriceBook.in_force` cuts it where prices
   change.
2. The ledger adds up each meter over each part.
3. The price model in force cuts the quantity into portions of one unit price each (`rating`).
4. A portion is a line. Its amount, quantity x unit price, is rounded half up to the smallest coin:
   **an amount is rounded where it is printed and nowhere else**, so that whoever multiplies a line
   by hand gets the printed amount, and whoever adds up what is printed gets the subtotal.
5. `rating.adjustments` adds what the book asks for beside usage: fees, minimums, discounts.
6. VAT is rounded once, on the subtotal, half up. Subtotal + VAT = total.

A price change inside the month begins a new line of each meter whose price it changes. Tiers count
from the first unit of the month all the same: there is no second free allowance.
"""

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from types import MappingProxyType
from typing import Any
from zoneinfo import ZoneInfo

from metering.breakdown import break_down
from metering.dimensions import Dimension, used_by
from metering.errors import PriceMissing
from metering.forms import FORMS
from metering.ledger import Ledger
from metering.money import EXACT
from metering.pricebook import PriceBook, Version
from metering.rating.adjustments import Adjustment
from metering.rating.month import Part, rate_month
from metering.rating.rounding import Piece, Scope
from metering.report_csv import render_csv
from metering.report_focus import render_focus
from metering.statement import By, Line, LineId, Report
from metering.statement_document import document_of
from metering.windows import Period, days_of, month_period, open_zone

__all__ = [
    "DETAILED",
    "RENDERERS",
    "Line",
    "LineId",
    "Report",
    "build_report",
    "render_json",
    "session_parts",
]

# A ledger changes each second and is read in milliseconds.
READS = 10


async def build_report(
    ledger: Ledger,
    book: PriceBook,
    month: str,
    zone: str,
    now: float,
    *,
    details: bool = False,
    corrections: Sequence[Adjustment] = (),
    within: Period | None = None,
    by: Dimension | None = None,
) -> Report:
    """Make the statement of a month like 2026-11, as far as the ledger knows it.

    A month is complete when it is over and every reader has come to its end; its bytes then
    depend on ledger and price book alone. `details` asks for usage by day, room and app;
    `corrections` are those of closed months that are booked in this one; `within` is the part of
    the month that a contract covers; `by` asks for usage by one more dimension.

    Raises PeriodError, PriceMissing, LedgerUnavailable.
    """
    opened = open_zone(zone)
    period = month_period(month, opened)
    if within is not None:
        start_s, end_s = max(period.start_s, within.start_s), min(period.end_s, within.end_s)
        period = Period(start_s, max(start_s, end_s))
    # Asked before the sums: whatever arrives in between makes them newer than they say.
    known_s = await ledger.as_of()
    parts = [
        await _measure(ledger, part, version, opened, opens=part.start_s == period.start_s)
        for part, version in book.in_force(period, opened)
    ]
    as_of_s = None if known_s is None else min(known_s, int(now), period.end_s)
    rated = rate_month(book, parts, corrections)
    return Report(
        month=month,
        zone=opened,
        period=period,
        currency=book.currency,
        vat_percent=book.vat_percent,
        complete=as_of_s == period.end_s,
        as_of_s=as_of_s,
        lines=rated.lines,
        adjustments=rated.adjustments,
        subtotal=rated.subtotal,
        vat=rated.vat,
        total=EXACT.add(rated.subtotal, rated.vat),
        by_day=await _by_day(ledger, period, opened) if details else {},
        by_room=await used_by(ledger, Dimension.ROOM, period) if details else {},
        by_app=await used_by(ledger, Dimension.APP, period) if details else {},
        by=None if by is None else By(by, await used_by(ledger, by, period)),
    )


async def _by_day(
    ledger: Ledger, period: Period, zone: ZoneInfo
) -> Mapping[str, Mapping[str, int]]:
    return {
        datetime.fromtimestamp(day.start_s, zone).date().isoformat(): await ledger.totals(*day)
        for day in days_of(period, zone)
    }


def session_parts(
    book: PriceBook, period: Period, zone: ZoneInfo
) -> Iterator[tuple[Period, frozenset[str]]]:
    """Yield the parts of a period in which a book rounds sessions, and the meters it rounds."""
    for part, version in book.in_force(period, zone):
        if meters := _rounded(version, Scope.SESSION):
            yield part, meters


def _rounded(version: Version, scope: Scope) -> frozenset[str]:
    return frozenset(
        meter
        for meter, price in version.prices.items()
        if price.rounding is not None and price.rounding.scope is scope
    )


async def _measure(
    ledger: Ledger, part: Period, version: Version, zone: ZoneInfo, *, opens: bool
) -> Part:
    days = days_of(part, zone)
    pieces: dict[str, Sequence[Piece]] = {}
    if by_day := _rounded(version, Scope.DAY):
        of_days = [await ledger.totals(*day) for day in days]
        for meter in by_day:
            pieces[meter] = [Piece(totals[meter]) for totals in of_days if meter in totals]
    if by_session := _rounded(version, Scope.SESSION):
        totals, of_sessions = await _by_session(ledger, part, by_session)
        return Part(version, totals, pieces | of_sessions, len(days), opens)
    return Part(version, await ledger.totals(*part), pieces, len(days), opens)


async def _by_session(
    ledger: Ledger, part: Period, meters: Collection[str]
) -> tuple[Mapping[str, int], dict[str, Sequence[Piece]]]:
    """Read totals and sessions until they are of one moment: readers bring more in between.

    Raises PriceMissing for seconds that belong to no session: they were counted before sessions
    were, or came from elsewhere, and how many they were of is not guessed.
    """
    for _ in range(READS):
        totals = await ledger.totals(*part)
        pieces = dict(await ledger.sessions(*part, meters))
        unknown = {
            meter: seconds
            for meter in sorted(meters)
            if (seconds := totals.get(meter, 0) - _seconds(pieces.get(meter, ())))
        }
        if not unknown:
            return totals, pieces
    told = ", ".join(f"{meter} ({seconds:,})" for meter, seconds in unknown.items())
    raise PriceMissing(f"rounded by session, and of no session that is known: {told} seconds")


def _seconds(pieces: Sequence[Piece]) -> int:
    return sum(times * (through - before) for through, before, times in pieces)


def render_json(report: Report, _lang: str = "en") -> bytes:
    """Write a statement as JSON; it has no words, so every language gets the same bytes."""
    stated = report.as_json()
    if report.by is not None:
        stated["by"] = _by_json(report, report.by)
    return (json.dumps(stated, ensure_ascii=False, indent=2) + "\n").encode()


def _by_json(report: Report, by: By) -> dict[str, Any]:
    shared = break_down(report.lines, report.adjustments, by.used, report.currency)
    return {
        "dimension": by.dimension.value,
        "shares": [
            {"key": each.key, "quantities": dict(each.quantities), "amount": f"{each.amount:f}"}
            for each in shared.shares
        ],
        "apart": f"{shared.apart:f}",
    }


def _render_document(form: str, report: Report, lang: str) -> bytes:
    return FORMS[form](document_of(report, lang))


# Every form of a statement: a function of the report and of the language, ko or en. Those in
# DETAILED have room for usage by day and room, and want a report that was built with `details`.
RENDERERS: Mapping[str, Callable[[Report, str], bytes]] = MappingProxyType(
    {form: partial(_render_document, form) for form in FORMS}
    | {
        "json": render_json,
        "csv": lambda report, lang: render_csv(report, lang).encode(),
        "focus": lambda report, _: render_focus(report).encode(),
    }
)
DETAILED = frozenset({"html", "xlsx", "pdf"})
