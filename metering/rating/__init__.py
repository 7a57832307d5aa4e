"""Price models: pure functions from a quantity to portions of it, each at one unit price.

In this order, argued from what each step needs to know:

1. `rounding.Rounding` turns measured units into units to be paid: started minutes, packages.
2. `tiers.Tiers` cuts them into portions of one unit price each; a portion becomes a line,
   quantity x unit price, rounded there only.
3. `adjustments` comes after all lines, because it needs their sums: fees of tiers entered,
   fixed fees, minimum, discount, commitment, and the cut of small change.

There are no more mechanisms than these. A price per unit is one open tier; a free allowance is a
first tier at 0; a package is a rounding up to its size.

**The portions of a quantity add up to it, and rating it in two steps gives the same portions as
rating it at once.**
"""

from decimal import Decimal
from typing import NamedTuple


class Portion(NamedTuple):
    """Part of a quantity at one unit price; `tier` counts from 0.

    `fee` is what entering the tier costs, 0 where this portion did not enter it.
    """

    tier: int
    quantity: int
    unit_price: Decimal
    fee: Decimal = Decimal(0)
