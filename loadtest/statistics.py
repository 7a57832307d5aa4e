"""Percentiles of one run, and the spread of a figure over repeated runs."""

import math
from collections.abc import Sequence
from dataclasses import dataclass


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the nearest-rank percentile: a value that was really measured.

    Raises:
        ValueError: no values, or a percentage outside 0 to 100.
    """
    if not values:
        raise ValueError("no values")
    if not 0 <= percent <= 100:
        raise ValueError(f"{percent} is no percentage")
    rank = max(1, math.ceil(len(values) * percent / 100))
    return sorted(values)[rank - 1]


@dataclass(frozen=True)
class Spread:
    """A figure over repeats: the middle one, the smallest and the largest."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, repeats: Sequence[float]) -> "Spread":
        """Summarise repeats. Raises ValueError when there are none."""
        return cls(percentile(repeats, 50), min(repeats), max(repeats))

    def __str__(self) -> str:
        return f"{rounded(self.median)} ({rounded(self.low)} – {rounded(self.high)})"


def rounded(value: float) -> str:
    """Write a figure with three significant digits, and thousands apart."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    digits = 2 - math.floor(math.log10(abs(value)))
    return f"{round(value, digits):,.{max(0, digits)}f}"


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Return the least-squares slope through (x, y) points: what one more x costs.

    Raises:
        ValueError: fewer than two different x.
    """
    count = len(points)
    mean_x = sum(x for x, _ in points) / count if count else 0.0
    mean_y = sum(y for _, y in points) / count if count else 0.0
    square = sum((x - mean_x) ** 2 for x, _ in points)
    if square == 0:
        raise ValueError("one x makes no slope")
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / square
