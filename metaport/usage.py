"""From the local logs to the ledger, and from the ledger to priced answers.

1. `Shipper.ship` follows each process's log from its checkpoint,
2. keeps the newest total of each counter, and
3. stores rows and checkpoint in one ledger transaction, so a crash anywhere repeats, never loses.
"""

import asyncio
import logging
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from metaport.config import Config
from metaport.db.engine import open_engine
from metaport.db.errors import DatabaseError
from metaport.db.ledger import SqlLedger
from metaport.language import Say
from metaport.log import Follower, LogError
from metaport.usage_log import usage_of
from metering.errors import LedgerUnavailable, MeteringError
from metering.events import Checkpoint, UsageRow
from metering.ledger import Ledger
from metering.pricebook import PriceBook, load_price_book
from metering.report import RENDERERS, Report, build_report
from metering.visit import cost_of

logger = logging.getLogger(__name__)

SHIP_EVERY_S = 1.0
RECORDS_AT_A_TIME = 5_000
# A database that comes back is noticed within this time.
LONGEST_RETRY_S = 10.0
VISIT_S = 86_400


def price_book(config: Config) -> PriceBook:
    """Load the configured price book, or the default one. Raises `PriceBookError`."""
    return load_price_book(config.usage.pricebook)


class Shipper:
    """Bring what the processes of this machine wrote into the ledger."""

    def __init__(self, ledger: Ledger, logs: Mapping[str, Path]) -> None:
        self._ledger = ledger
        self._logs = logs
        # A reader without a follower starts at its checkpoint; so it does after any failure.
        self._followers: dict[str, Follower] = {}
        self.as_of_s: dict[str, int] = {}
        self.failing: str | None = None

    def lag_bytes(self) -> dict[str, int]:
        """Tell how many bytes of each log are not in the ledger yet."""
        return {name: follower.lag_bytes() for name, follower in self._followers.items()}

    def position(self, reader: str) -> int | None:
        """Tell up to where a log is in the ledger; None when that is not known."""
        follower = self._followers.get(reader)
        return None if follower is None else follower.position

    async def ship(self) -> int:
        """Ship what is there; returns the number of records read.

        Raises:
            LedgerUnavailable, LogError, OSError: nothing is lost; ship again later.
            ValueError: a row that no database keeps; names are checked where they come in, so
                this is a bug, told and kept in the log.
        """
        shipped = 0
        for name in self._logs:
            try:
                while records := await self._ship_some(name):
                    shipped += records
            except BaseException:
                self._forget(name)
                raise
        return shipped

    async def _ship_some(self, reader: str) -> int:
        follower = await self._follow(reader)
        records = follower.poll(RECORDS_AT_A_TIME)
        newest: dict[tuple[Any, ...], UsageRow] = {}
        for _, record in records:
            if (usage := usage_of(record)) is not None:
                self.as_of_s[reader] = usage[0]
                newest |= {row[:-1]: row for row in usage[1]}
        if records and reader in self.as_of_s:
            position = str(records[-1][0])
            checkpoint = Checkpoint(reader, position, self.as_of_s[reader])
            await self._ledger.upsert(list(newest.values()), checkpoint)
        return len(records)

    async def _follow(self, reader: str) -> Follower:
        if reader not in self._followers:
            kept = await self._ledger.checkpoint(reader)
            position = None if kept is None else int(kept)
            self._followers[reader] = Follower(self._logs[reader], position)
        return self._followers[reader]

    def _forget(self, reader: str) -> None:
        if (follower := self._followers.pop(reader, None)) is not None:
            follower.close()

    async def run(self) -> None:
        """Ship until cancelled, slower while it fails; a cancelled transaction is rolled back."""
        retry_s = SHIP_EVERY_S
        while True:
            try:
                await self.ship()
            except (LedgerUnavailable, LogError, OSError, ValueError) as error:
                retry_s = min(retry_s * 2, LONGEST_RETRY_S)
                if self.failing is None:
                    logger.error("usage waits in the local log: %s", error)
                self.failing = str(error)
            else:
                if self.failing is not None:
                    logger.info("usage is shipped again")
                self.failing = None
                retry_s = SHIP_EVERY_S
            await asyncio.sleep(retry_s)

    def close(self) -> None:
        """Let go of the logs."""
        for name in list(self._followers):
            self._forget(name)


class LedgerReports:
    """Priced questions to one ledger."""

    def __init__(self, ledger: Ledger, book: PriceBook, zone: str) -> None:
        self._ledger = ledger
        self._book = book
        self._zone = zone

    async def month(self, month: str, now: float) -> Report:
        """Build the report of a month such as 2026-11.

        Raises:
            PeriodError, PriceMissing, LedgerUnavailable
        """
        return await build_report(self._ledger, self._book, month, self._zone, now)

    async def visit(self, user: str, now: float) -> dict[str, Any]:
        """Price what one user caused in the last 24 hours."""
        at_s = int(now)
        cost = await cost_of(
            self._ledger, self._book, user, at_s - VISIT_S, at_s + 1, zone=self._zone
        )
        return cost.as_json()


def this_month(zone: str, now: float) -> str:
    """Name the current month in a zone."""
    return f"{datetime.fromtimestamp(now, UTC).astimezone(ZoneInfo(zone)):%Y-%m}"


async def print_report(config: Config, month: str, form: str, lang: str) -> int:
    """Print the report of a month on standard output; returns the exit code."""
    now = datetime.now(UTC).timestamp()
    if config.database.url is None and not (config.data.dir / "metaport.db").exists():
        nothing = Say("아직 사용량 기록이 없습니다", "there is no usage yet")
        sentence = nothing.ko if lang == "ko" else nothing.en
        print(f"metaport: {sentence} (data.dir: {config.data.dir})", file=sys.stderr)
        return 1
    try:
        engine = await open_engine(config.database_url)
        try:
            reports = LedgerReports(SqlLedger(engine), price_book(config), config.usage.zone)
            report = await reports.month(month, now)
        finally:
            await engine.dispose()
    except (MeteringError, DatabaseError) as error:
        print(f"metaport: {error}", file=sys.stderr)
        return 2
    print(RENDERERS[form](report, lang), end="")
    return 0
