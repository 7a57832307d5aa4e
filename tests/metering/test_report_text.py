"""A statement in a terminal: lined up, narrow enough, and to be recomputed by hand."""

import re
from decimal import Decimal

from metering.columns import cells
from metering.meters import METERS
from metering.report import RENDERERS
from metering.statement import Report

RULES = set("=-")
FIRST_WORD_AFTER = {"ko": "이 명세서는", "en": "This statement"}


def text_of(report: Report, lang: str) -> str:
    return RENDERERS["text"](report, lang).decode()


def test_amounts_stand_in_one_column_of_a_terminal(report: Report, lang: str) -> None:
    table, _, _ = text_of(report, lang).partition(f"\n\n{FIRST_WORD_AFTER[lang]}")
    lines = table.splitlines()
    width = cells(lines[1])
    assert set(lines[1]) == {"="}
    ending = [line for line in lines[7:] if line and set(line) - RULES]
    assert len(ending) == 4 + len(METERS) + 3
    assert {cells(line) for line in ending} == {width}
    assert all(line[-1].isdigit() for line in ending)


def test_the_text_fits_the_smallest_terminal(report: Report, lang: str) -> None:
    assert max(map(cells, text_of(report, lang).splitlines())) <= 80


def test_the_text_can_be_recomputed_by_hand(report: Report, lang: str) -> None:
    row = re.compile(r" +(.+?) +([\d,.]+)  (\S+) +([\d,.]+) +([\d,]+)")
    rows = [match for line in text_of(report, lang).splitlines() if (match := row.fullmatch(line))]
    assert [match[1] for match in rows] == [meter.title(lang) for meter in METERS.values()]
    numbers = [[Decimal(match[n].replace(",", "")) for n in (2, 4, 5)] for match in rows]
    assert all(report.currency.round(q * price) == amount for q, price, amount in numbers)
    assert sum(amount for _, _, amount in numbers) == report.subtotal


def test_the_text_says_what_it_is(report: Report, lang: str) -> None:
    said = " ".join(text_of(report, lang).split())
    assert {"ko": "청구서가 아닙니다", "en": "not an invoice"}[lang] in said
    assert {"ko": "잠정", "en": "provisional"}[lang] in said
    assert {"ko": "2026-11-01 00:00 ~ 2026-12-01 00:00", "en": "2026-11-01 00:00 to"}[lang] in said
    assert all(meter.definition(lang) in said for meter in METERS.values())
