"""Price books: what is read, and that what cannot be trusted is refused with its line."""

import re
from datetime import date
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metering.errors import PriceBookError, PriceMissing
from metering.meters import EGRESS_BYTES, METERS, VOICE_SECONDS
from metering.pricebook import load_price_book, read_price_book
from metering.rating.adjustments import Fee, Level, Titles, Truncation
from metering.rating.rounding import Rounding, Scope, Way
from metering.rating.tiers import Tier, Tiers, per_unit
from metering.units import Unit
from metering.windows import Period, month_period

SEOUL = ZoneInfo("Asia/Seoul")
HEAD = 'currency = "KRW"\nvat_percent = 10\n'
WORDS = {Unit.MESSAGE: "message", Unit.SECOND: "second", Unit.BYTE: "byte"}


def version(effective: str = "2026-01-01", **changed: str) -> str:
    """Write a version in which everything is free but what `changed` says (dots as __)."""
    prices = {name: f'{{ price = 0, per = "{WORDS[m.unit]}" }}' for name, m in METERS.items()}
    prices |= {name.replace("__", "."): value for name, value in changed.items()}
    listed = "".join(f'"{name}" = {value}\n' for name, value in prices.items() if value)
    return f"\n[[version]]\neffective = {effective}\n[version.price]\n{listed}"


def refusal(text: str) -> str:
    with pytest.raises(PriceBookError) as caught:
        read_price_book(text, "book.toml")
    error = caught.value
    if error.line is not None:
        assert str(error).startswith(f"book.toml, line {error.line}: ")
    return f"{error.line}: {error.reason}"


def test_the_shipped_book_prices_every_meter_in_won() -> None:
    book = load_price_book()
    assert book.currency.code == "KRW"
    assert book.vat_percent == 10
    assert set(book.versions[0].prices) == set(METERS)


def test_the_shipped_book_keeps_the_proportions_it_argues() -> None:
    prices = load_price_book().versions[0].prices
    model = prices[VOICE_SECONDS].model
    for name, times in (("sd", 2), ("hd", 4), ("fhd", 9), ("2k", 16), ("2k_plus", 36)):
        assert prices[f"video.participant_seconds.{name}"].model == per_unit(
            model.tiers[0].unit_price * times
        )


def test_a_price_is_divided_to_one_unit_exactly() -> None:
    book = read_price_book(
        HEAD
        + version(
            voice__participant_seconds='{ price = 1.2, per = "minute" }',
            chat__messages_sent='{ price = 7, per = "1_000 messages" }',
            media__egress_bytes='{ price = 120, per = "GB" }',
            chat__connection_seconds='{ price = 0.9, per = "hour" }',
        ),
        "book.toml",
    )
    prices = book.versions[0].prices
    assert prices[VOICE_SECONDS].model == per_unit(Decimal("0.02"))
    assert prices["chat.messages_sent"].model == per_unit(Decimal("0.007"))
    assert prices["chat.messages_sent"].per.many == 1_000
    assert prices[EGRESS_BYTES].model == per_unit(Decimal("0.00000012"))
    assert prices["chat.connection_seconds"].model == per_unit(Decimal("0.00025"))


def test_tiers_are_counted_in_what_the_price_is_for() -> None:
    tiered = '{ per = "GB", tiers = [{ up_to = 20, price = 0 }, { price = 120 }] }'
    book = read_price_book(HEAD + version(media__egress_bytes=tiered), "book.toml")
    assert book.versions[0].prices[EGRESS_BYTES].model == Tiers(
        (Tier(20 * 10**9, Decimal(0)), Tier(None, Decimal("0.00000012")))
    )


