"""What earns trust, over thousands of cases each: order, splits, repeats, zones change nothing."""

import itertools
import random
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from zoneinfo import ZoneInfo, available_timezones

from metering.errors import PeriodError
from metering.events import Session, SessionRow, Subject, UsageRow
from metering.figures import figures_of
from metering.ledger import MemoryLedger
from metering.meters import (
    ACTIVE_USERS,
    METERS,
    PEAK_USERS,
    RECORDING_SECONDS,
    SESSION_METERS,
    STORED_BYTES,
    TEXT_BYTES_IN,
    VOICE_SECONDS,
)
from metering.pricebook import default_price_book
from metering.rating.rounding import Rounding, Scope, Way
from metering.rating.tiers import Tier, Tiers
from metering.report import RENDERERS, build_report
from metering.windows import (
    WINDOW_S,
    Period,
    day_of,
    day_start,
    days_of,
    month_period,
    open_zone,
    seconds_by_window,
)
from tests.metering.cases import at_once, cases

SEOUL = open_zone("Asia/Seoul")
NOVEMBER, DECEMBER = month_period("2026-11", SEOUL), month_period("2026-12", SEOUL)
BOOK = default_price_book()
METER_NAMES = sorted(METERS)
ZONES = [
    ZoneInfo(name)
    for name in ("Asia/Seoul", "UTC", "America/New_York", "Asia/Kathmandu", "Pacific/Chatham")
]


def start_near_a_border(lot: random.Random) -> int:
    """Return a window around the border of the month, in Seoul or UTC, or anywhere in it."""
    border = lot.choice([NOVEMBER.start_s, NOVEMBER.end_s, NOVEMBER.start_s + 15 * 86_400])
    return border + lot.randint(-100, 100) * WINDOW_S


def growing(lot: random.Random) -> list[UsageRow]:
    """Rows of a few identities, whose quantities only grow."""
    rows = []
    for _ in range(lot.randint(0, 6)):
        identity = (
            lot.choice(["hub", "sfu"]),
            lot.choice("12"),
            lot.choice(METER_NAMES),
            Subject(lot.choice(["lobby", "a:b/c"]), lot.choice("uv")),
            start_near_a_border(lot),
        )
        growth = [lot.randint(0, 10**9) for _ in range(lot.randint(1, 3))]
        rows += [UsageRow(*identity, total) for total in itertools.accumulate(growth)]
    return rows


def in_pieces(rows: list[UsageRow], lot: random.Random) -> MemoryLedger:
    """Bring rows in another order, in pieces, and some of them again."""
    ledger = MemoryLedger()
    order = rows + lot.choices(rows, k=4) if rows else []
    lot.shuffle(order)
    while order:
        size = lot.randint(1, len(order))
        at_once(ledger.upsert(order[:size]))
        order = order[size:]
    return ledger


@cases(4_000)
def test_order_splits_and_repeats_keep_the_same(lot: random.Random) -> None:
    rows = growing(lot)
    plain, other = MemoryLedger(), in_pieces(rows, lot)
    at_once(plain.upsert(rows))
    assert at_once(other.by_subject(0, 2**40)) == at_once(plain.by_subject(0, 2**40))
    assert at_once(other.by_place(*NOVEMBER)) == at_once(plain.by_place(*NOVEMBER))


@cases(1_000)
def test_order_splits_and_repeats_make_the_same_bytes(lot: random.Random) -> None:
    rows = growing(lot)
    plain, other = MemoryLedger(), in_pieces(rows, lot)
    at_once(plain.upsert(rows))
    first, second = [
        at_once(build_report(ledger, BOOK, "2026-11", "Asia/Seoul", 2e9))
        for ledger in (plain, other)
    ]
    # Laying out text for a terminal takes longer than all the rest.
    for form in ("json", "csv", "text") if lot.random() < 0.05 else ("json", "csv"):
        assert RENDERERS[form](first, "ko") == RENDERERS[form](second, "ko")


