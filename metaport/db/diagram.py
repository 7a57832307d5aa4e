"""The schema as a picture: a box for each table, a line for each reference, in SVG."""

from collections.abc import Callable, Iterator
from html import escape
from typing import NamedTuple

from sqlalchemy import MetaData, Table

# In pixels; a Latin letter of the meaning is about 6 wide.
BOX_WIDTH, ROW_HEIGHT, HEAD_HEIGHT, GAP = 290, 18, 40, 56
COLUMNS = 4
MEANING_SIGNS = 48


class Box(NamedTuple):
    """Where a table is drawn."""

    table: Table
    x: int
    y: int

    @property
    def height(self) -> int:
        return HEAD_HEIGHT + ROW_HEIGHT * len(self.table.columns) + 6

    def row_y(self, column: str) -> int:
        """Return the middle of a column's row."""
        return self.y + HEAD_HEIGHT + ROW_HEIGHT * list(self.table.columns.keys()).index(column) + 9


def draw(metadata: MetaData, meaning: Callable[[str | None], str]) -> str:
    """Draw every table of `metadata` with the meaning of its comment, as one SVG document."""
    boxes = _laid_out(metadata)
    width = max((box.x + BOX_WIDTH for box in boxes.values()), default=0) + GAP
    height = max((box.y + box.height for box in boxes.values()), default=0) + GAP
    parts = [line for box in boxes.values() for line in _references(box, boxes)]
    parts += [part for box in boxes.values() for part in _table(box, meaning)]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" font-family="Noto Sans KR,Noto Sans CJK KR,sans-serif" '
        f'font-size="12"><rect width="100%" height="100%" fill="#fff"/>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


def _laid_out(metadata: MetaData) -> dict[str, Box]:
    """Put each table under the lowest of the columns, those referred to before those referring."""
    bottoms = [GAP] * COLUMNS
    boxes: dict[str, Box] = {}
    for table in metadata.sorted_tables:
        at = bottoms.index(min(bottoms))
        box = Box(table, GAP + at * (BOX_WIDTH + GAP), bottoms[at])
        bottoms[at] += box.height + GAP
        boxes[table.name] = box
    return boxes


def _table(box: Box, meaning: Callable[[str | None], str]) -> Iterator[str]:
    x, y = box.x, box.y
    yield (
        f'<rect x="{x}" y="{y}" width="{BOX_WIDTH}" height="{box.height}" rx="4" fill="#fff" '
        f'stroke="#456"/><rect x="{x}" y="{y}" width="{BOX_WIDTH}" height="{HEAD_HEIGHT - 4}" '
        'rx="4" fill="#dfe8f0"/>'
    )
    yield f'<text x="{x + 8}" y="{y + 16}" font-weight="bold">{escape(box.table.name)}</text>'
    told = _shortened(meaning(box.table.comment))
    yield f'<text x="{x + 8}" y="{y + 31}" font-size="11" fill="#456">{escape(told)}</text>'
    for column in box.table.columns:
        at = box.row_y(column.name) + 4
        bold = ' font-weight="bold"' if column.primary_key else ""
        yield f'<text x="{x + 8}" y="{at}"{bold}>{escape(column.name)}</text>'
        type_name = escape(str(column.type).lower())
        yield (
            f'<text x="{x + BOX_WIDTH - 8}" y="{at}" text-anchor="end" fill="#678" '
            f'font-size="11">{type_name}</text>'
        )


def _shortened(text: str) -> str:
    return text if len(text) <= MEANING_SIGNS else text[: MEANING_SIGNS - 1] + "…"


def _references(box: Box, boxes: dict[str, Box]) -> Iterator[str]:
    for key in sorted(box.table.foreign_keys, key=lambda key: key.target_fullname):
        target = boxes[key.column.table.name]
        y1, y2 = box.row_y(key.parent.name), target.row_y(key.column.name)
        x1 = box.x if target.x < box.x else box.x + BOX_WIDTH
        x2 = target.x + BOX_WIDTH if target.x < box.x else target.x
        if target.x == box.x:
            x1 = x2 = box.x
        out1 = x1 + (GAP // 2 if x1 > box.x else -GAP // 2)
        out2 = x2 + (GAP // 2 if x2 > target.x else -GAP // 2)
        yield (
            f'<path d="M{x1} {y1} C{out1} {y1} {out2} {y2} {x2} {y2}" fill="none" stroke="#a33"/>'
            f'<circle cx="{x2}" cy="{y2}" r="3" fill="#a33"/>'
        )
