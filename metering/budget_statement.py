"""The contract held against usage and cost: four columns that are never mixed.

1. usage at unit prices (사용량 환산액), including VAT: what the ledger and the price book say
2. the actual cost of the cloud, as entered from its bills, and who bears it
3. the contract amount, shared among the months by days
4. extra cost, as entered

No column is added to another: they answer different questions, and none of them is an invoice.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from metering.breakdown import allocate, break_down
from metering.budget import Standing
from metering.contract import Contract, Cost
from metering.forecast import Forecast, carried_on, forecast
from metering.money import EXACT, Currency, total
from metering.rating.adjustments import vat_of
from metering.statement import Report
from metering.windows import day_of


@dataclass(frozen=True, slots=True)
class BudgetMonth:
    """A month of the contract; `usage` None where nobody measured or the month is to come."""

    month: str
    days: int
    usage: Decimal | None
    cloud: Decimal | None
    contract: Decimal
    extra: Decimal | None


@dataclass(frozen=True, slots=True)
class BudgetStatement:
    """A contract as it stands on the day `today`."""

    contract: Contract
    currency: Currency
    today: date
    months: tuple[BudgetMonth, ...]
    standing: Standing
    forecast: Forecast | None
    next_year: Decimal | None
    as_of: str | None

    def sums(self) -> Mapping[str, Decimal]:
        """Add up each column on its own."""
        columns = ("usage", "cloud", "contract", "extra")
        return {
            name: total(getattr(month, name) or Decimal(0) for month in self.months)
            for name in columns
        }

    def as_json(self) -> dict[str, Any]:
        """Return the statement as plain values; amounts are strings."""

        def written(amount: Decimal | None) -> str | None:
            return None if amount is None else f"{amount:f}"

        found = self.forecast
        return {
            "title": {"ko": self.contract.title_ko, "en": self.contract.title_en},
            "start": self.contract.start.isoformat(),
            "end": self.contract.end.isoformat(),
            "amount": written(self.contract.amount),
            "supply": written(self.contract.supply),
            "vat": written(EXACT.subtract(self.contract.amount, self.contract.supply)),
            "as_of": self.as_of,
            "months": [
                {
                    "month": month.month,
                    "days": month.days,
                    "usage": written(month.usage),
                    "cloud": written(month.cloud),
                    "contract": written(month.contract),
                    "extra": written(month.extra),
                }
                for month in self.months
            ],
            "sums": {name: written(amount) for name, amount in self.sums().items()},
            "standing": {
                "spent": written(self.standing.spent),
                "left": written(self.standing.left),
                "percent": written(self.standing.percent),
                "reached": list(self.standing.reached),
            },
            "forecast": None
            if found is None
            else {
                "days": found.days,
                "mean_a_day": written(found.mean),
                "deviation_a_day": written(found.deviation),
                "days_left": found.days_left,
                "expected": written(found.expected),
                "low": written(found.low),
                "high": written(found.high),
            },
            "next_year": written(self.next_year),
            "invoice": False,
        }


def state_budget(
    contract: Contract, reports: Sequence[Report], currency: Currency, today: date
) -> BudgetStatement:
    """Put the columns side by side.

    `reports` are the statements of the contract's months so far, each built with details and
    only of the days that belong to the contract.
    """
    by_month = {report.month: report for report in reports}
    months = contract.months()
    shares = allocate(contract.amount, [days for _, days in months], currency)
    rows = tuple(
        BudgetMonth(
            month=month,
            days=days,
            usage=_usage(by_month.get(month)),
            cloud=_entered(contract.cloud_cost, month),
            contract=share,
            extra=_entered(contract.extra_cost, month),
        )
        for (month, days), share in zip(months, shares, strict=True)
    )
    spent = total(row.usage or Decimal(0) for row in rows)
    daily = _daily(reports, today)
    left = max(0, (contract.end - max(contract.start - timedelta(days=1), today)).days)
    after = contract.end + timedelta(days=1)
    year = (after.replace(year=after.year + 1) if (after.month, after.day) != (2, 29)
            else after.replace(year=after.year + 1, day=28)) - after  # fmt: skip
    return BudgetStatement(
        contract=contract,
        currency=currency,
        today=today,
        months=rows,
        standing=contract.budget.standing(spent),
        forecast=forecast(spent, daily, left),
        next_year=carried_on(daily, year.days),
        as_of=reports[-1].as_of() if reports else None,
    )


def _usage(report: Report | None) -> Decimal | None:
    return None if report is None or report.as_of_s is None else report.total


def _entered(costs: Sequence[Cost], month: str) -> Decimal | None:
    found = [cost.amount for cost in costs if cost.month == month]
    return total(found) if found else None


def _daily(reports: Sequence[Report], today: date) -> list[Decimal]:
    """Return what each complete day came to, including VAT, oldest first.

    A day is complete when the figures reach its end; what belongs to no day (fees, minimums that
    nobody used) is left out, because it does not go on by the day. Days before the first use are
    days before the service, not days of nothing.
    """
    daily: list[Decimal] = []
    begun = False
    for report in reports:
        if report.as_of_s is None:
            continue
        known_until = day_of(report.as_of_s, report.zone)
        shared = break_down(report.lines, report.adjustments, report.by_day, report.currency)
        for share in shared.shares:
            begun = begun or any(share.quantities.values())
            if begun and date.fromisoformat(share.key) < min(known_until, today):
                vat = vat_of(share.amount, report.vat_percent, report.currency)
                daily.append(EXACT.add(share.amount, vat))
    return daily
