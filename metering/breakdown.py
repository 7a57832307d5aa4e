"""Who and when: a month's amounts shared among its days, rooms or apps.

Tiers, minimums and rounding belong to the month as a whole, so no day and no room has a price of
its own. What a meter costs is shared in proportion to its quantities, in whole coins, the largest
remainders first; **the shares of a meter add up to what the statement says it costs.** Fees,
discounts, the commitment and the cut of small change belong to nobody and stand apart.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from metering.meters import METERS, Service
from metering.money import EXACT, Currency, total
from metering.rating.adjustments import Adjustment, Kind
from metering.statement import Line


class Share(NamedTuple):
    """What one day, room or app used, and what it comes to for each service."""

    key: str
    quantities: Mapping[str, int]
    amounts: Mapping[Service, Decimal]

    @property
    def amount(self) -> Decimal:
        """Return the sum over the services."""
        return total(self.amounts.values())


@dataclass(frozen=True, slots=True)
class Breakdown:
    """The shares of a month, and the part of its subtotal that belongs to none of them."""

    shares: tuple[Share, ...]
    apart: Decimal


def break_down(
    lines: Sequence[Line],
    adjustments: Sequence[Adjustment],
    used: Mapping[str, Mapping[str, int]],
    currency: Currency,
) -> Breakdown:
    """Share a statement's amounts among the keys of `used` (key, then meter, to quantity)."""
    keys = list(used)
    amounts: dict[str, dict[Service, Decimal]] = {
        key: dict.fromkeys(Service, Decimal(0)) for key in keys
    }
    for meter, cost in _costs(lines, adjustments).items():
        weights = [used[key].get(meter, 0) for key in keys]
        if not any(weights):
            continue
        service = METERS[meter].service
        for key, amount in zip(keys, allocate(cost, weights, currency), strict=True):
            amounts[key][service] = EXACT.add(amounts[key][service], amount)
    shares = tuple(Share(key, used[key], amounts[key]) for key in keys)
    subtotal = total([*(x.amount for x in lines), *(x.amount for x in adjustments)])
    return Breakdown(shares, EXACT.subtract(subtotal, total(share.amount for share in shares)))


def allocate(amount: Decimal, weights: Sequence[int], currency: Currency) -> list[Decimal]:
    """Share `amount`, whole coins, in proportion to weights that are not all 0.

    Whole coins go out by quotient, those left one by one to the largest remainders, the earlier
    first where remainders are equal.
    """
    coin = Decimal(1).scaleb(-currency.decimals)
    coins, whole = int(EXACT.divide_int(amount, coin)), sum(weights)
    quotients = [divmod(coins * weight, whole) for weight in weights]
    left = coins - sum(quotient for quotient, _ in quotients)
    order = sorted(range(len(weights)), key=lambda n: (-quotients[n][1], n))
    lucky = set(order[:left])
    return [
        EXACT.multiply(Decimal(quotient + (n in lucky)), coin)
        for n, (quotient, _) in enumerate(quotients)
    ]


def _costs(lines: Sequence[Line], adjustments: Sequence[Adjustment]) -> dict[str, Decimal]:
    """Add up what each meter costs: its lines, its fees of tiers, its minimum."""
    costs: dict[str, Decimal] = {}
    for line in lines:
        costs[line.id.meter] = EXACT.add(costs.get(line.id.meter, Decimal(0)), line.amount)
    for adjustment in adjustments:
        if adjustment.kind in (Kind.TIER_FEE, Kind.MINIMUM):
            meter = adjustment.subject
            if adjustment.kind is Kind.TIER_FEE:
                meter = meter.rpartition(".")[0]
            costs[meter] = EXACT.add(costs[meter], adjustment.amount)
    return costs
