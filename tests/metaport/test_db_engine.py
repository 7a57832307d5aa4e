"""Opening a database: the schema, its version, and sentences for what goes wrong."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, inspect, text

from metaport.db.engine import open_engine, sqlite_url
from metaport.db.errors import DatabaseUnavailable, SchemaTooNew
from metaport.db.schema import VERSION, metadata


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return sqlite_url(tmp_path / "new.db")
    made: str = request.getfixturevalue("postgres_url")
    return made


async def test_the_schema_is_created_once(url: str) -> None:
    for _ in range(2):
        engine = await open_engine(url)
        async with engine.connect() as connection:
            found = await connection.execute(text("SELECT version FROM schema_version"))
            assert found.scalars().all() == [VERSION]
            tables = await connection.run_sync(lambda c: set(inspect(c).get_table_names()))
            assert tables == set(metadata.tables)
        await engine.dispose()


async def test_processes_that_start_together_create_one_schema(url: str) -> None:
    engines = await asyncio.gather(*(open_engine(url) for _ in range(4)))
    async with engines[0].connect() as connection:
        assert await connection.scalar(text("SELECT count(*) FROM schema_version")) == 1
    for engine in engines:
        await engine.dispose()


async def test_a_later_schema_is_refused(url: str) -> None:
    engine = await open_engine(url)
    async with engine.begin() as connection:
        await connection.execute(text("INSERT INTO schema_version VALUES (99, 0)"))
    await engine.dispose()
    known = f"schema version 99, this program knows up to {VERSION}"
    with pytest.raises(SchemaTooNew, match=known):
        await open_engine(url)


async def test_postgresql_tells_what_each_column_holds(postgres_url: str) -> None:
    def comments(connection: Connection) -> list[str | None]:
        look = inspect(connection)
        return [
            column["comment"] for table in metadata.tables for column in look.get_columns(table)
        ] + [look.get_table_comment(table)["text"] for table in metadata.tables]

    engine = await open_engine(postgres_url)
    async with engine.connect() as connection:
        assert all(" / " in (comment or "") for comment in await connection.run_sync(comments))
    await engine.dispose()


async def test_sqlite_readers_and_the_writer_do_not_wait(tmp_path: Path) -> None:
    engine = await open_engine(sqlite_url(tmp_path / "new.db"))
    async with engine.connect() as connection:
        assert await connection.scalar(text("PRAGMA journal_mode")) == "wal"
    await engine.dispose()


async def test_a_path_with_odd_characters_is_a_path(tmp_path: Path) -> None:
    path = tmp_path / "자료 100%?#.db"
    engine = await open_engine(sqlite_url(path))
    await engine.dispose()
    assert path.exists()


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("sqlite:////nowhere/at/all.db", "unable to open database file"),
        ("mysql://db/usage", "mysql is neither sqlite nor postgresql"),
        ("not a url", "cannot be read"),
        ("postgresql://user:secret@/db?host=/nowhere", r"user:\*\*\*@"),
    ],
)
async def test_no_way_in_is_one_sentence_without_secrets(url: str, sentence: str) -> None:
    with pytest.raises(DatabaseUnavailable, match=sentence) as caught:
        await open_engine(url)
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)


async def test_a_file_that_is_no_database_is_told_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("not a database, only notes\n" * 100)
    with pytest.raises(DatabaseUnavailable, match="file is not a database"):
        await open_engine(sqlite_url(path))
    assert path.read_text().startswith("not a database")


async def test_a_missing_database_is_told(postgres_server: Any) -> None:
    with pytest.raises(DatabaseUnavailable, match='"absent" does not exist'):
        await open_engine(postgres_server.url("absent"))
