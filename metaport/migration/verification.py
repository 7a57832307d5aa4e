"""Compare two databases, after a copy or whenever.

1. Each side is read in one snapshot. Rules are those on record in the target, or those given.
2. The schemas: `schema_diff`.
3. Each table: two PostgreSQL servers add up stretches of it (`checksum`), and what differs is cut
   down to the rows (`bisection`); other pairs are walked through in the order of the key
   (`merging.merge`), and where keys are masked or missing, as bags of hashes (`merging.add_up`).
4. References that lead nowhere, and counters that would give what is there already.

**A row is the same if all its values are equal as `normalisation` says**; what rules left behind is
not missed, what they masked is masked here too before it is compared, or, without the key of
pseudonyms, not compared and told so.
"""

import asyncio
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime

from metaport import __version__
from metaport.language import Say
from metaport.migration.bisection import Side, bisect
from metaport.migration.catalogue import REVISION_TABLE, Catalogue, Column, Kind, Table
from metaport.migration.differences import (
    SequenceResult,
    Sums,
    TableResult,
    Verification,
)
from metaport.migration.endpoint import Engine
from metaport.migration.masking import Masking
from metaport.migration.merging import add_up, can_merge, merge
from metaport.migration.normalisation import normal, shared_kind
from metaport.migration.plan import Order
from metaport.migration.ports import Reader, Source, open_source
from metaport.migration.postgres import quoted
from metaport.migration.postgres_source import PostgresReader
from metaport.migration.progress import Progress
from metaport.migration.record import read_run
from metaport.migration.rules import RuleSet, rules_of
from metaport.migration.schema_diff import schema_differences

COMPARED = Say("비교", "compare")


@dataclass(frozen=True)
class _Pair:
    """Both sides of one table."""

    source: Source
    target: Source
    one: Reader
    two: Reader


async def verify(order: Order, progress: Progress) -> Verification:
    """Compare everything that was asked for. Raises MigrationError where a side goes away."""
    began = time.monotonic()
    async with AsyncExitStack() as stack:
        source = await stack.enter_async_context(open_source(order.source))
        target = await stack.enter_async_context(open_source(order.target))
        one = await stack.enter_async_context(source.reader())
        two = await stack.enter_async_context(target.reader())
        rules = order.rules if order.rules.name != "none" else await _recorded(target, two)
        chosen = _chosen(order, source, target)
        result = Verification(
            order.source.shown, order.target.shown, rules.name, __version__, _now()
        )
        result.schema = await schema_differences(source, target, chosen)
        progress.begin(COMPARED, sum(table.expected_rows for table in chosen.tables))
        pair = _Pair(source, target, one, two)
        for table in chosen.tables:
            found = await _table(pair, table, rules, order.mask_key)
            result.tables.append(found)
            progress.add(found.source.rows, table.full_name)
        progress.end()
        result.sequences = await _sequences(source, target, two, chosen)
    result.ended_at = _now()
    result.seconds = round(time.monotonic() - began, 3)
    return result


def _chosen(order: Order, source: Source, target: Source) -> Catalogue:
    chosen = source.catalogue.chosen(order.include, order.exclude)
    if source.catalogue.is_ours and source.endpoint.engine is not target.endpoint.engine:
        chosen = chosen.chosen((), (REVISION_TABLE,))
    return chosen


async def _recorded(target: Source, reader: Reader) -> RuleSet:
    """Read the rules of the copy that made the target, where there was one."""
    if target.endpoint.engine is Engine.POSTGRESQL:
        there = "SELECT count(*) FROM pg_tables WHERE schemaname = 'metaport_copy' "
        name = "metaport_copy.run"
    elif target.endpoint.engine is Engine.SQLITE:
        there = "SELECT count(*) FROM sqlite_master WHERE name = 'metaport_copy_run'"
        name = "metaport_copy_run"
    else:
        return RuleSet()
    if not await reader.value(there):
        return RuleSet()
    run = read_run(await reader.value(f"SELECT description FROM {name}"))
    return rules_of(run.rules)


