"""A statement as one self-contained page that prints on A4: no script, no outside resource."""

import base64
import hashlib
from html import escape

from metering.statement import Report
from metering.statement_table import Definition, Row, Section, Table, table_of

STYLE = """
@page { size: A4; margin: 16mm 15mm; }
:root { color-scheme: light; }
body { max-width: 180mm; margin: 10mm auto; padding: 0 4mm; color: #1b1f24; background: #fff;
  font: 10.5pt/1.55 "Noto Sans KR", "Noto Sans CJK KR", "Apple SD Gothic Neo", "Malgun Gothic",
  "Segoe UI", sans-serif; word-break: keep-all; }
header { display: flex; justify-content: space-between; align-items: baseline; gap: 6mm;
  border-bottom: 2pt solid #1f4e8c; padding-bottom: 2mm; }
h1 { font-size: 18pt; line-height: 1.25; margin: 0; letter-spacing: -0.01em; }
header p { font-size: 13pt; font-weight: 700; margin: 0; white-space: nowrap; color: #1f4e8c; }
dl.facts { display: grid; grid-template-columns: max-content 1fr; gap: 0.8mm 5mm; margin: 4mm 0; }
dl.facts dt { color: #4a5563; }
dl.facts dd { margin: 0; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: 1.1mm 1.5mm; text-align: left; vertical-align: baseline; }
th.number, td.number { text-align: right; white-space: nowrap; }
thead th { background: #1f4e8c; color: #fff; font-weight: 600; white-space: nowrap; }
tbody.service tr { border-bottom: 0.4pt solid #d5dbe3; }
tbody.service tr.head { background: #eaf0f8; border-bottom: 0.6pt solid #9fb3cf; }
tbody.service tr.head th { font-weight: 700; }
tbody.service td:first-child { padding-left: 5mm; }
tbody.service tr.none td { color: #5d6875; }
tbody.sums th, tbody.sums td { font-weight: 600; }
tbody.sums tr:first-child > * { border-top: 1.2pt solid #1f4e8c; }
tbody.sums tr:last-child > * { border-top: 0.6pt solid #1f4e8c; border-bottom: 2pt solid #1f4e8c;
  font-size: 12.5pt; }
.notes { color: #3b4552; margin: 4mm 0 0; font-size: 9.5pt; }
.notes p { margin: 0 0 1mm; }
.notes p:first-child { font-weight: 700; color: #1b1f24; }
section h2 { font-size: 12.5pt; margin: 7mm 0 2mm; }
section.meters { break-before: page; }
dl.meters dt { display: flex; justify-content: space-between; gap: 5mm; font-weight: 600;
  break-after: avoid; }
dl.meters dt code { font: 400 8.5pt/1.5 ui-monospace, "Noto Sans Mono", monospace; color: #4a5563;
  margin-left: 2mm; }
dl.meters dt span.price { font-weight: 400; white-space: nowrap; }
dl.meters dd { margin: 0 0 2.2mm; padding-bottom: 2mm; border-bottom: 0.4pt solid #d5dbe3;
  break-inside: avoid; }
tr, tbody { break-inside: avoid; }
@media print { body { margin: 0; max-width: none; padding: 0; font-size: 9.5pt; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; } }
@media (max-width: 640px) { body { font-size: 9.5pt; margin: 4mm 0; }
  header { display: block; } .scroll { overflow-x: auto; } }
"""

# For a Content-Security-Policy without 'unsafe-inline': style-src with this source.
STYLE_SOURCE = f"'sha256-{base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()}'"


def render_html(report: Report, lang: str) -> str:
    """Write a statement as an HTML page: the table on the first sheet, the meanings after it."""
    table = table_of(report, lang)
    title = escape(f"{table.words.title} {table.month}")
    return f"""<!doctype html>
<html lang="{table.words.lang}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{STYLE}</style>
</head>
<body>
<header><h1>{escape(table.words.title)}</h1><p>{escape(table.month)}</p></header>
<dl class="facts">
{_facts(table)}</dl>
<div class="scroll" role="region" aria-label="{title}" tabindex="0">
<table>
<thead><tr>{_headings(table)}</tr></thead>
{"".join(_section(section) for section in table.sections)}<tbody class="sums">
{_sums(table)}</tbody>
</table>
</div>
<div class="notes">
{"".join(f"<p>{escape(note)}</p>{chr(10)}" for note in table.notes)}</div>
<section class="meters">
<h2>{escape(table.words.definitions)}</h2>
<dl class="meters">
{"".join(_definition(definition) for definition in table.definitions)}</dl>
</section>
</body>
</html>
"""


def _facts(table: Table) -> str:
    return "".join(
        f"<dt>{escape(label)}</dt><dd>{escape(value)}</dd>\n" for label, value in table.facts
    )


def _headings(table: Table) -> str:
    kinds = ("", ' class="number"', "", ' class="number"', ' class="number"')
    return "".join(
        f'<th scope="col"{kind}>{escape(heading)}</th>'
        for kind, heading in zip(kinds, table.headings, strict=True)
    )


def _section(section: Section) -> str:
    head = (
        f'<tr class="head"><th scope="rowgroup" colspan="4">{escape(section.title)}</th>'
        f'<th class="number">{escape(section.amount)}</th></tr>\n'
    )
    rows = "".join(_row(row) for row in section.rows)
    return f'<tbody class="service">\n{head}{rows}</tbody>\n'


def _row(row: Row) -> str:
    opening = '<tr class="none">' if row.quantity == "0" else "<tr>"
    return (
        f'{opening}<td>{escape(row.title)}</td><td class="number">{escape(row.quantity)}</td>'
        f'<td>{escape(row.unit)}</td><td class="number">{escape(row.unit_price)}</td>'
        f'<td class="number">{escape(row.amount)}</td></tr>\n'
    )


def _sums(table: Table) -> str:
    # Not a tfoot: that is repeated on every sheet, and a total stands at the end.
    return "".join(
        f'<tr><th scope="row" colspan="4">{escape(label)}</th>'
        f'<td class="number">{escape(amount)}</td></tr>\n'
        for label, amount in table.sums
    )


def _definition(definition: Definition) -> str:
    return (
        f"<dt><span>{escape(definition.title)} <code>{escape(definition.meter)}</code></span>"
        f'<span class="price">{escape(definition.prices)}</span></dt>'
        f"<dd>{escape(definition.sentence)}</dd>\n"
    )
