"""Shares of a month: they add up, to the won, whatever the prices."""

from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metering.breakdown import allocate, break_down
from metering.counters import Counters
from metering.events import Checkpoint, Subject
from metering.ledger import MemoryLedger
from metering.meters import MESSAGES_SENT, METERS, VOICE_SECONDS, Service
from metering.money import CURRENCIES, total
from metering.pricebook import read_price_book
from metering.report import Report, build_report
from metering.units import Unit
from metering.windows import month_period

KRW = CURRENCIES["KRW"]
NOVEMBER = month_period("2026-11", ZoneInfo("Asia/Seoul"))
DAY = 86_400


@given(st.integers(-(10**9), 10**12), st.lists(st.integers(0, 10**9), min_size=1, max_size=40))
def test_whole_coins_are_shared_out_and_none_is_left(amount: int, weights: list[int]) -> None:
    weights[0] += 1
    shares = allocate(Decimal(amount), weights, KRW)
    assert sum(shares) == amount
    for share, weight in zip(shares, weights, strict=True):
        assert share == share.to_integral_value()
        assert abs(share - Decimal(amount) * weight / sum(weights)) < 1


def test_the_largest_remainder_comes_first_and_the_earlier_of_equals() -> None:
    assert allocate(Decimal(2), [1, 1, 1], KRW) == [1, 1, 0]
    assert allocate(Decimal(10), [1, 2, 3], KRW) == [2, 3, 5]
    assert allocate(Decimal(1), [1, 2], KRW) == [0, 1]


TEXT = 'currency = "KRW"\nvat_percent = 10\n[[version]]\neffective = 2026-01-01\n[version.price]\n'
WORDS = {Unit.MESSAGE: "message", Unit.SECOND: "second", Unit.BYTE: "byte"}


async def statement(used: dict[tuple[str, str, int], int], **stated: str) -> Report:
    """Price (meter, room, day) used, everything free but what is stated."""
    text = TEXT
    for name, meter in METERS.items():
        price = stated.get(name, f'{{ price = 0, per = "{WORDS[meter.unit]}" }}')
        text += f'"{name}" = {price}\n'
    counters = Counters("hub", "1")
    for (meter, room, day), quantity in used.items():
        counters.add(meter, Subject(room, "visitor"), NOVEMBER.start_s + day * DAY, quantity)
    ledger = MemoryLedger()
    await ledger.upsert(counters.drain(), Checkpoint("hub", "1", NOVEMBER.end_s))
    book = read_price_book(text, "book.toml")
    return await build_report(
        ledger, book, "2026-11", "Asia/Seoul", NOVEMBER.end_s + 9, details=True
    )


@pytest.mark.parametrize("key", ["by_day", "by_room", "by_app"])
async def test_shares_add_up_to_what_the_statement_says(key: str) -> None:
    report = await statement(
        {
            (MESSAGES_SENT, "lobby", 0): 7,
            (MESSAGES_SENT, "fair:hall/1", 29): 4,
            (VOICE_SECONDS, "hall", 3): 11,
        },
        **{
            MESSAGES_SENT: '{ per = "message", tiers = [{ up_to = 5, price = 1.4, fee = 3 }, '
            "{ price = 0.3 }], minimum = 100 }",
            VOICE_SECONDS: '{ price = 0.7, per = "second" }',
        },
    )
    shared = break_down(report.lines, report.adjustments, getattr(report, key), report.currency)
    assert total(share.amount for share in shared.shares) + shared.apart == report.subtotal == 108
    assert shared.apart == 0
    texts = [share.amounts[Service.TEXT] for share in shared.shares if MESSAGES_SENT in
             share.quantities]  # fmt: skip
    assert sorted(texts) == [36, 64]


async def test_days_begin_and_end_where_korea_says() -> None:
    used = {(MESSAGES_SENT, "lobby", day): day + 1 for day in range(30)}
    report = await statement(used)
    assert list(report.by_day) == [f"2026-11-{day:02}" for day in range(1, 31)]
    assert [report.by_day[f"2026-11-{n + 1:02}"][MESSAGES_SENT] for n in range(30)] == [
        n + 1 for n in range(30)
    ]


async def test_a_minimum_that_nobody_used_belongs_to_nobody() -> None:
    report = await statement(
        {(VOICE_SECONDS, "hall", 3): 11},
        **{MESSAGES_SENT: '{ price = 1, per = "message", minimum = 100 }'},
    )
    shared = break_down(report.lines, report.adjustments, report.by_room, report.currency)
    assert shared.apart == 100
