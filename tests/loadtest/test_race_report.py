"""Tables and plots of figures whose outcome is known."""

from pathlib import Path
from typing import Any

import pytest

from loadtest import race_report


def runs(*values: float) -> list[dict[str, float]]:
    return [{"deliveries/s": v * 5, "messages/s": v, "half rate p99, ms": 1000 / v} for v in values]


@pytest.fixture
def result() -> dict[str, Any]:
    scenario = {
        "at": "2026-11-28 18:00",
        "load before": "0.10",
        "load after": "2.00",
        "client": "compiled",
        "repeats": {
            "metaport": runs(100, 90, 110, 95, 105),
            "nats-server": runs(70, 80, 75, 74, 76),
            "uWebSockets.js": [],
        },
        "lost": {"uWebSockets.js": "12 deliveries are missing"},
    }
    return {
        "machine": {"cpu": "one", "cores": "2"},
        "versions": {"metaport": "0.1.0", "nats-server": "2.15.1"},
        "absent": {"Centrifugo": "not published here"},
        "scenarios": {
            "100x8": {**scenario, "axis": "room of 100, 8 under way"},
            "180": {**scenario, "axis": "180 rooms of 5, 1 under way in each"},
        },
    }


def test_the_table_tells_medians_spread_and_who_is_missing(result: dict[str, Any]) -> None:
    text = race_report.as_markdown(result)
    assert "## room of 100, 8 under way: 1.33 × the best other" in text
    assert "| messages/s | 100 (90.0 – 110) | 75.0 (70.0 – 80.0) |" in text
    assert "- uWebSockets.js: 12 deliveries are missing" in text
    assert "- Centrifugo is absent: not published here." in text
    assert "load before 0.10, after 2.00; client: compiled" in text


def test_no_ratio_without_others(result: dict[str, Any]) -> None:
    alone = {"repeats": {"metaport": runs(100)}}
    assert race_report.ratio(alone) is None
    assert race_report.ratio({"repeats": {"metaport": [], "ws": runs(1)}}) is None


def test_each_quantity_is_plotted(result: dict[str, Any], tmp_path: Path) -> None:
    race_report.write(result, tmp_path)
    for name in ("race-large", "race-small", "race-delay"):
        plot = (tmp_path / f"{name}.svg").read_text(encoding="utf-8")
        assert plot.startswith("<svg")
        assert "nats-server" in plot
        # It loads nothing from elsewhere.
        assert "href=" not in plot
        assert "@import" not in plot


def test_the_highest_repeat_is_within_the_plot(result: dict[str, Any], tmp_path: Path) -> None:
    result["scenarios"]["100x8"]["repeats"]["metaport"] = runs(100, 90, 400)
    race_report.write(result, tmp_path)
    plot = (tmp_path / "race-large.svg").read_text(encoding="utf-8")
    # 400 x 5 deliveries: the axis reaches beyond them, not only to the median of 500.
    assert ">2,000<" in plot
