"""What one user's presence has cost."""

from decimal import Decimal

import pytest

from metering.errors import PriceMissing
from metering.events import Checkpoint, Subject, UsageRow
from metering.ledger import MemoryLedger
from metering.meters import MESSAGES_SENT, VOICE_SECONDS
from metering.pricebook import load_price_book
from metering.visit import cost_of

WINDOW = 1_795_000_500 // 900 * 900


async def visited() -> MemoryLedger:
    ledger = MemoryLedger()
    lobby, hall = Subject("lobby", "visitor"), Subject("hall", "visitor")
    rows = [
        UsageRow("hub", "1", MESSAGES_SENT, lobby, WINDOW, 100),
        UsageRow("hub", "1", MESSAGES_SENT, hall, WINDOW, 23),
        UsageRow("sfu", "1", VOICE_SECONDS, lobby, WINDOW, 617),
        UsageRow("sfu", "1", VOICE_SECONDS, lobby, WINDOW - 900, 10_000),
        UsageRow("sfu", "1", VOICE_SECONDS, Subject("lobby", "host"), WINDOW, 10_000),
    ]
    await ledger.upsert(rows, Checkpoint("hub", "1", WINDOW + 700))
    return ledger


async def test_a_visit_is_priced_over_all_its_rooms() -> None:
    cost = await cost_of(await visited(), load_price_book(), "visitor", WINDOW + 20, WINDOW + 650)
    assert cost.as_json() == {
        "currency": "KRW",
        "amount": "13.20",
        "lines": [
            {"meter": MESSAGES_SENT, "quantity": 123, "unit": "message", "amount": "0.86"},
            {"meter": VOICE_SECONDS, "quantity": 617, "unit": "second", "amount": "12.34"},
        ],
        "as_of": "2026-11-18T20:26:40+09:00",
    }


async def test_the_lines_add_up_to_the_amount() -> None:
    cost = await cost_of(await visited(), load_price_book(), "visitor", WINDOW - 10, WINDOW + 1)
    assert cost.amount == sum(line.amount for line in cost.lines) == Decimal("213.20")


async def test_a_visit_without_usage_costs_nothing() -> None:
    cost = await cost_of(MemoryLedger(), load_price_book(), "visitor", WINDOW, WINDOW + 60)
    assert cost.as_json() == {"currency": "KRW", "amount": "0.00", "lines": [], "as_of": None}


async def test_a_visit_is_not_priced_with_a_guess() -> None:
    ledger = MemoryLedger()
    await ledger.upsert([UsageRow("hub", "1", "chat.smells", Subject("", "visitor"), WINDOW, 1)])
    with pytest.raises(PriceMissing, match=r"no price for chat\.smells"):
        await cost_of(ledger, load_price_book(), "visitor", WINDOW, WINDOW + 60)