@cases(1_000)
def test_days_add_up_to_months_and_months_to_all(lot: random.Random) -> None:
    ledger, zone = MemoryLedger(), lot.choice(ZONES)
    at_once(ledger.upsert(growing(lot)))
    months = [month_period(month, zone) for month in ("2026-10", "2026-11", "2026-12")]
    summed: dict[str, int] = {}
    for month in months:
        by_day: dict[str, int] = {}
        day = day_of(month.start_s, zone)
        while (start_s := day_start(day, zone)) < month.end_s:
            day += timedelta(days=1)
            for meter, quantity in at_once(ledger.totals(start_s, day_start(day, zone))).items():
                by_day[meter] = by_day.get(meter, 0) + quantity
        assert by_day == at_once(ledger.totals(*month))
        for meter, quantity in by_day.items():
            summed[meter] = summed.get(meter, 0) + quantity
    assert summed == at_once(ledger.totals(months[0].start_s, months[-1].end_s))


def test_windows_add_up_to_days_and_months_in_every_zone() -> None:
    """All zones there are, daylight saving or not, a year and a half: no second twice or missed."""
    checked = 0
    for name in sorted(available_timezones() - {"localtime"}):
        zone = ZoneInfo(name)
        end_s = None
        for year, month in itertools.product((2026, 2027), range(1, 13)):
            try:
                period = month_period(f"{year}-{month:02}", zone)
                days = days_of(period, zone)
            except PeriodError:  # "right/…" counts leap seconds
                assert name.startswith("right/"), name
                break
            assert end_s in (None, period.start_s), name
            end_s = period.end_s
            assert days[0].start_s == period.start_s
            assert days[-1].end_s == period.end_s
            assert all(a.end_s == b.start_s for a, b in itertools.pairwise(days))
            assert all(s % WINDOW_S == 0 for day in days for s in day)
            checked += 1
    assert checked > 5_000


@cases(5_000)
def test_splitting_a_session_anywhere_never_changes_its_seconds(lot: random.Random) -> None:
    start_ms = (start_near_a_border(lot) - lot.randint(0, 900)) * 1000 + lot.randint(0, 999)
    cuts = sorted(start_ms + lot.randint(0, 10**7) for _ in range(lot.randint(2, 6)))
    parts: dict[int, int] = {}
    for a, b in itertools.pairwise(cuts):
        for window, seconds in seconds_by_window(a, b):
            parts[window] = parts.get(window, 0) + seconds
    assert parts == dict(seconds_by_window(cuts[0], cuts[-1]))
    assert sum(parts.values()) == cuts[-1] // 1000 - cuts[0] // 1000


@cases(2_000)
def test_months_pay_together_what_whole_sessions_cost(lot: random.Random) -> None:
    """Over windows, nodes, boots, the border of months, repeats and any order."""
    rows: list[SessionRow] = []
    for name in lot.sample("abcd", lot.randint(1, 4)):
        first = NOVEMBER.end_s + WINDOW_S * lot.randint(-3, 2)
        for number in range(lot.randint(1, 4)):
            node, boot, start_s = (
                lot.choice(["sfu", "sfu-1"]),
                lot.choice("12"),
                first + 900 * number,
            )
            growth = [lot.randint(0, 400) for _ in range(lot.randint(1, 3))]
            rows += [
                SessionRow(node, boot, VOICE_SECONDS, Session(first, name), start_s, total)
                for total in itertools.accumulate(growth)
            ]
    plain, other = MemoryLedger(), MemoryLedger()
    at_once(plain.upsert([], None, rows))
    order = rows + lot.choices(rows, k=4)
    lot.shuffle(order)
    while order:
        size = lot.randint(1, len(order))
        at_once(other.upsert([], None, order[:size]))
        order = order[size:]
    rounding = Rounding(lot.randint(1, 90), lot.choice(list(Way)), Scope.SESSION)
    paid = 0
    for period in (NOVEMBER, DECEMBER):
        pieces = at_once(plain.sessions(*period, SESSION_METERS))
        assert pieces == at_once(other.sessions(*period, SESSION_METERS))
        paid += rounding.total(pieces.get(VOICE_SECONDS, ()))
    sums: dict[str, int] = {}
    for (_, _, _, session, _), quantity in {tuple(row[:-1]): row[-1] for row in rows}.items():
        sums[session.name] = sums.get(session.name, 0) + quantity
    assert paid == sum(map(rounding.of, sums.values()))