@given(st.integers(1, 10**6), st.integers(1, 7_200))
def test_a_unit_price_times_its_count_is_the_stated_price_or_it_is_refused(
    cents: int, count: int
) -> None:
    stated = Decimal(cents) / 100
    price = f'{{ price = {stated}, per = "{count} seconds" }}'
    text = HEAD + version(voice__participant_seconds=price)
    try:
        book = read_price_book(text, "book.toml")
    except PriceBookError as error:
        assert "has no end" in error.reason  # noqa: PT017
        step = re.search(r"a multiple of ([\d.]+)", error.reason)
        assert step is not None
        assert stated % Decimal(step[1]) != 0
    else:
        model = book.versions[0].prices[VOICE_SECONDS].model
        assert model.tiers[0].unit_price * count == stated


def test_a_book_is_read_from_a_file_with_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "단가표.toml"
    path.write_text(HEAD + version(), encoding="utf-8-sig")
    assert load_price_book(path).source == str(path)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(PriceBookError, match=r"absent\.toml: No such file"):
        load_price_book(tmp_path / "absent.toml")
    (tmp_path / "cp949.toml").write_bytes("# 단가".encode("cp949"))
    with pytest.raises(PriceBookError, match=r"cp949\.toml: is not UTF-8 text"):
        load_price_book(tmp_path / "cp949.toml")


def test_a_period_is_cut_where_prices_change() -> None:
    book = read_price_book(
        HEAD + version("2026-01-01") + version("2026-11-16") + version("2026-12-01"), "book.toml"
    )
    period = month_period("2026-11", SEOUL)
    border = period.start_s + 15 * 86_400
    assert [(part, v.effective) for part, v in book.in_force(period, SEOUL)] == [
        (Period(period.start_s, border), date(2026, 1, 1)),
        (Period(border, period.end_s), date(2026, 11, 16)),
    ]
    last = month_period("2031-05", SEOUL)
    assert [(part, v.effective) for part, v in book.in_force(last, SEOUL)] == [
        (last, date(2026, 12, 1))
    ]


def test_nothing_is_priced_before_the_first_version() -> None:
    book = read_price_book(HEAD + version("2026-11-02"), "book.toml")
    with pytest.raises(PriceMissing, match=r"book\.toml has no prices before 2026-11-02"):
        book.in_force(month_period("2026-11", SEOUL), SEOUL)


GOOD = HEAD + version()
VOICE_LINE = next(
    number for number, line in enumerate(GOOD.splitlines(), 1) if VOICE_SECONDS in line
)


