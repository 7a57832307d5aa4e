"""What one user's presence has cost so far: for the demonstration page, not for a statement."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from metering.ledger import Ledger
from metering.meters import FIGURES, METERS
from metering.money import EXACT, Currency, total
from metering.pricebook import PriceBook
from metering.windows import Period, open_zone, window_end, window_start

# A visit costs a few won: two decimals more than a statement, or most of its lines would say 0.
FINER_DECIMALS = 2


@dataclass(frozen=True, slots=True)
class VisitLine:
    """What a user has used of one meter, and its amount."""

    meter: str
    quantity: int
    amount: Decimal


@dataclass(frozen=True, slots=True)
class VisitCost:
    """The cost of a visit without VAT: its lines, and their sum."""

    currency: Currency
    zone: ZoneInfo
    as_of_s: int | None
    lines: tuple[VisitLine, ...]
    amount: Decimal

    def as_json(self) -> dict[str, Any]:
        """Return the cost as the demonstration page reads it."""
        as_of = None if self.as_of_s is None else datetime.fromtimestamp(self.as_of_s, self.zone)
        return {
            "currency": self.currency.code,
            "amount": f"{self.amount:f}",
            "lines": [
                {
                    "meter": line.meter,
                    "quantity": line.quantity,
                    "unit": METERS[line.meter].unit.value,
                    "amount": f"{line.amount:f}",
                }
                for line in self.lines
            ],
            "as_of": None if as_of is None else as_of.isoformat(),
        }


async def cost_of(
    ledger: Ledger,
    book: PriceBook,
    user: str,
    start_s: int,
    end_s: int,
    *,
    zone: str = "Asia/Seoul",
) -> VisitCost:
    """Price what `user` used from `start_s` to `end_s`, as if it were alone in its month.

    What is rounded, discounted or charged by the month is not shown: it belongs to no one visit.

    Usage is known by windows, so those in which the visit begins and ends are taken whole. Raises
    PeriodError, PriceMissing, LedgerUnavailable.
    """
    opened = open_zone(zone)
    period = Period(window_start(start_s), window_end(end_s))
    as_of_s = await ledger.as_of()
    quantities: dict[str, int] = {}
    amounts: dict[str, Decimal] = {}
    for part, version in book.in_force(period, opened):
        for (meter, _), quantity in (await ledger.by_subject(*part, user=user)).items():
            if meter in FIGURES:
                continue
            already = quantities.get(meter, 0)
            quantities[meter] = already + quantity
            for portion in version.price_of(meter).model.rate(quantity, already):
                cost = EXACT.multiply(Decimal(portion.quantity), portion.unit_price)
                cost = EXACT.add(cost, portion.fee)
                amounts[meter] = EXACT.add(amounts.get(meter, Decimal(0)), cost)
    lines = tuple(
        VisitLine(meter, quantities[meter], book.currency.round(amounts[meter], FINER_DECIMALS))
        for meter in METERS
        if meter in quantities
    )
    amount = book.currency.round(total(line.amount for line in lines), FINER_DECIMALS)
    return VisitCost(book.currency, opened, as_of_s, lines, amount)
