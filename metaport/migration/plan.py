"""What a copy is going to do, found out before anything is written."""

import asyncio
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache

from sqlalchemy import Connection, create_engine, inspect, text

from metaport.db import migrate
from metaport.db.engine import connect
from metaport.db.revisions import known
from metaport.language import Say
from metaport.migration.catalogue import REVISION_TABLE, Catalogue, Table
from metaport.migration.endpoint import Endpoint, Engine
from metaport.migration.errors import Misused
from metaport.migration.portable_ddl import not_carried, postgres_words, sqlite_words
from metaport.migration.ports import Source, Target
from metaport.migration.postgres import quoted
from metaport.migration.postgres_ddl import Words
from metaport.migration.rules import NOTHING, RuleSet
from metaport.migration.type_mapping import UNMAPPED

# A copy needs about this much more than the data while its indexes are made.
SPACE_FACTOR = 1.5


@dataclass(frozen=True)
class Order:
    """What a person asked to be copied."""

    source: Endpoint
    target: Endpoint
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    rules: RuleSet = NOTHING
    mask_key: bytes = b""
    jobs: int = 2
    overwrite: str = ""


@dataclass(frozen=True)
class Plan:
    """Tables in their order, the words that make them, and what a person should know.

    `ours` is the revision of this product's schema, where it is that; its tables are made by the
    product's own migrations where the engines differ. `standing` says that they are there already.
    """

    catalogue: Catalogue
    words: Words
    warnings: list[Say] = field(default_factory=list)
    left: dict[str, int] = field(default_factory=dict)
    left_why: dict[str, Say] = field(default_factory=dict)
    ours: str = ""
    standing: bool = False
    seeds: tuple[str, ...] = ()  # tables whose rows are the migrations' own, and make way
    drop: tuple[str, ...] = ()


async def make_plan(order: Order, source: Source, target: Target) -> Plan:
    """Look at both databases. Raises Misused with everything that stands in the way."""
    catalogue = source.catalogue.chosen(order.include, order.exclude)
    there = await target.catalogue()
    ours = await _revision(source) if source.catalogue.is_ours else ""
    same_engine = order.source.engine is order.target.engine is Engine.POSTGRESQL
    # The migration writes the revision itself; a copy of it would be the second one.
    by_migration = bool(ours) and not same_engine
    if by_migration:
        catalogue = catalogue.chosen((), (REVISION_TABLE,))
    problems, warnings = _compared(source, catalogue, there, await target.extensions())
    problems += [
        Say(f"대상에서 {name} 권한이 없습니다", f"the target does not allow {name}")
        for name in await target.privileges()
    ]
    seeds = await asyncio.to_thread(_seeds, ours) if ours else {}
    standing = await _is_standing(target, there, source.catalogue, seeds) if ours else False
    if standing:
        catalogue = catalogue.chosen((), (REVISION_TABLE,))
    drop: tuple[str, ...] = ()
    if there.tables and not standing:
        if order.overwrite and order.overwrite == order.target.name:
            drop = tuple(sorted({table.schema for table in (*there.tables, *catalogue.tables)}))
        else:
            problems.append(
                Say(
                    f"{order.target.shown}: 비어 있지 않습니다 (테이블 {len(there.tables)}개): "
                    f"지우고 쓰려면 --overwrite {order.target.name}",
                    f"{order.target.shown} is not empty ({len(there.tables)} tables): "
                    f"--overwrite {order.target.name} deletes what is there",
                )
            )
    if not catalogue.tables:
        problems.append(Say("복사할 테이블이 없습니다", "there is no table to copy"))
    if problems:
        raise Misused(
            "\n".join(problem.ko for problem in problems),
            "\n".join(problem.en for problem in problems),
        )
    words = Words((), (), ()) if standing else await words_of(order, source, catalogue)
    if same_engine:
        warnings.append(
            Say("소유자와 권한(GRANT)은 복사하지 않습니다", "owners and grants are not carried")
        )
    if not same_engine and not by_migration:
        warnings += [
            Say(f"옮기지 않음: {lost}", f"not carried: {lost}") for lost in not_carried(catalogue)
        ]
    left, why = await _left_behind(order, source, catalogue)
    return Plan(catalogue, words, warnings, left, why, ours, standing,
                tuple(name for name in seeds if name != REVISION_TABLE), drop)  # fmt: skip


async def words_of(order: Order, source: Source, catalogue: Catalogue) -> Words:
    """Return the words that make the tables; none where the product's migrations make them."""
    if order.source.engine is order.target.engine is Engine.POSTGRESQL:
        words: Words = await source.words(catalogue)  # type: ignore[attr-defined]
        return words
    if source.catalogue.is_ours:
        return Words((), (), ())
    if order.target.engine is Engine.SQLITE:
        return sqlite_words(catalogue)
    return postgres_words(catalogue, mapped=order.source.engine is Engine.MYSQL)


async def _revision(source: Source) -> str:
    table = next(one for one in source.catalogue.tables if one.name == REVISION_TABLE)
    async with source.reader() as reader:
        return str(await reader.value(f"SELECT version_num FROM {source.dialect.named(table)}"))


async def _is_standing(
    target: Target, there: Catalogue, source: Catalogue, seeds: dict[str, int]
) -> bool:
    """Tell whether this product's tables are there, with nothing in them but what made them."""
    if {table.full_name for table in there.tables} != {one.full_name for one in source.tables}:
        return False
    for table in there.tables:
        if await target.rows_in(table, at_most=1_000) > seeds.get(table.name, 0):
            return False
    return True


