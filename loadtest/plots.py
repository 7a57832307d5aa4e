"""Plots of figures as SVG: bars in groups, each with its lowest and highest repeat."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pygal
from pygal.style import LightSolarizedStyle

from loadtest.statistics import Spread, rounded

# pygal leaves a finder for its plug-ins behind that every later import would warn of.
sys.meta_path[:] = [finder for finder in sys.meta_path if hasattr(finder, "find_spec")]


class Bars(NamedTuple):
    """A bar for each series in every group; None where there is none."""

    title: str
    groups: Sequence[str]
    series: Mapping[str, Sequence[Spread | None]]


def write(bars: Bars, path: Path) -> None:
    """Write a plot that loads nothing from elsewhere."""
    chart = pygal.Bar(
        title=bars.title,
        style=LightSolarizedStyle,
        value_formatter=rounded,
        legend_at_bottom=True,
        width=900,
        height=420,
        disable_xml_declaration=True,
        js=(),
    )
    highest = [spread.high for each in bars.series.values() for spread in each if spread]
    chart.range = (0, 1.05 * max(highest, default=1.0))  # pygal fits it to the medians
    chart.x_labels = list(bars.groups)
    for name, spreads in bars.series.items():
        chart.add(name, [_bar(spread) for spread in spreads])
    path.write_text(chart.render(is_unicode=True), encoding="utf-8")


def write_line(title: str, lines: Mapping[str, Sequence[tuple[float, float]]], path: Path) -> None:
    """Write (x, y) points joined by lines, both axes logarithmic; it loads nothing either."""
    chart = pygal.XY(
        title=title,
        style=LightSolarizedStyle,
        value_formatter=rounded,
        x_value_formatter=rounded,
        legend_at_bottom=True,
        logarithmic=True,
        width=900,
        height=420,
        disable_xml_declaration=True,
        js=(),
    )
    for name, points in lines.items():
        chart.add(name, list(points))
    chart.x_labels = sorted({x for points in lines.values() for x, _ in points})
    path.write_text(chart.render(is_unicode=True), encoding="utf-8")


def _bar(spread: Spread | None) -> dict[str, object] | None:
    if spread is None:
        return None
    return {"value": spread.median, "ci": {"low": spread.low, "high": spread.high}}
