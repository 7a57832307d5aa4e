"""Every unit costs the same."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from . import Portion


@dataclass(frozen=True, slots=True)
class PerUnit:
    """One price for every unit."""

    unit_price: Decimal

    def rate(self, quantity: int, already: int = 0) -> list[Portion]:
        """Return the quantity as one portion."""
        return [Portion(0, quantity, self.unit_price)]
