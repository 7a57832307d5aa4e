"""The one model of every report: what stands on it, before it is text, page, sheet or PDF.

A document is in one language. Its cells carry the text that a person reads and the value behind
it, so that a spreadsheet gets numbers; where both are shown, they say the same.
"""

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple


class Cell(NamedTuple):
    """What a reader sees, and the number behind it (None for words)."""

    text: str
    value: int | Decimal | None = None


class Column(NamedTuple):
    """A heading; numbers stand on the right."""

    heading: str
    number: bool = False


class Style(enum.StrEnum):
    """What a row is: the head of a group with its sum, a line, a sum, or the last sum."""

    GROUP = "group"
    LINE = "line"
    SUM = "sum"
    TOTAL = "total"


@dataclass(frozen=True, slots=True)
class Row:
    """One cell a column. Group and sum rows have words in the first and a figure in the last."""

    cells: tuple[Cell, ...]
    style: Style = Style.LINE


@dataclass(frozen=True, slots=True)
class Table:
    """Columns and rows; `note` stands below, `title` is empty where the document says it."""

    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    title: str = ""
    note: str = ""


class Series(NamedTuple):
    """A name and one value for each label of its chart.

    `colour` is an index, so that a thing keeps its colour from chart to chart.
    """

    name: str
    values: tuple[Decimal, ...]
    colour: int = 0


@dataclass(frozen=True, slots=True)
class Chart:
    """Bars over labels, the series stacked; or lines, on a logarithmic scale where `log`."""

    title: str
    labels: tuple[str, ...]
    series: tuple[Series, ...]
    unit: str
    lines: bool = False
    log: bool = False


class Definition(NamedTuple):
    """A term, its stable name, what it costs, and what it means in one sentence."""

    title: str
    code: str
    price: str
    sentence: str


@dataclass(frozen=True, slots=True)
class Document:
    """A report. `front` fits the first sheet; `details` follow on their own.

    `stamp` is the moment of its figures: files that must carry a date carry this one, so that the
    same figures are the same bytes.
    """

    lang: str
    title: str
    subtitle: str
    facts: tuple[tuple[str, str], ...]
    front: tuple[Table | Chart, ...]
    notes: tuple[str, ...]
    stamp: datetime
    details: tuple[Table | Chart, ...] = ()
    definitions_title: str = ""
    definitions: tuple[Definition, ...] = ()


def words(*texts: str) -> tuple[Cell, ...]:
    """Return cells of words."""
    return tuple(Cell(text) for text in texts)


def table(
    headings: Sequence[str],
    numbers: Sequence[bool],
    rows: Sequence[Row],
    title: str = "",
    note: str = "",
) -> Table:
    """Put a table together from its headings and which of them are numbers."""
    columns = tuple(Column(*pair) for pair in zip(headings, numbers, strict=True))
    return Table(columns, tuple(rows), title, note)
