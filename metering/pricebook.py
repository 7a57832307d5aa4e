"""The price book: what a unit costs, from which day on.

A book is a TOML file of versions. A version is a complete price list: every meter has a price in
it, 0 where nothing is charged, so that what was in force on a day stands in one place. It is in
force from the first second of its day, in the zone of the report, until the next one begins.
`pricebook.default.toml` is one, explained.
"""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal, Inexact
from importlib import resources
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import Any
from zoneinfo import ZoneInfo

from metering.errors import PriceBookError, PriceMissing
from metering.meters import METERS, SESSION_METERS
from metering.money import EXACT, Currency, find_currency
from metering.rating.adjustments import Discount, Fee, Level, Titles, Truncation
from metering.rating.rounding import Rounding, Scope, Way
from metering.rating.tiers import Tier, Tiers, per_unit
from metering.toml_file import read_text
from metering.units import Unit
from metering.windows import Period, day_start

DEFAULT = "pricebook.default.toml"
# What is measured is what is paid: as if there were no `round`, but said.
EXACT_WAY = "exact"


@dataclass(frozen=True, slots=True)
class Per:
    """What a stated price is for: 1,000 messages, a minute, a GB.

    `count` is how many of the meter's units that is; `many` of `word` is how it is written.
    """

    count: int
    many: int
    word: str


@dataclass(frozen=True, slots=True)
class Price:
    """The price of a meter in one version; the prices of its tiers are for one unit.

    `rounding` is None where what is measured is what is paid; `minimum` is the least amount of a
    month, None without one.
    """

    meter: str
    per: Per
    model: Tiers
    rounding: Rounding | None = None
    minimum: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Version:
    """A complete price list, in force from the first second of the day `effective`.

    `commitment` is the least subtotal of a month, None without one.
    """

    effective: date
    prices: Mapping[str, Price]
    fees: tuple[Fee, ...] = ()
    discounts: tuple[Discount, ...] = ()
    commitment: Decimal | None = None

    def price_of(self, meter: str) -> Price:
        """Return the price of `meter`; raises PriceMissing for one this program does not know."""
        try:
            return self.prices[meter]
        except KeyError:
            raise PriceMissing(f"no price for {meter}") from None

    def discounts_of(self, meter: str) -> tuple[Discount, ...]:
        """Return the discounts that `meter` gets."""
        return tuple(discount for discount in self.discounts if discount.covers(meter))


@dataclass(frozen=True, slots=True)
class PriceBook:
    """Versions in rising order of their days; prices are without VAT."""

    source: str
    currency: Currency
    vat_percent: Decimal
    versions: tuple[Version, ...]
    truncation: Truncation | None = None

    def in_force(self, period: Period, zone: ZoneInfo) -> list[tuple[Period, Version]]:
        """Cut a period where prices change; each part comes with its version.

        Raises PriceMissing if the period begins before the first version.
        """
        starts = [day_start(version.effective, zone) for version in self.versions]
        if period.start_s < starts[0]:
            raise PriceMissing(
                f"{self.source} has no prices before {self.versions[0].effective.isoformat()}"
            )
        ends = [*starts[1:], period.end_s]
        return [
            (Period(max(start_s, period.start_s), min(end_s, period.end_s)), version)
            for version, start_s, end_s in zip(self.versions, starts, ends, strict=True)
            if start_s < period.end_s and end_s > period.start_s
        ]


def default_price_book() -> PriceBook:
    """Return the price book that is shipped."""
    text = resources.files("metering").joinpath(DEFAULT).read_text(encoding="utf-8")
    return read_price_book(text, DEFAULT)


def load_price_book(path: Path | None = None) -> PriceBook:
    """Read the price book in the file `path`, or the one that is shipped.

    Raises PriceBookError with file, line and reason.
    """
    if path is None:
        return default_price_book()
    return read_price_book(read_text(path, PriceBookError), str(path))


def read_price_book(text: str, source: str) -> PriceBook:
    """Read a price book from TOML; `source` names it in errors.

    Raises PriceBookError with the line and the reason. Nothing is guessed and nothing ignored.
    """
    return _Reader(text, source).book()


