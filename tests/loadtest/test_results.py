import json
from datetime import UTC, datetime

from loadtest.results import Figure, Figures, Result, machine

AT = datetime(2026, 11, 3, 12, 30, tzinfo=UTC)
RESULT = Result(
    "text",
    [Figure("round trip p50", "2 members", "ms", (0.5, 0.4, 0.6))],
    ["loopback only"],
    "python -m loadtest text",
    {"cpu": "a model", "cores": "2"},
    AT,
)


def test_repeats_of_one_figure_are_gathered_in_the_order_of_appearance():
    figures = Figures()
    figures.add("b", "x", "ms", 1.0)
    figures.add("a", "x", "ms", 2.0)
    figures.add("b", "x", "ms", 3.0)
    assert figures.all() == [Figure("b", "x", "ms", (1.0, 3.0)), Figure("a", "x", "ms", (2.0,))]


def test_markdown_has_command_machine_spread_and_notes():
    assert RESULT.as_markdown() == (
        "# text\n\n`python -m loadtest text` · 2026-11-03 12:30 UTC\n\n"
        "Machine: cpu a model, cores 2.\n\n"
        "| figure | axis | median (lowest – highest) | unit | repeats |\n|---|---|---:|---|---:|\n"
        "| round trip p50 | 2 members | 0.500 (0.400 – 0.600) | ms | 3 |\n\n- loopback only\n"
    )


def test_json_keeps_every_repeat():
    figure = json.loads(RESULT.as_json())["figures"][0]
    assert figure["repeats"] == [0.5, 0.4, 0.6]
    assert (figure["median"], figure["low"], figure["high"]) == (0.5, 0.4, 0.6)


def test_both_files_are_written_into_a_new_folder(tmp_path):
    RESULT.write(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b" / "text.md").read_text(encoding="utf-8") == RESULT.as_markdown()
    assert (
        json.loads((tmp_path / "a" / "b" / "text.json").read_text(encoding="utf-8"))["topic"]
        == "text"
    )


def test_the_machine_is_described():
    assert set(machine()) == {"cpu", "cores", "system", "python", "load before", "scheduled"}
    assert all(machine().values())
