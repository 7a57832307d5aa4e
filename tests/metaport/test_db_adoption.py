"""Databases of before there were revisions are adopted, with everything in them."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, inspect, text

from metaport.db import migrate, revisions
from metaport.db.engine import connect, open_engine, sqlite_url
from metaport.db.errors import SchemaBehind, SchemaUnknown
from metaport.db.ledger import SqlLedger
from metaport.db.revisions import found, head
from metering.events import Checkpoint

# As version 1 created them, without the comments.
VERSION_1 = """
CREATE TABLE schema_version (version INTEGER NOT NULL, applied_at_s BIGINT NOT NULL,
    PRIMARY KEY (version));
CREATE TABLE usage_window (window_start_s BIGINT NOT NULL, node TEXT NOT NULL, boot TEXT NOT NULL,
    meter TEXT NOT NULL, room TEXT NOT NULL, user_id TEXT NOT NULL, quantity BIGINT NOT NULL,
    PRIMARY KEY (window_start_s, node, boot, meter, room, user_id));
CREATE INDEX usage_window_by_user ON usage_window (user_id, window_start_s);
CREATE TABLE reader_checkpoint (reader TEXT NOT NULL, position TEXT NOT NULL, at_s BIGINT NOT NULL,
    PRIMARY KEY (reader));
INSERT INTO schema_version VALUES (1, 1790000000);
INSERT INTO usage_window VALUES (1790000100, 'hub', 'b', 'chat.messages_sent', '광장', 'u', 7);
INSERT INTO reader_checkpoint VALUES ('hub', '4096', 1790000200);
"""


VERSION_2 = """
CREATE TABLE room_epoch (room TEXT NOT NULL, epoch TEXT NOT NULL, ordinal BIGINT NOT NULL,
    PRIMARY KEY (room, epoch), CONSTRAINT room_epoch_in_order UNIQUE (room, ordinal));
CREATE TABLE message (room TEXT NOT NULL, epoch TEXT NOT NULL, message_offset BIGINT NOT NULL,
    message_id TEXT NOT NULL, user_id TEXT NOT NULL, name TEXT NOT NULL, at_ms BIGINT NOT NULL,
    body TEXT NOT NULL, PRIMARY KEY (room, epoch, message_offset));
CREATE INDEX message_by_time ON message (at_ms);
CREATE TABLE history_checkpoint (reader TEXT NOT NULL, position BIGINT NOT NULL,
    PRIMARY KEY (reader));
INSERT INTO schema_version VALUES (2, 1790000001);
INSERT INTO history_checkpoint VALUES ('hub', 4096);
"""


async def on(url: str, work: Callable[[Connection], Any]) -> Any:
    engine = connect(url)
    try:
        async with engine.connect() as connection:
            return await connection.run_sync(work)
    finally:
        await engine.dispose()


async def write(url: str, script: str) -> None:
    def run(connection: Connection) -> None:
        for statement in filter(str.strip, script.split(";")):
            connection.execute(text(statement))
        connection.commit()

    await on(url, run)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    sqlite = sqlite_url(tmp_path / "old.db")
    return sqlite if request.param == "sqlite" else request.getfixturevalue("postgres_url")


@pytest.fixture(params=[VERSION_1, VERSION_1 + VERSION_2], ids=["version-1", "version-2"])
async def old(request: pytest.FixtureRequest, url: str) -> str:
    """Return the URL of a database of a numbered version with some usage in it."""
    await write(url, request.param)
    return url


async def test_what_was_there_is_still_there(old: str) -> None:
    await on(old, migrate.upgrade)
    ledger = SqlLedger(await open_engine(old))
    assert await ledger.totals(0, 2**40) == {"chat.messages_sent": 7}
    assert await ledger.checkpoint("hub") == "4096"
    await ledger.upsert([], Checkpoint("hub", "8192", 1_790_000_300))
    assert await ledger.as_of() == 1_790_000_300
    await ledger.close()
    assert await on(old, found) == head()


async def test_the_way_back_is_one_the_numbered_program_knows(old: str) -> None:
    def numbers(connection: Connection) -> list[int]:
        migrate.upgrade(connection)
        migrate.downgrade(connection, "history")
        return list(connection.scalars(text("SELECT version FROM schema_version ORDER BY 1")))

    assert await on(old, numbers) == [1, 2]


async def test_start_up_upgrades_the_embedded_database_and_refuses_the_other(old: str) -> None:
    if old.startswith("sqlite"):
        await (await open_engine(old)).dispose()
        assert await on(old, found) == head()
    else:
        with pytest.raises(SchemaBehind, match="run `metaport db upgrade`"):
            await open_engine(old)


async def test_processes_that_start_together_upgrade_once(old: str) -> None:
    await asyncio.gather(*(on(old, migrate.upgrade) for _ in range(4)))
    assert await on(old, found) == head()


async def test_a_numbered_version_nobody_knows_is_refused(url: str) -> None:
    await write(url, VERSION_1 + "INSERT INTO schema_version VALUES (9, 0)")
    with pytest.raises(SchemaUnknown, match="version 9"):
        await open_engine(url)


async def test_an_upgrade_that_fails_leaves_the_old_schema_whole(
    old: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    versions = tmp_path / "migrations" / "versions"
    versions.mkdir(parents=True)
    for path in (revisions.MIGRATIONS / "versions").glob("r*.py"):
        (versions / path.name).write_text(path.read_text("utf-8"), "utf-8")
    (versions / "r29990101_0000_bug.py").write_text(
        f"revision = 'r29990101_0000_bug'\ndown_revision = '{head()}'\n"
        "def upgrade(): raise RuntimeError('a bug')\n"
    )
    before = await on(old, found)
    monkeypatch.setattr(migrate, "MIGRATIONS", versions.parent)
    monkeypatch.setattr(revisions, "MIGRATIONS", versions.parent)
    revisions.known.cache_clear()
    with pytest.raises(RuntimeError, match="a bug"):
        await on(old, migrate.upgrade)
    monkeypatch.undo()
    revisions.known.cache_clear()
    assert await on(old, found) == before
    assert await on(old, lambda c: inspect(c).has_table("schema_version"))
