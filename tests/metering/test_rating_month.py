"""A month with everything a price book may ask for, by hand and against an oracle in fractions."""

from datetime import date
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metering.meters import MESSAGES_SENT, METERS, VIDEO_SECONDS_HD, VOICE_SECONDS
from metering.pricebook import PriceBook, read_price_book
from metering.rating.adjustments import Kind
from metering.rating.month import Part, Rated, rate_month
from metering.rating.rounding import Piece
from metering.units import Unit

WORDS = {Unit.MESSAGE: "message", Unit.SECOND: "second", Unit.BYTE: "byte"}


def version(effective: str, stated: dict[str, str], terms: str = "", commitment: str = "") -> str:
    text = f"[[version]]\neffective = {effective}\n{commitment}\n[version.price]\n"
    for name, meter in METERS.items():
        price = stated.get(name, f'{{ price = 0, per = "{WORDS[meter.unit]}" }}')
        text += f'"{name}" = {price}\n'
    return text + terms


def book_of(*versions: str, head: str = "") -> PriceBook:
    text = f'currency = "KRW"\nvat_percent = 10\n{head}\n' + "".join(versions)
    return read_price_book(text, "book.toml")


def discount(name: str, percent: str, meters: str = "") -> str:
    covered = f"meters = [{meters}]\n" if meters else ""
    return (
        f'[[version.discount]]\nname = "{name}"\ntitle_ko = "할인"\ntitle_en = "Discount"\n'
        f"percent = {percent}\n{covered}"
    )


def fee(name: str, price: str, per: str) -> str:
    return (
        f'[[version.fee]]\nname = "{name}"\ntitle_ko = "기본료"\ntitle_en = "Base"\n'
        f'price = {price}\nper = "{per}"\n'
    )


def amounts(rated: Rated) -> dict[str, Decimal]:
    return {adjustment.name: adjustment.amount for adjustment in rated.adjustments}


def rate(book: PriceBook, quantities: dict[str, int], days: int = 30) -> Rated:
    return rate_month(book, [Part(book.versions[0], quantities, {}, days)])


def test_gamechats_worked_example() -> None:
    """2,500 at once in November: 30 days at 7,333, and 500 above 2,000 at 150: 294,990 won."""
    tiers = (
        '{ per = "message", tiers = [{ up_to = 2000, price = 0 }, '
        "{ up_to = 10000, price = 150 }, { price = 100 }] }"
    )
    book = book_of(version("2026-01-01", {MESSAGES_SENT: tiers}, fee("base", "7333", "day")))
    rated = rate(book, {MESSAGES_SENT: 2_500})
    assert amounts(rated) == {"fee.base": 219_990}
    assert rated.subtotal == 294_990


def test_a_minimum_is_reached_by_a_line_of_its_own() -> None:
    price = '{ price = 1, per = "message", minimum = 1000 }'
    book = book_of(version("2026-01-01", {MESSAGES_SENT: price}))
    assert amounts(rate(book, {MESSAGES_SENT: 400})) == {"minimum.chat.messages_sent": 600}
    assert rate(book, {MESSAGES_SENT: 400}).subtotal == 1_000
    assert rate(book, {MESSAGES_SENT: 1_000}).adjustments == ()
    assert rate(book, {}).subtotal == 1_000


def test_a_discount_covers_what_it_names_and_not_fixed_fees() -> None:
    stated = {MESSAGES_SENT: '{ price = 1, per = "message" }',
              VOICE_SECONDS: '{ price = 2, per = "second" }'}  # fmt: skip
    terms = fee("base", "500", "month") + discount("text", "10", f'"{MESSAGES_SENT}"')
    terms += discount("all", "5")
    rated = rate(book_of(version("2026-01-01", stated, terms)),
                 {MESSAGES_SENT: 1_000, VOICE_SECONDS: 1_000})  # fmt: skip
    assert amounts(rated) == {"fee.base": 500, "discount.text": -100, "discount.all": -150}
    assert rated.subtotal == 1_000 + 2_000 + 500 - 250


