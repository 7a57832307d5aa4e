"""A statement in which every meter has been used."""

import pytest

from metering.events import Checkpoint, Subject, UsageRow
from metering.ledger import MemoryLedger
from metering.meters import METERS
from metering.pricebook import load_price_book
from metering.report import Report, build_report

WINDOW = 1_795_000_500 // 900 * 900


@pytest.fixture
async def report() -> Report:
    """Price a month at the shipped prices."""
    ledger = MemoryLedger()
    rows = [
        UsageRow("hub", "1", meter, Subject("lobby", "visitor"), WINDOW, 7 ** (number + 3))
        for number, meter in enumerate(METERS)
    ]
    await ledger.upsert(rows, Checkpoint("hub", "1", WINDOW + 70))
    return await build_report(ledger, load_price_book(), "2026-11", "Asia/Seoul", WINDOW + 75)


@pytest.fixture(params=["ko", "en"])
def lang(request: pytest.FixtureRequest) -> str:
    """Run the test in both languages."""
    name: str = request.param
    return name
