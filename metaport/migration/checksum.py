"""What a stretch of a table adds up to: computed by PostgreSQL itself, or here.

PostgreSQL hashes a row by its types' own equality (`hash_record_extended`: 1.0 and 1.00 are one
number, one instant in two zones is one), 64 bits each, summed: 1.4 s for a million rows of six
columns, where MD5 of its text takes 6.3 s. It is compared between two PostgreSQL servers with the
same types only. What differs by it is looked at again, row by row, as `normalisation` says.
"""

import hashlib
from collections.abc import AsyncIterator, Sequence
from decimal import Decimal, InvalidOperation

from metaport.migration.catalogue import Column, Kind, Table
from metaport.migration.copy_text import Row
from metaport.migration.dialect import POSTGRESQL
from metaport.migration.differences import Sums
from metaport.migration.ports import Reader
from metaport.migration.postgres import quoted
from metaport.migration.spans import Span

NUMBERS = {Kind.INTEGER, Kind.NUMERIC}
# Types that PostgreSQL has no hash for, or might not have, are hashed as their text.
_HASHED = {kind for kind in Kind if kind not in (Kind.OTHER, Kind.JSON)}
SEPARATOR = b"\x1f"


async def postgres_sums(
    reader: Reader, table: Table, columns: Sequence[Column], span: Span, where: str,
    *, exact: bool,
) -> Sums:  # fmt: skip
    """Let PostgreSQL add up a stretch of a table."""
    hashed = ", ".join(_hashed(column) for column in columns)
    counts = [f"count(t0.{quoted(column.name)})" for column in columns]
    totals = [f"sum(t0.{quoted(column.name)})" for column in columns if column.kind in NUMBERS]
    query = (
        f"SELECT count(*), (coalesce(sum(hash_record_extended(ROW({hashed}), 0)), 0) "
        f"% 18446744073709551616)::numeric, {', '.join([*counts, *totals])} "
        f"{POSTGRESQL.from_span(table, span, where, exact=exact)}"
    )
    row = list((await reader.fetch(query))[0])
    found = iter(row[2 + len(columns) :])
    sums = [_decimal(next(found)) if column.kind in NUMBERS else None for column in columns]
    return Sums(row[0], int(row[1]) % 2**64, row[2 : 2 + len(columns)], sums)


def _decimal(value: object) -> Decimal:
    return Decimal(0) if value is None else Decimal(str(value))


def _hashed(column: Column) -> str:
    name = f"t0.{quoted(column.name)}"
    if column.kind in _HASHED:
        return name
    return f"{name}::jsonb" if column.type == "json" else f"{name}::text"


class RowSums:
    """Adds up rows that are normal already."""

    def __init__(self, kinds: Sequence[Kind]) -> None:
        self._kinds = kinds
        self.sums = Sums(0, 0, [0] * len(kinds), [
            Decimal(0) if kind in NUMBERS else None for kind in kinds
        ])  # fmt: skip

    def add(self, row: Row, *, hashed: bool = True) -> int:
        """Count a row; return its hash."""
        sums = self.sums
        sums.rows += 1
        for place, value in enumerate(row):
            if value is not None:
                sums.values[place] += 1
                total = sums.totals[place]
                if total is not None:
                    sums.totals[place] = total + _amount(value)
        if not hashed:
            return 0
        value_hash = row_hash(row)
        sums.checksum = (sums.checksum + value_hash) % 2**64
        return value_hash


def _amount(text: str) -> Decimal:
    try:
        value = Decimal(text)
    except InvalidOperation:
        return Decimal(0)
    return value if value.is_finite() else Decimal(0)


def row_hash(row: Row) -> int:
    """Hash a row to 64 bits."""
    parts = [b"\x00" if value is None else b"\x01" + value.encode("utf-8", "surrogateescape")
             for value in row]  # fmt: skip
    # With lengths, so that no two rows are the same bytes.
    joined = SEPARATOR.join(b"%d:%b" % (len(part), part) for part in parts)
    return int.from_bytes(hashlib.blake2b(joined, digest_size=8).digest())


async def one_by_one(batches: AsyncIterator[list[Row]]) -> AsyncIterator[Row]:
    """Hand on the rows of batches singly."""
    async for batch in batches:
        for row in batch:
            yield row
