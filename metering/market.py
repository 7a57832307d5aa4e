"""What the same month would cost elsewhere, by dated and sourced price rows.

Prices are a file of rows, `market.toml` is shipped. A row whose price nobody published where it
could be read has no price and says so: it is listed, never guessed. Foreign amounts are shown in
their own currency, and in won at a rate that a person enters with its date.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import ROUND_HALF_UP, Context, Decimal
from importlib import resources
from pathlib import Path
from typing import Literal

import msgspec

from metering.errors import MarketError
from metering.meters import METERS, Service
from metering.money import EXACT, total
from metering.toml_file import read_text, read_toml

SHIPPED = "market.toml"
_ABOUT = Context(prec=40, rounding=ROUND_HALF_UP)


class Offer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One vendor's price of one thing: per 1,000 minutes or 1,000 messages, without VAT.

    `meters` are what it prices; `free` is in the same unit and for the month.
    """

    vendor: str
    product: str
    meters: tuple[str, ...]
    unit: Literal["minute", "message"]
    currency: Literal["USD", "KRW"]
    as_of: str
    source: str
    trust: Literal["vendor", "third party", "not found"]
    price_per_1000: Decimal | None = None
    free: int = 0
    note_ko: str = ""
    note_en: str = ""


class Market(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All rows of a file."""

    offer: tuple[Offer, ...]


@dataclass(frozen=True, slots=True)
class Rate:
    """Won for one unit of a foreign currency, as a person entered it, and of which day."""

    currency: str
    won: Decimal
    day: date


@dataclass(frozen=True, slots=True)
class Comparison:
    """What a row makes of the month: `amount` None without a price, `won` None without a rate."""

    offer: Offer
    quantity: int
    amount: Decimal | None
    won: Decimal | None


def load_market(path: Path | None = None) -> Market:
    """Read the rows of a file, or those that are shipped. Raises MarketError."""
    if path is None:
        text = resources.files("metering").joinpath(SHIPPED).read_text(encoding="utf-8")
        return read_market(text, SHIPPED)
    return read_market(read_text(path, MarketError), str(path))


def read_market(text: str, source: str) -> Market:
    """Read price rows from TOML; `source` names them in errors. Raises MarketError."""
    market = read_toml(text, source, Market, MarketError)
    for offer in market.offer:
        unknown = [meter for meter in offer.meters if meter not in METERS]
        if unknown or not offer.meters:
            raise MarketError(source, None, f"{offer.vendor}: {unknown or 'no meter'}")
        price = offer.price_per_1000
        if price is not None and (not price.is_finite() or price < 0):
            raise MarketError(source, None, f"{offer.vendor}: a price is a number from 0 up")
        if (price is None) != (offer.trust == "not found"):
            raise MarketError(
                source, None, f'{offer.vendor}: trust is "not found" where there is no price'
            )
    return market


def compare(
    market: Market, quantities: Mapping[str, int], rates: Sequence[Rate]
) -> list[Comparison]:
    """Price the month's quantities (meter to messages or seconds) by every row.

    Minutes are the month's seconds, rounded up once; vendors that round each call ask for more.
    """
    won = {rate.currency: rate.won for rate in rates} | {"KRW": Decimal(1)}
    compared = []
    for offer in market.offer:
        measured = sum(quantities.get(meter, 0) for meter in offer.meters)
        quantity = -(-measured // 60) if offer.unit == "minute" else measured
        if offer.price_per_1000 is None:
            compared.append(Comparison(offer, quantity, None, None))
            continue
        paid = Decimal(max(0, quantity - offer.free))
        amount = EXACT.multiply(paid, offer.price_per_1000).scaleb(-3)
        rate = won.get(offer.currency)
        whole = None if rate is None else _whole(EXACT.multiply(amount, rate))
        compared.append(Comparison(offer, quantity, amount, whole))
    return compared


def own(amounts: Mapping[str, Decimal], meters: Sequence[str]) -> Decimal:
    """Add up what this product's price book makes of the same meters."""
    return total(amounts.get(meter, Decimal(0)) for meter in meters)


def service_of(offer: Offer) -> Service:
    """Return the service under which an offer stands."""
    return METERS[offer.meters[0]].service


def _whole(amount: Decimal) -> Decimal:
    return amount.quantize(Decimal(1), context=_ABOUT)
