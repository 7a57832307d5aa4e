"""The statement of a month: golden, by hand, and against an oracle written from the definitions."""

import json
import random
from datetime import date
from decimal import Decimal
from fractions import Fraction
from zoneinfo import ZoneInfo

import pytest

from metering.counters import Counters
from metering.errors import PeriodError, PriceMissing
from metering.events import Checkpoint, Subject, UsageRow
from metering.ledger import MemoryLedger
from metering.meters import (
    EGRESS_BYTES,
    MESSAGES_DELIVERED,
    MESSAGES_SENT,
    METERS,
    TEXT_BYTES_IN,
    VIDEO_SECONDS_HD,
    VOICE_SECONDS,
)
from metering.pricebook import PriceBook, load_price_book, read_price_book
from metering.report import RENDERERS, LineId, Report, build_report
from metering.units import Unit
from metering.windows import day_start, month_period
from tests.metering.cases import at_once, cases

SEOUL = ZoneInfo("Asia/Seoul")
NOVEMBER = month_period("2026-11", SEOUL)
MIDDLE = day_start(date(2026, 11, 16), SEOUL)
LOBBY = Subject("lobby", "visitor")
WORDS = {Unit.MESSAGE: "message", Unit.SECOND: "second", Unit.BYTE: "byte"}


def book_of(*versions: tuple[str, dict[str, str]], vat: str = "10") -> PriceBook:
    """Write a book in which everything is free but what is stated."""
    text = f'currency = "KRW"\nvat_percent = {vat}\n'
    for effective, stated in versions:
        text += f"[[version]]\neffective = {effective}\n[version.price]\n"
        for name, meter in METERS.items():
            price = stated.get(name, f'{{ price = 0, per = "{WORDS[meter.unit]}" }}')
            text += f'"{name}" = {price}\n'
    return read_price_book(text, "book.toml")


async def ledger_of(*usage: tuple[str, int, int], as_of_s: int | None = None) -> MemoryLedger:
    """Keep (meter, second, quantity)."""
    ledger = MemoryLedger()
    counters = Counters("hub", "1")
    for meter, at_s, quantity in usage:
        counters.add(meter, LOBBY, at_s, quantity)
    checkpoint = None if as_of_s is None else Checkpoint("hub", "1", as_of_s)
    await ledger.upsert(counters.drain(), checkpoint)
    return ledger


async def november(ledger: MemoryLedger, book: PriceBook) -> Report:
    return await build_report(ledger, book, "2026-11", "Asia/Seoul", NOVEMBER.end_s + 60)


async def test_the_json_has_the_shape_of_the_public_interface() -> None:
    ledger = await ledger_of(
        (MESSAGES_SENT, NOVEMBER.start_s, 12_345),
        (MESSAGES_DELIVERED, NOVEMBER.start_s + 5, 98_765),
        (VOICE_SECONDS, MIDDLE, 3_601),
        (VIDEO_SECONDS_HD, NOVEMBER.end_s - 1, 59),
        (EGRESS_BYTES, MIDDLE, 1_234_567_890),
        (MESSAGES_SENT, NOVEMBER.start_s - 1, 777),
        (MESSAGES_SENT, NOVEMBER.end_s, 888),
        as_of_s=MIDDLE + 7,
    )
    report = await build_report(ledger, load_price_book(), "2026-11", "Asia/Seoul", MIDDLE + 9)
    free = [
        ("chat.messages_recovered", "message", "0"),
        ("chat.connection_seconds", "second", "0.00001"),
    ]
    video = [("sd", 0, "0.04", "0"), ("hd", 59, "0.08", "5"), ("fhd", 0, "0.18", "0"),
             ("2k", 0, "0.32", "0"), ("2k_plus", 0, "0.72", "0")]  # fmt: skip
    assert json.loads(RENDERERS["json"](report, "ko")) == {
        "month": "2026-11",
        "zone": "Asia/Seoul",
        "currency": "KRW",
        "complete": False,
        "as_of": "2026-11-16T00:00:07+09:00",
        "lines": [
            {"meter": m, "unit": u, "quantity": q, "unit_price": p, "amount": a}
            for m, u, q, p, a in [
                ("chat.messages_sent", "message", 12_345, "0.007", "86"),
                ("chat.messages_delivered", "message", 98_765, "0.003", "296"),
                *((meter, unit, 0, price, "0") for meter, unit, price in free),
                ("voice.participant_seconds", "second", 3_601, "0.02", "72"),
                *(
                    (f"video.participant_seconds.{name}", "second", quantity, price, amount)
                    for name, quantity, price, amount in video
                ),
                ("media.ingress_bytes", "byte", 0, "0", "0"),
                ("media.egress_bytes", "byte", 1_234_567_890, "0", "0"),
            ]
        ],
        "subtotal": "459",
        "vat": "46",
        "total": "505",
    }


