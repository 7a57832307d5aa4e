"""Money: exact decimals, and the one place where they are rounded."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import (
    ROUND_HALF_UP,
    Context,
    Decimal,
    DivisionByZero,
    Inexact,
    InvalidOperation,
    Overflow,
)
from functools import cache, reduce
from types import MappingProxyType

# Quantities have up to 19 digits, prices up to 25: 100 digits hold their products and any sum of
# them. Should a result not fit after all, it raises rather than being rounded where nobody looks.
EXACT = Context(prec=100, traps=[Inexact, InvalidOperation, DivisionByZero, Overflow])
HALF_UP = Context(prec=100, rounding=ROUND_HALF_UP)


@dataclass(frozen=True, slots=True)
class Currency:
    """A currency and how many decimals its smallest coin has (ISO 4217)."""

    code: str
    decimals: int
    name_ko: str
    name_en: str
    coin_ko: str
    coin_en: str

    def name(self, lang: str) -> str:
        """Name the currency in `lang`, as it stands in a column's heading."""
        return self.name_ko if lang == "ko" else self.name_en

    def coin(self, lang: str) -> str:
        """Name the smallest coin in `lang`."""
        return self.coin_ko if lang == "ko" else self.coin_en

    def round(self, amount: Decimal, finer_decimals: int = 0) -> Decimal:
        """Round to the smallest coin, or decimals finer; a half away from zero (half up)."""
        return amount.quantize(Decimal(1).scaleb(-self.decimals - finer_decimals), context=HALF_UP)


CURRENCIES: Mapping[str, Currency] = MappingProxyType(
    {
        currency.code: currency
        for currency in (
            Currency("KRW", 0, "원", "KRW", "1원", "the won"),
            Currency("JPY", 0, "엔", "JPY", "1엔", "the yen"),
            Currency("USD", 2, "달러", "USD", "1센트", "the cent"),
            Currency("EUR", 2, "유로", "EUR", "1센트", "the cent"),
        )
    }
)


@cache
def find_currency(code: str) -> Currency | None:
    """Return a currency of ISO 4217 that has coins, or money of account like them; else None.

    What is not in `CURRENCIES` goes by its code in both languages. Gold, units of account and
    the code for tests have no smallest coin and are not found.
    """
    known = CURRENCIES.get(code)
    if known is not None:
        return known
    import iso4217  # noqa: PLC0415 - it parses the whole table

    digits = str(iso4217.raw_table.get(code, {}).get("CcyMnrUnts"))
    if not digits.isdecimal():
        return None
    decimals = int(digits)
    coin = f"{code} {Decimal(1).scaleb(-decimals)}"
    return Currency(code, decimals, code, code, coin, coin)


def total(amounts: Iterable[Decimal]) -> Decimal:
    """Add up amounts exactly."""
    return reduce(EXACT.add, amounts, Decimal(0))


def plain(amount: Decimal) -> str:
    """Write a decimal without exponent and without trailing zeros behind the point."""
    text = f"{amount:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