@pytest.mark.parametrize(
    ("price", "reason"),
    [
        ('{ price = -1, per = "minute" }', "is to be a decimal number from 0 up"),
        ('{ price = nan, per = "minute" }', "is to be a decimal number from 0 up"),
        ('{ price = inf, per = "minute" }', "is to be a decimal number from 0 up"),
        ('{ price = 1e400, per = "minute" }', "is to be a decimal number from 0 up"),
        ('{ price = "1.2", per = "minute" }', "is to be a decimal number"),
        ('{ price = true, per = "minute" }', "is to be a decimal number"),
        ("{ price = 1.2 }", "per is to be one of second, minute, hour"),
        ('{ price = 1.2, per = "GB" }', "per is to be one of second, minute, hour"),
        ('{ price = 1.2, per = "0 minutes" }', "per is to be one of second, minute, hour"),
        ("{ price = 1.2, per = 60 }", "per is to be one of second, minute, hour"),
        ('{ price = 1, per = "minute" }', "divided by 60 has no end"),
        ('{ per = "minute" }', "needs either price or tiers"),
        ('{ price = 1, tiers = [], per = "second" }', "needs either price or tiers"),
        ('{ price = 1.2, per = "minute", free = 10 }', "free is not known here"),
        ("1.2", "is to be like"),
        ('{ tiers = [], per = "second" }', "the last tier is to go without up_to"),
        ('{ tiers = [{ up_to = 5, price = 1 }], per = "second" }', "the last tier is to go"),
        ('{ tiers = [{ price = 1 }, { price = 2 }], per = "second" }', "tiers rise by up_to"),
        ('{ tiers = [{ up_to = 0, price = 1 }, { price = 2 }], per = "second" }', "tiers rise"),
        (
            "{ tiers = [{ up_to = 9, price = 1 }, { up_to = 9, price = 2 }, { price = 3 }], "
            'per = "second" }',
            "tiers rise",
        ),
        ('{ tiers = [{ up_to = 5.5, price = 1 }, { price = 2 }], per = "second" }', "whole number"),
        (
            '{ tiers = [{ price = 1, to = 3 }], per = "second" }',
            "up_to, price and fee, nothing else",
        ),
        ('{ tiers = [{ }], per = "second" }', "is to be a decimal number"),
        ('{ tiers = 3, per = "second" }', "tiers is to be a list"),
        ('{ tiers = [{ price = 1, fee = -1 }], per = "second" }', "from 0 up"),
        ('{ price = 0.6, per = "minute", by = "volume" }', "goes with tiers"),
        ('{ tiers = [{ price = 1 }], per = "second", by = "top" }', "graduated or volume"),
        ('{ price = 0.6, per = "minute", minimum = -1 }', "from 0 up"),
        ('{ price = 0.6, per = "minute", round = "minute" }', "round is to be like"),
        (
            '{ price = 0.6, per = "minute", round = { to = "GB", way = "up", of = "month" } }',
            "per is to be one of second",
        ),
        (
            '{ price = 0.6, per = "minute", round = { to = "minute", way = "off", of = "day" } }',
            "way up, half, down",
        ),
    ],
)
def test_a_price_that_cannot_be_trusted_is_refused_with_its_line(price: str, reason: str) -> None:
    told = refusal(HEAD + version(voice__participant_seconds=price))
    assert told.startswith(f"{VOICE_LINE}: {VOICE_SECONDS}")
    assert reason in told


def test_rounding_minimum_and_volume_are_read() -> None:
    price = (
        '{ per = "minute", tiers = [{ up_to = 10, price = 6, fee = 100 }, { price = 3 }], '
        'by = "volume", minimum = 1000, round = { to = "minute", way = "up", of = "session" } }'
    )
    book = read_price_book(HEAD + version(voice__participant_seconds=price), "book.toml")
    read = book.versions[0].prices[VOICE_SECONDS]
    assert read.rounding == Rounding(60, Way.UP, Scope.SESSION)
    assert read.minimum == 1000
    assert read.model == Tiers(
        (Tier(600, Decimal("0.1"), Decimal(100)), Tier(None, Decimal("0.05"))), volume=True
    )


FEE = '[[version.fee]]\nname = "base"\ntitle_ko = "기본료"\ntitle_en = "Base"\nprice = 7333\n'
DISCOUNT = '[[version.discount]]\nname = "public"\ntitle_ko = "공공 할인"\ntitle_en = "Public"\n'


def test_fees_discounts_commitment_and_small_change_are_read() -> None:
    text = HEAD + 'truncate = { to = 10, level = "total" }\n' + version()
    text = text.replace("[version.price]", "commitment = 50000\n[version.price]")
    text += FEE + 'per = "day"\n' + DISCOUNT + 'percent = 5\nmeters = ["chat.messages_sent"]\n'
    book = read_price_book(text, "book.toml")
    (read,) = book.versions
    assert book.truncation == Truncation(10, Level.TOTAL)
    assert read.commitment == 50_000
    assert read.fees == (Fee("base", Titles("기본료", "Base"), Decimal(7333), "day"),)
    assert [d.name for d in read.discounts_of("chat.messages_sent")] == ["public"]
    assert read.discounts_of(VOICE_SECONDS) == ()


