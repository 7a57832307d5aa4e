"""An embedded installation grows into PostgreSQL, and comes back, with every row as it was."""

# ruff: noqa: ASYNC240 - a test is alone in its loop

import io
import sqlite3
from collections.abc import Sequence
from pathlib import Path

import pytest
from sqlalchemy import Connection, LargeBinary, Table, inspect, select
from sqlalchemy.ext.asyncio import AsyncEngine

from metaport.db import migrate
from metaport.db.engine import connect, open_engine, sqlite_url
from metaport.db.revisions import known
from metaport.db.schema import metadata
from metaport.migration.copying import Order, Outcome, copy
from metaport.migration.differences import Difference
from metaport.migration.errors import Misused
from metaport.migration.progress import Progress
from metaport.migration.rejects import RejectFile
from metaport.migration.rules import load_rules
from metaport.migration.verification import verify
from tests.metaport.migration.databases import endpoint, run, value
from tests.metaport.test_db_migrate import insert_rows


def progress() -> Progress:
    return Progress("en", io.StringIO())


async def copied(source: str, target: str, path: Path, **more: object) -> Outcome:
    order = Order(endpoint(source), endpoint(target), **more)  # type: ignore[arg-type]
    return await copy(order, progress(), RejectFile(path / "rejects"))


MADE: list[bytes] = []


async def filled(path: Path) -> str:
    """Make an embedded database with rows in every table, by the rows of each revision.

    Made once: each revision in turn takes seconds.
    """
    url = sqlite_url(path)
    if MADE:
        path.write_bytes(MADE[0])
        return url

    def climb(connection: Connection) -> None:
        for revision in known():
            migrate.upgrade(connection, revision)
            insert_rows(connection, revision)

    await on(connect(url), climb)
    MADE.append(path.read_bytes())
    return url


async def on(engine: AsyncEngine, work: object) -> object:
    try:
        async with engine.connect() as connection:
            return await connection.run_sync(work)  # type: ignore[arg-type]
    finally:
        await engine.dispose()


def as_typed(table: Table, row: Sequence[object]) -> tuple[object, ...]:
    """SQLite lets the rows of a revision's test put text into a column of bytes."""
    return tuple(
        value.encode() if isinstance(column.type, LargeBinary) and isinstance(value, str) else value
        for column, value in zip(table.columns, row, strict=True)
    )


async def rows_of(url: str) -> object:
    def read(connection: Connection) -> dict[str, list[object]]:
        there = inspect(connection).get_table_names()
        return {
            table.name: sorted(
                (as_typed(table, row) for row in connection.execute(select(table)).all()), key=repr
            )
            for table in metadata.sorted_tables
            if table.name in there and table.name not in ("schema_revision", "schema_version")
        }

    return await on(connect(url), read)


async def test_the_product_goes_to_postgresql_and_back(postgres_url: str, tmp_path: Path) -> None:
    embedded = await filled(tmp_path / "metaport.db")
    await copied(embedded, postgres_url, tmp_path)
    found = await verify(Order(endpoint(embedded), endpoint(postgres_url)), progress())
    assert found.passed, found
    rows = await rows_of(embedded)
    assert await rows_of(postgres_url) == rows
    await (await open_engine(postgres_url)).dispose()  # a server starts on it
    back = sqlite_url(tmp_path / "back.db")
    await copied(postgres_url, back, tmp_path)
    assert await rows_of(back) == rows
    found = await verify(Order(endpoint(postgres_url), endpoint(back)), progress())
    assert found.passed, found
    await (await open_engine(back)).dispose()


async def test_a_schema_that_a_server_has_made_already_is_filled(
    postgres_url: str, target_url: str, tmp_path: Path
) -> None:
    embedded = await filled(tmp_path / "metaport.db")
    await (await open_engine(postgres_url)).dispose()
    await copied(embedded, postgres_url, tmp_path)
    assert await rows_of(postgres_url) == await rows_of(embedded)
    with pytest.raises(Misused, match="not empty"):
        await copied(embedded, postgres_url, tmp_path)
    await (await open_engine(target_url)).dispose()
    await copied(postgres_url, target_url, tmp_path)
    assert await rows_of(target_url) == await rows_of(embedded)


@pytest.mark.parametrize("name", ["promote", "anonymize"])
async def test_the_shipped_rules_fit_the_schema(
    postgres_url: str, tmp_path: Path, name: str
) -> None:
    embedded = await filled(tmp_path / "metaport.db")
    rules = load_rules(name)
    outcome = await copied(embedded, postgres_url, tmp_path, rules=rules, mask_key=b"k" * 32)
    assert outcome.run.left["public.token_revocation"] > 0
    assert await value(postgres_url, "SELECT count(*) FROM token_revocation") == 0
    order = Order(endpoint(embedded), endpoint(postgres_url), mask_key=b"k" * 32)
    found = await verify(order, progress())
    assert found.passed, found


