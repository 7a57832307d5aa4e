"""The table and the plots of `loadtest.race`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from loadtest import plots
from loadtest.statistics import Spread

OURS = "metaport"


def write(result: Mapping[str, Any], folder: Path) -> None:
    """Write `race.md` and a plot of each quantity into `folder`."""
    (folder / "race.md").write_text(as_markdown(result), encoding="utf-8")
    scenarios = result["scenarios"]
    large = {n: s for n, s in scenarios.items() if "rooms" not in s["axis"]}
    small = {n: s for n, s in scenarios.items() if "rooms" in s["axis"]}
    for name, title, figure, some in (
        ("race-large", "Deliveries a second in one room", "deliveries/s", large),
        ("race-small", "Accepted messages a second in rooms of 5", "messages/s", small),
        ("race-delay", "Delivery p99 at half the highest rate, ms", "half rate p99, ms", scenarios),
    ):
        if some:
            plots.write(_bars(title, figure, some), folder / f"{name}.svg")


def as_markdown(result: Mapping[str, Any]) -> str:
    """Return the tables: the median of the repeats, the lowest and the highest."""
    machine = ", ".join(f"{key} {value}" for key, value in result["machine"].items())
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    lines = [
        "# Fan-out beside peers",
        "",
        f"`make bench-text` · {machine}.",
        f"Measured: {versions}.",
        "",
        "Server on core 0, client on core 1, bodies of 120 bytes, every peer once a round. "
        "metaport orders, stores, counts and acknowledges each message; the others only pass on.",
        "",
    ]
    for scenario in result["scenarios"].values():
        lines += _scenario(scenario)
    lines += [f"- {name} is absent: {reason}." for name, reason in result["absent"].items()]
    return "\n".join(lines) + "\n"


def ratio(scenario: Mapping[str, Any]) -> float | None:
    """Return our median throughput over the best other one, None when one is missing."""
    medians = {
        name: Spread.of([each["messages/s"] for each in repeats]).median
        for name, repeats in scenario["repeats"].items()
        if repeats
    }
    others = [value for name, value in medians.items() if name != OURS]
    return medians[OURS] / max(others) if OURS in medians and others else None


def _scenario(scenario: Mapping[str, Any]) -> list[str]:
    ours = ratio(scenario)
    times = "" if ours is None else f": {ours:.2f} × the best other"
    repeats: Mapping[str, Sequence[Mapping[str, float]]] = scenario["repeats"]
    names = [name for name, runs in repeats.items() if runs]
    figures = list(repeats[names[0]][0]) if names else []
    lines = [
        f"## {scenario['axis']}{times}",
        "",
        f"{scenario['at']} UTC, load before {scenario['load before']}, after "
        f"{scenario['load after']}; client: {scenario['client']}.",
        "",
        f"| | {' | '.join(names)} |",
        f"|---|{'---:|' * len(names)}",
    ]
    for figure in figures:
        cells = (_cell([run[figure] for run in repeats[name]]) for name in names)
        lines.append(f"| {figure} | {' | '.join(cells)} |")
    lines += [f"- {name}: {what}" for name, what in scenario["lost"].items()]
    return [*lines, ""]


def _cell(values: Sequence[float]) -> str:
    return f"{Spread.of(values)} n={len(values)}" if len(values) != 5 else str(Spread.of(values))


def _bars(title: str, figure: str, scenarios: Mapping[str, Any]) -> plots.Bars:
    names = dict.fromkeys(name for s in scenarios.values() for name in s["repeats"])
    groups = [scenario["axis"] for scenario in scenarios.values()]
    series = {
        name: [_spread(s["repeats"].get(name), figure) for s in scenarios.values()]
        for name in names
    }
    return plots.Bars(title, groups, series)


def _spread(repeats: Sequence[Mapping[str, float]] | None, figure: str) -> Spread | None:
    return Spread.of([run[figure] for run in repeats]) if repeats else None
