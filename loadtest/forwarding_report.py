"""Plots of what a forwarded packet costs, by scenario and server, and by receivers."""

from collections.abc import Sequence
from pathlib import Path

from loadtest import plots
from loadtest.forwarding import COMPILED, CROWDS, PURE, RECEIVERS, SCENARIOS
from loadtest.results import Figure


def write(figures: Sequence[Figure], folder: Path) -> None:
    """Write `forwarding-cost.svg` and `forwarding-receivers.svg`."""
    spreads = {(figure.name, figure.axis): figure.spread for figure in figures}
    cost = "CPU a forwarded packet"
    measured = [axis for name, axis in spreads if name == cost]
    servers = [COMPILED, PURE, *sorted({a.rpartition(", ")[2] for a in measured if "Janus" in a})]
    where = {scenario: f"{scenario}, 1 → {RECEIVERS}" for scenario in SCENARIOS}
    bars = plots.Bars(
        f"CPU of the server a forwarded packet, µs, 1 → {RECEIVERS}",
        list(where),
        {
            server: [spreads.get((cost, f"{axis}, {server}")) for axis in where.values()]
            for server in servers
        }
        | {"sendto alone": [spreads.get(("sendto alone", axis)) for axis in where.values()]},
    )
    plots.write(bars, folder / "forwarding-cost.svg")
    points = {count: spreads.get(("CPU", _crowd_axis(count))) for count in CROWDS}
    plots.write_line(
        "CPU of the SFU, % of a core, by receivers of 100 B audio at 50/s (both logarithmic)",
        {COMPILED: [(count, spread.median) for count, spread in points.items() if spread]},
        folder / "forwarding-receivers.svg",
    )


def _crowd_axis(receivers: int) -> str:
    return f"100 B audio at 50/s, 1 → {receivers:,}"