@pytest.mark.parametrize(
    ("subtotal", "vat"), [(4, 0), (5, 1), (14, 1), (15, 2), (11_500_000, 1_150_000), (0, 0)]
)
async def test_vat_is_rounded_half_up_once(subtotal: int, vat: int) -> None:
    book = book_of(("2026-01-01", {MESSAGES_SENT: '{ price = 1, per = "message" }'}))
    report = await november(await ledger_of((MESSAGES_SENT, MIDDLE, subtotal)), book)
    assert (report.subtotal, report.vat, report.total) == (subtotal, vat, subtotal + vat)


async def test_each_line_is_rounded_and_the_subtotal_is_their_sum() -> None:
    """Three lines of half a won are three won: the sum of what is printed."""
    half = {MESSAGES_SENT: '{ price = 0.5, per = "message" }',
            MESSAGES_DELIVERED: '{ price = 0.5, per = "message" }',
            VOICE_SECONDS: '{ price = 0.5, per = "second" }'}  # fmt: skip
    ledger = await ledger_of(*((meter, MIDDLE, 1) for meter in half))
    report = await november(ledger, book_of(("2026-01-01", half)))
    assert [line.amount for line in report.lines if line.amount] == [1, 1, 1]
    assert report.subtotal == 3


async def test_a_price_change_inside_the_month_splits_only_what_it_changes() -> None:
    cheap, dear = '{ price = 0.02, per = "second" }', '{ price = 0.03, per = "second" }'
    same = {MESSAGES_SENT: '{ price = 2, per = "message" }'}
    book = book_of(
        ("2026-01-01", {VOICE_SECONDS: cheap} | same),
        ("2026-11-16", {VOICE_SECONDS: dear} | same),
    )
    ledger = await ledger_of(
        (VOICE_SECONDS, MIDDLE - 1, 1_000),
        (VOICE_SECONDS, MIDDLE, 100),
        (MESSAGES_SENT, MIDDLE - 1, 10),
        (MESSAGES_SENT, MIDDLE, 5),
    )
    report = await november(ledger, book)
    voice = [line for line in report.lines if line.id.meter == VOICE_SECONDS]
    assert [(line.since, line.quantity, line.amount) for line in voice] == [
        (None, 1_000, 20),
        (date(2026, 11, 16), 100, 3),
    ]
    (sent,) = (line for line in report.lines if line.id.meter == MESSAGES_SENT)
    assert (sent.since, sent.quantity, sent.amount) == (None, 15, 30)


