"""Details of usage are deleted after a time; their sums by hour, day and month stay."""

import asyncio
import logging
from collections.abc import Callable

from metaport.db.ledger import SqlLedger
from metering.errors import LedgerUnavailable

logger = logging.getLogger(__name__)

DAY_S = 86_400
DROP_EVERY_S = 3600.0


async def drop_old_details(ledger: SqlLedger, days: int, clock: Callable[[], float]) -> None:
    """Drop windows older than `days` each hour until cancelled; 0 keeps all."""
    while days:
        try:
            await ledger.drop_details(int(clock()) - days * DAY_S)
        except LedgerUnavailable as error:
            logger.warning("old details of usage are deleted later: %s", error)
        await asyncio.sleep(DROP_EVERY_S)
