"""A document as one self-contained page that prints on A4: no script, no outside resource."""

import base64
import hashlib
from html import escape

from metering import plot
from metering.document import Chart, Definition, Document, Row, Style, Table

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
dl.facts dd { margin: 0; min-width: 0; overflow-wrap: anywhere; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: 1.1mm 1.5mm; text-align: left; vertical-align: baseline; }
th.number, td.number { text-align: right; white-space: nowrap; }
thead th { background: #1f4e8c; color: #fff; font-weight: 600; white-space: nowrap; }
tbody.lines tr { border-bottom: 0.4pt solid #d5dbe3; }
tbody.lines tr.head { background: #eaf0f8; border-bottom: 0.6pt solid #9fb3cf; }
tbody.lines tr.head > * { font-weight: 700; }
tbody.lines td:first-child { padding-left: 5mm; }
tbody.lines tr.none td { color: #5d6875; }
tbody.sums th, tbody.sums td { font-weight: 600; }
tbody.sums tr:first-child > * { border-top: 1.2pt solid #1f4e8c; }
tbody.sums tr:last-child > * { border-top: 0.6pt solid #1f4e8c; border-bottom: 2pt solid #1f4e8c;
  font-size: 12.5pt; }
.notes { color: #3b4552; margin: 4mm 0 0; font-size: 9.5pt; }
.notes p { margin: 0 0 1mm; }
.notes p:first-child { font-weight: 700; color: #1b1f24; }
section h2 { font-size: 12.5pt; margin: 7mm 0 2mm; }
section.meters, section.details { break-before: page; }
caption { text-align: left; font-weight: 700; font-size: 11.5pt; padding: 5mm 0 1.5mm; }
table.detail { font-size: 9pt; }
svg.chart { display: block; width: 100%; height: auto; margin: 1mm 0 4mm; }
h3 { font-size: 11.5pt; margin: 6mm 0 0; break-after: avoid; }
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


def render_html(document: Document) -> str:
    """Write a document as an HTML page: its front on the first sheet, the rest after it."""
    title = escape(f"{document.title} {document.subtitle}".strip())
    return f"""<!doctype html>
<html lang="{document.lang}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{STYLE}</style>
</head>
<body>
<header><h1>{escape(document.title)}</h1><p>{escape(document.subtitle)}</p></header>
<dl class="facts">
{_facts(document)}</dl>
{"".join(_part(part, title) for part in document.front)}<div class="notes">
{"".join(f"<p>{escape(note)}</p>{chr(10)}" for note in document.notes)}</div>
{_definitions(document)}{_details(document)}</body>
</html>
"""


def _facts(document: Document) -> str:
    return "".join(
        f"<dt>{escape(label)}</dt><dd>{escape(value)}</dd>\n" for label, value in document.facts
    )


def _details(document: Document) -> str:
    if not document.details:
        return ""
    parts = "".join(_part(part, part.title, detail=True) for part in document.details)
    return f'<section class="details">\n{parts}</section>\n'


def _part(part: Table | Chart, label: str, *, detail: bool = False) -> str:
    return _chart(part) if isinstance(part, Chart) else _table(part, label, detail=detail)


def _table(table: Table, label: str, *, detail: bool) -> str:
    kind = ' class="detail"' if detail else ""
    caption = f"<caption>{escape(table.title)}</caption>\n" if table.title else ""
    headings = "".join(
        f'<th scope="col"{_number(column.number)}>{escape(column.heading)}</th>'
        for column in table.columns
    )
    note = f'<p class="notes">{escape(table.note)}</p>\n' if table.note else ""
    label = escape(table.title or label)
    return f"""<div class="scroll" role="region" aria-label="{label}" tabindex="0">
<table{kind}>
{caption}<thead><tr>{headings}</tr></thead>
{_bodies(table)}</table>
</div>
{note}"""


def _bodies(table: Table) -> str:
    """Write the rows; a group keeps its lines together, sums stand at the end.

    Not a tfoot: that is repeated on every sheet, and a total stands once.
    """
    bodies: list[tuple[str, list[str]]] = []
    for row in table.rows:
        summing = row.style in (Style.SUM, Style.TOTAL)
        kind = "sums" if summing else "lines"
        if not bodies or row.style is Style.GROUP or bodies[-1][0] != kind:
            bodies.append((kind, []))
        bodies[-1][1].append(_row(row, table))
    return "".join(f'<tbody class="{kind}">\n{"".join(rows)}</tbody>\n' for kind, rows in bodies)


def _row(row: Row, table: Table) -> str:
    if row.style is Style.LINE or any(cell.text for cell in row.cells[1:-1]):
        cells = "".join(
            f"<td{_number(column.number)}>{escape(cell.text)}</td>"
            for cell, column in zip(row.cells, table.columns, strict=True)
        )
        return f"<tr{_kind(row)}>{cells}</tr>\n"
    span = len(row.cells) - 1
    scope = "rowgroup" if row.style is Style.GROUP else "row"
    return (
        f'<tr{_kind(row)}><th scope="{scope}" colspan="{span}">{escape(row.cells[0].text)}</th>'
        f'<td class="number">{escape(row.cells[-1].text)}</td></tr>\n'
    )


def _kind(row: Row) -> str:
    if row.style is Style.GROUP:
        return ' class="head"'
    figures = [cell.value for cell in row.cells if cell.value is not None]
    return ' class="none"' if row.style is Style.LINE and figures and not figures[0] else ""


def _number(is_number: bool) -> str:
    return ' class="number"' if is_number else ""


def _definitions(document: Document) -> str:
    if not document.definitions:
        return ""
    listed = "".join(_definition(definition) for definition in document.definitions)
    return f"""<section class="meters">
<h2>{escape(document.definitions_title)}</h2>
<dl class="meters">
{listed}</dl>
</section>
"""


def _definition(definition: Definition) -> str:
    return (
        f"<dt><span>{escape(definition.title)} <code>{escape(definition.code)}</code></span>"
        f'<span class="price">{escape(definition.price)}</span></dt>'
        f"<dd>{escape(definition.sentence)}</dd>\n"
    )


def _chart(chart: Chart) -> str:
    shapes = "".join(_shape(shape) for shape in plot.shapes(chart))
    title = escape(chart.title)
    return (
        f'<h3>{title}</h3>\n<svg class="chart" viewBox="0 0 {plot.WIDTH:g} {plot.HEIGHT:g}" '
        f'role="img" aria-label="{title}" font-size="3">{shapes}</svg>\n'
    )


def _shape(shape: plot.Shape) -> str:
    match shape:
        case plot.Bar():
            return (
                f'<rect x="{shape.x:.2f}" y="{shape.y:.2f}" width="{shape.width:.2f}" '
                f'height="{shape.height:.2f}" fill="{shape.colour}"/>'
            )
        case plot.Stroke():
            points = " ".join(f"{x:.2f},{y:.2f}" for x, y in shape.points)
            return (
                f'<polyline points="{points}" fill="none" stroke="{shape.colour}" '
                f'stroke-width="{shape.width:g}"/>'
            )
        case plot.Text():
            return (
                f'<text x="{shape.x:.2f}" y="{shape.y:.2f}" text-anchor="{shape.anchor}" '
                f'fill="#1b1f24">{escape(shape.text)}</text>'
            )
