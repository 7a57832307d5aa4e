"""Rounding happens in one place, half up; everything else is exact or raises."""

from decimal import Decimal, Inexact
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metering.money import CURRENCIES, EXACT, find_currency, plain, total

WON = CURRENCIES["KRW"]
amounts = st.decimals(0, 10**15, places=9)


@pytest.mark.parametrize(
    ("exact", "rounded"),
    [("0.5", "1"), ("1.5", "2"), ("2.5", "3"), ("0.499999999", "0"), ("-0.5", "-1"), ("7", "7")],
)
def test_a_half_won_is_rounded_up(exact: str, rounded: str) -> None:
    assert str(WON.round(Decimal(exact))) == rounded


def test_other_currencies_have_smaller_coins() -> None:
    assert str(CURRENCIES["USD"].round(Decimal("0.125"))) == "0.13"
    assert str(WON.round(Decimal("12.345"), 2)) == "12.35"


@pytest.mark.parametrize(
    ("code", "rounded", "coin"),
    [("BHD", "1.235", "BHD 0.001"), ("GBP", "1.23", "GBP 0.01"), ("VND", "1", "VND 1")],
)
def test_any_currency_of_the_standard_rounds_to_its_own_coin(
    code: str, rounded: str, coin: str
) -> None:
    currency = find_currency(code)
    assert currency is not None
    assert str(currency.round(Decimal("1.2345"))) == rounded
    assert currency.coin("ko") == currency.coin("en") == coin


@pytest.mark.parametrize("code", ["BTC", "krw", "", "XAU", "XXX", "XDR"])
def test_what_is_no_currency_or_has_no_coin_is_not_found(code: str) -> None:
    assert find_currency(code) is None


@given(amounts)
def test_rounding_moves_an_amount_by_half_a_coin_at_most(amount: Decimal) -> None:
    rounded = WON.round(amount)
    assert rounded == rounded.to_integral_value()
    assert -Fraction(1, 2) < Fraction(amount) - Fraction(rounded) <= Fraction(1, 2) or Fraction(
        rounded
    ) - Fraction(amount) == Fraction(1, 2)


@given(st.lists(st.decimals(-(10**25), 10**25, places=12), max_size=20))
def test_sums_are_exact_beyond_the_usual_28_digits(some: list[Decimal]) -> None:
    assert Fraction(total(some)) == sum(map(Fraction, some))


def test_what_does_not_fit_raises_instead_of_being_rounded() -> None:
    with pytest.raises(Inexact):
        EXACT.divide(Decimal(1), Decimal(3))


@given(st.decimals(-(10**12), 10**12, places=12))
def test_plain_text_is_the_number_without_an_exponent(number: Decimal) -> None:
    text = plain(number)
    assert Decimal(text) == number
    assert "E" not in text
    assert "." not in text or text[-1] not in "0."


def test_plain_text_keeps_the_zeros_of_whole_numbers() -> None:
    assert plain(Decimal("1000")) == "1000"
    assert plain(Decimal("1E+3")) == "1000"
    assert plain(Decimal("0.000000100")) == "0.0000001"
    assert plain(Decimal("0.00")) == "0"
