"""What is stored is measured: files of the data directory, and PostgreSQL's own size."""

import asyncio
from pathlib import Path

from metaport.db.engine import sqlite_url
from metaport.db.ledger import SqlLedger, open_ledger
from metaport.usage_storage import directory_bytes, measure_stored, stored
from metering.meters import STORED_BYTES

NOW = 1_795_000_500.0


async def measured(ledger: SqlLedger, directory: Path) -> int:
    job = asyncio.create_task(measure_stored(ledger, ledger.engine, directory, "hub", lambda: NOW))
    async with asyncio.timeout(30):
        while not (found := await ledger.peak(STORED_BYTES, 0, 2**40)):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    job.cancel()
    await asyncio.gather(job, return_exceptions=True)
    return found


async def test_files_are_added_up(tmp_path: Path) -> None:
    (tmp_path / "media").mkdir()
    (tmp_path / "media" / "a").write_bytes(b"x" * 1_000_000)
    (tmp_path / "b").write_bytes(b"x" * 23)
    assert directory_bytes(tmp_path) == 1_000_023
    assert directory_bytes(tmp_path / "none") == 0
    ledger = await open_ledger(sqlite_url(tmp_path / "ledger.db"))
    assert await measured(ledger, tmp_path) > 1_000_023
    await ledger.close()


async def test_a_database_that_several_processes_share_counts_once(
    postgres_url: str, tmp_path: Path
) -> None:
    (tmp_path / "b").write_bytes(b"x" * 23)
    ledger = await open_ledger(postgres_url)
    for node in ("hub", "hub-2"):
        await ledger.upsert(await stored(ledger.engine, tmp_path, node, 3600))
    total = await ledger.peak(STORED_BYTES, 0, 2**40)
    [size] = [
        row.quantity
        for row in await stored(ledger.engine, tmp_path, "hub", 3600)
        if row.node == "database"
    ]
    assert total >= 46 + 1_000_000
    assert total < 46 + 2 * size
    await ledger.close()
