"""Every revision goes forward and back on what was there before, on both databases."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, MetaData, inspect, select, text
from sqlalchemy.ext.asyncio import AsyncEngine

from metaport.db import migrate
from metaport.db.engine import connect, sqlite_url
from metaport.db.errors import NoSuchRevision, SchemaUnknown
from metaport.db.migrations.begin import begin
from metaport.db.revisions import MIGRATIONS, head, known
from metaport.db.schema import metadata

# What a database holds at each revision: every revision adds rows for the tables it adds.
ROWS = Path(__file__).with_name("db_rows")

Rows = dict[str, list[dict[str, Any]]]


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return sqlite_url(tmp_path / "migrated.db")
    made: str = request.getfixturevalue("postgres_url")
    return made


async def on(url: str, work: Callable[[Connection], Any]) -> Any:
    engine: AsyncEngine = connect(url)
    try:
        async with engine.connect() as connection:
            return await connection.run_sync(work)
    finally:
        await engine.dispose()


def rows_of(connection: Connection) -> Rows:
    """Read every table but those that say how the schema itself came about."""
    found = MetaData()
    found.reflect(connection)
    rows = {
        table.name: sorted(map(dict, connection.execute(select(table)).mappings()), key=repr)
        for table in found.tables.values()
        if table.name not in ("schema_revision", "schema_version")
        and not table.name.startswith(("usage_window_2", "usage_session_2"))  # a partition
    }
    connection.rollback()
    return rows


def insert_rows(connection: Connection, revision: str) -> None:
    script = (ROWS / f"{revision}.sql").read_text("utf-8")
    with connection.begin():
        for statement in filter(str.strip, script.split(";\n")):
            if not statement.startswith("--"):
                connection.execute(text(statement))


def test_the_revisions_are_one_line_in_the_order_of_their_names() -> None:
    script = ScriptDirectory(str(MIGRATIONS))
    assert len(script.get_heads()) == 1, (
        "two revisions follow the same one: name one of "
        f"{script.get_heads()} in the other's down_revision, and rename it to be later"
    )
    line = [revision.revision for revision in script.walk_revisions()]
    assert tuple(reversed(line)) == known()


def test_every_revision_has_rows_to_be_tested_with() -> None:
    assert sorted(path.stem for path in ROWS.glob("*.sql")) == list(known())


async def test_each_revision_keeps_what_was_there_and_gives_it_back(url: str) -> None:
    def climb(connection: Connection) -> None:
        for at, revision in enumerate(known()):
            before = rows_of(connection)
            migrate.upgrade(connection, revision)
            for table, rows in rows_of(connection).items():
                for old, new in zip(before.get(table, []), rows, strict=table in before):
                    assert {k: v for k, v in new.items() if k in old} == {
                        k: v for k, v in old.items() if k in new
                    }, revision
            insert_rows(connection, revision)
            filled = rows_of(connection)
            migrate.downgrade(connection, known()[at - 1] if at else migrate.BASE)
            assert rows_of(connection) == before, revision
            migrate.upgrade(connection, revision)
            insert_rows(connection, revision)
            assert rows_of(connection) == filled, revision
        migrate.downgrade(connection, migrate.BASE)
        assert rows_of(connection) == {}

    await on(url, climb)


async def test_the_last_revision_is_what_the_tables_say(url: str) -> None:
    def differences(connection: Connection) -> list[Any]:
        migrate.upgrade(connection)
        options = {
            "compare_type": True,
            "compare_server_default": True,
            # Partitions are made as months come.
            "include_name": lambda name, *_: (
                not str(name).startswith(("usage_window_2", "usage_session_2"))
            ),
        }
        return list(
            compare_metadata(MigrationContext.configure(connection, opts=options), metadata)
        )

    assert await on(url, differences) == []


async def test_postgresql_tells_what_each_column_holds(postgres_url: str) -> None:
    def comments(connection: Connection) -> list[str | None]:
        migrate.upgrade(connection)
        look = inspect(connection)
        return [
            column["comment"] for table in metadata.tables for column in look.get_columns(table)
        ] + [look.get_table_comment(table)["text"] for table in metadata.tables]

    assert all(" / " in (comment or "") for comment in await on(postgres_url, comments))


async def test_a_revision_may_be_named_by_a_part(url: str) -> None:
    def move(connection: Connection) -> str | None:
        migrate.upgrade(connection, "usage")
        with pytest.raises(NoSuchRevision, match="'r2' is none of r"):
            migrate.upgrade(connection, "r2")
        return migrate.upgrade(connection)

    assert await on(url, move) == known()[0]


async def test_a_revision_of_a_later_program_is_left_alone(url: str) -> None:
    def ahead(connection: Connection) -> None:
        migrate.upgrade(connection)
        with connection.begin():
            connection.execute(text("UPDATE schema_revision SET version_num = 'r29991231_2359_x'"))
        for move in (migrate.upgrade, lambda c: migrate.downgrade(c, migrate.BASE)):
            with pytest.raises(SchemaUnknown, match=f"metaport db downgrade {head()}"):
                move(connection)

    await on(url, ahead)


async def test_a_step_that_would_leave_orphans_is_taken_back(tmp_path: Path) -> None:
    def orphan(connection: Connection) -> None:
        with connection.begin():
            connection.execute(text("CREATE TABLE parent (id INTEGER PRIMARY KEY)"))
            connection.execute(text("CREATE TABLE child (id INTEGER REFERENCES parent (id))"))
        connection.exec_driver_sql("PRAGMA foreign_keys = OFF")
        connection.exec_driver_sql("INSERT INTO child VALUES (1)")
        connection.commit()
        with pytest.raises(migrate.DatabaseError, match="refer to nothing"):
            migrate.upgrade(connection)
        assert "usage_window" not in inspect(connection).get_table_names()

    await on(sqlite_url(tmp_path / "orphans.db"), orphan)


def test_a_new_revision_follows_the_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from datetime import UTC, datetime

    from metaport.db.migrations import begin as module

    (tmp_path / "versions").mkdir()
    monkeypatch.setattr(module, "MIGRATIONS", tmp_path)
    path = begin("spaces", datetime(2030, 1, 2, 3, 4, tzinfo=UTC))
    assert path.name == "r20300102_0304_spaces.py"
    assert f'down_revision = "{head()}"' in path.read_text("utf-8")
