"""The logs of hubs that are not started any more: into the database to the last record, then gone.

Fewer `hub.processes` than before leave directories beside those in use. Nobody follows them, and
a reader that stands still holds every month open, for there might be more to come. The first hub
of the machine does this with each:

1. takes the log's lock, so that nothing more can be written: what still runs is waited for;
2. ships usage and writes messages, to the end;
3. forgets both readers, which then hold no month open;
4. removes the directory.

A crash after 1 or 2 begins again; after 3, what is left is shipped once more, which changes
nothing; after 4 there is nothing to do. A hub that is started again begins a new log.
"""

import asyncio
import logging
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from metaport.config import Config
from metaport.db.errors import DatabaseError
from metaport.db.ledger import SqlLedger
from metaport.db.messages import SqlMessages
from metaport.history import HistoryWriter
from metaport.log import LogError, lock
from metaport.node import HUB, hub_nodes, node_name
from metaport.usage import Shipper
from metering.errors import LedgerUnavailable

logger = logging.getLogger(__name__)

TRY_EVERY_S = 10.0
_NAME = re.compile(rf"{HUB}-\d+")


class Retired(NamedTuple):
    """The log of a hub that is not started any more, and its name in the ledger."""

    name: str
    log: Path


def retired_hubs(config: Config) -> Iterator[Retired]:
    """Find the logs of this machine that belong to no hub of the configuration."""
    kept = {node.log.name for node in hub_nodes(config)}
    for path in sorted(config.hub_log.parent.glob(f"{HUB}-*")):
        if path.name not in kept and _NAME.fullmatch(path.name):
            yield Retired(node_name(config, path.name), path)


class RetiredLogs:
    """Empties and removes them; `failing` says in a sentence what keeps it from that."""

    def __init__(self, config: Config, ledger: SqlLedger, messages: SqlMessages) -> None:
        self._config = config
        self._ledger = ledger
        self._messages = messages
        self.failing: str | None = None

    async def run(self) -> None:
        """Try until none is left."""
        while left := list(retired_hubs(self._config)):
            self.failing = None
            for each in left:
                try:
                    await self.retire(each)
                except (LedgerUnavailable, DatabaseError, LogError, OSError) as error:
                    if self.failing is None:
                        logger.warning("the log of %s is not shipped yet: %s", each.name, error)
                    self.failing = f"{each.name}: {error}"
            if self.failing is not None:
                await asyncio.sleep(TRY_EVERY_S)

    async def retire(self, retired: Retired) -> None:
        """Empty one log and remove it.

        Raises:
            LogLocked: its hub still runs.
            LedgerUnavailable, DatabaseError, LogError, OSError: try again.
        """
        descriptor = lock(retired.log)
        try:
            await self._empty(retired)
            await self._ledger.forget_reader(retired.name)
            await self._messages.forget_reader(retired.name)
            await asyncio.to_thread(shutil.rmtree, retired.log)
        finally:
            os.close(descriptor)
        logger.info(
            "%s is not started any more: its log is in the database, and gone", retired.name
        )

    async def _empty(self, retired: Retired) -> None:
        shipper = Shipper(self._ledger, {retired.name: retired.log})
        writer = HistoryWriter(self._messages, retired.log, retired.name)
        try:
            while await shipper.ship():
                pass
            await writer.write()
        finally:
            shipper.close()
            writer.close()
