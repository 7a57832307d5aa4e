"""One look at a month for all that watch it: the budget and the caps price it each minute."""

import asyncio
from collections.abc import Callable

from metaport.db.periods import Periods
from metaport.usage import LedgerReports
from metering.dimensions import Dimension
from metering.ledger import Ledger
from metering.pricebook import PriceBook
from metering.report import Report

# Who looks each minute begins within a second of the others; nothing they do is for a person who
# waits, and a cap is looked at each minute anyway.
KEPT_S = 30.0


class SharedReports(LedgerReports):
    """Reports whose months with details are up to `KEPT_S` old; for watches, not for people."""

    def __init__(
        self,
        ledger: Ledger,
        book: Callable[[], PriceBook],
        zone: str,
        periods: Periods | None = None,
    ) -> None:
        super().__init__(ledger, book, zone, periods=periods)
        self._kept: dict[str, tuple[float, Report]] = {}
        # Held while a month is priced: whoever comes meanwhile gets the same.
        self._pricing = asyncio.Lock()
        self.priced = 0

    async def month(
        self, month: str, now: float, *, details: bool = False, by: Dimension | None = None
    ) -> Report:
        """Build the report of a month, or return that of a moment ago.

        Raises:
            PeriodError, PriceBookError, PriceMissing, LedgerUnavailable, MonthAltered
        """
        async with self._pricing:
            made_at, report = self._kept.get(month, (0.0, None))
            if details and by is None and report is not None and 0 <= now - made_at < KEPT_S:
                return report
            report = await super().month(month, now, details=details, by=by)
            self.priced += 1
            if details and by is None:
                self._kept = {m: kept for m, kept in self._kept.items() if now - kept[0] < KEPT_S}
                self._kept[month] = now, report
            return report