async def _table(pair: _Pair, table: Table, rules: RuleSet, mask_key: bytes) -> TableResult:
    began = time.monotonic()
    result = TableResult(table.full_name, began_at=_now())
    if table.full_name not in pair.target.catalogue:
        result.missing_table = True
        return result
    other = pair.target.catalogue[table.full_name]
    how = rules.masks(table)
    result.masked = tuple(sorted(how))
    columns = [
        column for column in table.columns if any(c.name == column.name for c in other.columns)
    ]
    if how and not mask_key:
        result.not_compared = tuple(c.name for c in columns if c.name in how)
        columns = [column for column in columns if column.name not in how]
    result.columns = tuple(column.name for column in columns)
    where = rules.carried(table, pair.source.catalogue, pair.source.dialect)
    condition = rules.condition(table, pair.source.catalogue, pair.source.dialect)
    if condition:
        name = pair.source.dialect.named(table)
        left = await pair.one.value(f"SELECT count(*) FROM {name} AS t0 WHERE {condition}")
        result.left = int(left)
    masking = Masking(mask_key, columns, how) if how and mask_key else None
    source, target = _sides(pair, table, other, columns, where, masking=masking)
    if _hashed_there(source, target, masking is not None):
        result.how = "checksum"
        await _by_checksum(source, target, result)
    elif all(name in result.columns and name not in how for name in table.key) and can_merge(
        table, other, {pair.source.endpoint.engine, pair.target.endpoint.engine}
    ):
        result.how = "rows"
        await merge(source, target, result)
    else:
        result.how = "sums"
        await add_up(source, target, result)
    result.orphans = await _orphans(pair, other, table)
    result.seconds = round(time.monotonic() - began, 3)
    return result


def _sides(
    pair: _Pair, table: Table, other: Table, columns: list[Column], where: str,
    *, masking: Masking | None,
) -> tuple[Side, Side]:  # fmt: skip
    theirs = tuple(other.column(column.name) for column in columns)
    normals = tuple(
        normal(shared_kind(one.kind, two.kind)) for one, two in zip(columns, theirs, strict=True)
    )
    exact = (
        any(table.column(name).kind is Kind.TEXT for name in table.key)
        and pair.source.catalogue.collation != pair.target.catalogue.collation
    )
    source = Side(pair.one, table, tuple(columns), where, exact, normals,
                  masking.row if masking else None)  # fmt: skip
    return source, Side(pair.two, other, theirs, "", exact, normals)


def _hashed_there(source: Side, target: Side, masked: bool) -> bool:
    """Tell whether two servers add up the same rows to the same."""
    return (
        isinstance(source.reader, PostgresReader)
        and isinstance(target.reader, PostgresReader)
        and not masked
        and bool(source.columns)
        and source.table.key == target.table.key
        and bool(source.table.key)
        and set(source.table.key) <= {column.name for column in source.columns}
        and [c.type for c in source.columns] == [c.type for c in target.columns]
    )


async def _by_checksum(source: Side, target: Side, result: TableResult) -> None:
    for span in await source.reader.spans(source.table, exact=source.exact):
        one, two = await asyncio.gather(source.sums(span), target.sums(span))
        result.source.add(one)
        result.target.add(two)
        if (one.rows, one.checksum) != (two.rows, two.checksum):
            await bisect(source, target, span, max(one.rows, two.rows), result)
    if not result.source.values:
        result.source = result.target = Sums(0, 0, [0] * len(source.columns))


async def _orphans(pair: _Pair, table: Table, source: Table) -> dict[str, int]:
    """Count the rows of the target that refer to nothing."""
    found: dict[str, int] = {}
    dialect = pair.target.dialect
    for reference in source.references:
        if reference.table not in pair.target.catalogue:
            continue
        parent = pair.target.catalogue[reference.table]
        joined = " AND ".join(
            f"t1.{quoted(theirs)} = t0.{quoted(own)}"
            for own, theirs in zip(reference.columns, reference.targets, strict=True)
        )
        told = " AND ".join(f"t0.{quoted(name)} IS NOT NULL" for name in reference.columns)
        count = await pair.two.value(
            f"SELECT count(*) FROM {dialect.named(table)} AS t0 WHERE {told} AND NOT EXISTS "
            f"(SELECT 1 FROM {dialect.named(parent)} AS t1 WHERE {joined})"
        )
        if count:
            found[reference.name] = int(count)
    return found


async def _sequences(
    source: Source, target: Source, reader: Reader, chosen: Catalogue
) -> list[SequenceResult]:
    """Look where each counter stands, beside the greatest value that its column holds."""
    if target.endpoint.engine is Engine.SQLITE:
        return []  # a rowid goes on from the greatest there is
    theirs = {one.owner or one.full_name: one for one in target.catalogue.sequences}
    results = []
    for counter in chosen.sequences:
        greatest = None
        if counter.owner is not None:
            if counter.owner[0] not in target.catalogue:
                continue
            table = target.catalogue[counter.owner[0]]
            name = target.dialect.named(table)
            greatest = await reader.value(f"SELECT max({quoted(counter.owner[1])}) FROM {name}")
        other = theirs.get(counter.owner or counter.full_name)
        last = None if other is None else other.last
        results.append(SequenceResult(counter.full_name, counter.last, last, greatest))
    return results


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
