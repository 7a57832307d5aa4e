"""Prices by tiers, the one model of a price: graduated, or by volume.

Graduated: each unit costs what the tier costs in which it falls, so an amount never jumps at the
border of a tier. Volume: every unit of the month costs what the tier costs in which the month's
last unit falls, so the amount jumps where a cheaper tier begins; that is what such a price says.
"""

from dataclasses import dataclass
from decimal import Decimal

from metering.rating import Portion


@dataclass(frozen=True, slots=True)
class Tier:
    """The units after the tier before, up to and including unit `up_to` (None: all that follow).

    `fee` is charged once a month, with the first unit that falls into the tier.
    """

    up_to: int | None
    unit_price: Decimal
    fee: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True)
class Tiers:
    """Tiers in rising order; the last one is open, and only it is."""

    tiers: tuple[Tier, ...]
    volume: bool = False

    @property
    def tiers_count(self) -> int:
        """Return how many tiers there are."""
        return len(self.tiers)

    def rate(self, quantity: int, already: int = 0, month: int | None = None) -> list[Portion]:
        """Cut `quantity` units, of which `already` came before in the month, into portions.

        `month` is the quantity of the whole month, which a price by volume goes by; None where
        these are its last units. Returns at least one portion, of quantity 0 if need be, so that
        the price is always seen.
        """
        if self.volume:
            return [self._by_volume(quantity, already, month)]
        portions: list[Portion] = []
        position, end, floor = already, already + quantity, 0
        for number, tier in enumerate(self.tiers):
            top = end if tier.up_to is None else min(tier.up_to, end)
            if top > position:
                fee = tier.fee if position == floor else Decimal(0)
                portions.append(Portion(number, top - position, tier.unit_price, fee))
                position = top
            floor = top if tier.up_to is None else tier.up_to
        return portions or [self._nothing_at(already)]

    def _by_volume(self, quantity: int, already: int, month: int | None) -> Portion:
        number = self._tier_of(already + quantity if month is None else month)
        tier = self.tiers[number]
        fee = tier.fee if quantity and not already else Decimal(0)
        return Portion(number, quantity, tier.unit_price, fee)

    def _nothing_at(self, already: int) -> Portion:
        """Return an empty portion of the tier in which the next unit would fall."""
        number = self._tier_of(already + 1)
        return Portion(number, 0, self.tiers[number].unit_price)

    def _tier_of(self, unit: int) -> int:
        """Return the number of the tier in which the nth unit of the month falls."""
        return next(
            number
            for number, tier in enumerate(self.tiers)
            if tier.up_to is None or unit <= tier.up_to
        )


def per_unit(unit_price: Decimal) -> Tiers:
    """Return the price of which every unit costs the same."""
    return Tiers((Tier(None, unit_price),))
