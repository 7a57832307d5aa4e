"""The month elsewhere: vendors' own figures, and rows without a price that stay empty."""

from datetime import date
from decimal import Decimal

import pytest

from metering.errors import MarketError
from metering.events import Checkpoint, Subject, UsageRow
from metering.forms import FORMS
from metering.ledger import MemoryLedger
from metering.market import Offer, Rate, compare, load_market, read_market
from metering.market_document import market_document
from metering.meters import MESSAGES_SENT, VIDEO_SECONDS_HD, VOICE_SECONDS
from metering.pricebook import load_price_book
from metering.report import build_report

MINUTES = 120_000
RATES = [Rate("USD", Decimal(1_400), date(2026, 11, 1))]
WINDOW = 1_795_000_500 // 900 * 900


def test_the_shipped_rows_make_the_worked_comparison() -> None:
    """120,000 participant minutes: the cross-check that was worked out by hand."""
    voice = {
        found.offer.vendor: found.amount
        for found in compare(load_market(), {VOICE_SECONDS: MINUTES * 60}, RATES)
        if found.offer.meters == (VOICE_SECONDS,)
    }
    assert voice == {
        "Agora": Decimal("108.90"), "Cloudflare": 60, "VideoSDK": 66,
    }  # fmt: skip
    video = {
        (found.offer.vendor, found.offer.product): found.amount
        for found in compare(load_market(), {VIDEO_SECONDS_HD: MINUTES * 60}, RATES)
    }
    assert video["Cloudflare", "RealtimeKit audio and video"] == 240
    assert video["Vonage", "Video API, participant minute"] == 492
    assert video["VideoSDK", "video HD"] == 360


def test_a_row_without_a_price_stays_empty() -> None:
    empty = [f for f in compare(load_market(), {MESSAGES_SENT: 5}, RATES)
             if not f.offer.priced]  # fmt: skip
    assert len(empty) >= 3
    assert all(found.amount is None and found.won is None for found in empty)
    assert all(found.offer.trust == "not found" for found in empty)


@pytest.mark.parametrize(
    ("users", "won"),
    [(2_500, 294_990), (0, 0), (200, 0), (201, 219_990), (2_000, 219_990), (2_001, 220_140),
     (10_000, 1_419_990), (10_001, 1_420_090)],
)  # fmt: skip
def test_gamechats_own_example_of_2500_users_in_november(users: int, won: int) -> None:
    [found] = [f for f in compare(load_market(), {}, [], users=users, days=30)
               if f.offer.vendor == "GameChat"]  # fmt: skip
    assert (found.quantity, found.amount, found.won) == (users, won, won)


def test_a_plan_by_users_is_left_empty_where_nobody_counted_them() -> None:
    [found] = [f for f in compare(load_market(), {}, [], days=30) if f.offer.plan is not None]
    assert (found.quantity, found.amount, found.won) == (None, None, None)


def offer(**changed: object) -> Offer:
    stated: dict[str, object] = {
        "vendor": "V", "product": "p", "meters": (VOICE_SECONDS,), "unit": "minute",
        "currency": "USD", "as_of": "2026", "source": "s", "trust": "vendor",
        "price_per_1000": Decimal(1),
    }  # fmt: skip
    return Offer(**(stated | changed))


@pytest.mark.parametrize(
    ("seconds", "free", "amount"),
    [(0, 0, "0"), (1, 0, "0.001"), (60, 0, "0.001"), (61, 0, "0.002"), (600, 9, "0.001"),
     (600, 10, "0"), (600, 11, "0")],
)  # fmt: skip
def test_minutes_are_rounded_up_once_and_the_free_come_first(
    seconds: int, free: int, amount: str
) -> None:
    (found,) = compare(_market(offer(free=free)), {VOICE_SECONDS: seconds}, [])
    assert found.amount == Decimal(amount)
    assert found.won is None  # nobody entered a rate, and none is built in


def _market(*offers: Offer):
    from metering.market import Market

    return Market(offers)


def test_won_follow_from_the_rate_that_was_entered() -> None:
    (found,) = compare(_market(offer()), {VOICE_SECONDS: 60_000}, RATES)
    assert (found.amount, found.won) == (1, 1_400)


GOOD = """[[offer]]
vendor = "V"
product = "p"
meters = ["voice.participant_seconds"]
unit = "minute"
currency = "USD"
price_per_1000 = 1
as_of = "2026"
source = "s"
trust = "vendor"
"""


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (GOOD.replace("voice.participant_seconds", "smells"), "V: ['smells']"),
        (GOOD.replace("price_per_1000 = 1\n", ""), 'V: trust is "not found" where'),
        (GOOD.replace("price_per_1000 = 1", "price_per_1000 = -1"), "V: a price is a number"),
        (GOOD.replace("USD", "BTC"), "Invalid enum value 'BTC'"),
        (GOOD.replace('"minute"', '"user"'), "V: a plan is for users, and alone"),
        (GOOD + "[offer.plan]\nper_day = 1\nsteps = [{ price = 1 }]", "a plan is for users"),
        (GOOD + "[offer.plan]\nper_day = 1\nsteps = []", "steps rise by up_to"),
        (GOOD + "[offer.plan]\nper_day = -1\nsteps = [{ price = 1 }]", "from 0 up"),
        (GOOD.replace("as_of", "asof"), "unknown field `asof`"),
    ],
)
def test_rows_that_cannot_be_trusted_are_refused(text: str, told: str) -> None:
    with pytest.raises(MarketError) as caught:
        read_market(text, "market.toml")
    assert told in str(caught.value)


async def test_the_document_names_rates_and_sources(lang: str) -> None:
    ledger = MemoryLedger()
    row = UsageRow("sfu", "1", VOICE_SECONDS, Subject("lobby", "visitor"), WINDOW, 60_000)
    await ledger.upsert([row], Checkpoint("sfu", "1", WINDOW + 70))
    report = await build_report(ledger, load_price_book(), "2026-11", "Asia/Seoul", WINDOW + 75)
    compared = compare(load_market(), {VOICE_SECONDS: 60_000}, RATES, days=30)
    said = FORMS["text"](market_document(report, compared, RATES, lang)).decode()
    assert {"ko": "1 USD = 1400원 (2026-11-01, 입력값)",
            "en": "1 USD = KRW 1400 (2026-11-01, entered)"}[lang] in said  # fmt: skip
    assert {"ko": "단가 없음", "en": "no price"}[lang] in said
    assert {"ko": "측정 없음", "en": "not measured"}[lang] in said
    assert all(found.offer.source in said for found in compared)
    assert "1,200" in said  # 1,000 minutes here, at 1.2 won
