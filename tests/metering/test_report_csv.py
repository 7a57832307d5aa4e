"""A statement for a spreadsheet."""

import csv
import io
from decimal import Decimal

from metering.meters import METERS
from metering.report_csv import render_csv
from metering.statement import Report


def test_the_csv_adds_up_and_opens_in_a_spreadsheet(report: Report, lang: str) -> None:
    text = render_csv(report, lang)
    assert text.startswith("\ufeffkind,")
    rows = list(csv.DictReader(io.StringIO(text[1:], newline="")))
    lines = [row for row in rows if row["kind"] == "line"]
    assert [row["meter"] for row in lines] == list(METERS)
    assert [int(row["quantity"]) for row in lines] == [line.quantity for line in report.lines]
    sums = {row["kind"]: Decimal(row["amount"]) for row in rows if row["kind"] != "line"}
    assert sums["subtotal"] == sum(Decimal(row["amount"]) for row in lines)
    assert sums["total"] == sums["subtotal"] + sums["vat"] == report.total
    assert {row["currency"] for row in rows} == {"KRW"}
    assert lines[0]["title"] == METERS["chat.messages_sent"].title(lang)
    assert text.count("\r\n") == text.count("\n") == len(rows) + 1
