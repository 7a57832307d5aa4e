"""What a statement's details say beside money: figures, who has reported, what was compared."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal

from metering.document import Cell, Row, Table, table, words
from metering.meters import FIGURES
from metering.rating.adjustments import Titles
from metering.reconciliation import CHECKS, Reconciliation, merged
from metering.statement import Aside, Report
from metering.units import Unit
from metering.windows import day_of

SAID = {
    name: Titles(*titles)
    for name, titles in {
        "figures": ("그 밖의 수치", "Other figures"),
        "figure": ("항목", "Figure"),
        "quantity": ("수량", "Quantity"),
        "unit": ("단위", "Unit"),
        "meaning": ("뜻", "Meaning"),
        "not_measured": ("측정 없음", "not measured"),
        Unit.BYTE: ("바이트", "bytes"),
        Unit.SECOND: ("초", "seconds"),
        Unit.USER: ("명", "users"),
        "complete": ("집계의 완전성", "Completeness"),
        "reader": ("기록의 출처", "Source of records"),
        "until": ("집계된 때까지", "Known until"),
        "state": ("상태", "State"),
        "whole": ("이 달 전체", "the whole month"),
        "part": ("진행 중", "still to come"),
        "reconciled": ("사용량 대조", "Reconciliation"),
        "day": ("일자", "Day"),
        "compared": ("대조한 수", "Compared"),
        "differences": ("차이", "Differences"),
        "left_out": ("대조하지 못한 것", "Not compared"),
        "none": ("없음", "none"),
        "differs": ("차이 내역", "What differs"),
        "check": ("대조", "Check"),
        "of": ("대상", "Of"),
        "counted": ("집계", "Counted"),
        "known": ("비교한 값", "Known"),
    }.items()
}


def aside_tables(report: Report, aside: Aside, lang: str) -> Iterator[Table]:
    """Table what is told beside money, in the words of `lang`."""
    said = {name: titles.in_(lang) for name, titles in SAID.items()}
    yield _figures(aside, said, lang)
    if aside.readers or not report.complete:  # complete it had to be to be closed
        yield _completeness(report, aside, said)
    yield _reconciled(report, aside, said, lang)
    # What is in the ledger is compared by each machine; a difference found by several is one.
    found = sorted({(made.day, each) for made in aside.reconciled for each in made.differences})
    if found:
        rows = [
            Row(
                (
                    *words(day, Titles(*CHECKS[each.check]).in_(lang), " · ".join(each.key)),
                    _figure(each.counted),
                    _figure(each.known),
                )
            )
            for day, each in found
        ]
        headings = [said[name] for name in ("day", "check", "of", "counted", "known")]
        yield table(headings, (False, False, False, True, True), rows, said["differs"])


def _figures(aside: Aside, said: dict[str, str], lang: str) -> Table:
    rows = []
    for name, meter in FIGURES.items():
        quantity = aside.figures.get(name)
        measured = Cell(said["not_measured"]) if quantity is None else _figure(quantity)
        meaning = Cell(meter.definition(lang))
        rows.append(Row((Cell(meter.title(lang)), measured, Cell(said[meter.unit]), meaning)))
    headings = [said[name] for name in ("figure", "quantity", "unit", "meaning")]
    return table(headings, (False, True, False, False), rows, said["figures"])


def _completeness(report: Report, aside: Aside, said: dict[str, str]) -> Table:
    rows = []
    for reader, at_s in aside.readers.items():
        until = datetime.fromtimestamp(at_s, report.zone).isoformat(sep=" ")
        state = said["whole"] if at_s >= report.period.end_s else said["part"]
        rows.append(Row(words(reader, until, state)))
    if not rows:
        rows.append(Row(words(said["none"], said["not_measured"], said["not_measured"])))
    headings = [said[name] for name in ("reader", "until", "state")]
    return table(headings, (False, False, False), rows, said["complete"])


def _reconciled(report: Report, aside: Aside, said: dict[str, str], lang: str) -> Table:
    made: dict[str, list[Reconciliation]] = {}
    for each in aside.reconciled:
        made.setdefault(each.day, []).append(each)
    known_s = report.period.start_s if report.as_of_s is None else report.as_of_s
    day, until = day_of(report.period.start_s, report.zone), day_of(known_s, report.zone)
    rows = []
    while day < until:
        found = made.get(day.isoformat())
        if found is None:
            blanks = words(day.isoformat(), said["not_measured"], said["not_measured"], "")
            rows.append(Row(blanks))
        else:
            left_out = dict.fromkeys(check for each in found for check in each.skipped)
            skipped = ", ".join(Titles(*CHECKS[check]).in_(lang) for check in left_out)
            # Each machine compares what is its own and what all have in common: once each.
            compared = merged(found)
            rows.append(
                Row(
                    (
                        Cell(day.isoformat()),
                        _figure(sum(compared.values())),
                        _figure(len({x for each in found for x in each.differences})),
                        Cell(skipped or said["none"]),
                    )
                )
            )
        day += timedelta(days=1)
    headings = [said[name] for name in ("day", "compared", "differences", "left_out")]
    return table(headings, (False, True, True, False), rows, said["reconciled"])


def _figure(number: int) -> Cell:
    return Cell(f"{number:,}", Decimal(number))
