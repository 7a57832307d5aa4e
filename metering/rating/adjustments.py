"""What a statement holds beside its lines: amounts that need the sums of lines to be known.

1. fees of tiers that were entered, and fixed fees by day or month
2. a meter's minimum: what its lines and fees lack to it
3. discounts, each on the lines, tier fees and minimums of the meters it covers
4. corrections of closed months (`metering.periods`), each with its own amount
5. the commitment: what all of it lacks to the agreed least amount
6. the cut of small change (절사), where the book asks for it

Each is one amount, rounded once. The subtotal of a statement is the sum of its lines and of these.
"""

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from metering.money import EXACT, Currency, total


class Kind(enum.StrEnum):
    """Why the amount is there; in the order of a statement."""

    TIER_FEE = "tier_fee"
    FEE = "fee"
    MINIMUM = "minimum"
    DISCOUNT = "discount"
    CORRECTION = "correction"
    COMMITMENT = "commitment"
    TRUNCATION = "truncation"


class Titles(NamedTuple):
    """A name in Korean and in English."""

    ko: str
    en: str

    def in_(self, lang: str) -> str:
        """Return the name in `lang`."""
        return self.ko if lang == "ko" else self.en


@dataclass(frozen=True, slots=True)
class Adjustment:
    """An amount beside the lines; `subject` is the meter, fee or discount it belongs to."""

    kind: Kind
    subject: str
    quantity: int
    unit: str
    unit_price: Decimal
    amount: Decimal
    titles: Titles | None = None

    @property
    def name(self) -> str:
        """Return the stable name of this amount within its month."""
        return f"{self.kind}.{self.subject}" if self.subject else str(self.kind)


@dataclass(frozen=True, slots=True)
class Fee:
    """A fixed fee of a version: for each day in force, or for the month in which it begins."""

    name: str
    titles: Titles
    price: Decimal
    per: str  # day | month


@dataclass(frozen=True, slots=True)
class Discount:
    """A percentage off what the named meters cost; `meters` None covers all of them."""

    name: str
    titles: Titles
    percent: Decimal
    meters: frozenset[str] | None

    def covers(self, meter: str) -> bool:
        """Say whether `meter` is discounted."""
        return self.meters is None or meter in self.meters


class Level(enum.StrEnum):
    """What small change is cut from."""

    SUBTOTAL = "subtotal"
    TOTAL = "total"


@dataclass(frozen=True, slots=True)
class Truncation:
    """Cut what is below `to` whole units of the currency, at a named level."""

    to: int
    level: Level


def single(
    kind: Kind, subject: str, amount: Decimal, titles: Titles | None = None, unit: str = "item"
) -> Adjustment:
    """Return an amount that is there once."""
    return Adjustment(kind, subject, 1, unit, amount, amount, titles)


def fee_of(fee: Fee, times: int, currency: Currency) -> Adjustment:
    """Charge a fixed fee for `times` days or months."""
    amount = currency.round(EXACT.multiply(Decimal(times), fee.price))
    return Adjustment(Kind.FEE, fee.name, times, fee.per, fee.price, amount, fee.titles)


def lacking(
    kind: Kind, subject: str, least: Decimal, reached: Decimal, currency: Currency
) -> Adjustment | None:
    """Return what `reached` lacks to `least`; None where nothing does."""
    amount = currency.round(EXACT.subtract(least, reached))
    return single(kind, subject, amount) if amount > 0 else None


def discount_of(
    discount: Discount, amounts: Iterable[tuple[str, Decimal]], currency: Currency
) -> Adjustment:
    """Take the percentage off the amounts (meter, amount) that the discount covers."""
    base = total(amount for meter, amount in amounts if discount.covers(meter))
    exact = EXACT.multiply(base, discount.percent).scaleb(-2)
    return single(Kind.DISCOUNT, discount.name, -currency.round(exact), discount.titles)


def vat_of(subtotal: Decimal, vat_percent: Decimal, currency: Currency) -> Decimal:
    """Round VAT once, on the subtotal, half up."""
    return currency.round(EXACT.multiply(subtotal, vat_percent).scaleb(-2))


def truncated(
    truncation: Truncation, subtotal: Decimal, vat_percent: Decimal, currency: Currency
) -> tuple[Adjustment | None, Decimal, Decimal]:
    """Cut small change; return the cut, None if there is nothing to cut, with subtotal and VAT.

    At the level of the subtotal, VAT follows from what is left. At the level of the total, what
    is left is split again: the subtotal is total / (1 + VAT), half up, and VAT is the rest, so
    that subtotal + VAT = total whatever the cut.
    """
    step = Decimal(truncation.to)
    if truncation.level is Level.SUBTOTAL:
        left = _floor(subtotal, step)
        vat = vat_of(left, vat_percent, currency)
    else:
        whole = _floor(EXACT.add(subtotal, vat_of(subtotal, vat_percent, currency)), step)
        left = _net_of(whole, vat_percent, currency)
        vat = EXACT.subtract(whole, left)
    cut = EXACT.subtract(left, subtotal)
    return (single(Kind.TRUNCATION, "", cut) if cut else None), left, vat


def sums_by_meter(amounts: Iterable[tuple[str, Decimal]]) -> Mapping[str, Decimal]:
    """Add up amounts (meter, amount) by meter."""
    sums: dict[str, Decimal] = {}
    for meter, amount in amounts:
        sums[meter] = EXACT.add(sums.get(meter, Decimal(0)), amount)
    return sums


def _floor(amount: Decimal, step: Decimal) -> Decimal:
    return EXACT.multiply(EXACT.divide_int(amount, step), step)


def _net_of(whole: Decimal, vat_percent: Decimal, currency: Currency) -> Decimal:
    """Return the net amount nearest to whole / (1 + VAT), a half up, without dividing inexactly."""
    coin = Decimal(1).scaleb(-currency.decimals)
    gross_percent = EXACT.add(Decimal(100), vat_percent)
    hundredfold = EXACT.multiply(whole, Decimal(100))
    below = EXACT.divide_int(hundredfold, EXACT.multiply(gross_percent, coin))
    over = EXACT.subtract(hundredfold, EXACT.multiply(EXACT.multiply(gross_percent, coin), below))
    doubled = EXACT.multiply(over, Decimal(2))
    half_or_more = doubled >= EXACT.multiply(gross_percent, coin)
    return currency.round(EXACT.multiply(EXACT.add(below, Decimal(int(half_or_more))), coin))
