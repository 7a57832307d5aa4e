"""Copy one database into another.

1. `ports.open_source` holds one moment of the source; all readers share it.
2. `plan.make_plan` looks at both sides and says everything that stands in the way.
3. `Target.begin`: tables without keys, and the record of what is to come. One transaction: a crash
   before its end leaves nothing.
4. Chunks, several at a time: rows and their line in the record, one transaction each. A crash costs
   the chunks at hand.
5. Keys and indexes, then references, triggers, views, comments: each with its line in the record.
6. Counters go on where they stood; the record says that the copy is whole. Until then no server
   starts on the target (`metaport.db.engine`).

**A copy that is resumed has a new moment**; its report says so, and `verify` finds what changed.
"""

import asyncio
from collections.abc import AsyncGenerator, Coroutine, Iterable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
from sqlalchemy import Connection, text

from metaport import __version__
from metaport.language import Say
from metaport.migration.catalogue import Catalogue, Column, Kind, Table
from metaport.migration.copy_text import Row
from metaport.migration.endpoint import Engine
from metaport.migration.errors import Misused, TooManyRejects
from metaport.migration.masking import Masking
from metaport.migration.plan import (
    Order,
    Plan,
    make_partitions,
    make_plan,
    migrate_to,
    space_problem,
    words_of,
)
from metaport.migration.ports import Reader, Source, Target, Writer, open_source, open_target
from metaport.migration.postgres import lost, quoted
from metaport.migration.postgres_source import PostgresReader
from metaport.migration.postgres_target import PostgresWriter
from metaport.migration.progress import Progress
from metaport.migration.record import Chunk, Run
from metaport.migration.rejects import Reject, RejectFile
from metaport.migration.rules import rules_of
from metaport.migration.sqlite_target import SqliteTarget

DATA = Say("자료", "data")
INDEXES = Say("색인과 제약", "indexes")

# A row that the target cannot take as it is; everything else ends the copy.
REFUSED = (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError)


@dataclass
class Outcome:
    """What a copy came to."""

    run: Run
    plan: Plan
    rows: dict[str, int] = field(default_factory=dict)
    rejected: dict[str, int] = field(default_factory=dict)


async def plan_only(order: Order) -> Plan:
    """Look, and write nothing. Raises MigrationError."""
    async with AsyncExitStack() as stack:
        source = await stack.enter_async_context(open_source(order.source))
        had = order.target.engine is Engine.SQLITE and _part(order).exists()
        target = await stack.enter_async_context(open_target(order.target))
        _look_at_file(order)
        plan = await make_plan(order, source, target)
    if order.target.engine is Engine.SQLITE and not had:
        _part(order).unlink()
    return plan


async def copy(
    order: Order,
    progress: Progress,
    rejects: RejectFile,
    *,
    max_rejects: int = 1_000,
    resume: bool = False,
) -> Outcome:
    """Copy everything that was asked for. Raises MigrationError, with what is copied kept."""
    _look_at_file(order)
    async with AsyncExitStack() as stack:
        source = await stack.enter_async_context(open_source(order.source))
        target = await stack.enter_async_context(open_target(order.target))
        await target.lock()
        begun = await target.run()
        if begun is not None and not begun.finished_at:
            _may_go_on(order, begun, resume=resume)
            if resume:
                return await _Copy(
                    order, source, target, progress, rejects, max_rejects=max_rejects
                ).resume(begun)
        if resume:
            raise Misused("이어서 할 복사가 없습니다", "there is no unfinished copy to resume")
        return await _Copy(
            order, source, target, progress, rejects, max_rejects=max_rejects
        ).begin()


def _part(order: Order) -> Path:
    return order.target.path.with_name(order.target.path.name + ".copying")


def _look_at_file(order: Order) -> None:
    if order.target.engine is not Engine.SQLITE:
        return
    if not order.target.path.absolute().parent.is_dir():
        raise Misused(
            f"디렉터리가 없습니다: {order.target.path.parent}",
            f"no such directory: {order.target.path.parent}",
        )
    if order.target.path.exists() and order.overwrite != order.target.name:
        raise Misused(
            f"{order.target.path}이(가) 이미 있습니다: 바꾸려면 --overwrite {order.target.name}",
            f"{order.target.path} exists: --overwrite {order.target.name} replaces it",
        )


