"""The figures of a period beside what is priced: text bytes, peaks, users, what is stored."""

from metering.ledger import Ledger
from metering.meters import ACTIVE_USERS, FIGURES, GAUGES
from metering.windows import Period


async def figures_of(ledger: Ledger, period: Period) -> dict[str, int]:
    """Return each figure that somebody measured; one that nobody did is missing, not 0.

    Raises LedgerUnavailable; PeriodError where the details of the period are no longer kept and it
    is no month of the ledger's zone.
    """
    totals = await ledger.totals(*period)
    found = {meter: totals[meter] for meter in FIGURES if meter in totals}
    for meter in GAUGES:
        if peak := await ledger.peak(meter, *period):
            found[meter] = peak
    if totals:
        found[ACTIVE_USERS] = await ledger.active_users(*period)
    return {meter: found[meter] for meter in FIGURES if meter in found}