def test_a_commitment_comes_after_discounts_and_before_small_change() -> None:
    book = book_of(
        version(
            "2026-01-01", {MESSAGES_SENT: '{ price = 1, per = "message" }'},
            discount("all", "50"), "commitment = 9999",
        ),
        head='truncate = { to = 10, level = "subtotal" }',
    )  # fmt: skip
    rated = rate(book, {MESSAGES_SENT: 1_000})
    assert amounts(rated) == {"discount.all": -500, "commitment": 9_499, "truncation": -9}
    assert [adjustment.kind for adjustment in rated.adjustments] == [
        Kind.DISCOUNT, Kind.COMMITMENT, Kind.TRUNCATION,
    ]  # fmt: skip
    assert (rated.subtotal, rated.vat) == (9_990, 999)


def test_a_fee_by_month_is_that_of_the_version_in_which_the_month_begins() -> None:
    book = book_of(
        version("2026-01-01", {}, fee("base", "100", "month") + fee("day", "10", "day")),
        version("2026-11-11", {}, fee("base", "900", "month") + fee("day", "20", "day")),
    )
    first, second = book.versions
    rated = rate_month(book, [Part(first, {}, {}, 10), Part(second, {}, {}, 20, opens=False)])
    assert [(a.name, a.quantity, a.amount) for a in rated.adjustments] == [
        ("fee.base", 1, 100), ("fee.day", 10, 100), ("fee.day", 20, 400),
    ]  # fmt: skip


def test_a_discount_that_begins_inside_the_month_splits_what_it_covers() -> None:
    price = {MESSAGES_SENT: '{ price = 1, per = "message" }'}
    book = book_of(
        version("2026-01-01", price), version("2026-11-16", price, discount("new", "10"))
    )
    first, second = book.versions
    rated = rate_month(
        book,
        [Part(first, {MESSAGES_SENT: 1_000}), Part(second, {MESSAGES_SENT: 500}, opens=False)],
    )
    sent = [line for line in rated.lines if line.id.meter == MESSAGES_SENT]
    assert [(line.since, line.quantity) for line in sent] == [
        (None, 1_000), (date(2026, 11, 16), 500),
    ]  # fmt: skip
    assert amounts(rated) == {"discount.new": -50}


def test_a_rounded_line_shows_what_was_measured_and_what_is_paid() -> None:
    """LiveKit's own example: connections of 10 s and of 70 s are 1 and 2 minutes."""
    price = '{ price = 0.6, per = "minute", round = { to = "minute", way = "up", of = "session" } }'
    book = book_of(version("2026-01-01", {VOICE_SECONDS: price}))
    part = Part(book.versions[0], {VOICE_SECONDS: 80}, {VOICE_SECONDS: [Piece(10), Piece(70)]})
    (line,) = (x for x in rate_month(book, [part]).lines if x.id.meter == VOICE_SECONDS)
    assert (line.quantity, line.rated, line.amount) == (80, 180, 2)


@pytest.mark.parametrize(("measured", "shares"), [(250, [100, 150]), (90, [90, 0]), (0, [0, 0])])
def test_what_was_measured_is_shared_among_the_tiers(measured: int, shares: list[int]) -> None:
    price = (
        '{ per = "second", tiers = [{ up_to = 100, price = 1 }, { price = 2 }], '
        'round = { to = "300 seconds", way = "up", of = "day" } }'
    )
    book = book_of(version("2026-01-01", {VIDEO_SECONDS_HD: price}))
    pieces = {VIDEO_SECONDS_HD: [Piece(max(1, measured))]}
    rated = rate_month(book, [Part(book.versions[0], {VIDEO_SECONDS_HD: measured}, pieces)])
    lines = [line for line in rated.lines if line.id.meter == VIDEO_SECONDS_HD]
    assert [line.quantity for line in lines] == shares
    assert [line.rated for line in lines] == [100, 200]


