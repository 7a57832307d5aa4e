"""Every unit costs the same."""

from dataclasses import dataclass
from decimal import Decimal

from metering.rating import Portion


@dataclass(frozen=True, slots=True)
class PerUnit:
    """One price for every unit."""

    unit_price: Decimal

    @property
    def tiers_count(self) -> int:
        """Return 1."""
        return 1

    def rate(self, quantity: int, already: int = 0) -> list[Portion]:
        """Return the quantity as one portion."""
        return [Portion(0, quantity, self.unit_price)]