def _may_go_on(order: Order, begun: Run, *, resume: bool) -> None:
    if not resume:
        raise Misused(
            f"{begun.started_at}에 시작한 복사가 끝나지 않았습니다: --resume으로 이어서 하십시오",
            f"a copy begun at {begun.started_at} is unfinished: go on with --resume",
        )
    if begun.source != order.source.shown:
        raise Misused(
            f"끝나지 않은 복사의 원본은 {begun.source}입니다",
            f"the unfinished copy is of {begun.source}",
        )
    if rules_of(begun.rules) != order.rules:
        raise Misused("끝나지 않은 복사와 규칙이 다릅니다", "the unfinished copy had other rules")


class _Copy:
    def __init__(
        self, order: Order, source: Source, target: Target, progress: Progress,
        rejects: RejectFile,
        *, max_rejects: int,
    ) -> None:  # fmt: skip
        self._order, self._source, self._target = order, source, target
        self._progress, self._rejects, self._max_rejects = progress, rejects, max_rejects
        self._rejected = 0
        self._counted = 0

    async def begin(self) -> Outcome:
        """Copy from the start."""
        order, source, target = self._order, self._source, self._target
        plan = await make_plan(order, source, target)
        if (problem := space_problem(order, plan.catalogue)) is not None:
            raise Misused(problem.ko, problem.en)
        now = _now()
        run = Run(
            order.source.shown, now, __version__,
            tuple(table.full_name for table in plan.catalogue.tables),
            msgspec.to_builtins(order.rules), plan.left,
            {
                table.full_name: sorted(masked)
                for table in plan.catalogue.tables
                if (masked := order.rules.masks(table))
            },
            (now,),
        )  # fmt: skip
        chunks = await self._chunks(plan.catalogue.tables)
        drop = plan.drop
        if plan.ours and not plan.words.before:
            await self._make_ours(plan)
            drop = ()
        await target.begin(run, chunks, plan.words.before, drop)
        return await self._carry_on(plan, run, chunks)

    async def resume(self, run: Run) -> Outcome:
        """Go on with what was begun, in a new snapshot."""
        tables = tuple(self._source.catalogue[name] for name in run.tables
                       if name in self._source.catalogue)  # fmt: skip
        if len(tables) != len(run.tables):
            raise Misused(
                "원본의 테이블이 그사이에 없어졌습니다", "tables of the source are gone since"
            )
        catalogue = replace(self._source.catalogue, tables=tables)
        plan = await self._planned_again(catalogue, run)
        run = run.resumed_at(_now())
        chunks = await self._target.chunks()
        self._rejected = sum(chunk.rejected for chunk in chunks)
        await self._target.note(run)
        return await self._carry_on(plan, run, chunks)

    async def _planned_again(self, catalogue: Catalogue, run: Run) -> Plan:
        words = await words_of(self._order, self._source, catalogue)
        return Plan(catalogue, words, left=run.left)

    async def _make_ours(self, plan: Plan) -> None:
        """Make this product's schema by its own migrations, with the months that are to come."""
        target = self._target
        windows = next((t for t in plan.catalogue.tables if t.name == "usage_window"), None)
        starts: list[int] = []
        if windows is not None and self._order.target.engine is Engine.POSTGRESQL:
            async with self._source.reader() as reader:
                found = await reader.fetch(
                    "SELECT DISTINCT window_start_s FROM "
                    f"{self._source.dialect.named(windows)} AS t0"
                )
            starts = [int(row[0]) for row in found]
        if isinstance(target, SqliteTarget):
            url = target.part_endpoint.url
        else:
            url = self._order.target.url
        if plan.drop:
            await target.begin(
                Run(self._order.source.shown, _now(), __version__, ()), (), (), plan.drop
            )

        def prepare(connection: Connection) -> None:
            if starts:
                make_partitions(connection, starts)
            for name in plan.seeds:
                connection.execute(text(f"DELETE FROM {quoted(name)}"))

        await migrate_to(url.render_as_string(hide_password=False), plan.ours, prepare)

    async def _chunks(self, tables: Iterable[Table]) -> list[Chunk]:
        chunks: list[Chunk] = []
        async with self._source.reader() as reader:
            for table in tables:
                spans = await reader.spans(table)
                chunks += [Chunk(table.full_name, n, span) for n, span in enumerate(spans)]
        return chunks

    async def _carry_on(self, plan: Plan, run: Run, chunks: list[Chunk]) -> Outcome:
        outcome = Outcome(run, plan)
        waiting = [chunk for chunk in chunks if chunk.rows is None]
        done = sum(chunk.rows or 0 for chunk in chunks)
        self._progress.begin(DATA, sum(t.expected_rows for t in plan.catalogue.tables), done)
        for level in self._levels(plan):
            names = {table.full_name for table in level}
            await self._at_once([chunk for chunk in waiting if chunk.table in names], plan)
        self._progress.end()
        await self._steps(plan)
        chunks = await self._target.chunks()
        for chunk in chunks:
            outcome.rows[chunk.table] = outcome.rows.get(chunk.table, 0) + (chunk.rows or 0)
            if chunk.rejected:
                outcome.rejected[chunk.table] = (
                    outcome.rejected.get(chunk.table, 0) + chunk.rejected
                )
        await self._target.set_sequences(plan.catalogue.sequences, plan.catalogue.tables)
        outcome.run = replace(run, finished_at=_now())
        await self._target.finish(outcome.run)
        return outcome

    def _levels(self, plan: Plan) -> Iterable[list[Table]]:
        """Where references stand already, those referred to come first; else all at once."""
        if plan.words.before or not plan.ours:
            return [list(plan.catalogue.tables)]
        return plan.catalogue.levels()

    async def _at_once(self, chunks: list[Chunk], plan: Plan) -> None:
        """Copy chunks, as many at a time as both sides can take; the largest tables first."""
        size = {table.full_name: table.size_bytes or table.rows for table in plan.catalogue.tables}
        queue = sorted(chunks, key=lambda chunk: (-size[chunk.table], chunk.table, chunk.number))
        queue.reverse()
        jobs = max(1, min(self._order.jobs, self._source.workers, self._target.workers, len(queue)))

        async def work() -> None:
            async with self._source.reader() as reader, self._target.writer() as writer:
                while queue:
                    chunk = queue.pop()
                    rows = await self._one(reader, writer, chunk, plan)
                    self._progress.add(rows, chunk.table)

        await _together(work() for _ in range(jobs))

    async def _one(self, reader: Reader, writer: Writer, chunk: Chunk, plan: Plan) -> int:
        table = plan.catalogue[chunk.table]
        columns = table.stored
        where = self._order.rules.carried(table, self._source.catalogue, self._source.dialect)
        how = self._order.rules.masks(table)
        if isinstance(reader, PostgresReader) and isinstance(writer, PostgresWriter) and not how:
            form = "text" if any(column.kind is Kind.OTHER for column in columns) else "binary"
            with suppress(*REFUSED):
                pieces = reader.raw(table, columns, chunk.span, where, form)
                return await self._raw(writer, chunk, table, columns, pieces=pieces, form=form)
        rows = reader.rows(table, columns, chunk.span, where)
        if how:
            rows = _masked(rows, Masking(self._order.mask_key, columns, how))
        return await writer.write_rows(chunk, table, columns, rows, self._refuse)

    async def _raw(
        self, writer: PostgresWriter, chunk: Chunk, table: Table, columns: tuple[Column, ...],
        *, pieces: AsyncGenerator[bytes], form: str,
    ) -> int:  # fmt: skip
        try:
            return await writer.write_raw(chunk, table, columns, pieces, form)
        except REFUSED:
            raise
        except (OSError, asyncpg.InterfaceError, asyncpg.PostgresError) as error:
            raise lost(self._order.target, error) from error

    def _refuse(self, rejects: list[Reject]) -> None:
        self._rejected += len(rejects)
        self._rejects.add(rejects)
        if self._rejected > self._max_rejects:
            raise TooManyRejects(
                f"대상이 행 {self._rejected:,}개를 거부했습니다 "
                f"(--max-rejects {self._max_rejects}): "
                f"{self._rejects.path}에 까닭이 있습니다",
                f"the target refused {self._rejected:,} rows (--max-rejects {self._max_rejects}): "
                f"{self._rejects.path} says why",
            )

    async def _steps(self, plan: Plan) -> None:
        done = await self._target.steps()
        indexing = [words for words in plan.words.indexing if words not in done]
        after = [words for words in plan.words.after if words not in done]
        self._progress.begin(INDEXES, len(indexing) + len(after))
        indexing.reverse()
        jobs = max(1, min(self._order.jobs, self._target.workers, len(indexing)))

        async def work() -> None:
            async with self._target.writer() as writer:
                while indexing:
                    words = indexing.pop()
                    await writer.step(words, words)
                    self._progress.add(1, "")

        if indexing:
            await _together(work() for _ in range(jobs))
        async with self._target.writer() as writer:
            for words in after:
                await writer.step(words, words)
                self._progress.add(1, "")
        self._progress.end()


async def _masked(
    batches: AsyncGenerator[list[Row]], masking: Masking
) -> AsyncGenerator[list[Row]]:
    async for batch in batches:
        yield [masking.row(row) for row in batch]


async def _together(works: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Run several to their end; the first that fails ends the others, and is raised as it is."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
