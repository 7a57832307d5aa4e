"""A database of an earlier version becomes one of this version, with everything in it."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, inspect, text

from metaport.db import upgrades
from metaport.db.engine import connect, open_engine, sqlite_url
from metaport.db.ledger import SqlLedger
from metaport.db.schema import VERSION, metadata
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


@pytest.fixture(params=["sqlite", "postgresql"])
async def old(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the URL of a database of version 1 with some usage in it."""
    sqlite = sqlite_url(tmp_path / "old.db")
    url: str = sqlite if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    engine = connect(url)
    async with engine.begin() as connection:
        for statement in filter(str.strip, VERSION_1.split(";")):
            await connection.execute(text(statement))
    await engine.dispose()
    return url


def shape(connection: Connection) -> dict[str, Any]:
    """Describe every table but the ones that version 1 had."""
    look = inspect(connection)
    return {
        table: (
            [(c["name"], str(c["type"]), c["nullable"], c.get("comment")) for c in columns],
            look.get_pk_constraint(table)["constrained_columns"],
            look.get_unique_constraints(table),
            look.get_indexes(table),
        )
        for table in look.get_table_names()
        if f"TABLE {table} " not in VERSION_1
        for columns in [look.get_columns(table)]
    }


async def versions(url: str) -> list[int]:
    engine = await open_engine(url)
    async with engine.connect() as connection:
        rows = await connection.execute(text("SELECT version FROM schema_version ORDER BY 1"))
        found = list(rows.scalars())
    await engine.dispose()
    return found


async def test_what_was_there_is_still_there(old: str) -> None:
    ledger = SqlLedger(await open_engine(old))
    assert await ledger.totals(0, 2**40) == {"chat.messages_sent": 7}
    assert await ledger.checkpoint("hub") == "4096"
    await ledger.upsert([], Checkpoint("hub", "8192", 1_790_000_300))
    assert await ledger.as_of() == 1_790_000_300
    await ledger.close()
    assert await versions(old) == [1, VERSION]


async def test_an_upgraded_database_is_like_a_new_one(old: str) -> None:
    upgraded = await open_engine(old)
    async with upgraded.begin() as connection:
        found = await connection.run_sync(shape)
        await connection.run_sync(metadata.drop_all)
    await upgraded.dispose()
    new = await open_engine(old)
    async with new.connect() as connection:
        assert found == await connection.run_sync(shape)
        assert found.keys() >= {"message", "room_epoch"}
    await new.dispose()


async def test_processes_that_start_together_upgrade_once(old: str) -> None:
    engines = await asyncio.gather(*(open_engine(old) for _ in range(4)))
    for engine in engines:
        await engine.dispose()
    assert await versions(old) == [1, VERSION]


async def test_an_upgrade_that_fails_leaves_the_old_schema_whole(
    old: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = upgrades.STEPS[VERSION]

    def stumble(connection: Connection) -> None:
        step(connection)
        raise RuntimeError("a bug")

    monkeypatch.setattr(upgrades, "STEPS", {VERSION: stumble})
    with pytest.raises(RuntimeError, match="a bug"):
        await open_engine(old)
    monkeypatch.undo()
    engine = connect(old)
    async with engine.connect() as connection:
        assert not await connection.run_sync(lambda c: inspect(c).has_table("message"))
    await engine.dispose()
    assert await versions(old) == [1, VERSION]