async def test_a_price_change_gives_no_second_free_allowance() -> None:
    def tiers(price: int) -> str:
        tier = f"{{ up_to = 1000, price = 0 }}, {{ price = {price} }}"
        return f'{{ per = "message", tiers = [{tier}] }}'

    book = book_of(
        ("2026-01-01", {MESSAGES_SENT: tiers(1)}), ("2026-11-16", {MESSAGES_SENT: tiers(2)})
    )
    ledger = await ledger_of((MESSAGES_SENT, MIDDLE - 1, 800), (MESSAGES_SENT, MIDDLE, 500))
    report = await november(ledger, book)
    sent = [line for line in report.lines if line.id.meter == MESSAGES_SENT]
    assert [(line.id, line.quantity, line.amount) for line in sent] == [
        (LineId(MESSAGES_SENT, date(2026, 1, 1), 0), 800, 0),
        (LineId(MESSAGES_SENT, date(2026, 11, 16), 0), 200, 0),
        (LineId(MESSAGES_SENT, date(2026, 11, 16), 1), 300, 600),
    ]


async def test_a_month_is_complete_when_it_is_over_and_every_reader_has_come_to_its_end() -> None:
    ledger = await ledger_of((MESSAGES_SENT, MIDDLE, 1), as_of_s=NOVEMBER.end_s - 1)
    assert not (await november(ledger, load_price_book())).complete
    await ledger.upsert([], Checkpoint("hub", "2", NOVEMBER.end_s + 30))
    report = await november(ledger, load_price_book())
    assert report.complete
    assert report.as_of() == "2026-12-01T00:00:00+09:00"
    await ledger.upsert([], Checkpoint("sfu", "1", MIDDLE))
    assert not (await november(ledger, load_price_book())).complete


async def test_a_reader_whose_clock_is_ahead_does_not_complete_a_month() -> None:
    ledger = await ledger_of((MESSAGES_SENT, MIDDLE, 1), as_of_s=NOVEMBER.end_s + 5)
    now = NOVEMBER.end_s - 5
    report = await build_report(ledger, load_price_book(), "2026-11", "Asia/Seoul", now)
    assert not report.complete
    assert report.as_of_s == now


@pytest.mark.parametrize("form", RENDERERS)
async def test_a_complete_month_has_the_same_bytes_whenever_it_is_asked_for(form: str) -> None:
    rows = [
        UsageRow("hub", "1", meter, Subject("lobby", f"visitor {n}"), MIDDLE, n * 37)
        for meter in METERS
        for n in range(9)
    ]
    seen = set()
    for order, later in ((rows, 60), (rows[::-1] + rows, 90_000)):
        ledger = MemoryLedger()
        await ledger.upsert(order, Checkpoint("hub", "9", NOVEMBER.end_s + later))
        report = await build_report(
            ledger, load_price_book(), "2026-11", "Asia/Seoul", NOVEMBER.end_s + later
        )
        seen.add(RENDERERS[form](report, "ko"))
    assert len(seen) == 1


async def test_nobody_reported_is_not_nothing_used() -> None:
    report = await november(MemoryLedger(), load_price_book())
    assert not report.complete
    assert report.as_json()["as_of"] is None
    assert "측정 없음" in RENDERERS["text"](report, "ko").decode()


async def test_what_cannot_be_priced_is_refused() -> None:
    book = book_of(("2026-11-01", {}))
    ledger = await ledger_of(("chat.smells", MIDDLE, 1))
    with pytest.raises(PriceMissing, match=r"no price for chat\.smells"):
        await november(ledger, book)
    with pytest.raises(PriceMissing, match="no prices before 2026-11-01"):
        await build_report(ledger, book, "2026-10", "Asia/Seoul", NOVEMBER.end_s)
    with pytest.raises(PeriodError, match="is not a month"):
        await build_report(ledger, book, "11/2026", "Asia/Seoul", NOVEMBER.end_s)
    with pytest.raises(PeriodError, match="is not a time zone"):
        await build_report(ledger, book, "2026-11", "Seoul", NOVEMBER.end_s)


# -- an independent oracle: unit by unit, from the definitions, in fractions ----------------------

Tiers = list[tuple[int | None, Decimal]]