@pytest.mark.parametrize(
    ("extra", "reason"),
    [
        (FEE + 'per = "week"\n', "fee base: per is to be day or month"),
        (FEE, "fee base: per is to be day or month"),
        (FEE + 'per = "day"\nfree = 1\n', "fee base: free is not known here"),
        (FEE.replace("Base", " ") + 'per = "day"\n', "base needs title_ko and title_en"),
        (FEE.replace('"base"', '"Base Fee"') + 'per = "day"\n', "a name of small letters"),
        ((FEE + 'per = "day"\n') * 2, "there are two of fee base"),
        (DISCOUNT + "percent = 101\n", "are more than 100 %"),
        (DISCOUNT + "percent = -1\n", "from 0 up"),
        (DISCOUNT + 'percent = 5\nmeters = ["smells"]\n', "meters is to be a list of meters"),
        (DISCOUNT + "percent = 5\nmeters = []\n", "meters is to be a list of meters"),
        (DISCOUNT + 'percent = 5\non = "all"\n', "discount public: on is not known here"),
        ("[version.fee]\nprice = 3\n", "fee is a list of tables"),
    ],
)
def test_terms_that_cannot_be_trusted_are_refused(extra: str, reason: str) -> None:
    told = refusal(HEAD + version() + extra)
    assert told.startswith("4: ")
    assert reason in told


@pytest.mark.parametrize(
    "stated", ["10", '{ to = 7, level = "total" }', '{ to = 10, level = "vat" }', "{ to = 10 }"]
)
def test_a_cut_of_small_change_names_step_and_level(stated: str) -> None:
    told = refusal(HEAD + f"truncate = {stated}\n" + version())
    assert told.startswith("3: truncate is to be like")


def test_a_meter_without_a_price_is_refused() -> None:
    told = refusal(HEAD + version(voice__participant_seconds=""))
    assert told == "4: no price for voice.participant_seconds (write 0 if it is free)"


def test_an_unknown_meter_is_refused() -> None:
    told = refusal(HEAD + version(chat__messages='{ price = 1, per = "message" }'))
    assert told == "19: chat.messages is not a meter"


def test_the_line_is_that_of_the_version_at_fault() -> None:
    bad = version("2026-02-01", voice__participant_seconds='{ price = -1, per = "second" }')
    lines = len(GOOD.splitlines())
    assert refusal(GOOD + bad).startswith(f"{lines + VOICE_LINE - 2}: ")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (HEAD, "None: there is no [[version]]"),
        (version(), "None: currency is to be a code of ISO 4217, like KRW"),
        (GOOD.replace("KRW", "BTC"), "1: currency is to be a code of ISO 4217, like KRW"),
        (GOOD.replace("vat_percent = 10", "vat_percent = -10"), "2: vat_percent is to be"),
        (GOOD.replace("vat_percent = 10", "vat = 10"), "2: vat is not known here"),
        (GOOD.replace("effective = 2026-01-01", "effective = 2026"), "5: effective is to be"),
        (
            GOOD.replace("effective = 2026-01-01", "effective = 2026-01-01T09:00:00"),
            "5: effective is to be a day",
        ),
        (GOOD.replace("effective = 2026-01-01", "effective = 0001-01-01"), "5: effective is to"),
        (GOOD.replace("effective = 2026-01-01\n", "\n"), "4: effective is to be a day"),
        (
            GOOD.replace("effective = 2026-01-01", "effective = 2026-01-01\nuntil = 3"),
            "6: until is",
        ),
        (HEAD + version("2026-02-01") + version("2026-02-01"), "21: 2026-02-01 does not come"),
        (HEAD + version("2026-02-01") + version("2026-01-31"), "21: 2026-01-31 does not come"),
        (HEAD + "[version]\neffective = 2026-01-01", "None: there is no [[version]]"),
        (HEAD + "[[version]]\neffective = 2026-01-01", "3: a version needs its prices"),
        (HEAD + "version = [1]", "None: a version is a table"),
        (GOOD + '"chat.messages_sent" = 1\n', "Cannot overwrite a value"),
        ("currency = ", "Invalid value"),
    ],
)
def test_a_book_that_cannot_be_trusted_is_refused(text: str, told: str) -> None:
    assert told in refusal(text)
