"""Rating a month: from measured quantities to lines, adjustments, subtotal and VAT. No IO.

The steps are those of `metering.rating`, in that order. Quantities come in parts, cut where the
price book changes; parts in which a meter's price and discounts are the same are one stretch, and
a stretch is a line for each tier it touches. Tiers count from the first unit of the month: a price
change gives no second free allowance.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from itertools import groupby
from typing import NamedTuple

from metering.meters import FIGURES, METERS
from metering.money import EXACT, total
from metering.pricebook import Price, PriceBook, Version
from metering.rating import Portion
from metering.rating.adjustments import (
    Adjustment,
    Kind,
    discount_of,
    fee_of,
    lacking,
    single,
    sums_by_meter,
    truncated,
    vat_of,
)
from metering.rating.rounding import Piece, Scope
from metering.statement import Line, LineId


class Part(NamedTuple):
    """What was measured while one version was in force.

    `pieces` has, for each meter whose price rounds sessions or days, their quantities; of a session
    that began before this part, what it came to until then as well. `days` is how many days of the
    zone the part has, and `opens` says whether it begins the month.
    """

    version: Version
    quantities: Mapping[str, int]
    pieces: Mapping[str, Sequence[Piece]] = {}
    days: int = 0
    opens: bool = True


class Stretch(NamedTuple):
    """Parts of a month in which a meter's price and discounts do not change."""

    price: Price
    version: Version
    measured: int
    rated: int


class Rated(NamedTuple):
    """What a month comes to."""

    lines: tuple[Line, ...]
    adjustments: tuple[Adjustment, ...]
    subtotal: Decimal
    vat: Decimal


def rate_month(
    book: PriceBook, parts: Sequence[Part], corrections: Sequence[Adjustment] = ()
) -> Rated:
    """Price the quantities of a month's parts, in the order of the meters.

    `corrections` of closed months are part of the sum, and of no minimum and no discount.

    Raises PriceMissing for a meter that this program does not know.
    """
    for part in parts:
        for meter in part.quantities:
            if meter not in FIGURES:
                part.version.price_of(meter)
    lines: list[Line] = []
    entered: list[tuple[Version, Adjustment]] = []
    for meter in METERS:
        already, stretches = 0, _stretches(meter, parts)
        month = sum(stretch.rated for stretch in stretches)
        for number, stretch in enumerate(stretches):
            portions = stretch.price.model.rate(stretch.rated, already, month)
            for portion, measured in _measured(portions, stretch.measured):
                lines.append(_line(book, stretch, portion, measured, changed=number > 0))
                if portion.fee:
                    subject, fee = f"{meter}.{portion.tier + 1}", book.currency.round(portion.fee)
                    entered.append((stretch.version, single(Kind.TIER_FEE, subject, fee)))
            already += stretch.rated
    return _summed(book, parts, lines, entered, corrections)


def _stretches(meter: str, parts: Sequence[Part]) -> list[Stretch]:
    def key(part: Part) -> tuple[object, ...]:
        return part.version.price_of(meter), part.version.discounts_of(meter)

    stretches = []
    for _, grouped in groupby(parts, key):
        run = list(grouped)
        price = run[0].version.price_of(meter)
        measured = sum(part.quantities.get(meter, 0) for part in run)
        if price.rounding is None:
            rated = measured
        elif price.rounding.scope is Scope.MONTH:
            rated = price.rounding.of(measured)
        else:
            rated = price.rounding.total(x for part in run for x in part.pieces.get(meter, ()))
        stretches.append(Stretch(price, run[0].version, measured, rated))
    return stretches


def _measured(portions: Sequence[Portion], measured: int) -> list[tuple[Portion, int]]:
    """Share what was measured among portions of what is paid, in order; the last takes the rest."""
    shared = []
    for portion in portions[:-1]:
        share = min(measured, portion.quantity)
        shared.append((portion, share))
        measured -= share
    return [*shared, (portions[-1], measured)]


def _line(
    book: PriceBook, stretch: Stretch, portion: Portion, measured: int, *, changed: bool
) -> Line:
    price, version = stretch.price, stretch.version
    exact = EXACT.multiply(Decimal(portion.quantity), portion.unit_price)
    return Line(
        id=LineId(price.meter, version.effective, portion.tier),
        quantity=measured,
        rated=portion.quantity,
        rounding=price.rounding,
        unit_price=portion.unit_price,
        amount=book.currency.round(exact),
        per=price.per,
        since=version.effective if changed else None,
        tiered=price.model.tiers_count > 1,
    )


def _summed(
    book: PriceBook,
    parts: Sequence[Part],
    lines: Sequence[Line],
    entered: Sequence[tuple[Version, Adjustment]],
    corrections: Sequence[Adjustment],
) -> Rated:
    adjustments = [fee for _, fee in entered]
    for part in parts:
        for fee in part.version.fees:
            times = part.days if fee.per == "day" else int(part.opens)
            if times:
                adjustments.append(fee_of(fee, times, book.currency))
    # Amounts that discounts and minimums go by, each with the version whose terms hold for it.
    versions = {part.version.effective: part.version for part in parts}
    costs = [(versions[line.id.effective], line.id.meter, line.amount) for line in lines]
    costs += [(version, _meter_of(fee), fee.amount) for version, fee in entered]
    last = parts[-1].version
    reached = sums_by_meter((meter, amount) for _, meter, amount in costs)
    for meter in METERS:
        if (least := last.price_of(meter).minimum) is not None:
            short = lacking(Kind.MINIMUM, meter, least, reached[meter], book.currency)
            if short is not None:
                adjustments.append(short)
                costs.append((last, meter, short.amount))
    for version in versions.values():
        own = [(meter, amount) for holder, meter, amount in costs if holder is version]
        adjustments += [discount_of(d, own, book.currency) for d in version.discounts]
    adjustments += corrections
    subtotal = total([*(x.amount for x in lines), *(x.amount for x in adjustments)])
    if last.commitment is not None:
        short = lacking(Kind.COMMITMENT, "", last.commitment, subtotal, book.currency)
        if short is not None:
            adjustments.append(short)
            subtotal = EXACT.add(subtotal, short.amount)
    subtotal = book.currency.round(subtotal)
    vat = vat_of(subtotal, book.vat_percent, book.currency)
    if book.truncation is not None:
        cut, subtotal, vat = truncated(book.truncation, subtotal, book.vat_percent, book.currency)
        if cut is not None:
            adjustments.append(cut)
    order = list(Kind)
    adjustments.sort(key=lambda adjustment: order.index(adjustment.kind))
    return Rated(tuple(lines), tuple(adjustments), subtotal, vat)


def _meter_of(tier_fee: Adjustment) -> str:
    return tier_fee.subject.rpartition(".")[0]
