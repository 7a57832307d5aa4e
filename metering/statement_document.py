"""A month's statement as a document: the front page, what its terms mean, who used what when.

Seconds and messages are shown as they are counted. Bytes are shown in GB (10^9 bytes) with all
their decimals, and so is their unit price: nothing is lost, and quantity x unit price is still
the amount.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal

from metering.aside_document import aside_tables
from metering.breakdown import Breakdown, break_down
from metering.dimensions import Dimension
from metering.document import (
    Cell,
    Chart,
    Definition,
    Document,
    Row,
    Series,
    Style,
    Table,
    table,
    words,
)
from metering.meters import METERS, Meter, Service
from metering.money import EXACT, plain, total
from metering.pricebook import Per
from metering.statement import By, Line, Report
from metering.statement_words import Words, adjustment_title
from metering.statement_words import words as words_of
from metering.units import Unit

BYTES_IN_GB_DIGITS = 9
# Rooms that cost most, one page of them; the rest is one row.
MOST_ROOMS = 40


def document_of(report: Report, lang: str) -> Document:
    """Put a statement into the words of `lang`."""
    said = words_of(lang)
    year, month = report.month.split("-")
    return Document(
        lang=said.lang,
        title=said.title,
        subtitle=said.month.format(year=year, month=int(month)),
        facts=(
            (said.period, _period(report, said)),
            (said.as_of, _as_of(report, said)),
            (said.state, said.complete if report.complete else said.provisional),
        ),
        front=(_front(report, said),),
        notes=(said.not_an_invoice, said.rounding.format(coin=report.currency.coin(lang))),
        stamp=datetime.fromtimestamp(report.as_of_s or report.period.start_s, UTC),
        details=tuple(_details(report, said)),
        definitions_title=said.definitions,
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
        apart.append(said.measured.format(quantity=_shown(line, line.quantity).text))
    if line.tiered:
        apart.append(said.tier.format(number=line.id.tier + 1))
    if line.since is not None:
        apart.append(said.since.format(day=_day(line.since)))
    return f"{title} ({', '.join(apart)})" if apart else title


def _front(report: Report, said: Words) -> Table:
    currency = report.currency.name(said.lang)
    rows: list[Row] = []
    for service in Service:
        lines = [line for line in report.lines if METERS[line.id.meter].service is service]
        rows += _group(said.services[service], [_line(line, said) for line in lines])
    if report.adjustments:
        adjusted = [
            Row(
                (
                    Cell(adjustment_title(adjustment, said)),
                    _number(Decimal(adjustment.quantity)),
                    Cell(said.times[adjustment.unit]),
                    _number(adjustment.unit_price),
                    _amount(adjustment.amount),
                )
            )
            for adjustment in report.adjustments
        ]
        rows += _group(said.adjustments, adjusted)
    vat = said.vat.format(percent=plain(report.vat_percent))
    rows += [
        _sum(said.subtotal, report.subtotal),
        _sum(vat, report.vat),
        _sum(said.total, report.total, Style.TOTAL),
    ]
    headings = (
        said.meter,
        said.quantity,
        said.unit,
        said.unit_price.format(currency=currency),
        said.amount.format(currency=currency),
    )
    return table(headings, (False, True, False, True, True), rows)


def _group(title: str, rows: list[Row]) -> list[Row]:
    amount = total(Decimal(row.cells[-1].value or 0) for row in rows)
    return [_sum(title, amount, Style.GROUP), *rows]


def _sum(title: str, amount: Decimal, style: Style = Style.SUM) -> Row:
    return Row((Cell(title), *words("", "", ""), _amount(amount)), style)


def _line(line: Line, said: Words) -> Row:
    return Row(
        (
            Cell(title_of(line, said)),
            _shown(line, line.rated),
            Cell(said.units[METERS[line.id.meter].unit]),
            _number(line.unit_price.scaleb(_digits(line), EXACT)),
            _amount(line.amount),
        )
    )


def _details(report: Report, said: Words) -> Iterator[Table | Chart]:
    if report.by_day:
        days = break_down(report.lines, report.adjustments, report.by_day, report.currency)
        yield _cost_chart(days, report, said)
        yield _use_chart(days, said)
        yield _shares(days, report, said, (said.by_day, said.day))
    if len(report.by_app) > 1:
        apps = break_down(report.lines, report.adjustments, report.by_app, report.currency)
        yield _shares(apps, report, said, (said.by_app, said.app))
    if report.by_room:
        rooms = break_down(report.lines, report.adjustments, report.by_room, report.currency)
        yield _shares(rooms, report, said, (said.by_room, said.room), MOST_ROOMS)
    if report.by is not None:
        yield _by(report, report.by, said)
    yield from _aside(report, said)


def _by(report: Report, by: By, said: Words) -> Table:
    """Table what each key of a dimension used of each meter, and what that comes to."""
    shared = break_down(report.lines, report.adjustments, by.used, report.currency)
    used = [
        meter
        for meter in METERS.values()
        if any(s.quantities.get(meter.name) for s in shared.shares)
    ]
    rows = [
        Row(
            (
                Cell(_key(share.key, by.dimension, said)),
                *(_used(share.quantities.get(meter.name, 0), meter) for meter in used),
                _amount(share.amount),
            )
        )
        for share in shared.shares
    ]
    blanks = words(*[""] * len(used))
    if shared.apart:
        rows.append(Row((Cell(said.apart), *blanks, _amount(shared.apart))))
    rows.append(Row((Cell(said.subtotal), *blanks, _amount(report.subtotal)), Style.SUM))
    title, key = said.by[by.dimension]
    units = (f"{meter.title(said.lang)} ({said.units[meter.unit]})" for meter in used)
    headings = (key, *units, said.amount.format(currency=report.currency.name(said.lang)))
    return table(headings, (False, *[True] * len(used), True), rows, title, said.shares)


def _key(key: str, dimension: Dimension, said: Words) -> str:
    if key.endswith(":") and dimension is Dimension.ROOM:  # `metering.events.no_room_of`
        return f"{said.no_room} {key[:-1]}"
    return key or said.nothing


def _used(quantity: int, meter: Meter) -> Cell:
    digits = BYTES_IN_GB_DIGITS if meter.unit is Unit.BYTE else 0
    return _number(Decimal(quantity).scaleb(-digits, EXACT))


def _aside(report: Report, said: Words) -> Iterator[Table]:
    if report.aside is not None:
        yield from aside_tables(report, report.aside, said.lang)


def _shares(
    shared: Breakdown,
    report: Report,
    said: Words,
    titles: tuple[str, str],
    most: int | None = None,
) -> Table:
    """Table the shares; beyond `most` of them the cheapest are one row.

    `titles` name the table and its first column.
    """
    title, key = titles
    shares = list(shared.shares)
    if most is not None:
        shares.sort(key=lambda share: (-share.amount, share.key))
    shown, rest = shares[:most], shares[most:] if most is not None else []
    rows = [_share(_named(share.key, said), share.amounts) for share in shown]
    if rest:
        summed = {service: total(share.amounts[service] for share in rest) for service in Service}
        rows.append(_share(said.others.format(count=len(rest)), summed))
    if shared.apart:
        rows.append(Row((Cell(said.apart), *words("", "", "", ""), _amount(shared.apart))))
    blanks = words(*[""] * len(Service))
    rows.append(Row((Cell(said.subtotal), *blanks, _amount(report.subtotal)), Style.SUM))
    headings = [key, *(said.services[service] for service in Service)]
    amount = said.amount.format(currency=report.currency.name(said.lang))
    numbers = (False, *[True] * len(Service), True)
    return table([*headings, amount], numbers, rows, title, said.shares)


def _named(room: str, said: Words) -> str:
    return _key(room, Dimension.ROOM, said) if room else said.no_room


def _share(key: str, amounts: Mapping[Service, Decimal]) -> Row:
    figures = (_amount(amounts[service]) for service in Service)
    return Row((Cell(key), *figures, _amount(total(amounts.values()))))


def _cost_chart(days: Breakdown, report: Report, said: Words) -> Chart:
    return Chart(
        title=said.cost_by_day,
        labels=tuple(share.key[5:] for share in days.shares),
        series=tuple(
            Series(
                said.services[service],
                tuple(share.amounts[service] for share in days.shares),
                number,
            )
            for number, service in enumerate(Service)
        ),
        unit=report.currency.name(said.lang),
    )


def _use_chart(days: Breakdown, said: Words) -> Chart:
    """Chart participant minutes by day: what voice and video are paid for."""

    def minutes(service: Service) -> tuple[Decimal, ...]:
        meters = [meter.name for meter in METERS.values() if meter.service is service]
        return tuple(
            Decimal(sum(share.quantities.get(meter, 0) for meter in meters) // 60)
            for share in days.shares
        )

    return Chart(
        title=said.minutes_by_day,
        labels=tuple(share.key[5:] for share in days.shares),
        series=tuple(
            Series(said.services[service], minutes(service), list(Service).index(service))
            for service in (Service.VOICE, Service.VIDEO)
        ),
        unit=said.minutes,
    )


def _digits(line: Line) -> int:
    return BYTES_IN_GB_DIGITS if METERS[line.id.meter].unit is Unit.BYTE else 0


def _shown(line: Line, quantity: int) -> Cell:
    return _number(Decimal(quantity).scaleb(-_digits(line), EXACT))


def _number(number: Decimal) -> Cell:
    return Cell(_grouped(number), number)


def _amount(amount: Decimal) -> Cell:
    return Cell(money(amount), amount)


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
        code=meter.name,
        price=", ".join(dict.fromkeys(stated)),
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
