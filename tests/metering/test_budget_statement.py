"""A contract held against usage: four columns, a forecast, and nothing added up across."""

import json
from datetime import date, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from metering.budget_document import budget_document
from metering.budget_statement import BudgetStatement, state_budget
from metering.contract import Contract, Cost
from metering.counters import Counters
from metering.events import Checkpoint, Subject, UsageRow
from metering.forecast import forecast
from metering.forms import FORMS
from metering.ledger import MemoryLedger
from metering.meters import MESSAGES_SENT, METERS
from metering.money import CURRENCIES
from metering.pricebook import PriceBook, read_price_book
from metering.report import build_report
from metering.units import Unit
from metering.windows import Period, day_start

SEOUL = ZoneInfo("Asia/Seoul")
WORDS = {Unit.MESSAGE: "message", Unit.SECOND: "second", Unit.BYTE: "byte"}
TEXT = 'currency = "KRW"\nvat_percent = 10\n[[version]]\neffective = 2026-01-01\n[version.price]\n'
CONTRACT = Contract(
    "계약", "Contract", Decimal(12_650_000), date(2026, 10, 16), date(2026, 12, 31),
    cloud_cost=(Cost("2026-10", "VM", Decimal(310_000), "contractor", "bill"),),
    extra_cost=(Cost("2026-11", "event", Decimal(110_000), "agency", "agreed"),),
)  # fmt: skip


def at(day: date) -> int:
    return day_start(day, SEOUL)


def book_at_ten() -> PriceBook:
    """Return a book in which a message is 10 won and nothing else costs anything."""
    text = TEXT
    for name, meter in METERS.items():
        price = "10" if name == MESSAGES_SENT else "0"
        text += f'"{name}" = {{ price = {price}, per = "{WORDS.get(meter.unit, meter.unit)}" }}\n'
    return read_price_book(text, "book.toml")


async def stated(today: date, until: date) -> BudgetStatement:
    """Say 1,000 messages a day at 10 won from 1 October, known up to `until`."""
    book = book_at_ten()
    counters = Counters("hub", "1")
    day = date(2026, 10, 1)
    while day < until:
        counters.add(MESSAGES_SENT, Subject("lobby", "visitor"), at(day), 1_000)
        day += timedelta(days=1)
    ledger = MemoryLedger()
    await ledger.upsert(counters.drain(), Checkpoint("hub", "1", at(until)))
    covered = Period(at(CONTRACT.start), at(CONTRACT.end + timedelta(days=1)))
    reports = [
        await build_report(
            ledger, book, month, "Asia/Seoul", at(until), details=True, within=covered
        )
        for month, _ in CONTRACT.months()
        if date.fromisoformat(f"{month}-01") <= today
    ]
    return state_budget(CONTRACT, reports, book.currency, today)


async def test_the_columns_stand_side_by_side() -> None:
    statement = await stated(date(2026, 11, 11), date(2026, 11, 11))
    assert [(m.month, m.days, m.usage, m.cloud, m.extra) for m in statement.months] == [
        ("2026-10", 16, 176_000, 310_000, None),  # from the 16th on: 16 days x 10,000 + VAT
        ("2026-11", 30, 110_000, None, 110_000),
        ("2026-12", 31, None, None, None),
    ]
    assert sum(month.contract for month in statement.months) == 12_650_000
    assert statement.sums() == {
        "usage": 286_000, "cloud": 310_000, "contract": 12_650_000, "extra": 110_000,
    }  # fmt: skip
    assert statement.standing.spent == 286_000


async def test_even_days_are_carried_on_without_doubt() -> None:
    statement = await stated(date(2026, 11, 11), date(2026, 11, 11))
    found = statement.forecast
    assert found is not None
    assert (found.days, found.mean, found.deviation) == (26, 11_000, 0)
    assert found.days_left == 50  # 12 November to 31 December; of today nothing is known
    assert found.low == found.expected == found.high == 286_000 + 50 * 11_000
    assert statement.next_year == 365 * 11_000


async def test_days_before_the_service_began_are_no_days_of_nothing() -> None:
    """A server started on the 29th had 28 days at 0 won to be carried on."""
    ledger = MemoryLedger()
    await ledger.upsert(
        [UsageRow("hub", "1", MESSAGES_SENT, Subject("lobby", "v"), at(date(2026, 11, 29)), 9_000)],
        Checkpoint("hub", "1", at(date(2026, 11, 30))),
    )
    whole = replace(CONTRACT, start=date(2026, 11, 1))
    report = await build_report(
        ledger, book_at_ten(), "2026-11", "Asia/Seoul", at(date(2026, 11, 30)), details=True
    )
    statement = state_budget(whole, [report], CURRENCIES["KRW"], date(2026, 11, 30))
    assert statement.standing.spent == 99_000
    assert statement.forecast is None


async def test_few_days_tell_nothing() -> None:
    statement = await stated(date(2026, 10, 20), date(2026, 10, 20))
    assert statement.forecast is None
    assert statement.next_year is None
    assert "예상할 수 없음" in FORMS["text"](budget_document(statement, "ko")).decode()


async def test_a_month_nobody_measured_is_not_a_month_of_nothing() -> None:
    ledger = MemoryLedger()
    book = read_price_book(
        TEXT + "".join(f'"{n}" = {{ price = 0, per = "{WORDS.get(m.unit, m.unit)}" }}\n'
                       for n, m in METERS.items()), "book.toml",
    )  # fmt: skip
    report = await build_report(
        ledger, book, "2026-10", "Asia/Seoul", at(date(2026, 11, 1)), details=True
    )
    statement = state_budget(CONTRACT, [report], CURRENCIES["KRW"], date(2026, 11, 1))
    assert statement.months[0].usage is None
    assert "측정 없음" in FORMS["text"](budget_document(statement, "ko")).decode()


@pytest.mark.parametrize("form", FORMS)
async def test_every_form_in_both_languages_is_the_same_bytes(form: str, lang: str) -> None:
    statement = await stated(date(2026, 11, 11), date(2026, 11, 11))
    body = FORMS[form](budget_document(statement, lang))
    assert body == FORMS[form](budget_document(statement, lang))
    if form in ("text", "html"):
        said = body.decode()
        assert {"ko": "청구서가 아닙니다", "en": "not an invoice"}[lang] in said
        assert {"ko": "사용량 환산액", "en": "Usage at unit prices"}[lang] in said


async def test_the_json_says_that_it_is_no_invoice() -> None:
    tree = (await stated(date(2026, 11, 11), date(2026, 11, 11))).as_json()
    assert json.loads(json.dumps(tree)) == tree
    assert tree["invoice"] is False
    assert (tree["supply"], tree["vat"]) == ("11500000", "1150000")
    assert tree["standing"]["percent"] == "2.2"


@given(
    st.lists(st.integers(0, 10**6), min_size=7, max_size=60), st.integers(0, 400),
    st.integers(0, 10**8),
)  # fmt: skip
def test_the_expected_lies_in_its_interval_and_never_below_what_is_spent(
    days: list[int], left: int, spent: int
) -> None:
    found = forecast(Decimal(spent), [Decimal(day) for day in days], left)
    assert found is not None
    assert spent <= found.low <= found.expected <= found.high
    if left == 0:
        assert found.low == found.expected == found.high == spent