_PER = re.compile(r"(?:(?P<many>[1-9][0-9_,]*) )?(?P<word>[A-Za-z]+?)(?P<plural>s?)", re.ASCII)

_WORDS = {
    "message": (Unit.MESSAGE, 1),
    "second": (Unit.SECOND, 1),
    "minute": (Unit.SECOND, 60),
    "hour": (Unit.SECOND, 3600),
    "byte": (Unit.BYTE, 1),
    "MB": (Unit.BYTE, 10**6),
    "GB": (Unit.BYTE, 10**9),
}


class _Reader:
    """Reads one book; knows the text, so that a refusal can tell the line."""

    def __init__(self, text: str, source: str) -> None:
        self._text = text
        self._source = source

    def book(self) -> PriceBook:
        try:
            # Decimals as they are written; a binary fraction never comes near money.
            tree = tomllib.loads(self._text, parse_float=Decimal)
        except tomllib.TOMLDecodeError as error:
            found = re.search(r"at line (\d+)", str(error))
            raise self._refusal(int(found[1]) if found else None, str(error)) from error
        self._only(tree, {"currency", "vat_percent", "version", "truncate"}, None)
        currency = find_currency(str(tree.get("currency")))
        if currency is None:
            raise self._refusal(
                self._line("currency"), "currency is to be a code of ISO 4217, like KRW"
            )
        line = self._line("vat_percent")
        vat_percent = self._decimal(tree.get("vat_percent"), "vat_percent", line)
        tables = tree.get("version")
        if not isinstance(tables, list) or not tables:
            raise self._refusal(None, "there is no [[version]]")
        versions = tuple(self._version(number, table) for number, table in enumerate(tables))
        for number, (earlier, later) in enumerate(pairwise(versions), 1):
            if later.effective <= earlier.effective:
                raise self._refusal(
                    self._line("effective", number),
                    f"{later.effective} does not come after {earlier.effective}",
                )
        return PriceBook(
            self._source, currency, vat_percent, versions, self._truncation(tree.get("truncate"))
        )

    def _truncation(self, table: Any) -> Truncation | None:
        if table is None:
            return None
        line = self._line("truncate")
        if (
            not isinstance(table, dict)
            or set(table) != {"to", "level"}
            or type(table["to"]) is not int
            or table["to"] not in (10, 100, 1000)
            or table["level"] not in list(Level)
        ):
            shape = 'truncate is to be like { to = 10, level = "total" }: to 10, 100 or 1000, '
            raise self._refusal(line, shape + f"level {' or '.join(Level)}")
        return Truncation(table["to"], Level(table["level"]))

    def _version(self, number: int, table: Any) -> Version:
        line = self._line(None, number)
        if not isinstance(table, dict):
            raise self._refusal(line, "a version is a table: [[version]]")
        self._only(table, {"effective", "price", "fee", "discount", "commitment"}, number)
        effective = table.get("effective")
        if type(effective) is not date or not 1970 <= effective.year <= 9998:
            raise self._refusal(
                self._line("effective", number) or line, "effective is to be a day like 2026-01-01"
            )
        stated = table.get("price")
        if not isinstance(stated, dict):
            raise self._refusal(line, "a version needs its prices: [version.price]")
        missing = ", ".join(meter for meter in METERS if meter not in stated)
        if missing:
            raise self._refusal(line, f"no price for {missing} (write 0 if it is free)")
        prices = {meter: self._price(meter, value, number) for meter, value in stated.items()}
        commitment = table.get("commitment")
        if commitment is not None:
            commitment = self._decimal(commitment, "commitment", self._line("commitment", number))
        return Version(
            effective,
            MappingProxyType(prices),
            tuple(self._fee(entry, number) for entry in self._entries(table, "fee", number)),
            self._discounts(table, number),
            commitment,
        )

    def _entries(self, table: dict[str, Any], key: str, number: int) -> list[dict[str, Any]]:
        entries = table.get(key, [])
        line = self._line(None, number)
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise self._refusal(line, f"{key} is a list of tables: [[version.{key}]]")
        names = [entry.get("name") for entry in entries]
        for name in names:
            if not isinstance(name, str) or not re.fullmatch(r"[a-z][a-z0-9_-]{0,31}", name):
                raise self._refusal(line, f"a {key} needs a name of small letters, not {name!r}")
            if names.count(name) > 1:
                raise self._refusal(line, f"there are two of {key} {name}")
        return entries

    def _titles(self, entry: dict[str, Any], line: int | None) -> Titles:
        titles = Titles(entry.get("title_ko", ""), entry.get("title_en", ""))
        if not all(isinstance(title, str) and title.strip() for title in titles):
            raise self._refusal(line, f"{entry['name']} needs title_ko and title_en")
        return titles

    def _fee(self, entry: dict[str, Any], number: int) -> Fee:
        line = self._line(None, number)
        name = entry["name"]
        for key in entry:
            if key not in ("name", "title_ko", "title_en", "price", "per"):
                raise self._refusal(line, f"fee {name}: {key} is not known here")
        if entry.get("per") not in ("day", "month"):
            raise self._refusal(line, f"fee {name}: per is to be day or month")
        price = self._decimal(entry.get("price"), f"fee {name}", line)
        return Fee(name, self._titles(entry, line), price, entry["per"])

    def _discounts(self, table: dict[str, Any], number: int) -> tuple[Discount, ...]:
        read = []
        line = self._line(None, number)
        for entry in self._entries(table, "discount", number):
            name = entry["name"]
            for key in entry:
                if key not in ("name", "title_ko", "title_en", "percent", "meters"):
                    raise self._refusal(line, f"discount {name}: {key} is not known here")
            meters = entry.get("meters")
            if meters is not None and (
                not isinstance(meters, list) or not meters or not set(meters) <= set(METERS)
            ):
                raise self._refusal(line, f"discount {name}: meters is to be a list of meters")
            percent = self._decimal(entry.get("percent"), f"discount {name}", line)
            covered = None if meters is None else frozenset(meters)
            read.append(Discount(name, self._titles(entry, line), percent, covered))
        for meter in METERS:
            if sum(discount.percent for discount in read if discount.covers(meter)) > 100:
                raise self._refusal(line, f"the discounts on {meter} are more than 100 %")
        return tuple(read)

    def _price(self, meter: str, value: Any, number: int) -> Price:
        line = self._line(meter, number)
        if meter not in METERS:
            raise self._refusal(line, f"{meter} is not a meter")
        if not isinstance(value, dict):
            raise self._refusal(line, f'{meter} is to be like {{ price = 1.2, per = "minute" }}')
        for key in value:
            if key not in ("price", "per", "tiers", "by", "round", "minimum"):
                raise self._refusal(line, f"{meter}: {key} is not known here")
        if ("price" in value) == ("tiers" in value):
            raise self._refusal(line, f"{meter} needs either price or tiers")
        if "by" in value and ("tiers" not in value or value["by"] not in ("graduated", "volume")):
            raise self._refusal(line, f"{meter}: by is graduated or volume, and goes with tiers")
        per = self._per(meter, value.get("per"), line)
        if "price" in value:
            model = per_unit(self._unit_price(meter, value["price"], per, line))
        else:
            tiers = self._tiers(meter, value["tiers"], per, line)
            model = Tiers(tiers, value.get("by") == "volume")
        minimum = value.get("minimum")
        if minimum is not None:
            minimum = self._decimal(minimum, f"{meter}: minimum", line)
        rounding = self._rounding(meter, value.get("round"), line)
        return Price(meter, per, model, rounding, minimum)

    def _rounding(self, meter: str, table: Any, line: int | None) -> Rounding | None:
        if table is None:
            return None
        if (
            not isinstance(table, dict)
            or set(table) != {"to", "way", "of"}
            or table["way"] not in (*Way, EXACT_WAY)
            or table["of"] not in list(Scope)
        ):
            raise self._refusal(
                line,
                f'{meter}: round is to be like {{ to = "minute", way = "up", of = "session" }}: '
                f"way {', '.join((*Way, EXACT_WAY))}; of {', '.join(Scope)}",
            )
        if table["of"] == Scope.SESSION and meter not in SESSION_METERS:
            raise self._refusal(
                line, f"{meter}: only voice and video have sessions; round it by day or month"
            )
        step = self._per(meter, table["to"], line).count
        if table["way"] == EXACT_WAY:
            return None
        return Rounding(step, Way(table["way"]), Scope(table["of"]))

    def _tiers(self, meter: str, tiers: Any, per: Per, line: int | None) -> tuple[Tier, ...]:
        if not isinstance(tiers, list) or not all(isinstance(tier, dict) for tier in tiers):
            raise self._refusal(line, f"{meter}: tiers is to be a list of {{ up_to, price }}")
        read: list[Tier] = []
        for tier in tiers:
            if not set(tier) <= {"up_to", "price", "fee"}:
                raise self._refusal(line, f"{meter}: a tier has up_to, price and fee, nothing else")
            up_to = tier.get("up_to")
            if up_to is not None and type(up_to) is not int:
                raise self._refusal(line, f"{meter}: up_to is to be a whole number")
            bound = None if up_to is None else up_to * per.count
            below = read[-1].up_to if read else 0
            if below is None or (bound is not None and bound <= below):
                raise self._refusal(
                    line, f"{meter}: tiers rise by up_to, and only the last goes without"
                )
            unit_price = self._unit_price(meter, tier.get("price"), per, line)
            fee = self._decimal(tier.get("fee", 0), f"{meter}: fee", line)
            read.append(Tier(bound, unit_price, fee))
        if not read or read[-1].up_to is not None:
            raise self._refusal(line, f"{meter}: the last tier is to go without up_to")
        return tuple(read)

    def _per(self, meter: str, value: Any, line: int | None) -> Per:
        match = _PER.fullmatch(value) if isinstance(value, str) else None
        unit, count = _WORDS.get(match["word"], (None, 0)) if match else (None, 0)
        if match is None or unit is not METERS[meter].unit:
            words = ", ".join(w for w, (unit, _) in _WORDS.items() if unit is METERS[meter].unit)
            raise self._refusal(line, f"{meter}: per is to be one of {words}, or some of them")
        many = int((match["many"] or "1").replace(",", "").replace("_", ""))
        return Per(many * count, many, match["word"])

    def _unit_price(self, meter: str, value: Any, per: Per, line: int | None) -> Decimal:
        stated = self._decimal(value, meter, line)
        try:
            return EXACT.divide(stated, Decimal(per.count)).normalize(EXACT)
        except Inexact:
            # The statement prints unit prices; one that cannot be written down cannot be checked.
            raise self._refusal(
                line,
                f"{meter}: {stated} divided by {per.count:,} has no end and cannot be "
                f"written as a unit price; choose a multiple of {_step(per.count)}",
            ) from None

    def _decimal(self, value: Any, name: str, line: int | None) -> Decimal:
        if isinstance(value, bool) or not isinstance(value, int | Decimal):
            raise self._refusal(line, f"{name} is to be a decimal number")
        number = Decimal(value)
        if not number.is_finite() or number < 0 or number.adjusted() > 12 or len(str(number)) > 30:
            raise self._refusal(line, f"{name} is to be a decimal number from 0 up, not {value}")
        return number

    def _only(self, table: dict[str, Any], known: set[str], version: int | None) -> None:
        for key in table:
            if key not in known:
                raise self._refusal(self._line(key, version), f"{key} is not known here")

    def _line(self, key: str | None, version: int | None = None) -> int | None:
        """Find the line of `key`, of the nth version's header if None; None if not found."""
        headers = 0
        for number, line in enumerate(self._text.splitlines(), 1):
            if re.match(r"\s*\[\[\s*version\s*\]\]", line):
                headers += 1
                if key is None and version == headers - 1:
                    return number
            here = version is None or version == headers - 1
            if (
                key is not None
                and here
                and re.match(rf"""\s*["']?{re.escape(key)}["']?\s*=""", line)
            ):
                return number
        return None

    def _refusal(self, line: int | None, reason: str) -> PriceBookError:
        return PriceBookError(self._source, line, reason)


def _step(count: int) -> Decimal:
    """Return the smallest hundredths whose division by `count` has an end."""
    odd = count
    for factor in (2, 5):
        while odd % factor == 0:
            odd //= factor
    return Decimal(odd) / 100
