"""What stands beside money: nothing that nobody measured is shown as 0."""

from dataclasses import replace
from datetime import date, datetime
from zoneinfo import ZoneInfo

import pytest

from metering.aside_document import aside_tables
from metering.forms import FORMS
from metering.meters import FIGURES, PEAK_USERS, RECORDING_SECONDS
from metering.reconciliation import CHECKS, Difference, Reconciliation
from metering.statement import Aside, Report
from metering.statement_document import document_of

SEOUL = ZoneInfo("Asia/Seoul")
AT_S = int(datetime(2026, 11, 4, 9, tzinfo=SEOUL).timestamp())
FOUND = Difference("messages", ("lobby",), 8, 9)
ASIDE = Aside(
    {PEAK_USERS: 1_234},
    {"hub": AT_S, "sfu": AT_S + 1},
    (
        Reconciliation("2026-11-01", AT_S, {"messages": 1_000, "hours": 24}, (), {}),
        Reconciliation("2026-11-03", AT_S, {"messages": 9}, (FOUND,), {"seconds": "no book"}),
        Reconciliation("2026-11-03", AT_S, {"messages": 9, "seconds": 2}, (FOUND,), {}, "b/hub"),
        Reconciliation("2026-11-03", AT_S, {"messages": 8, "seconds": 3}, (), {}, "c/hub"),
    ),
)


@pytest.fixture
def aside(report: Report) -> Report:
    return replace(report, as_of_s=AT_S, aside=ASIDE)


def cells(report: Report, lang: str, number: int) -> list[list[str]]:
    tables = list(aside_tables(report, ASIDE, lang))
    return [[cell.text for cell in row.cells] for row in tables[number].rows]


def test_a_figure_nobody_measured_is_not_0(aside: Report, lang: str) -> None:
    absent = {"ko": "측정 없음", "en": "not measured"}[lang]
    shown = {row[0]: row[1] for row in cells(aside, lang, 0)}
    assert shown.pop(FIGURES[PEAK_USERS].title(lang)) == "1,234"
    assert set(shown.values()) == {absent}
    assert len(shown) == len(FIGURES) - 1


def test_recording_is_measured_as_soon_as_anything_reports_it(aside: Report, lang: str) -> None:
    title = FIGURES[RECORDING_SECONDS].title(lang)
    assert aside.aside is not None
    told = {**aside.aside.figures, RECORDING_SECONDS: 90}
    tables = list(aside_tables(aside, replace(aside.aside, figures=told), lang))
    shown = {row.cells[0].text: row.cells[1].text for row in tables[0].rows}
    assert shown[title] == "90"


def test_each_source_says_how_far_it_has_come(aside: Report) -> None:
    assert [row[:2] for row in cells(aside, "ko", 1)] == [
        ["hub", "2026-11-04 09:00:00+09:00"], ["sfu", "2026-11-04 09:00:01+09:00"],
    ]  # fmt: skip


def test_a_day_that_was_not_compared_is_shown_as_such(aside: Report) -> None:
    assert cells(aside, "en", 2) == [
        ["2026-11-01", "1,024", "0", "none"],
        ["2026-11-02", "not measured", "not measured", ""],
        ["2026-11-03", "14", "1", CHECKS["seconds"][1]],
    ]
    assert cells(aside, "en", 3) == [["2026-11-03", CHECKS["messages"][1], "lobby", "8", "9"]]


def test_before_anybody_reported_no_day_could_be_compared(report: Report) -> None:
    nothing = Aside({}, {}, ())
    tables = list(aside_tables(replace(report, as_of_s=None), nothing, "ko"))
    assert [len(each.rows) for each in tables] == [len(FIGURES), 1, 0]


@pytest.mark.parametrize("form", FORMS)
def test_every_form_carries_it(aside: Report, lang: str, form: str) -> None:
    body = FORMS[form](document_of(aside, lang))
    assert body == FORMS[form](document_of(aside, lang))
    if form in ("text", "html"):
        assert {"ko": "사용량 대조", "en": "Reconciliation"}[lang] in body.decode()


def test_the_days_are_those_of_the_reports_zone(aside: Report) -> None:
    """At 9 in the morning of the 4th in Seoul it is midnight in UTC: the 4th is not over."""
    days = [date.fromisoformat(row[0]).day for row in cells(aside, "ko", 2)]
    assert days == [1, 2, 3]
