"""A document for a terminal or a plain mail, in a fixed-width face."""

from metering.columns import cells, left, right, wrapped
from metering.document import Chart, Document, Row, Style, Table

GAP = "  "
INDENT = "  "
# Wide enough for the sentences, narrow enough for the smallest terminal (80) and for mail.
LEAST_WIDTH = 78


def render_text(document: Document) -> str:
    """Write a document as text that lines up in a terminal; charts are left to other forms."""
    tables = [part for part in document.front if isinstance(part, Table)]
    width = max((sum(_widths(table)) + _gaps(table) for table in tables), default=LEAST_WIDTH)
    lines = [
        left(document.title, width - cells(document.subtitle)) + document.subtitle,
        "=" * width,
        *_facts(document),
    ]
    for table in tables:
        lines += ["", *_table(table)]
    lines += ["=" * width, ""]
    for note in document.notes:
        lines += wrapped(note, width)
    if document.definitions:
        lines += ["", document.definitions_title, "-" * width, *_definitions(document, width)]
    for part in document.details:
        if not isinstance(part, Chart):
            lines += ["", *_table(part)]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _facts(document: Document) -> list[str]:
    label_width = max((cells(label) for label, _ in document.facts), default=0)
    return [left(label, label_width) + GAP + value for label, value in document.facts]


def _table(table: Table) -> list[str]:
    widths = _widths(table)
    width = sum(widths) + _gaps(table)
    lines = [table.title, "-" * width] if table.title else []
    lines += [_line([column.heading for column in table.columns], table, widths), "-" * width]
    before = Style.LINE
    for row in table.rows:
        if row.style in (Style.SUM, Style.TOTAL) and before in (Style.LINE, Style.GROUP):
            lines.append("-" * width)
        lines.append(_row(row, table, widths, width))
        before = row.style
    if table.note:
        lines += ["", *wrapped(table.note, width)]
    return lines


def _row(row: Row, table: Table, widths: list[int], width: int) -> str:
    texts = [cell.text for cell in row.cells]
    if any(texts[1:-1]) or len(texts) == 1:
        return _line(_indented(row, table), table, widths)
    return left(texts[0], width - cells(texts[-1])) + texts[-1]


def _indented(row: Row, table: Table) -> list[str]:
    texts = [cell.text for cell in row.cells]
    grouped = any(other.style is Style.GROUP for other in table.rows)
    return [INDENT + texts[0], *texts[1:]] if grouped and row.style is Style.LINE else texts


def _line(texts: list[str], table: Table, widths: list[int]) -> str:
    return GAP.join(
        (right if column.number else left)(text, width)
        for text, column, width in zip(texts, table.columns, widths, strict=True)
    )


def _widths(table: Table) -> list[int]:
    shown = [[column.heading for column in table.columns]]
    shown += [_indented(row, table) for row in table.rows if any(c.text for c in row.cells[1:-1])]
    shown += [
        ["", *[""] * (len(row.cells) - 2), row.cells[-1].text]
        for row in table.rows
        if len(row.cells) > 1
    ]
    widths = [max(cells(texts[n]) for texts in shown) for n in range(len(table.columns))]
    spare = LEAST_WIDTH - sum(widths) - _gaps(table)
    return [widths[0] + max(0, spare), *widths[1:]]


def _gaps(table: Table) -> int:
    return len(GAP) * (len(table.columns) - 1)


def _definitions(document: Document, width: int) -> list[str]:
    lines: list[str] = []
    for title, _, price, sentence in document.definitions:
        lines.append(left(title, width - cells(price)) + price)
        lines += [INDENT + line for line in wrapped(sentence, width - cells(INDENT))]
    return lines
