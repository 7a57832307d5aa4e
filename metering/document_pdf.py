"""A document as PDF on A4, with the Korean font of an installed package embedded as a subset."""

from collections.abc import Sequence
from importlib import resources
from pathlib import Path

from fpdf import FPDF
from fpdf.enums import XPos, YPos

from metering import plot
from metering.document import Chart, Document, Row, Style, Table
from metering.errors import FontMissing

FONT_PACKAGE, FONT_FILE = "pylopdf_fonts_ko", "NotoSansKR-Regular.otf"
MARGIN_MM, FOOT_MM = 15.0, 14.0
ROW_MM, PADDING_MM = 5.4, 2.0
BLUE, GREY, PALE, INK = (31, 78, 140), (74, 85, 99), (234, 240, 248), (27, 31, 36)


def font_path() -> Path:
    """Return the file of the font to embed.

    Raises FontMissing when the package that brings it is not installed.
    """
    try:
        path = Path(str(resources.files(FONT_PACKAGE).joinpath(FONT_FILE)))
    except ModuleNotFoundError:
        raise FontMissing(FONT_PACKAGE) from None
    if not path.is_file():
        raise FontMissing(FONT_PACKAGE)
    return path


def render_pdf(document: Document) -> bytes:
    """Write a document as PDF. The same document is the same bytes.

    Raises FontMissing.
    """
    sheet = _Sheet(document, font_path())
    sheet.write()
    return bytes(sheet.output())