@cases(5_000)
def test_graduated_tiers_are_continuous_and_split_anywhere(lot: random.Random) -> None:
    bounds = sorted(lot.sample(range(1, 10_000), lot.randint(0, 4)))
    prices = [Decimal(lot.randint(0, 10**6)).scaleb(-4) for _ in range(len(bounds) + 1)]
    model = Tiers(tuple(map(Tier, (*bounds, None), prices)))

    def amount(quantity: int, already: int = 0) -> Fraction:
        portions = model.rate(quantity, already)
        assert sum(portion.quantity for portion in portions) == quantity
        return sum((Fraction(p.unit_price) * p.quantity for p in portions), start=Fraction(0))

    quantity = lot.choice([*bounds, lot.randint(0, 12_000)]) + lot.randint(0, 1)
    tier = next(n for n, bound in enumerate((*bounds, None)) if bound is None or quantity < bound)
    assert amount(quantity + 1) - amount(quantity) == Fraction(prices[tier])
    cut = lot.randint(0, quantity)
    assert amount(quantity) == amount(cut) + amount(quantity - cut, cut)


@cases(1_000)
def test_lines_and_what_is_beside_them_are_the_subtotal_and_with_vat_the_total(
    lot: random.Random,
) -> None:
    ledger = MemoryLedger()
    rows = [row._replace(quantity=row.quantity // lot.choice([1, 10**6])) for row in growing(lot)]
    at_once(ledger.upsert(rows))
    report = at_once(build_report(ledger, BOOK, "2026-11", "Asia/Seoul", 2e9))
    for line in report.lines:
        exact = line.rated * Fraction(line.unit_price)
        assert abs(Fraction(line.amount) - exact) <= Fraction(1, 2)
        assert line.amount == int(exact + Fraction(1, 2))
    amounts = [line.amount for line in report.lines] + [a.amount for a in report.adjustments]
    assert sum(amounts) == report.subtotal
    assert report.vat == int(Fraction(report.subtotal) / 10 + Fraction(1, 2))
    assert report.subtotal + report.vat == report.total


async def test_figures_are_those_somebody_measured() -> None:
    ledger = MemoryLedger()
    assert await figures_of(ledger, Period(*NOVEMBER)) == {}
    nobody, at_s = Subject("", ""), NOVEMBER.start_s
    await ledger.upsert(
        [
            UsageRow("hub", "1", TEXT_BYTES_IN, Subject("lobby", "u"), at_s, 7),
            UsageRow("hub", "1", TEXT_BYTES_IN, Subject("lobby", "v"), at_s, 8),
            # Nothing records today; what would, needs no more than to say so.
            UsageRow("recorder", "1", RECORDING_SECONDS, Subject("lobby", "u"), at_s, 90),
            UsageRow("hub", "1", PEAK_USERS, nobody, at_s + 60, 3),
            UsageRow("hub-2", "1", PEAK_USERS, nobody, at_s + 60, 4),
            UsageRow("hub", "1", PEAK_USERS, nobody, at_s + 120, 6),
            UsageRow("hub", "1", STORED_BYTES, nobody, at_s + 3600, 10**9),
        ]
    )
    assert await figures_of(ledger, Period(*NOVEMBER)) == {
        TEXT_BYTES_IN: 15,
        PEAK_USERS: 7,
        ACTIVE_USERS: 2,
        RECORDING_SECONDS: 90,
        STORED_BYTES: 10**9,
    }
