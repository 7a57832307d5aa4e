"""How measured units become units to be paid.

Vendors differ here more than in their prices: LiveKit rounds each connection up to a minute,
Agora the whole month, Chime each attendance to a tenth of a minute. So it is said with the price:
to what, which way, and of what (each session, each day, the month).
"""

import enum
from collections.abc import Iterable
from dataclasses import dataclass


class Way(enum.StrEnum):
    """Which way a quantity between two steps goes."""

    UP = "up"
    HALF = "half"
    DOWN = "down"


class Scope(enum.StrEnum):
    """What is rounded: each session's quantity, each day's, or the month's."""

    SESSION = "session"
    DAY = "day"
    MONTH = "month"


@dataclass(frozen=True, slots=True)
class Rounding:
    """Round to multiples of `step` units. A package of 100 is a step of 100, up, of the month."""

    step: int
    way: Way
    scope: Scope

    def of(self, quantity: int) -> int:
        """Round one quantity of the scope; exactly half a step goes up."""
        below, over = divmod(quantity, self.step)
        up = {Way.UP: over > 0, Way.HALF: 2 * over >= self.step, Way.DOWN: False}[self.way]
        return (below + up) * self.step

    def total(self, quantities: Iterable[int]) -> int:
        """Round each quantity and add them up."""
        return sum(self.of(quantity) for quantity in quantities)
