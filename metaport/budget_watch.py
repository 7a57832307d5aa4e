"""Told once: each threshold of the contract that usage has reached."""

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

from metaport.db.errors import DatabaseError
from metaport.db.webhooks import Event, SqlWebhooks
from metaport.usage import LedgerReports
from metering.budget_statement import BudgetStatement
from metering.contract import load_contract
from metering.errors import MeteringError

logger = logging.getLogger(__name__)

# A month's sums come from rollups in milliseconds; nobody can act on a budget faster than this.
WATCH_S = 60.0


def events_of(statement: BudgetStatement, now: float) -> list[Event]:
    """Return an event for each threshold reached; the contract and the percentage are its id."""
    contract, standing = statement.contract, statement.standing
    found = statement.forecast
    return [
        Event(
            f"budget.reached/{contract.start.isoformat()}/{contract.amount:f}/{percent}",
            "budget.reached",
            int(now * 1000),
            {
                "percent": percent,
                "amount": f"{contract.amount:f}",
                "spent": f"{standing.spent:f}",
                "left": f"{standing.left:f}",
                "expected": None if found is None else f"{found.expected:f}",
                "contract": {"ko": contract.title_ko, "en": contract.title_en},
                "start": contract.start.isoformat(),
                "end": contract.end.isoformat(),
                "invoice": False,
            },
        )
        for percent in standing.reached
    ]


class BudgetWatch:
    """Holds usage against the contract from time to time, and puts what is to be told."""

    def __init__(
        self,
        contract: Path | None,
        reports: LedgerReports,
        webhooks: SqlWebhooks,
        clock: Callable[[], float],
    ) -> None:
        self._contract = contract
        self._reports = reports
        self._webhooks = webhooks
        self._clock = clock
        self.failing: str | None = None

    async def run(self) -> None:
        """Look each minute until cancelled; without a contract there is nothing to do."""
        while self._contract is not None:
            await self.look()
            await asyncio.sleep(WATCH_S)

    async def look(self) -> int:
        """Look once; return how many thresholds are newly told."""
        if self._contract is None:
            return 0
        try:
            contract = await asyncio.to_thread(load_contract, self._contract)
            statement = await self._reports.budget(contract, self._clock())
            new = await self._webhooks.put(events_of(statement, self._clock()))
        except (MeteringError, DatabaseError) as error:
            if self.failing is None:
                logger.error("the budget is not watched: %s", error)
            self.failing = str(error)
            return 0
        self.failing = None
        if new:
            reached = ", ".join(f"{percent} %" for percent in statement.standing.reached)
            logger.warning(
                "usage has reached %s of the contract: %s of %s won",
                reached, f"{statement.standing.spent:,f}", f"{contract.amount:,f}",
            )  # fmt: skip
        return new
