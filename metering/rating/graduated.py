"""Graduated tiers: each unit costs what the tier costs in which it falls.

The first thousand stay at the first price however many follow, so that an amount never jumps at
the border of a tier. A free allowance is a first tier at 0.
"""

from dataclasses import dataclass
from decimal import Decimal

from metering.rating import Portion


@dataclass(frozen=True, slots=True)
class Tier:
    """The units after the tier before, up to and including unit `up_to` (None: all that follow)."""

    up_to: int | None
    unit_price: Decimal


@dataclass(frozen=True, slots=True)
class Graduated:
    """Tiers in rising order; the last one is open, and only it is."""

    tiers: tuple[Tier, ...]

    @property
    def tiers_count(self) -> int:
        """Return how many tiers there are."""
        return len(self.tiers)

    def rate(self, quantity: int, already: int = 0) -> list[Portion]:
        """Fill the tiers from where `already` units have filled them."""
        portions: list[Portion] = []
        position, end = already, already + quantity
        for number, tier in enumerate(self.tiers):
            top = end if tier.up_to is None else min(tier.up_to, end)
            if top > position:
                portions.append(Portion(number, top - position, tier.unit_price))
                position = top
        return portions or [self._nothing_at(already)]

    def _nothing_at(self, already: int) -> Portion:
        """Return an empty portion of the tier in which the next unit would fall."""
        number, tier = next(
            (number, tier)
            for number, tier in enumerate(self.tiers)
            if tier.up_to is None or tier.up_to > already
        )
        return Portion(number, 0, tier.unit_price)
