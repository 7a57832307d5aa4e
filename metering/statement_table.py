"""The one table that every readable form of a statement is written from.

Seconds and messages are shown as they are counted. Bytes are shown in GB (10^9 bytes) with all
their decimals, and so is their unit price: nothing is lost, and quantity x unit price is still
the amount.
"""

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from metering.meters import METERS, Meter, Service
from metering.money import EXACT, plain, total
from metering.pricebook import Per
from metering.statement import Line, Report
from metering.statement_words import Words, adjustment_title, words
from metering.units import Unit

BYTES_IN_GB_DIGITS = 9


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the statement, as it is shown."""

    title: str
    quantity: str
    unit: str
    unit_price: str
    amount: str


@dataclass(frozen=True, slots=True)
class Section:
    """The lines of one service and their sum."""

    title: str
    amount: str
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Definition:
    """What a meter means and costs."""

    title: str
    meter: str
    prices: str
    sentence: str


@dataclass(frozen=True, slots=True)
class Table:
    """A statement in one language, ready to be laid out."""

    words: Words
    month: str
    facts: tuple[tuple[str, str], ...]
    headings: tuple[str, str, str, str, str]
    sections: tuple[Section, ...]
    sums: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]
    definitions: tuple[Definition, ...]


def table_of(report: Report, lang: str) -> Table:
    """Put a statement into the words of `lang`."""
    said = words(lang)
    currency = report.currency.name(lang)
    coin = report.currency.coin(lang)
    year, month = report.month.split("-")
    return Table(
        words=said,
        month=said.month.format(year=year, month=int(month)),
        facts=(
            (said.period, _period(report, said)),
            (said.as_of, _as_of(report, said)),
            (said.state, said.complete if report.complete else said.provisional),
        ),
        headings=(
            said.meter,
            said.quantity,
            said.unit,
            said.unit_price.format(currency=currency),
            said.amount.format(currency=currency),
        ),
        sections=_sections(report, said),
        sums=(
            (said.subtotal, money(report.subtotal)),
            (said.vat.format(percent=plain(report.vat_percent)), money(report.vat)),
            (said.total, money(report.total)),
        ),
        notes=(said.not_an_invoice, said.rounding.format(coin=coin)),
        definitions=tuple(_definition(report, meter, said) for meter in METERS.values()),
    )


def money(amount: Decimal) -> str:
    """Write an amount with separators of thousands."""
    return f"{amount:,f}"


def title_of(line: Line, said: Words) -> str:
    """Name a line: its meter, and the tier, day or rounding that sets it apart."""
    title = METERS[line.id.meter].title(said.lang)
    apart = []
    if line.rounding is not None:
        apart.append(said.measured.format(quantity=_quantity(line, line.quantity)))
    if line.tiered:
        apart.append(said.tier.format(number=line.id.tier + 1))
    if line.since is not None:
        apart.append(said.since.format(day=_day(line.since)))
    return f"{title} ({', '.join(apart)})" if apart else title


def _sections(report: Report, said: Words) -> tuple[Section, ...]:
    sections = tuple(_section(report, service, said) for service in Service)
    if not report.adjustments:
        return sections
    amount = total(adjustment.amount for adjustment in report.adjustments)
    rows = tuple(
        Row(
            title=adjustment_title(adjustment, said),
            quantity=f"{adjustment.quantity:,}",
            unit=said.times[adjustment.unit],
            unit_price=_grouped(adjustment.unit_price),
            amount=money(adjustment.amount),
        )
        for adjustment in report.adjustments
    )
    return (*sections, Section(said.adjustments, money(report.currency.round(amount)), rows))


def _section(report: Report, service: Service, said: Words) -> Section:
    lines = [line for line in report.lines if METERS[line.id.meter].service is service]
    return Section(
        title=said.services[service],
        amount=money(report.currency.round(total(line.amount for line in lines))),
        rows=tuple(_row(line, said) for line in lines),
    )


def _row(line: Line, said: Words) -> Row:
    return Row(
        title=title_of(line, said),
        quantity=_quantity(line, line.rated),
        unit=said.units[METERS[line.id.meter].unit],
        unit_price=_grouped(line.unit_price.scaleb(_digits(line), EXACT)),
        amount=money(line.amount),
    )


def _digits(line: Line) -> int:
    return BYTES_IN_GB_DIGITS if METERS[line.id.meter].unit is Unit.BYTE else 0


def _quantity(line: Line, quantity: int) -> str:
    return _grouped(Decimal(quantity).scaleb(-_digits(line), EXACT))


def _definition(report: Report, meter: Meter, said: Words) -> Definition:
    stated = [
        said.price.format(
            price=_grouped(EXACT.multiply(line.unit_price, Decimal(line.per.count))),
            currency=report.currency.name(said.lang),
            per=_per(line.per, said),
        )
        for line in report.lines
        if line.id.meter == meter.name
    ]
    return Definition(
        title=meter.title(said.lang),
        meter=meter.name,
        prices=", ".join(dict.fromkeys(stated)),
        sentence=meter.definition(said.lang),
    )


def _per(per: Per, said: Words) -> str:
    word = said.per.get(per.word, per.word)
    if per.many == 1:
        return word
    if said.lang == "ko":
        return f"{per.many:,}{word}"
    return f"{per.many:,} {word}" + ("s" if word.islower() else "")


def _period(report: Report, said: Words) -> str:
    start, end = (
        datetime.fromtimestamp(at_s, report.zone).strftime("%Y-%m-%d %H:%M")
        for at_s in report.period
    )
    return said.until.format(start=start, end=end, zone=report.zone.key)


def _as_of(report: Report, said: Words) -> str:
    if report.as_of_s is None:
        return said.nobody_reported
    at = datetime.fromtimestamp(report.as_of_s, report.zone)
    return at.isoformat(sep=" ")


def _day(day: date) -> str:
    return f"{day:%m-%d}"


def _grouped(number: Decimal) -> str:
    whole, _, decimals = plain(abs(number)).partition(".")
    sign = "-" if number < 0 else ""
    return f"{sign}{int(whole):,}" + (f".{decimals}" if decimals else "")