async def test_every_kind_of_value_comes_back_from_sqlite(
    postgres_url: str, target_url: str, tmp_path: Path
) -> None:
    await run(
        postgres_url,
        "CREATE TABLE kinds (id int PRIMARY KEY, b boolean, i bigint, n numeric(30, 10), f float8, "
        "t text, y bytea, d date, ts timestamp, tz timestamptz, j jsonb, u uuid);"
        "INSERT INTO kinds VALUES (1, true, 9223372036854775807, 12345678901234567890.0123456789, "
        "0.1, E'한글\\n\\t\\\\', '\\x00ff', '2026-11-28', '2026-11-28 01:02:03.004', "
        "'2026-11-28 09:00:00+09', '{\"b\": [1.50, null]}', gen_random_uuid()),"
        "(2, false, -1, 0, '-Infinity', '', '', NULL, NULL, NULL, NULL, NULL)",
    )
    file = sqlite_url(tmp_path / "kinds.db")
    await copied(postgres_url, file, tmp_path)
    assert (await verify(Order(endpoint(postgres_url), endpoint(file)), progress())).passed
    await copied(file, target_url, tmp_path)
    found = await verify(Order(endpoint(postgres_url), endpoint(target_url)), progress())
    assert not [one for one in found.tables if one.differing], found
    query = "SELECT n || ' ' || f || ' ' || tz || ' ' || j FROM kinds WHERE id = 1"
    assert await value(target_url, query) == await value(postgres_url, query)


async def test_a_changed_row_is_found_between_engines(postgres_url: str, tmp_path: Path) -> None:
    embedded = await filled(tmp_path / "metaport.db")
    await copied(embedded, postgres_url, tmp_path)
    await run(postgres_url, "UPDATE message SET body = body || ' ' WHERE message_offset = 1")
    await run(postgres_url, "DELETE FROM room_epoch WHERE ordinal = 1")
    found = await verify(Order(endpoint(embedded), endpoint(postgres_url)), progress())
    results = {one.table: one for one in found.tables}
    assert {one.columns for one in results["public.message"].told} == {("body",)}
    assert {one.what for one in results["public.room_epoch"].told} == {"missing"}


async def test_what_sqlite_holds_against_its_types_is_refused_and_told(
    postgres_url: str, tmp_path: Path
) -> None:
    file = tmp_path / "loose.db"
    connection = sqlite3.connect(file)
    connection.execute("CREATE TABLE loose (id INTEGER PRIMARY KEY, n BIGINT, t TEXT)")
    rows = [(1, 5, "fine"), (2, "many", "x"), (3, 6, "a\0b")]
    connection.executemany("INSERT INTO loose VALUES (?, ?, ?)", rows)
    connection.commit()
    connection.close()
    outcome = await copied(sqlite_url(file), postgres_url, tmp_path)
    assert outcome.rejected == {"public.loose": 2}
    found = await verify(Order(endpoint(sqlite_url(file)), endpoint(postgres_url)), progress())
    assert [one.told for one in found.tables] == [
        [Difference("missing", ("2",)), Difference("missing", ("3",))]
    ]
    assert await value(postgres_url, "SELECT nextval(pg_get_serial_sequence('loose', 'id'))") == 4


async def test_a_file_that_exists_is_not_written_over(postgres_url: str, tmp_path: Path) -> None:
    await run(postgres_url, "CREATE TABLE t (id int PRIMARY KEY)")
    (tmp_path / "kept.db").write_bytes(b"kept")
    with pytest.raises(Misused, match="exists"):
        await copied(postgres_url, sqlite_url(tmp_path / "kept.db"), tmp_path)
    assert (tmp_path / "kept.db").read_bytes() == b"kept"


async def test_nothing_of_the_database_before_comes_into_the_one_that_replaces_it(
    postgres_url: str, tmp_path: Path
) -> None:
    await run(postgres_url, "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (7)")
    file = tmp_path / "old.db"
    old = sqlite3.connect(file)
    old.execute("PRAGMA journal_mode = WAL")
    old.execute("CREATE TABLE t (id INTEGER PRIMARY KEY)")
    old.execute("INSERT INTO t VALUES (1)")
    old.commit()
    log = (tmp_path / "old.db-wal").read_bytes()
    old.close()
    (tmp_path / "old.db-wal").write_bytes(log)  # as a kill leaves it
    await copied(postgres_url, sqlite_url(file), tmp_path, overwrite="old.db")
    now = sqlite3.connect(file)
    assert now.execute("SELECT id FROM t").fetchall() == [(7,)]
    now.close()
