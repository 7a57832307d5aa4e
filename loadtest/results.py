"""Figures with what one needs to repeat them: JSON for machines, a Markdown table for people."""

import json
import os
import platform
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from loadtest import precedence
from loadtest.statistics import Spread


@dataclass(frozen=True)
class Figure:
    """One measured quantity: on which axis, in which unit, one value a repeat."""

    name: str
    axis: str
    unit: str
    repeats: tuple[float, ...]

    @property
    def spread(self) -> Spread:
        """Return the middle, smallest and largest repeat."""
        return Spread.of(self.repeats)


class Figures:
    """Collect repeats under (name, axis, unit), in the order they first appear."""

    def __init__(self) -> None:
        self._repeats: dict[tuple[str, str, str], list[float]] = {}

    def add(self, name: str, axis: str, unit: str, value: float) -> None:
        """Add one repeat."""
        self._repeats.setdefault((name, axis, unit), []).append(value)

    def all(self) -> list[Figure]:
        """Return the figures with their repeats."""
        return [Figure(*key, tuple(values)) for key, values in self._repeats.items()]


@dataclass(frozen=True)
class Result:
    """What one measurement found."""

    topic: str
    figures: Sequence[Figure]
    notes: Sequence[str] = ()
    command: str = ""
    machine: Mapping[str, str] = field(default_factory=dict)
    at: datetime = field(default_factory=lambda: datetime.now(UTC))

    def as_json(self) -> str:
        """Write everything, every repeat included."""
        return json.dumps(
            {
                "topic": self.topic,
                "at": self.at.isoformat(timespec="seconds"),
                "command": self.command,
                "machine": dict(self.machine),
                "notes": list(self.notes),
                "figures": [
                    {
                        "name": f.name,
                        "axis": f.axis,
                        "unit": f.unit,
                        "median": f.spread.median,
                        "low": f.spread.low,
                        "high": f.spread.high,
                        "repeats": list(f.repeats),
                    }
                    for f in self.figures
                ],
            },
            indent=2,
            ensure_ascii=False,
        )

    def as_markdown(self) -> str:
        """Write a table: median (lowest – highest) over the repeats."""
        machine = ", ".join(f"{key} {value}" for key, value in self.machine.items())
        lines = [
            f"# {self.topic}",
            "",
            f"`{self.command}` · {self.at:%Y-%m-%d %H:%M} UTC",
            "",
            f"Machine: {machine}.",
            "",
            "| figure | axis | median (lowest – highest) | unit | repeats |",
            "|---|---|---:|---|---:|",
        ]
        lines += [
            f"| {f.name} | {f.axis} | {f.spread} | {f.unit} | {len(f.repeats)} |"
            for f in self.figures
        ]
        lines += ["", *(f"- {note}" for note in self.notes)] if self.notes else []
        return "\n".join(lines) + "\n"

    def write(self, folder: Path) -> None:
        """Write `TOPIC.json` and `TOPIC.md` into the folder, made when missing."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{self.topic}.json").write_text(self.as_json() + "\n", encoding="utf-8")
        (folder / f"{self.topic}.md").write_text(self.as_markdown(), encoding="utf-8")


def machine() -> dict[str, str]:
    """Describe what the figures are measured on, and how busy it is before they are."""
    return {
        "cpu": _cpu_model(),
        "cores": str(os.cpu_count()),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "load before": f"{os.getloadavg()[0]:.2f}",
        "scheduled": precedence.told(),
    }


def command_line() -> str:
    """Return the command as one would type it again."""
    return shlex.join(["python", "-m", "loadtest", *sys.argv[1:]])


def _cpu_model() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor() or platform.machine()
    names = (line.partition(":")[2].strip() for line in text.splitlines() if "model name" in line)
    return next(names, platform.machine())
