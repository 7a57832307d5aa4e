"""How much is stored, measured at whole hours: the database, and this machine's data directory."""

import asyncio
import logging
import os
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from metaport.db.engine import DRIVER_ERRORS
from metering.errors import LedgerUnavailable
from metering.events import Subject, UsageRow
from metering.ledger import Ledger
from metering.meters import STORED_BYTES

logger = logging.getLogger(__name__)

HOUR_S = 3600
LOOK_EVERY_S = 60.0
# One database counts once, however many processes measure it.
DATABASE = "database"


async def measure_stored(
    ledger: Ledger, engine: AsyncEngine, data_dir: Path, node: str, clock: Callable[[], float]
) -> None:
    """Tell the ledger at each whole hour how much is stored, until cancelled."""
    told_s = 0
    while True:
        hour_s = int(clock()) // HOUR_S * HOUR_S
        if hour_s != told_s:
            try:
                await ledger.upsert(await stored(engine, data_dir, node, hour_s))
                told_s = hour_s
            except (LedgerUnavailable, OSError, *DRIVER_ERRORS) as error:
                logger.warning("what is stored is measured later: %s", error)
        await asyncio.sleep(LOOK_EVERY_S)


async def stored(engine: AsyncEngine, data_dir: Path, node: str, at_s: int) -> list[UsageRow]:
    """Measure what is stored, as rows of the gauge.

    Raises:
        OSError: the data directory cannot be read.
    """
    files = await asyncio.to_thread(directory_bytes, data_dir)
    rows = [UsageRow(node, "", STORED_BYTES, Subject("", ""), at_s, files)]
    if engine.dialect.name == "postgresql":
        async with engine.connect() as connection:
            size = await connection.scalar(text("SELECT pg_database_size(current_database())"))
        rows.append(UsageRow(DATABASE, "", STORED_BYTES, Subject("", ""), at_s, int(size or 0)))
    return rows  # SQLite is a file of the data directory


def directory_bytes(directory: Path) -> int:
    """Add up the sizes of the files below a directory; one that goes meanwhile is nothing."""
    total = 0
    for parent, _, names in os.walk(directory):
        for name in names:
            try:
                total += os.lstat(os.path.join(parent, name)).st_size
            except FileNotFoundError:
                continue
    return total
