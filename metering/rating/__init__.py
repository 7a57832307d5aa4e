"""Price models: pure functions from a quantity to portions of it, each at one unit price.

1. `report.build_report` asks the ledger for the quantity of a meter in a stretch of the month.
2. The model in force, `per_unit.PerUnit` or `graduated.Graduated`, cuts it into portions.
3. Each portion becomes a line of the statement: quantity x unit price, rounded there only.

**The portions of a quantity add up to it, and rating it in two steps gives the same portions as
rating it at once.** Not supported yet: volume and package prices, minimum charges, discounts.
"""

from decimal import Decimal
from typing import NamedTuple, Protocol


class Portion(NamedTuple):
    """Part of a quantity at one unit price; `tier` counts from 0."""

    tier: int
    quantity: int
    unit_price: Decimal


class PriceModel(Protocol):
    """A way to price whole units of a meter; prices are for one unit."""

    @property
    def tiers_count(self) -> int:
        """How many unit prices there are."""

    def rate(self, quantity: int, already: int = 0) -> list[Portion]:
        """Cut `quantity` units, of which `already` came before in the month, into portions.

        Returns at least one portion, of quantity 0 if need be, so that the price is always seen.
        """
