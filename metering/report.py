"""The statement of a month: usage, unit prices, amounts, VAT, total.

1. `windows.month_period` cuts the month out of time, `PriceBook.in_force` cuts it where prices
   change.
2. The ledger adds up each meter over each part.
3. The price model in force cuts the quantity into portions of one unit price each (`rating`).
4. A portion is a line. Its amount, quantity x unit price, is rounded half up to the smallest coin:
   **this is the only place where an amount is rounded**, so that whoever multiplies a line by hand
   gets the printed amount, and whoever adds up the printed lines gets the printed subtotal.
5. VAT is rounded once, on the subtotal, half up. Subtotal + VAT = total.

A price change inside the month begins a new line of each meter whose price it changes. Tiers count
from the first unit of the month all the same: there is no second free allowance.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from itertools import groupby
from types import MappingProxyType

from metering.ledger import Ledger
from metering.meters import METERS
from metering.money import EXACT, total
from metering.pricebook import Price, PriceBook, Version
from metering.rating import Portion
from metering.report_csv import render_csv
from metering.report_html import render_html
from metering.report_text import render_text
from metering.statement import Line, LineId, Report
from metering.windows import month_period, open_zone

__all__ = ["RENDERERS", "Line", "LineId", "Report", "build_report", "rate_month", "render_json"]


async def build_report(
    ledger: Ledger, book: PriceBook, month: str, zone: str, now: float
) -> Report:
    """Make the statement of a month like 2026-11, as far as the ledger knows it.

    A month is complete when it is over and every reader has come to its end; its bytes then
    depend on ledger and price book alone. Raises PeriodError, PriceMissing, LedgerUnavailable.
    """
    opened = open_zone(zone)
    period = month_period(month, opened)
    parts = book.in_force(period, opened)
    # Asked before the sums: whatever arrives in between makes them newer than they say.
    known_s = await ledger.as_of()
    sums = [(version, await ledger.totals(*part)) for part, version in parts]
    as_of_s = None if known_s is None else min(known_s, int(now), period.end_s)
    lines = rate_month(book, sums)
    subtotal = book.currency.round(total(line.amount for line in lines))
    vat = book.currency.round(EXACT.multiply(subtotal, book.vat_percent).scaleb(-2))
    return Report(
        month=month,
        zone=opened,
        period=period,
        currency=book.currency,
        vat_percent=book.vat_percent,
        complete=as_of_s == period.end_s,
        as_of_s=as_of_s,
        lines=lines,
        subtotal=subtotal,
        vat=vat,
        total=EXACT.add(subtotal, vat),
    )


def rate_month(
    book: PriceBook, sums: Sequence[tuple[Version, Mapping[str, int]]]
) -> tuple[Line, ...]:
    """Price the quantities of a month's parts, in the order of the meters.

    Raises PriceMissing for a meter that this program does not know.
    """
    for version, quantities in sums:
        for meter in quantities:
            version.price_of(meter)
    return tuple(line for meter in METERS for line in _rate_meter(book, meter, sums))


def _rate_meter(
    book: PriceBook, meter: str, sums: Sequence[tuple[Version, Mapping[str, int]]]
) -> list[Line]:
    lines: list[Line] = []
    already = 0
    stretches = groupby(sums, key=lambda part: part[0].price_of(meter))
    for number, (price, parts) in enumerate(stretches):
        versions, quantities = zip(*parts, strict=True)
        quantity = sum(counted.get(meter, 0) for counted in quantities)
        for portion in price.model.rate(quantity, already):
            lines.append(_line(book, price, versions[0], portion, changed=number > 0))
        already += quantity
    return lines


def _line(
    book: PriceBook, price: Price, version: Version, portion: Portion, *, changed: bool
) -> Line:
    exact = EXACT.multiply(Decimal(portion.quantity), portion.unit_price)
    return Line(
        id=LineId(price.meter, version.effective, portion.tier),
        quantity=portion.quantity,
        unit_price=portion.unit_price,
        amount=book.currency.round(exact),
        per=price.per,
        since=version.effective if changed else None,
        tiered=price.model.tiers_count > 1,
    )


def render_json(report: Report, _lang: str = "en") -> str:
    """Write a statement as JSON; it has no words, so every language gets the same bytes."""
    return json.dumps(report.as_json(), ensure_ascii=False, indent=2) + "\n"


# Every form of a statement: a function of the report and of the language, ko or en.
RENDERERS: Mapping[str, Callable[[Report, str], str]] = MappingProxyType(
    {"text": render_text, "json": render_json, "csv": render_csv, "html": render_html}
)
