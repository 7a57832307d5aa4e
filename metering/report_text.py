"""A statement for a terminal or a plain mail, in a fixed-width face."""

from metering.columns import cells, left, right, wrapped
from metering.statement import Report
from metering.statement_table import Row, Table, table_of

GAP = "  "
INDENT = "  "
# Wide enough for the sentences, narrow enough for the smallest terminal (80) and for mail.
LEAST_WIDTH = 78


def render_text(report: Report, lang: str) -> str:
    """Write a statement as text that lines up in a terminal."""
    table = table_of(report, lang)
    widths = _widths(table)
    width = sum(widths) + len(GAP) * (len(widths) - 1)
    title, month = table.words.title, table.month
    lines = [
        left(title, width - cells(month)) + month,
        "=" * width,
        *_facts(table),
        "",
        _row(table.headings, widths),
        "-" * width,
    ]
    for section in table.sections:
        lines.append(left(section.title, width - cells(section.amount)) + section.amount)
        lines += [_row(_columns(row), widths) for row in section.rows]
    lines.append("-" * width)
    lines += [left(label, width - cells(amount)) + amount for label, amount in table.sums]
    lines += ["=" * width, ""]
    for note in table.notes:
        lines += wrapped(note, width)
    lines += ["", table.words.definitions, "-" * width, *_definitions(table, width)]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _facts(table: Table) -> list[str]:
    label_width = max(cells(label) for label, _ in table.facts)
    return [left(label, label_width) + GAP + value for label, value in table.facts]


def _definitions(table: Table, width: int) -> list[str]:
    lines: list[str] = []
    for definition in table.definitions:
        lines.append(left(definition.title, width - cells(definition.prices)) + definition.prices)
        lines += [INDENT + line for line in wrapped(definition.sentence, width - cells(INDENT))]
    return lines


def _columns(row: Row) -> tuple[str, str, str, str, str]:
    return INDENT + row.title, row.quantity, row.unit, row.unit_price, row.amount


def _row(columns: tuple[str, str, str, str, str], widths: list[int]) -> str:
    title, quantity, unit, unit_price, amount = columns
    return GAP.join(
        (
            left(title, widths[0]),
            right(quantity, widths[1]),
            left(unit, widths[2]),
            right(unit_price, widths[3]),
            right(amount, widths[4]),
        )
    )


def _widths(table: Table) -> list[int]:
    rows = [_columns(row) for section in table.sections for row in section.rows]
    widths = [max(cells(row[n]) for row in (table.headings, *rows)) for n in range(5)]
    spare = LEAST_WIDTH - sum(widths) - len(GAP) * (len(widths) - 1)
    return [widths[0] + max(0, spare), *widths[1:]]
