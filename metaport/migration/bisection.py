"""Find the rows that differ: sums of stretches, ever smaller ones, then rows side by side."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from metaport.migration.catalogue import Column, Table
from metaport.migration.checksum import postgres_sums
from metaport.migration.copy_text import Row
from metaport.migration.dialect import POSTGRESQL
from metaport.migration.differences import Difference, Sums, TableResult
from metaport.migration.normalisation import Normal
from metaport.migration.ports import Reader
from metaport.migration.postgres import quoted
from metaport.migration.spans import Span, spans_between

# Fewer rows than this are fetched and compared; more are cut into so many parts: a stretch of
# 50,000 is cut once.
FETCHED_ROWS = 4_000
PARTS = 16


@dataclass(frozen=True)
class Side:
    """One of the two databases, as it is read for one table."""

    reader: Reader
    table: Table
    columns: tuple[Column, ...]
    where: str
    exact: bool
    normals: tuple[Normal, ...]
    mask: Callable[[Row], Row] | None = None

    async def sums(self, span: Span) -> Sums:
        """Let the database add up a stretch."""
        return await postgres_sums(
            self.reader, self.table, self.columns, span, self.where, exact=self.exact
        )

    def normal(self, row: Row) -> Row:
        """Bring a row to the one way it is written."""
        if self.mask is not None:
            row = self.mask(row)
        return tuple(
            [
                None if value is None else change(value)
                for value, change in zip(row, self.normals, strict=True)
            ]
        )

    def key(self, row: Row) -> tuple[str, ...]:
        """Return the key of a row as it is written."""
        places = _places(self.columns, self.table.key)
        return tuple(row[place] or "" for place in places)


def _places(columns: Sequence[Column], names: Sequence[str]) -> list[int]:
    known = [column.name for column in columns]
    return [known.index(name) for name in names]


async def bisect(source: Side, target: Side, span: Span, rows: int, result: TableResult) -> None:
    """Look for what differs in a stretch of so many rows, and tell it to `result`."""
    if rows <= FETCHED_ROWS:
        await _side_by_side(source, target, span, result)
        return
    parts = await _cut(source, span, -(-rows // PARTS))
    if len(parts) == 1:
        parts = await _cut(target, span, -(-rows // PARTS))
    if len(parts) == 1:
        await _side_by_side(source, target, span, result)
        return
    for part in parts:
        one, two = await asyncio.gather(source.sums(part), target.sums(part))
        if (one.rows, one.checksum) != (two.rows, two.checksum):
            await bisect(source, target, part, max(one.rows, two.rows), result)


async def _cut(side: Side, span: Span, rows_each: int) -> list[Span]:
    """Cut a stretch exactly: by each so-manieth key of it."""
    keys = POSTGRESQL.key(side.table, exact=side.exact)
    texts = ", ".join(f"{quoted(name)}::text" for name in side.table.key)
    names = ", ".join(f"t0.{quoted(name)}" for name in side.table.key)
    inner = POSTGRESQL.from_span(side.table, span, side.where, exact=side.exact)
    found = await side.reader.fetch(
        f"SELECT {texts} FROM (SELECT {names}, row_number() OVER (ORDER BY {', '.join(keys)}) AS "
        f"metaport_place {inner}) q WHERE metaport_place % {rows_each} = 0 ORDER BY metaport_place"
    )
    return spans_between([tuple(row) for row in found], span)


async def _side_by_side(source: Side, target: Side, span: Span, result: TableResult) -> None:
    ones, others = await asyncio.gather(_rows(source, span), _rows(target, span))
    for key, row in ones.items():
        other = others.get(key)
        if other is None:
            result.tell(Difference("missing", key))
        elif row != other:
            result.tell(Difference("changed", key, changed(source, row, other)))
    for key in others.keys() - ones.keys():
        result.tell(Difference("extra", key))


async def _rows(side: Side, span: Span) -> dict[tuple[str, ...], Row]:
    found: dict[tuple[str, ...], Row] = {}
    batches = side.reader.rows(side.table, side.columns, span, side.where, ordered=side.exact)
    async with aclosing(batches):
        async for batch in batches:
            for row in batch:
                found[side.key(row)] = side.normal(row)
    return found


def changed(side: Side, row: Row, other: Row) -> tuple[str, ...]:
    """Name the columns in which two rows differ."""
    return tuple(
        column.name for column, one, two in zip(side.columns, row, other, strict=True) if one != two
    )