def drawn_tiers(lot: random.Random) -> Tiers:
    bounds = sorted({lot.randint(1, 60) for _ in range(lot.randint(0, 2))})
    return [(bound, Decimal(lot.randint(0, 300)) / 100) for bound in [*bounds, None]]


def drawn_lists(lot: random.Random) -> list[dict[str, Tiers]]:
    """Return up to three price lists; of some meters, one says what the one before did."""
    lists: list[dict[str, Tiers]] = []
    for _ in range(lot.randint(1, 3)):
        before = lists[-1] if lists else None
        lists.append(
            {
                meter: before[meter] if before and lot.random() < 0.3 else drawn_tiers(lot)
                for meter in METERS
            }
        )
    return lists


def written(prices: dict[str, Tiers]) -> dict[str, str]:
    stated = {}
    for meter, tiers in prices.items():
        parts = ", ".join(
            f"{{ price = {price} }}" if bound is None else f"{{ up_to = {bound}, price = {price} }}"
            for bound, price in tiers
        )
        stated[meter] = f'{{ per = "{WORDS[METERS[meter].unit]}", tiers = [{parts}] }}'
    return stated


def half_up(amount: Fraction) -> int:
    return int(amount + Fraction(1, 2))


def oracle(
    used: dict[tuple[str, int], int], lists: list[tuple[int, dict[str, Tiers]]]
) -> tuple[int, int]:
    """Return subtotal and VAT of a month in which each price list begins on its day."""
    subtotal = 0
    for meter in METERS:
        lines: dict[tuple[int, int], Fraction] = {}
        number = 0
        for day in range(30):
            in_force = max(n for n, (first, _) in enumerate(lists) if first <= day)
            tiers = lists[in_force][1][meter]
            run = in_force
            while run > 0 and lists[run - 1][1][meter] == tiers:
                run -= 1
            for _ in range(used.get((meter, day), 0)):
                number += 1
                tier = next(n for n, (top, _) in enumerate(tiers) if top is None or number <= top)
                key = (run, tier)
                lines[key] = lines.get(key, Fraction(0)) + Fraction(tiers[tier][1])
        subtotal += sum(half_up(amount) for amount in lines.values())
    return subtotal, half_up(Fraction(subtotal, 10))


@cases(1_000)
def test_the_oracle_agrees(lot: random.Random) -> None:
    names = [*METERS]
    used = {
        (lot.choice(names), lot.randrange(30)): lot.randint(0, 40)
        for _ in range(lot.randint(0, 12))
    }
    lists = drawn_lists(lot)
    firsts = [0, *sorted(lot.sample(range(1, 30), len(lists) - 1))]
    dated = list(zip(firsts, lists, strict=True))
    book = book_of(*((f"2026-11-{first + 1:02}", written(prices)) for first, prices in dated))
    ledger = at_once(
        ledger_of(
            *((meter, NOVEMBER.start_s + day * 86_400, n) for (meter, day), n in used.items())
        )
    )
    report = at_once(november(ledger, book))
    assert (report.subtotal, report.vat) == oracle(used, dated)
    assert report.total == report.subtotal + report.vat
    assert report.subtotal == sum(line.amount for line in report.lines)
    for line in report.lines:
        exact = line.quantity * Fraction(line.unit_price)
        assert line.amount == half_up(exact)
    for meter in METERS:
        counted = sum(n for (its_meter, _), n in used.items() if its_meter == meter)
        assert counted == sum(line.quantity for line in report.lines if line.id.meter == meter)
    assert len({line.id for line in report.lines}) == len(report.lines)


async def test_figures_beside_what_is_priced_change_no_amount() -> None:
    ledger = MemoryLedger()
    subject = Subject("lobby", "visitor")
    await ledger.upsert([UsageRow("hub", "1", TEXT_BYTES_IN, subject, 1_795_000_500, 12)])
    report = await build_report(ledger, load_price_book(), "2026-11", "Asia/Seoul", 1.8e9)
    assert report.total == 0
