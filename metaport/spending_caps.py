"""Caps on spending: each hub holds the month's cost of apps and rooms against the contract's caps.

A cap is looked at each minute, from sums that are at most 10 s behind: what was begun before is
never cut, so a cap is passed by what a minute costs.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path

from metaport.db.errors import DatabaseError
from metaport.usage import LedgerReports
from metering.breakdown import break_down
from metering.contract import Cap, load_contract
from metering.errors import MeteringError
from metering.events import place_of
from metering.money import EXACT
from metering.rating.adjustments import vat_of
from metering.statement import Report
from metering.windows import month_of, open_zone

logger = logging.getLogger(__name__)

LOOK_S = 60.0


class SpendingCaps:
    """Which apps and rooms have reached their cap; `chatd.caps.Caps` of the hub.

    While the ledger is away, what was known holds on: a cap neither closes nor opens unseen.
    """

    def __init__(
        self, contract: Path | None, reports: LedgerReports, zone: str, clock: Callable[[], float]
    ) -> None:
        self._contract = contract
        self._reports = reports
        self._zone = open_zone(zone)
        self._clock = clock
        self._apps: Mapping[str, frozenset[str]] = {}
        self._rooms: Mapping[str, frozenset[str]] = {}
        self.failing: str | None = None

    def refuses_messages(self, room: str) -> bool:
        """Say whether no new message may be sent in `room`."""
        return bool(self._apps or self._rooms) and self._refuses("messages", room)

    def refuses_media(self, room: str) -> bool:
        """Say whether nobody else may come into the media of `room`."""
        return bool(self._apps or self._rooms) and self._refuses("media", room)

    def _refuses(self, what: str, room: str) -> bool:
        return what in self._rooms.get(room, ()) or what in self._apps.get(place_of(room).app, ())

    async def run(self) -> None:
        """Look each minute until cancelled."""
        while self._contract is not None:
            await self.look()
            await asyncio.sleep(LOOK_S)

    async def look(self) -> None:
        """Look once."""
        if self._contract is None:
            return
        try:
            caps = (await asyncio.to_thread(load_contract, self._contract)).cap
            reached: list[Cap] = []
            if caps:
                now = self._clock()
                month = month_of(int(now), self._zone)
                report = await self._reports.month(month, now, details=True)
                reached = _reached(caps, report)
        except (MeteringError, DatabaseError) as error:
            if self.failing is None:
                logger.error("caps are not looked at: %s", error)
            self.failing = str(error)
            return
        self.failing = None
        self._take(reached)

    def _take(self, reached: list[Cap]) -> None:
        apps: dict[str, frozenset[str]] = {}
        rooms: dict[str, frozenset[str]] = {}
        for cap in reached:
            kept, name = (apps, cap.app) if cap.app is not None else (rooms, cap.room or "")
            kept[name] = kept.get(name, frozenset()) | set(cap.refuse)
        for kind, before, after in (("app", self._apps, apps), ("room", self._rooms, rooms)):
            for name in after.keys() - before.keys():
                logger.warning("the cap of %s %r is reached: %s", kind, name, sorted(after[name]))
            for name in before.keys() - after.keys():
                logger.info("the cap of %s %r holds nothing back any more", kind, name)
        self._apps, self._rooms = apps, rooms


def _reached(caps: tuple[Cap, ...], report: Report) -> list[Cap]:
    def costs(used: Mapping[str, Mapping[str, int]]) -> dict[str, Decimal]:
        shares = break_down(report.lines, report.adjustments, used, report.currency).shares
        return {
            share.key: EXACT.add(
                share.amount, vat_of(share.amount, report.vat_percent, report.currency)
            )
            for share in shares
        }

    apps, rooms = costs(report.by_app), costs(report.by_room)

    def cost_of(cap: Cap) -> Decimal:
        if cap.app is not None:
            return apps.get(cap.app, Decimal(0))
        return rooms.get(cap.room or "", Decimal(0))

    return [cap for cap in caps if cost_of(cap) >= cap.won]