class _Sheet(FPDF):
    def __init__(self, document: Document, font: Path) -> None:
        super().__init__(format="A4", unit="mm")
        self._document = document
        self.set_margins(MARGIN_MM, MARGIN_MM)
        self.set_auto_page_break(True, MARGIN_MM + FOOT_MM / 2)
        self.add_font("text", "", font)
        self.set_creation_date(document.stamp)
        self.set_title(f"{document.title} {document.subtitle}")
        self.set_lang(document.lang)

    def footer(self) -> None:
        self.set_y(-MARGIN_MM)
        self._face(8, GREY)
        text = f"{self._document.title} {self._document.subtitle}"
        self.cell(w=self.epw * 0.8, h=5, text=text)
        self.cell(w=self.epw * 0.2, h=5, text=f"{self.page_no()} / {{nb}}", align="R")

    def write(self) -> None:  # type: ignore[override]
        document = self._document
        self.add_page()
        self._head()
        for part in document.front:
            self._part(part)
        self.ln(2)
        for note in document.notes:
            self._paragraph(note, 8.5, GREY)
        if document.definitions:
            self.add_page()
            self._heading(document.definitions_title)
            self._definitions()
        if document.details:
            self.add_page()
            for part in document.details:
                self._part(part)

    def _face(self, size: float, colour: tuple[int, int, int] = INK) -> None:
        self.set_font("text", size=size)
        self.set_text_color(*colour)

    def _head(self) -> None:
        document = self._document
        self._face(17)
        self.cell(w=self.epw * 0.68, h=10, text=document.title)
        self._face(12, BLUE)
        self.cell(
            w=self.epw * 0.32, h=10, text=document.subtitle, align="R",
            new_x=XPos.LMARGIN, new_y=YPos.NEXT,
        )  # fmt: skip
        self.set_draw_color(*BLUE)
        self.set_line_width(0.6)
        self.line(self.l_margin, self.get_y(), self.w - self.r_margin, self.get_y())
        self.ln(2.5)
        self._face(9)
        width = max((self.get_string_width(label) for label, _ in document.facts), default=0) + 6
        for label, value in document.facts:
            self._face(9, GREY)
            self.cell(w=width, h=5, text=label)
            self._face(9)
            self.multi_cell(w=0, h=5, text=value, new_x=XPos.LMARGIN, new_y=YPos.NEXT)
        self.ln(2)

    def _heading(self, text: str) -> None:
        self._face(12, BLUE)
        self.cell(w=0, h=8, text=text, new_x=XPos.LMARGIN, new_y=YPos.NEXT)

    def _paragraph(self, text: str, size: float, colour: tuple[int, int, int] = INK) -> None:
        self._face(size, colour)
        self.multi_cell(
            w=0, h=size * 0.52, text=text, align="L", new_x=XPos.LMARGIN, new_y=YPos.NEXT
        )

    def _part(self, part: Table | Chart) -> None:
        if isinstance(part, Chart):
            self._chart(part)
        else:
            self._table(part)

    def _table(self, table: Table) -> None:
        # A title stays with the first of its rows.
        if self.get_y() + 8 + 6 + 2 * 6 > self.h - self.b_margin:
            self.add_page()
        if table.title:
            self._heading(table.title)
        size = 9.0 if len(table.columns) <= 6 else 7.5
        widths = self._widths(table, size)
        self._headings(table, widths, size)
        for row in table.rows:
            self._face(size)
            lines = self._lines(row, table, widths)
            if self.get_y() + ROW_MM * max(map(len, lines)) + 0.6 > self.h - self.b_margin:
                self.add_page()
                self._headings(table, widths, size)
            self._row(row, lines, table, widths, size)
        if table.note:
            self.ln(1)
            self._paragraph(table.note, 8, GREY)
        self.ln(3)

    def _headings(self, table: Table, widths: Sequence[float], size: float) -> None:
        self._face(size, (255, 255, 255))
        self.set_fill_color(*BLUE)
        lines = [
            self._broken(column.heading, width)
            for column, width in zip(table.columns, widths, strict=True)
        ]
        deep = max(map(len, lines))
        for n in range(deep):
            for texts, column, width in zip(lines, table.columns, widths, strict=True):
                self.cell(
                    w=width, h=6 if deep == 1 else 4.4, text=texts[n] if n < len(texts) else "",
                    align="R" if column.number else "L", fill=True,
                )  # fmt: skip
            self.ln(6 if deep == 1 else 4.4)

    def _row(
        self,
        row: Row,
        lines: list[list[str]],
        table: Table,
        widths: Sequence[float],
        size: float,
    ) -> None:
        strong = row.style is Style.TOTAL
        self._face(size + 1.5 if strong else size)
        self.set_fill_color(*PALE)
        self.set_draw_color(*(BLUE if row.style in (Style.SUM, Style.TOTAL) else (213, 219, 227)))
        self.set_line_width(0.4 if strong else 0.15)
        height = 7.0 if strong else ROW_MM
        fill = row.style is Style.GROUP
        border = "B"
        if row.style is not Style.LINE and not any(cell.text for cell in row.cells[1:-1]):
            lead = sum(widths[:-1])
            self.cell(w=lead, h=height, text=row.cells[0].text, fill=fill, border=border)
            self.cell(
                w=widths[-1], h=height, text=row.cells[-1].text, align="R", fill=fill,
                border=border,
            )  # fmt: skip
        else:
            deep = max(map(len, lines))
            for n in range(deep):
                for texts, column, width in zip(lines, table.columns, widths, strict=True):
                    self.cell(
                        w=width, h=height, text=texts[n] if n < len(texts) else "",
                        align="R" if column.number else "L", fill=fill,
                        border=border if n == deep - 1 else 0,
                    )  # fmt: skip
                if n < deep - 1:
                    self.ln(height)
        self.ln(height)

    def _lines(self, row: Row, table: Table, widths: Sequence[float]) -> list[list[str]]:
        """Break the words of a row's cells into lines; figures have the room they need."""
        return [
            [self._fitted(cell.text, width)] if column.number else self._broken(cell.text, width)
            for cell, column, width in zip(row.cells, table.columns, widths, strict=True)
        ]

    def _broken(self, text: str, width: float) -> list[str]:
        """Break text at blanks, and inside a word that is longer than a line."""
        lines: list[str] = []
        line = ""
        for word in text.split(" "):
            longer = f"{line} {word}" if line else word
            if self.get_string_width(longer) <= width - PADDING_MM:
                line = longer
                continue
            lines += [line] if line else []
            line = word
            while self.get_string_width(line) > width - PADDING_MM and len(line) > 1:
                cut = next(
                    n for n in range(len(line) - 1, 0, -1)
                    if n == 1 or self.get_string_width(line[:n]) <= width - PADDING_MM
                )  # fmt: skip
                lines.append(line[:cut])
                line = line[cut:]
        return [*lines, line]

    def _fitted(self, text: str, width: float) -> str:
        """Shorten words that do not fit; figures are given the room they need by `_widths`."""
        if self.get_string_width(text) <= width - 1.5:
            return text
        while text and self.get_string_width(text + "…") > width - 1.5:
            text = text[:-1]
        return text + "…"

    def _widths(self, table: Table, size: float) -> list[float]:
        self._face(size)
        lines = [row for row in table.rows if any(cell.text for cell in row.cells[1:-1])]
        lines = lines or list(table.rows)
        wanted = [
            max(self.get_string_width(text) for text in texts) + 4
            for texts in (
                [*self._heading_words(table, n), *(row.cells[n].text for row in lines)]
                for n in range(len(table.columns))
            )
        ]
        rest = self.epw - sum(
            width for width, column in zip(wanted, table.columns, strict=True) if column.number
        )
        words = [n for n, column in enumerate(table.columns) if not column.number] or [0]
        # Short ones have what they need; what is left is shared by those that are broken anyway.
        for left, n in zip(
            range(len(words), 0, -1), sorted(words, key=lambda n: wanted[n]), strict=True
        ):
            wanted[n] = max(14.0, min(wanted[n], rest / left))
            rest -= wanted[n]
        excess = self.epw / sum(wanted)
        return [width * excess for width in wanted]

    def _heading_words(self, table: Table, n: int) -> list[str]:
        """Return what a heading needs in one line: of a table with many columns, its words."""
        heading = table.columns[n].heading
        return [heading] if len(table.columns) <= 6 else heading.split(" ")

    def _definitions(self) -> None:
        for title, code, price, sentence in self._document.definitions:
            if self.get_y() + 14 > self.h - self.b_margin:
                self.add_page()
            self._face(9.5)
            self.cell(w=self.get_string_width(title) + 3, h=5, text=title)
            self._face(7.5, GREY)
            self.cell(w=self.get_string_width(code) + 2, h=5, text=code)
            self._face(9)
            self.cell(w=0, h=5, text=price, align="R", new_x=XPos.LMARGIN, new_y=YPos.NEXT)
            self._paragraph(sentence, 8.5, GREY)
            self.ln(1.5)

    def _chart(self, chart: Chart) -> None:
        if self.get_y() + plot.HEIGHT + 10 > self.h - self.b_margin:
            self.add_page()
        self._heading(chart.title)
        x, y = self.l_margin, self.get_y()
        for shape in plot.shapes(chart):
            self._shape(shape, x, y)
        self.set_y(y + plot.HEIGHT + 3)

    def _shape(self, shape: plot.Shape, x: float, y: float) -> None:
        match shape:
            case plot.Bar():
                self.set_fill_color(shape.colour)
                self.rect(x + shape.x, y + shape.y, shape.width, shape.height, style="F")
            case plot.Stroke():
                self.set_draw_color(shape.colour)
                self.set_line_width(shape.width)
                self.polyline([(x + px, y + py) for px, py in shape.points])
            case plot.Text():
                self._face(7.5)
                wide = self.get_string_width(shape.text)
                shift = {"start": 0.0, "middle": wide / 2, "end": wide}[shape.anchor]
                self.text(x + shape.x - shift, y + shape.y, shape.text)