# -- the oracle: every unit on its own, in fractions, from the definitions ------------------------

METER = MESSAGES_SENT
small = st.decimals(0, 3, places=2)


@st.composite
def terms(draw: st.DrawFn) -> dict[str, object]:
    bounds = sorted(draw(st.sets(st.integers(1, 60), max_size=2)))
    return {
        "tiers": [(b, draw(small), draw(st.integers(0, 9))) for b in [*bounds, None]],
        "volume": draw(st.booleans()),
        "round": draw(st.sampled_from([None, (7, "up"), (7, "down"), (6, "half")])),
        "minimum": draw(st.integers(0, 90)),
        "discounts": draw(st.lists(st.integers(0, 50), max_size=2)),
        "day_fee": draw(small),
        "commitment": draw(st.sampled_from([0, 150])),
    }


def written(stated: dict[str, object]) -> dict[str, str]:
    tiers = ", ".join(
        "{ " + ("" if bound is None else f"up_to = {bound}, ") + f"price = {price}, fee = {f} }}"
        for bound, price, f in stated["tiers"]
    )
    by = "volume" if stated["volume"] else "graduated"
    rounding = ""
    if stated["round"]:
        step, way = stated["round"]
        rounding = f', round = {{ to = "{step} messages", way = "{way}", of = "month" }}'
    price = (
        f'{{ per = "message", tiers = [{tiers}], by = "{by}", '
        f"minimum = {stated['minimum']}{rounding} }}"
    )
    return {METER: price}


def half_up(amount: Fraction) -> int:
    sign = -1 if amount < 0 else 1
    return sign * int(abs(amount) + Fraction(1, 2))


def to_be_paid(measured: int, rounding: object) -> int:
    if rounding is None:
        return measured
    step, way = rounding
    exact = Fraction(measured, step)
    whole = exact.numerator // exact.denominator
    if way == "up" and exact > whole:
        whole += 1
    if way == "half" and exact - whole >= Fraction(1, 2):
        whole += 1
    return int(whole * step)


def oracle(stated: dict[str, object], used: int, days: int) -> tuple[int, int]:
    tiers: list[tuple[int | None, Decimal, int]] = stated["tiers"]
    paid = to_be_paid(used, stated["round"])

    def tier_of(unit: int) -> int:
        return next(n for n, (top, _, _) in enumerate(tiers) if top is None or unit <= top)

    lines: dict[int, Fraction] = {}
    for unit in range(1, paid + 1):
        tier = tier_of(paid) if stated["volume"] else tier_of(unit)
        lines[tier] = lines.get(tier, Fraction(0)) + Fraction(tiers[tier][1])
    metered = sum(half_up(amount) for amount in lines.values())
    metered += sum(tiers[tier][2] for tier in lines)
    metered = max(metered, int(stated["minimum"]))
    off = sum(half_up(Fraction(metered * percent, 100)) for percent in stated["discounts"])
    subtotal = metered - off + half_up(days * Fraction(stated["day_fee"]))
    subtotal = max(subtotal, int(stated["commitment"]))
    return subtotal, half_up(Fraction(subtotal, 10))


@settings(max_examples=1_500, deadline=None)
@given(terms(), st.integers(0, 150), st.integers(28, 31))
def test_the_oracle_agrees(stated: dict[str, object], used: int, days: int) -> None:
    extra = fee("base", str(stated["day_fee"]), "day")
    for number, percent in enumerate(stated["discounts"]):
        extra += discount(f"d{number}", str(percent))
    commitment = f"commitment = {stated['commitment']}"
    book = book_of(version("2026-01-01", written(stated), extra, commitment))
    rated = rate(book, {METER: used}, days)
    assert (rated.subtotal, rated.vat) == oracle(stated, used, days)
    printed = [*(x.amount for x in rated.lines), *(x.amount for x in rated.adjustments)]
    assert rated.subtotal == sum(printed)
    assert sum(line.quantity for line in rated.lines if line.id.meter == METER) == used
