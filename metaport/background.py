"""What goes on beside serving: repeated jobs that end with the process."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from metaport.log import Log, LogError

logger = logging.getLogger(__name__)

# How far usage is known is written this often, also when nothing happens: 3 MB a day. With what
# the facts are late and the shipper's second, "as of" is at most 10 s behind.
HEARTBEAT_S = 1.0
# How much a power failure can take.
SYNC_S = 1.0


async def every(interval_s: float, call: Callable[[], None]) -> None:
    """Call something at intervals until cancelled; a failure is logged and tried again."""
    while True:
        await asyncio.sleep(interval_s)
        try:
            call()
        except LogError as error:
            logger.error("%s", error)
        except Exception:
            logger.exception("%s failed", getattr(call, "__qualname__", call))


async def keep_synced(log: Log) -> None:
    """Flush a log each second until cancelled, off the loop: a slow disk must not stall media."""
    while True:
        await asyncio.sleep(SYNC_S)
        try:
            await asyncio.to_thread(log.sync)
        except LogError as error:
            logger.error("%s", error)


@asynccontextmanager
async def background(**jobs: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run named coroutines beside the body; they are cancelled when it ends."""
    loop = asyncio.get_running_loop()
    tasks = [loop.create_task(job, name=name) for name, job in jobs.items()]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
