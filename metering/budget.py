"""What the contract allows, and how much of it usage has come to.

Both amounts include VAT. A comparison of a value with a frame, nothing more: usage at unit prices
is neither what the cloud costs nor what is owed.
"""

from dataclasses import dataclass
from decimal import Decimal

from metering.money import EXACT

# Half of it: look. Four fifths: act. All of it: whoever pays is to decide.
THRESHOLDS_PERCENT = (50, 80, 100)


@dataclass(frozen=True, slots=True)
class Standing:
    """How a spent amount stands against a budget; `left` is negative once it is exceeded."""

    spent: Decimal
    left: Decimal
    percent: Decimal
    reached: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Budget:
    """A contract amount including VAT, more than 0, and the percentages to be told about."""

    amount: Decimal
    thresholds_percent: tuple[int, ...] = THRESHOLDS_PERCENT

    def __post_init__(self) -> None:
        if self.amount <= 0:
            raise ValueError("a budget is more than 0")

    def standing(self, spent: Decimal) -> Standing:
        """Hold `spent`, including VAT, against the budget.

        The percentage is cut to a tenth, never rounded up: 99.96 % used is not yet 100.0 %.
        """
        tenths = EXACT.divide_int(EXACT.multiply(spent, Decimal(1000)), self.amount)
        return Standing(
            spent=spent,
            left=EXACT.subtract(self.amount, spent),
            percent=tenths.scaleb(-1),
            reached=tuple(t for t in self.thresholds_percent if self._reaches(spent, t)),
        )

    def _reaches(self, spent: Decimal, threshold_percent: int) -> bool:
        return EXACT.multiply(spent, Decimal(100)) >= EXACT.multiply(
            self.amount, Decimal(threshold_percent)
        )
