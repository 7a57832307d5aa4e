"""Compare two tables row by row as both come in the order of their key: memory stays flat."""

from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from decimal import Decimal
from typing import Any

from metaport.migration.bisection import Side, changed
from metaport.migration.catalogue import Kind, Table
from metaport.migration.checksum import RowSums, one_by_one
from metaport.migration.copy_text import Row
from metaport.migration.differences import Difference, TableResult
from metaport.migration.endpoint import Engine
from metaport.migration.spans import WHOLE

# Types whose values every engine sorts as their text does once it is normal.
_SORTED = (Kind.TEXT, Kind.DATE, Kind.TIMESTAMP, Kind.INSTANT, Kind.BOOLEAN)


def can_merge(table: Table, other: Table, engines: set[Engine]) -> bool:
    """Tell whether both sides hand on the rows of a table in the same order."""
    if not table.key or table.key != other.key:
        return False
    kinds = [(table.column(name).kind, other.column(name).kind) for name in table.key]
    sqlite_decimal = Engine.SQLITE in engines and any(Kind.NUMERIC in pair for pair in kinds)
    return not sqlite_decimal and all(
        (one in _SORTED and one is two) or {one, two} <= {Kind.INTEGER, Kind.NUMERIC}
        for one, two in kinds
    )


def _sorter(kind: Kind) -> Callable[[str], Any]:
    if kind in (Kind.INTEGER, Kind.NUMERIC):
        return Decimal
    return lambda text: text.encode("utf-8", "surrogateescape")


async def merge(source: Side, target: Side, result: TableResult) -> None:
    """Walk through both sides at once, and tell what is on one only or otherwise on the other."""
    sorters = [_sorter(source.table.column(name).kind) for name in source.table.key]

    def place(key: tuple[str, ...]) -> tuple[Any, ...]:
        return tuple(sort(text) for sort, text in zip(sorters, key, strict=True))

    kinds = [column.kind for column in source.columns]
    one_sums, two_sums = RowSums(kinds), RowSums(kinds)
    ones, twos = _ordered(source), _ordered(target)
    async with aclosing(ones), aclosing(twos):
        one, two = await _next(ones, source, one_sums), await _next(twos, target, two_sums)
        while one is not None or two is not None:
            if one is not None and two is not None and one[0] == two[0]:
                if one[1] != two[1]:
                    columns = changed(source, one[1], two[1])
                    result.tell(Difference("changed", one[0], columns))
                one = await _next(ones, source, one_sums)
                two = await _next(twos, target, two_sums)
            elif two is None or (one is not None and place(one[0]) < place(two[0])):
                assert one is not None
                result.tell(Difference("missing", one[0]))
                one = await _next(ones, source, one_sums)
            else:
                result.tell(Difference("extra", two[0]))
                two = await _next(twos, target, two_sums)
    result.source, result.target = one_sums.sums, two_sums.sums


async def add_up(source: Side, target: Side, result: TableResult) -> None:
    """Compare tables whose rows come in no order as bags of hashes; a row has no name then."""
    kinds = [column.kind for column in source.columns]
    bag: Counter[int] = Counter()
    sums = []
    for side, sign in ((source, 1), (target, -1)):
        counting = RowSums(kinds)
        rows = one_by_one(side.reader.rows(side.table, side.columns, WHOLE, side.where))
        async for row in rows:
            value = counting.add(side.normal(row))
            bag[value] += sign
            if not bag[value]:
                del bag[value]
        sums.append(counting.sums)
    result.source, result.target = sums
    for value, count in sorted(bag.items()):
        for _ in range(abs(count)):
            result.tell(Difference("missing" if count > 0 else "extra", (f"#{value:016x}",)))


async def _ordered(side: Side) -> AsyncGenerator[Row]:
    batches = side.reader.rows(side.table, side.columns, WHOLE, side.where, ordered=True)
    async with aclosing(batches):
        async for batch in batches:
            for row in batch:
                yield row


async def _next(
    rows: AsyncIterator[Row], side: Side, sums: RowSums
) -> tuple[tuple[str, ...], Row] | None:
    row = await anext(rows, None)
    if row is None:
        return None
    changed_row = side.normal(row)
    sums.add(changed_row)
    return side.key(row), changed_row
