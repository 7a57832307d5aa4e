"""Charts as shapes: one layout that a page (SVG) and a PDF draw alike."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

from metering.document import Chart

WIDTH, HEIGHT = 180.0, 62.0  # mm on an A4 sheet with its margins
LEFT, BOTTOM, TOP = 22.0, 9.0, 9.0
# Told apart without colour sight (Okabe and Ito), and dark enough to print in grey.
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00")
MOST_LABELS = 12
LABEL_CELL = 1.6  # mm a cell of a label takes


@dataclass(frozen=True, slots=True)
class Bar:
    """A filled rectangle; all figures in mm from the upper left corner."""

    x: float
    y: float
    width: float
    height: float
    colour: str


@dataclass(frozen=True, slots=True)
class Stroke:
    """A line through points."""

    points: tuple[tuple[float, float], ...]
    colour: str
    width: float


@dataclass(frozen=True, slots=True)
class Text:
    """Words at a point of their baseline; `anchor` is start, middle or end."""

    x: float
    y: float
    text: str
    anchor: str = "start"


Shape = Bar | Stroke | Text


def shapes(chart: Chart) -> Iterator[Shape]:
    """Lay a chart out. An empty chart is its axes."""
    scale = _Scale.of(chart)
    for value in scale.ticks:
        y = scale.y(value)
        yield Stroke(((LEFT, y), (WIDTH, y)), "#d5dbe3", 0.15)
        yield Text(LEFT - 1.5, y + 1.0, _short(value), "end")
    yield from _marks(chart, scale)
    yield Stroke(((LEFT, HEIGHT - BOTTOM), (WIDTH, HEIGHT - BOTTOM)), "#4a5563", 0.25)
    count = max(1, len(chart.labels))
    every = -(-count // MOST_LABELS)
    for number, label in enumerate(chart.labels):
        if number % every == 0:
            middle = _middle(number, count)
            # The last one would reach beyond the edge, where a browser cuts it off.
            over = middle + LABEL_CELL * _cells(label) / 2 > WIDTH
            x, anchor = (WIDTH, "end") if over else (middle, "middle")
            yield Text(x, HEIGHT - BOTTOM + 4.0, label, anchor)
    yield Text(0.0, 3.5, chart.unit)
    x = LEFT + 12.0
    for series in chart.series:
        yield Bar(x, 1.0, 3.0, 3.0, COLOURS[series.colour % len(COLOURS)])
        yield Text(x + 4.0, 3.5, series.name)
        x += 10.0 + 3.2 * _cells(series.name) / 1.6


def _marks(chart: Chart, scale: "_Scale") -> Iterator[Shape]:
    count = max(1, len(chart.labels))
    width = (WIDTH - LEFT) / count * 0.7
    if chart.lines:
        for series in chart.series:
            points = tuple(
                (_middle(n, count), scale.y(float(value)))
                for n, value in enumerate(series.values)
                if not chart.log or value > 0
            )
            if points:
                yield Stroke(points, COLOURS[series.colour % len(COLOURS)], 0.6)
        return
    for n in range(len(chart.labels)):
        below = Decimal(0)
        for series in chart.series:
            value = series.values[n]
            if value > 0:
                low, high = scale.y(float(below)), scale.y(float(below + value))
                colour = COLOURS[series.colour % len(COLOURS)]
                yield Bar(_middle(n, count) - width / 2, high, width, low - high, colour)
                below += value


@dataclass(frozen=True, slots=True)
class _Scale:
    low: float
    high: float
    log: bool
    ticks: tuple[float, ...]

    @classmethod
    def of(cls, chart: Chart) -> "_Scale":
        if chart.lines:
            values = [float(value) for series in chart.series for value in series.values]
        else:
            columns = zip(*(series.values for series in chart.series), strict=True)
            values = [float(sum(column)) for column in columns]
        most = max(values, default=0.0)
        if chart.log:
            positive = [value for value in values if value > 0] or [1.0]
            low = math.floor(math.log10(min(positive)))
            high = max(low + 1, math.ceil(math.log10(max(positive))))
            return cls(low, high, True, tuple(10.0**n for n in range(low, high + 1)))
        step = _step(most)
        count = max(1, math.ceil(most / step - 1e-9))
        return cls(0.0, step * count, False, tuple(step * n for n in range(count + 1)))

    def y(self, value: float) -> float:
        at = math.log10(value) if self.log else value
        share = (at - self.low) / (self.high - self.low)
        return HEIGHT - BOTTOM - share * (HEIGHT - BOTTOM - TOP)


def _step(most: float) -> float:
    """Return a step of 1, 2 or 5 times a power of ten that gives at most five of them."""
    if most <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(most / 5))
    return next(step * power for step in (1, 2, 5, 10) if most / (step * power) <= 5 + 1e-9)


def _middle(number: int, count: int) -> float:
    return LEFT + (WIDTH - LEFT) * (number + 0.5) / count


def _cells(text: str) -> int:
    return sum(2 if ord(character) > 0x10FF else 1 for character in text)


def _short(value: float) -> str:
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"
