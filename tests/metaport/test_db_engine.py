"""Opening a database: the schema, its version, and sentences for what goes wrong."""

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, inspect, text
from sqlalchemy.exc import IntegrityError

from metaport.db import migrate
from metaport.db.engine import connect, open_engine, prepare, sqlite_url
from metaport.db.errors import DatabaseUnavailable, SchemaUnknown
from metaport.db.revisions import head, known
from metaport.db.schema import metadata


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
            found = await connection.execute(text("SELECT version_num FROM schema_revision"))
            assert found.scalars().all() == [head()]
            tables = await connection.run_sync(lambda c: set(inspect(c).get_table_names()))
            assert tables == set(metadata.tables)
        await engine.dispose()


async def test_the_stores_of_one_process_take_turns_to_prepare(tmp_path: Path) -> None:
    begun: list[str] = []

    def note(_conn: Any, _cursor: Any, statement: str, *_: Any) -> None:
        begun.append(statement)

    engine = connect(sqlite_url(tmp_path / "new.db"))
    event.listen(engine.sync_engine, "before_cursor_execute", note)
    await asyncio.gather(*(prepare(engine) for _ in range(12)))
    await engine.dispose()
    assert sum("CREATE TABLE schema_revision" in statement for statement in begun) == 1
    assert begun.count("BEGIN IMMEDIATE") == 1  # nobody waits for a turn in the database


async def test_processes_that_start_together_create_one_schema(url: str) -> None:
    engines = await asyncio.gather(*(open_engine(url) for _ in range(4)))
    async with engines[0].connect() as connection:
        assert await connection.scalar(text("SELECT count(*) FROM schema_revision")) == 1
    for engine in engines:
        await engine.dispose()


async def test_a_later_schema_is_refused(url: str) -> None:
    engine = await open_engine(url)
    async with engine.begin() as connection:
        await connection.execute(text("UPDATE schema_revision SET version_num = 'r9'"))
    await engine.dispose()
    with pytest.raises(SchemaUnknown, match=f"schema r9, this program knows up to {head()}"):
        await open_engine(url)


async def test_rows_that_refer_to_nothing_are_refused(url: str) -> None:
    engine = await open_engine(url)
    async with engine.begin() as connection:
        await connection.execute(text("CREATE TABLE parent (id INTEGER PRIMARY KEY)"))
        await connection.execute(text("CREATE TABLE child (id INTEGER REFERENCES parent (id))"))
    with pytest.raises(IntegrityError):
        async with engine.begin() as connection:
            await connection.execute(text("INSERT INTO child VALUES (1)"))
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


OPEN_WHEN_TOLD = """
import asyncio, pathlib, sys, time
from metaport.db.engine import open_engine
from metaport.db import migrate
print("here", flush=True)
while not pathlib.Path(sys.argv[2]).exists():
    time.sleep(0.001)
async def main():
    await (await open_engine(sys.argv[1])).dispose()
asyncio.run(main())
"""


@pytest.mark.parametrize("begins", ["new", "a revision behind"])
async def test_hubs_that_start_together_on_one_sqlite_file_upgrade_it_once(
    tmp_path: Path, begins: str
) -> None:
    """Each hub process prepares the schema; seen with processes, not only with threads of one."""
    url, go = sqlite_url(tmp_path / "m.db"), tmp_path / "go"
    if begins == "a revision behind":
        engine = await open_engine(url)
        async with engine.connect() as connection:
            await connection.run_sync(migrate.downgrade, known()[-2])
        await engine.dispose()
    command = [sys.executable, "-c", OPEN_WHEN_TOLD, url, str(go)]
    hubs = [
        await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        for _ in range(3)
    ]
    for hub in hubs:
        assert hub.stdout is not None
        assert await hub.stdout.readline() == b"here\n"
    go.touch()
    told = [(await hub.communicate())[1].decode() for hub in hubs]
    assert told == [""] * len(hubs)
    engine = await open_engine(url)
    async with engine.connect() as connection:
        assert (await connection.execute(text("SELECT * FROM schema_revision"))).all() == [
            (head(),)
        ]
    await engine.dispose()