@cache
def _seeds(revision: str) -> dict[str, int]:
    """Count the rows that this product's migrations write themselves."""
    with tempfile.TemporaryDirectory(prefix="metaport-") as directory:
        engine = create_engine(f"sqlite:///{directory}/seeds.db")
        try:
            with engine.connect() as connection:
                migrate.upgrade(connection, revision)
                counts = {
                    name: connection.scalar(text(f"SELECT count(*) FROM {quoted(name)}")) or 0
                    for name in inspect(connection).get_table_names()
                }
                connection.rollback()
        finally:
            engine.dispose()
    return {name: count for name, count in counts.items() if count}


def _compared(
    source: Source, catalogue: Catalogue, there: Catalogue, available: set[str]
) -> tuple[list[Say], list[Say]]:
    problems, warnings = [], []
    theirs = source.catalogue
    if there.encoding and there.encoding.upper() not in ("UTF8", "UTF-8"):
        problems.append(
            Say(
                f"대상의 인코딩이 UTF8이 아니라 {there.encoding}입니다",
                f"the target's encoding is {there.encoding}, not UTF8",
            )
        )
    if source.endpoint.engine is Engine.POSTGRESQL:
        missing = sorted(set(theirs.extensions) - available)
        if available and missing:
            names = ", ".join(missing)
            problems.append(
                Say(f"대상에 확장 기능이 없습니다: {names}", f"extensions missing there: {names}")
            )
        if available and _major(there.version) < _major(theirs.version):
            warnings.append(
                Say(
                    f"대상이 더 낮은 버전입니다: {theirs.version} → {there.version}",
                    f"the target is of an earlier version: {theirs.version} → {there.version}",
                )
            )
        if available and there.collation != theirs.collation:
            warnings.append(
                Say(
                    f"정렬 순서가 다릅니다: {theirs.collation} → {there.collation}",
                    f"text sorts otherwise there: {theirs.collation} → {there.collation}",
                )
            )
    problems += [
        Say(
            f"{table.full_name}.{column.name}: {column.type.removeprefix(UNMAPPED)}에 해당하는 "
            "자료형이 없습니다; --exclude로 빼십시오",
            f"{table.full_name}.{column.name}: no type holds a "
            f"{column.type.removeprefix(UNMAPPED)}; --exclude the table",
        )
        for table in catalogue.tables
        for column in table.columns
        if column.type.startswith(UNMAPPED)
    ]
    warnings += [
        Say(
            f"{table.full_name}에는 키가 없습니다: 한 번에 복사하고, 다시 시작하면 처음부터입니다",
            f"{table.full_name} has no key: it is copied in one go, and anew if interrupted",
        )
        for table in catalogue.tables
        if not table.key
    ]
    return problems, warnings


def _major(version: str) -> int:
    digits = version.split(".", maxsplit=1)[0].split(maxsplit=1)[0] if version else "0"
    return int(digits) if digits.isdigit() else 0


def space_problem(order: Order, catalogue: Catalogue) -> Say | None:
    """Return what to say where a file on this machine would not fit on its disk."""
    if order.target.engine is not Engine.SQLITE:
        return None
    needed = int(sum(table.size_bytes for table in catalogue.tables) * SPACE_FACTOR)
    free = shutil.disk_usage(order.target.path.absolute().parent).free
    if needed <= free:
        return None
    return Say(
        f"디스크 공간이 모자랍니다: {needed:,}바이트가 필요한데 {free:,}바이트 남았습니다",
        f"the disk is too small: {needed:,} bytes needed, {free:,} free",
    )


async def _left_behind(
    order: Order, source: Source, catalogue: Catalogue
) -> tuple[dict[str, int], dict[str, Say]]:
    """Count the rows that rules leave behind, and say why."""
    left: dict[str, int] = {}
    why: dict[str, Say] = {}
    if not order.rules.leave:
        return left, why
    async with source.reader() as reader:
        for table in catalogue.tables:
            condition = order.rules.condition(table, source.catalogue, source.dialect)
            if condition:
                count = await reader.value(
                    f"SELECT count(*) FROM {source.dialect.named(table)} AS t0 WHERE {condition}"
                )
                left[table.full_name] = int(count)
                why[table.full_name] = _why(order.rules, table)
    return left, why


def _why(rules: RuleSet, table: Table) -> Say:
    said = [Say(rule.why_ko, rule.why_en) for rule, _ in rules.left(table)]
    if not said:
        return Say("남겨 둔 행을 가리키는 행", "refer to rows left behind")
    return said[0]


async def migrate_to(url: str, revision: str, prepare: Callable[[Connection], None]) -> None:
    """Make this product's tables by its own migrations. Raises Misused for a later program's."""
    if revision not in known():
        raise Misused(
            f"원본의 스키마 {revision}은(는) 이 프로그램이 모르는 개정입니다",
            f"the source has schema {revision}, which this program does not know",
        )
    engine = connect(url)

    def work(connection: Connection) -> None:
        migrate.upgrade(connection, revision)
        with connection.begin():
            prepare(connection)

    try:
        async with engine.connect() as connection:
            await connection.run_sync(work)
    finally:
        await engine.dispose()


def make_partitions(connection: Connection, starts: list[int]) -> None:
    """Make the partitions of `usage_window` for the months of these times, Unix seconds."""
    from datetime import UTC, datetime  # noqa: PLC0415

    for month in sorted({datetime.fromtimestamp(s, UTC).strftime("%Y-%m") for s in starts}):
        year, number = map(int, month.split("-"))
        first = datetime(year, number, 1, tzinfo=UTC)
        after = datetime(year + number // 12, number % 12 + 1, 1, tzinfo=UTC)
        connection.execute(
            text(
                f"CREATE TABLE IF NOT EXISTS usage_window_{first:%Y%m} PARTITION OF usage_window "
                f"FOR VALUES FROM ({int(first.timestamp())}) TO ({int(after.timestamp())})"
            )
        )
