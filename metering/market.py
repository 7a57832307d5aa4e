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
from metering.rating.tiers import Tier, Tiers
from metering.toml_file import read_text, read_toml

SHIPPED = "market.toml"
_ABOUT = Context(prec=40, rounding=ROUND_HALF_UP)


class Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Users up to `up_to` (None: all that follow) and what each costs a month."""

    price: Decimal
    up_to: int | None = None


class Plan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A price by the month's greatest number of users at once: so much a day, and more in steps.

    Up to `free` of them nothing is asked.
    """

    per_day: Decimal
    steps: tuple[Step, ...]
    free: int = 0

    def amount(self, users: int, days: int) -> Decimal:
        """Return what a month costs."""
        if users <= self.free:
            return Decimal(0)
        tiers = Tiers(tuple(Tier(step.up_to, step.price) for step in self.steps))
        steps = (EXACT.multiply(Decimal(p.quantity), p.unit_price) for p in tiers.rate(users))
        return EXACT.add(EXACT.multiply(self.per_day, Decimal(days)), total(steps))


class Offer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One vendor's price of one thing: per 1,000 minutes or 1,000 messages, without VAT.

    `meters` are what it prices; `free` is in the same unit and for the month. What is priced by
    users at once, whatever they do with those meters, has a `plan`.
    """

    vendor: str
    product: str
    meters: tuple[str, ...]
    unit: Literal["minute", "message", "user"]
    currency: Literal["USD", "KRW"]
    as_of: str
    source: str
    trust: Literal["vendor", "third party", "not found"]
    price_per_1000: Decimal | None = None
    free: int = 0
    plan: Plan | None = None
    note_ko: str = ""
    note_en: str = ""

    @property
    def priced(self) -> bool:
        """Say whether there is a price to go by."""
        return self.price_per_1000 is not None or self.plan is not None


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
    """What a row makes of the month: `amount` None without a price, `won` None without a rate.

    `quantity` is None where nobody measured it.
    """

    offer: Offer
    quantity: int | None
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
        if offer.plan is not None:
            _check_plan(source, offer, offer.plan)
        if (offer.unit == "user") != (offer.plan is not None) or (price and offer.plan):
            raise MarketError(source, None, f"{offer.vendor}: a plan is for users, and alone")
        if offer.priced == (offer.trust == "not found"):
            raise MarketError(
                source, None, f'{offer.vendor}: trust is "not found" where there is no price'
            )
    return market


def _check_plan(source: str, offer: Offer, plan: Plan) -> None:
    bounds = [step.up_to for step in plan.steps]
    closed = [bound for bound in bounds[:-1] if bound is not None]
    if (
        not bounds
        or bounds[-1] is not None
        or closed != sorted(set(closed))
        or len(closed) != len(bounds) - 1
    ):
        raise MarketError(
            source, None, f"{offer.vendor}: steps rise by up_to, and only the last goes without"
        )
    prices = [plan.per_day, *(step.price for step in plan.steps)]
    if not all(price.is_finite() and price >= 0 for price in prices):
        raise MarketError(source, None, f"{offer.vendor}: a price is a number from 0 up")


def compare(
    market: Market,
    quantities: Mapping[str, int],
    rates: Sequence[Rate],
    *,
    users: int | None = None,
    days: int = 0,
) -> list[Comparison]:
    """Price the month's quantities (meter to messages or seconds) by every row.

    `users` is the most that were there at once, None if nobody measured it, over `days`. Minutes
    are the month's seconds, rounded up once; vendors that round each call ask for more.
    """
    won = {rate.currency: rate.won for rate in rates} | {"KRW": Decimal(1)}
    compared = []
    for offer in market.offer:
        rate = won.get(offer.currency)
        if offer.plan is not None:
            amount = None if users is None else offer.plan.amount(users, days)
            compared.append(Comparison(offer, users, amount, _converted(amount, rate)))
            continue
        measured = sum(quantities.get(meter, 0) for meter in offer.meters)
        quantity = -(-measured // 60) if offer.unit == "minute" else measured
        if offer.price_per_1000 is None:
            compared.append(Comparison(offer, quantity, None, None))
            continue
        paid = Decimal(max(0, quantity - offer.free))
        amount = EXACT.multiply(paid, offer.price_per_1000).scaleb(-3)
        compared.append(Comparison(offer, quantity, amount, _converted(amount, rate)))
    return compared


def own(amounts: Mapping[str, Decimal], meters: Sequence[str]) -> Decimal:
    """Add up what this product's price book makes of the same meters."""
    return total(amounts.get(meter, Decimal(0)) for meter in meters)


def service_of(offer: Offer) -> Service:
    """Return the service under which an offer stands."""
    return METERS[offer.meters[0]].service


def _converted(amount: Decimal | None, rate: Decimal | None) -> Decimal | None:
    return None if amount is None or rate is None else _whole(EXACT.multiply(amount, rate))


def _whole(amount: Decimal) -> Decimal:
    return amount.quantize(Decimal(1), context=_ABOUT)
