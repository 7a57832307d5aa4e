"""How measured units become units to be paid.

Vendors differ here more than in their prices: LiveKit rounds each connection up to a minute,
Agora the whole month, Chime each attendance to a tenth of a minute. So it is said with the price:
to what, which way, and of what (each session, each day, the month).

A session that goes on over a border of months, or over a change of prices, is rounded as a whole
all the same: each side pays what the rounded total grew by on it. So the sides add up to what the
session costs in one piece, and nothing that comes later changes what a month that is over paid.
"""

import enum
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple


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


class Piece(NamedTuple):
    """What is rounded at once: `times` a total that grew from `before` to `through`."""

    through: int
    before: int = 0
    times: int = 1


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

    def total(self, pieces: Iterable[Piece]) -> int:
        """Add up what the rounded total of each piece grew by."""
        return sum(
            times * (self.of(through) - self.of(before)) for through, before, times in pieces
        )
