"""A document as a workbook: figures as numbers, charts as the spreadsheet's own."""

import io
from decimal import Decimal

import xlsxwriter
from xlsxwriter.format import Format
from xlsxwriter.utility import xl_range_abs
from xlsxwriter.workbook import Workbook
from xlsxwriter.worksheet import Worksheet

from metering.columns import cells
from metering.document import Cell, Chart, Document, Row, Style, Table

# Excel keeps 15 digits of a number; one with more is written as text rather than wrong.
EXACT_DIGITS = 15
WIDEST_COLUMN = 60


def render_xlsx(document: Document) -> bytes:
    """Write a document as XLSX: front, details and definitions on sheets of their own."""
    file = io.BytesIO()
    book = xlsxwriter.Workbook(file, {"in_memory": True, "strings_to_formulas": False})
    book.set_properties(
        {"title": f"{document.title} {document.subtitle}", "created": document.stamp}
    )
    korean = document.lang == "ko"
    _Sheets(book, korean).write(document)
    book.close()
    return file.getvalue()


class _Sheets:
    """The sheets of one workbook and its few formats."""

    def __init__(self, book: Workbook, korean: bool) -> None:
        self._book = book
        self._korean = korean
        face = {"font_name": "Malgun Gothic" if korean else "Calibri", "font_size": 10}
        make = book.add_format
        self._plain = make(face)
        self._wrapped = make(face | {"text_wrap": True, "valign": "top"})
        self._title = make(face | {"bold": True, "font_size": 14})
        self._bold = make(face | {"bold": True})
        self._heading = make(face | {"bold": True, "bg_color": "#1f4e8c", "font_color": "#ffffff"})
        self._figures = {
            style: make(
                face | {"num_format": "#,##0.##############", "bold": style is not Style.LINE}
            )
            for style in Style
        }
        self._whole = {
            style: make(face | {"num_format": "#,##0", "bold": style is not Style.LINE})
            for style in Style
        }

    def write(self, document: Document) -> None:
        front = self._sheet("명세" if self._korean else "Statement")
        front.write(0, 0, document.title, self._title)
        front.write(0, 1, document.subtitle, self._title)
        line = 2
        for label, value in document.facts:
            front.write(line, 0, label, self._bold)
            front.write(line, 1, value, self._plain)
            line += 1
        for part in document.front:
            line = self._part(front, line + 1, part)
        for note in document.notes:
            line += 1
            front.write(line, 0, note, self._plain)
        for number, part in enumerate(document.details, 1):
            sheet = self._sheet(f"{'내역' if self._korean else 'Details'} {number}")
            self._part(sheet, 0, part)
        if document.definitions:
            self._definitions(document)

    def _sheet(self, name: str) -> Worksheet:
        sheet: Worksheet = self._book.add_worksheet(name)
        sheet.set_paper(9)  # A4
        sheet.fit_to_pages(1, 0)
        return sheet

    def _part(self, sheet: Worksheet, line: int, part: Table | Chart) -> int:
        if isinstance(part, Chart):
            return self._chart(sheet, line, part)
        return self._table(sheet, line, part)

    def _table(self, sheet: Worksheet, line: int, table: Table) -> int:
        if table.title:
            sheet.write(line, 0, table.title, self._bold)
            line += 1
        for n, column in enumerate(table.columns):
            sheet.write(line, n, column.heading, self._heading)
            widest = max([cells(column.heading), *(cells(row.cells[n].text) for row in table.rows)])
            sheet.set_column(n, n, min(WIDEST_COLUMN, widest + 3))
        for row in table.rows:
            line += 1
            self._row(sheet, line, row)
        if table.note:
            line += 1
            sheet.write(line, 0, table.note, self._plain)
        return line + 1

    def _row(self, sheet: Worksheet, line: int, row: Row) -> None:
        for n, cell in enumerate(row.cells):
            if cell.value is not None and _is_exact(cell.value):
                whole = cell.value == int(cell.value)
                form = (self._whole if whole else self._figures)[row.style]
                sheet.write_number(line, n, float(cell.value), form)
            elif cell.text:
                sheet.write_string(line, n, cell.text, self._words_of(row, cell))

    def _words_of(self, row: Row, cell: Cell) -> Format:
        return self._plain if row.style is Style.LINE or not cell.text else self._bold

    def _chart(self, sheet: Worksheet, line: int, chart: Chart) -> int:
        sheet.write(line, 0, chart.title, self._bold)
        first = line + 1
        for n, series in enumerate(chart.series):
            sheet.write(first, n + 1, series.name, self._heading)
        for n, label in enumerate(chart.labels):
            sheet.write_string(first + 1 + n, 0, label, self._plain)
            for m, series in enumerate(chart.series):
                sheet.write_number(
                    first + 1 + n, m + 1, float(series.values[n]), self._figures[Style.LINE]
                )
        last = first + len(chart.labels)
        if chart.labels:
            drawn = self._drawn(sheet, chart, first, last)
            sheet.insert_chart(first, len(chart.series) + 2, drawn)
        return last + 1

    def _drawn(self, sheet: Worksheet, chart: Chart, first: int, last: int) -> object:
        kind = {"type": "line"} if chart.lines else {"type": "column", "subtype": "stacked"}
        drawn = self._book.add_chart(kind)
        name = sheet.get_name().replace("'", "''")
        for m in range(len(chart.series)):
            drawn.add_series(
                {
                    "name": f"='{name}'!{xl_range_abs(first, m + 1, first, m + 1)}",
                    "categories": f"='{name}'!{xl_range_abs(first + 1, 0, last, 0)}",
                    "values": f"='{name}'!{xl_range_abs(first + 1, m + 1, last, m + 1)}",
                }
            )
        drawn.set_title({"name": chart.title})
        axis: dict[str, object] = {"name": chart.unit}
        drawn.set_y_axis(axis | {"log_base": 10} if chart.log else axis)
        return drawn

    def _definitions(self, document: Document) -> None:
        sheet = self._sheet("정의" if self._korean else "Definitions")
        for column, width in ((0, 26), (1, 34), (2, 26), (3, 90)):
            sheet.set_column(column, column, width)
        for line, definition in enumerate(document.definitions):
            for column, text in enumerate(definition):
                sheet.write_string(line, column, text, self._wrapped)


def _is_exact(value: int | Decimal) -> bool:
    return len(Decimal(value).normalize().as_tuple().digits) <= EXACT_DIGITS
