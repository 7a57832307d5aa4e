import xml.etree.ElementTree as ET
from pathlib import Path

from loadtest.forwarding_report import write
from loadtest.results import Figure


def test_costs_become_bars_and_receivers_a_line(tmp_path: Path):
    figures = [
        Figure("sendto alone", "100 B audio at 200/s, 1 → 40", "µs", (2.0,)),
        Figure(
            "CPU a forwarded packet", "100 B audio at 200/s, 1 → 40, Metaport", "µs", (4.0, 4.2)
        ),
        Figure(
            "CPU a forwarded packet", "100 B audio at 200/s, 1 → 40, Janus 1.1.2", "µs", (20.0,)
        ),
        Figure("CPU", "100 B audio at 50/s, 1 → 10", "% of a core", (1.0,)),
        Figure("CPU", "100 B audio at 50/s, 1 → 1,000", "% of a core", (30.0,)),
    ]
    write(figures, tmp_path)
    cost = (tmp_path / "forwarding-cost.svg").read_text(encoding="utf-8")
    assert "Janus 1.1.2" in cost
    for name in ("forwarding-cost.svg", "forwarding-receivers.svg"):
        assert ET.parse(tmp_path / name).getroot().tag.endswith("svg")
