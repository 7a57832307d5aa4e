"""From the local logs to the ledger, and from the ledger to priced answers.

1. `Shipper.ship` follows each process's log from its checkpoint,
2. keeps the newest total of each counter, and
3. stores rows and checkpoint in one ledger transaction, so a crash anywhere repeats, never loses.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

from metaport.config import Config
from metaport.db.ledger import SqlLedger
from metaport.db.periods import Periods
from metaport.db.reconciling import Reconciliations
from metaport.log import Follower, LogError, LogTrimmed, trim
from metaport.usage_log import NewestUsage
from metering.budget_statement import BudgetStatement, state_budget
from metering.contract import Contract
from metering.dimensions import Dimension, Used, used_by
from metering.errors import LedgerUnavailable
from metering.events import Checkpoint
from metering.figures import figures_of
from metering.ledger import Ledger
from metering.periods import Correction
from metering.pricebook import PriceBook, load_price_book
from metering.reconciliation import reconciliation_of
from metering.report import Report, build_report
from metering.statement import Aside
from metering.visit import cost_of
from metering.windows import Period, day_of, day_start, month_period, open_zone

logger = logging.getLogger(__name__)

SHIP_EVERY_S = 1.0
# With the second of the heartbeat and a transaction, figures are less than 10 s behind.
SHIP_LOADED_EVERY_S = 4.0
# Read at once: the loop serves chat in between, and 1,000 records hold it for about 10 ms.
RECORDS_AT_A_TIME = 1_000
# A transaction: the more records, the more totals that follow one another become one row.
RECORDS_A_TRANSACTION = 10_000
# A database that comes back is noticed within this time.
LONGEST_RETRY_S = 10.0
VISIT_S = 86_400


def price_book(config: Config) -> PriceBook:
    """Load the configured price book, or the default one. Raises `PriceBookError`."""
    return load_price_book(config.usage.pricebook)


class Shipper:
    """Bring what the processes of this machine wrote into the ledger."""

    def __init__(
        self,
        ledger: Ledger,
        logs: Mapping[str, Path],
        loaded: Callable[[], bool] = lambda: False,
    ) -> None:
        """`loaded` tells whether the loop has no time to spare."""
        self._loaded = loaded
        self._ledger = ledger
        self._logs = logs
        # A reader without a follower starts at its checkpoint; so it does after any failure.
        self._followers: dict[str, Follower] = {}
        self._read_s: dict[str, int] = {}  # as of when each follower's last usage record was
        self._stored: dict[str, int] = {}
        self.as_of_s: dict[str, int] = {}  # of what is in the ledger, by log
        self.failing: str | None = None

    @property
    def logs(self) -> Iterable[str]:
        """The names of the logs it reads."""
        return self._logs

    def lag_bytes(self) -> dict[str, int]:
        """Tell how many bytes of each log are not in the ledger, as far as is known."""
        return {
            name: Follower(directory, self._stored.get(name)).lag_bytes()
            for name, directory in self._logs.items()
        }

    def trim(self, kept_from: Mapping[str, int]) -> None:
        """Drop the segments of each log that are in the ledger and end before `kept_from`.

        Raises:
            OSError: a segment cannot be deleted.
        """
        for name, directory in self._logs.items():
            if (stored := self._stored.get(name)) is not None:
                trim(directory, min(stored, kept_from.get(name, stored)))

    async def ship(self) -> int:
        """Ship what is there; returns the number of records read.

        The logs take turns, and each gives up its turn when little is left: a busy process writes
        more during every transaction, and a damaged log must not keep the others waiting.

        Raises:
            LedgerUnavailable, LogError, OSError: nothing is lost; ship again later.
            ValueError: a row that no database keeps; names are checked where they come in, so
                this is a bug, told and kept in the log.
        """
        shipped = 0
        failures: list[Exception] = []
        behind = list(self._logs)
        while behind:
            for name in tuple(behind):
                records = await self._ship_or_forget(name, failures)
                shipped += records
                if records < RECORDS_A_TRANSACTION:
                    behind.remove(name)
        if failures:
            raise failures[0]
        return shipped

    async def _ship_or_forget(self, reader: str, failures: list[Exception]) -> int:
        try:
            return await self._ship_some(reader)
        except LogTrimmed as error:
            # A ledger restored from a backup: what was trimmed meanwhile stands nowhere, and to
            # wait for it would lose the rest as well.
            logger.error("usage is lost, restore a later backup: %s", error)
            self._forget(reader)
            self._followers[reader] = Follower(self._logs[reader], error.oldest)
            return RECORDS_A_TRANSACTION  # its turn is not over
        except Exception as error:
            self._forget(reader)
            failures.append(error)
            return 0
        except BaseException:
            self._forget(reader)
            raise

    async def _ship_some(self, reader: str) -> int:
        follower = await self._follow(reader)
        newest = NewestUsage()
        read = 0
        while read < RECORDS_A_TRANSACTION:
            try:
                records = follower.poll(RECORDS_AT_A_TIME)
            except LogError:
                if not read:
                    raise
                break  # what stands before it comes first, and the next call meets it again
            read += len(records)
            for _, record in records:
                newest.take(record)
            if len(records) < RECORDS_AT_A_TIME:
                break  # not `if not records`: a busy process writes in every iteration
            await asyncio.sleep(0)  # cancelled: nothing is stored, and the follower is forgotten
        if newest.at_s is not None:
            self._read_s[reader] = newest.at_s
        if read and reader in self._read_s:
            position, at_s = follower.position, self._read_s[reader]
            assert position is not None
            checkpoint = Checkpoint(reader, str(position), at_s)
            await self._ledger.upsert(newest.rows(), checkpoint, newest.sessions())
            self._stored[reader], self.as_of_s[reader] = position, at_s
        return read

    async def _follow(self, reader: str) -> Follower:
        if reader not in self._followers:
            kept = await self._ledger.checkpoint(reader)
            position = None if kept is None else int(kept)
            if position is None:
                self._stored.pop(reader, None)
            else:
                self._stored[reader] = position
            self._followers[reader] = Follower(self._logs[reader], position)
        return self._followers[reader]

    def _forget(self, reader: str) -> None:
        self._read_s.pop(reader, None)
        if (follower := self._followers.pop(reader, None)) is not None:
            follower.close()

    async def run(self) -> None:
        """Ship until cancelled, slower while it fails; a cancelled transaction is rolled back."""
        retry_s = SHIP_EVERY_S
        while True:
            try:
                await self.ship()
            except Exception as error:
                # A damaged log is tried again at once: the others are shipped beside it.
                retry_s = SHIP_EVERY_S if isinstance(error, LogError) else retry_s * 2
                retry_s = min(retry_s, LONGEST_RETRY_S)
                if self.failing is None:
                    bug = not isinstance(error, LedgerUnavailable | LogError | OSError)
                    logger.error("usage waits in the local log: %s", error, exc_info=bug)
                self.failing = str(error) or type(error).__name__
            else:
                if self.failing is not None:
                    logger.info("usage is shipped again")
                self.failing = None
                # Totals that follow one another become one row: seldom is cheaper.
                retry_s = SHIP_LOADED_EVERY_S if self._loaded() else SHIP_EVERY_S
            await asyncio.sleep(retry_s)

    def close(self) -> None:
        """Let go of the logs."""
        for name in list(self._followers):
            self._forget(name)


class Today(NamedTuple):
    """What was used since midnight in a zone, by key and meter; complete up to `as_of_s`."""

    zone: str
    since_s: int
    as_of_s: int | None
    used: Used


class LedgerReports:
    """Priced questions to one ledger; a `book` that is broken fails the question, nothing else."""

    def __init__(
        self,
        ledger: Ledger,
        book: Callable[[], PriceBook],
        zone: str,
        name_of: Callable[[str], str] = str,
        periods: Periods | None = None,
    ) -> None:
        self._name_of = name_of
        self._periods = periods
        self._ledger = ledger
        self._book = book
        self._zone = zone

    async def month(
        self, month: str, now: float, *, details: bool = False, by: Dimension | None = None
    ) -> Report:
        """Build the report of a month such as 2026-11, with usage by day and room if asked.

        `by` asks for usage by one dimension; of a closed month, of places only.

        That of a closed month is made from what was closed, whatever the ledger and the price
        book say now.

        Raises:
            PeriodError, PriceBookError, PriceMissing, LedgerUnavailable, MonthAltered
        """
        corrections: list[Correction] = []
        if self._periods is not None:
            if (closed := await self._periods.closed(month)) is not None:
                report = await self._periods.report(closed, details=details, by=by)
                # What the ledger knows today is not what was closed: that was kept.
                compared = tuple(map(reconciliation_of, closed.reconciled))
                aside = Aside(closed.figures, {}, compared)
                return replace(report, aside=aside) if details else report
            corrections = await self._periods.corrections(booked_in=month)
        report = await build_report(
            self._ledger,
            self._book(),
            month,
            self._zone,
            now,
            details=details,
            corrections=[found.as_adjustment() for found in corrections],
            by=by,
        )
        return replace(report, aside=await self._aside(report)) if details else report

    async def _aside(self, report: Report) -> Aside | None:
        """Tell what is known beside money: figures, who has reported, what was compared."""
        if not isinstance(self._ledger, SqlLedger):
            return None
        first, after = (day_of(at_s, report.zone).isoformat() for at_s in report.period)
        readers = await self._ledger.readers()
        return Aside(
            await figures_of(self._ledger, report.period),
            {name: min(at_s, report.period.end_s) for name, at_s in sorted(readers.items())},
            tuple(await Reconciliations(self._ledger).between(first, after)),
        )

    async def today(self, by: str, now: float) -> Today:
        """Return what was used since midnight, by `app`, `space` or `room`.

        Raises:
            LedgerUnavailable
        """
        zone = open_zone(self._zone)
        since_s = day_start(day_of(int(now), zone), zone)
        period = Period(since_s, int(now) + 1)
        used = await used_by(self._ledger, Dimension(by), period)
        return Today(self._zone, since_s, await self._ledger.as_of(), used)

    async def budget(self, contract: Contract, now: float) -> BudgetStatement:
        """Hold the contract's months so far against it.

        Raises:
            PeriodError, PriceBookError, PriceMissing, LedgerUnavailable
        """
        zone, book = open_zone(self._zone), self._book()
        covered = Period(
            day_start(contract.start, zone), day_start(contract.end + timedelta(days=1), zone)
        )
        reports = []
        for month, _ in contract.months():
            whole = month_period(month, zone)
            if whole.start_s > now:
                break
            if covered.start_s <= whole.start_s and whole.end_s <= covered.end_s:
                reports.append(await self.month(month, now, details=True))
                continue
            reports.append(
                await build_report(
                    self._ledger, book, month, self._zone, now, details=True, within=covered
                )
            )
        return state_budget(contract, reports, book.currency, day_of(int(now), zone))

    async def visit(self, user: str, now: float) -> dict[str, Any]:
        """Price what one user caused in the last 24 hours.

        Raises:
            PriceBookError, PriceMissing, LedgerUnavailable
        """
        at_s = int(now)
        cost = await cost_of(
            self._ledger,
            self._book(),
            self._name_of(user),
            at_s - VISIT_S,
            at_s + 1,
            zone=self._zone,
        )
        return cost.as_json()
