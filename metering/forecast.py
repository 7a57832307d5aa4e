"""What is to be expected: the mean of recent days, carried on, with its interval.

Days are taken as independent and alike, so the interval grows with the root of the days left. That
is all it says: it knows of no holidays and no growth, and the report states so.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Context, Decimal

# Four whole weeks, so that each weekday weighs the same.
WINDOW_DAYS = 28
LEAST_DAYS = 7
# 95 % of a normal distribution.
DEVIATIONS = Decimal("1.96")
# Wide enough for amounts, and rounding is what a root and a mean are about.
_ABOUT = Context(prec=40, rounding=ROUND_HALF_UP)


@dataclass(frozen=True, slots=True)
class Forecast:
    """A day's mean and deviation over `days` days, and what `days_left` more come to."""

    days: int
    mean: Decimal
    deviation: Decimal
    days_left: int
    expected: Decimal
    low: Decimal
    high: Decimal


def forecast(spent: Decimal, by_day: Sequence[Decimal], days_left: int) -> Forecast | None:
    """Carry the mean of the last 28 complete days on; None where there are fewer than 7.

    Amounts are rounded to whole units of the currency.
    """
    recent = by_day[-WINDOW_DAYS:]
    if len(recent) < LEAST_DAYS:
        return None
    count = Decimal(len(recent))
    mean = _ABOUT.divide(sum(recent, Decimal(0)), count)
    squares = sum((_ABOUT.power(_ABOUT.subtract(day, mean), 2) for day in recent), Decimal(0))
    deviation = _ABOUT.sqrt(_ABOUT.divide(squares, count - 1))
    left = Decimal(days_left)
    expected = _ABOUT.add(spent, _ABOUT.multiply(mean, left))
    reach = _ABOUT.multiply(_ABOUT.multiply(DEVIATIONS, deviation), _ABOUT.sqrt(left))
    return Forecast(
        days=len(recent),
        mean=_whole(mean),
        deviation=_whole(deviation),
        days_left=days_left,
        expected=_whole(expected),
        low=_whole(max(spent, _ABOUT.subtract(expected, reach))),
        high=_whole(_ABOUT.add(expected, reach)),
    )


def carried_on(by_day: Sequence[Decimal], days: int) -> Decimal | None:
    """Return what `days` days cost at the mean of the recent ones; None as in `forecast`."""
    found = forecast(Decimal(0), by_day, days)
    return None if found is None else found.expected


def _whole(amount: Decimal) -> Decimal:
    return amount.quantize(Decimal(1), context=_ABOUT)
