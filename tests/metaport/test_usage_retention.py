"""Old details go, hour by hour, and a database that is away only delays them."""

import asyncio
from pathlib import Path

from metaport.db.engine import connect, sqlite_url
from metaport.db.ledger import SqlLedger
from metaport.usage_retention import DAY_S, drop_old_details
from metering.errors import PeriodError
from metering.events import Subject, UsageRow
from metering.meters import MESSAGES_SENT

NOW = 1_795_000_500 // 900 * 900


async def test_details_older_than_the_days_kept_are_dropped(tmp_path: Path) -> None:
    ledger = SqlLedger(connect(sqlite_url(tmp_path / "ledger.db")))
    old = NOW - 11 * DAY_S
    await ledger.upsert([UsageRow("hub", "1", MESSAGES_SENT, Subject("r", "u"), old, 3)])
    job = asyncio.create_task(drop_old_details(ledger, 10, lambda: float(NOW)))
    async with asyncio.timeout(30):
        while not job.done():
            try:
                await ledger.by_subject(old, NOW)
            except PeriodError:
                break
            await asyncio.sleep(0.01)
    job.cancel()
    await asyncio.gather(job, return_exceptions=True)
    assert await ledger.totals(0, 2**40) == {MESSAGES_SENT: 3}
    await ledger.close()


async def test_zero_days_keep_all(tmp_path: Path) -> None:
    ledger = SqlLedger(connect(sqlite_url(tmp_path / "ledger.db")))
    await drop_old_details(ledger, 0, lambda: float(NOW))
    await ledger.close()
