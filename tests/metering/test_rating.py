"""Price models: conservation, continuity, and vendors' own worked examples."""

from decimal import Decimal
from fractions import Fraction
from itertools import accumulate, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metering.money import CURRENCIES
from metering.rating import Portion
from metering.rating.adjustments import Level, Truncation, truncated, vat_of
from metering.rating.rounding import Piece, Rounding, Scope, Way
from metering.rating.tiers import Tier, Tiers, per_unit

prices = st.decimals(0, 1000, places=6)
quantities = st.integers(0, 10**12)


@st.composite
def graduated(draw: st.DrawFn) -> Tiers:
    steps = draw(st.lists(st.integers(1, 5_000), max_size=4))
    bounds: list[int | None] = [*accumulate(steps), None]
    return Tiers(tuple(Tier(bound, draw(prices)) for bound in bounds))


@st.composite
def with_fees(draw: st.DrawFn) -> Tiers:
    model = draw(graduated())
    tiers = tuple(Tier(tier.up_to, tier.unit_price, draw(prices)) for tier in model.tiers)
    return Tiers(tiers, volume=draw(st.booleans()))


models: st.SearchStrategy[Tiers] = st.one_of(prices.map(per_unit), graduated(), with_fees())


def cost(portions: list[Portion]) -> Fraction:
    return sum(
        (p.quantity * Fraction(p.unit_price) + Fraction(p.fee) for p in portions), Fraction(0)
    )


def merged(portions: list[Portion]) -> dict[tuple[int, Decimal], int]:
    sums: dict[tuple[int, Decimal], int] = {}
    for tier, quantity, price, _ in portions:
        sums[tier, price] = sums.get((tier, price), 0) + quantity
    return {key: quantity for key, quantity in sums.items() if quantity}


def tiers(*stated: tuple[int | None, str], fee: str = "0", volume: bool = False) -> Tiers:
    rows = tuple(Tier(up_to, Decimal(price), Decimal(fee)) for up_to, price in stated)
    return Tiers(rows, volume)


@given(models, quantities, quantities)
def test_portions_add_up_to_the_quantity(model: Tiers, quantity: int, already: int) -> None:
    portions = model.rate(quantity, already)
    assert portions
    assert sum(portion.quantity for portion in portions) == quantity


@given(models, quantities, quantities, quantities)
def test_rating_in_two_steps_is_rating_at_once(
    model: Tiers, already: int, first: int, second: int
) -> None:
    month = already + first + second
    steps = model.rate(first, already, month) + model.rate(second, already + first, month)
    at_once = model.rate(first + second, already, month)
    assert merged(steps) == merged(at_once)
    assert sum(portion.fee for portion in steps) == sum(portion.fee for portion in at_once)


@given(graduated(), st.integers(0, 300), st.integers(0, 300))
def test_each_unit_costs_what_the_tier_costs_in_which_it_falls(
    model: Tiers, quantity: int, already: int
) -> None:
    def price_of_unit(number: int) -> Fraction:
        fitting = (t for t in model.tiers if t.up_to is None or number <= t.up_to)
        return Fraction(next(fitting).unit_price)

    one_by_one = sum(
        (price_of_unit(n) for n in range(already + 1, already + quantity + 1)), Fraction(0)
    )
    assert cost(model.rate(quantity, already)) == one_by_one


@given(graduated(), st.integers(0, 20_000))
def test_an_amount_never_jumps_at_the_border_of_a_tier(model: Tiers, quantity: int) -> None:
    """One unit more costs one unit's price: never less than before, never more than the dearest."""
    step = cost(model.rate(quantity + 1)) - cost(model.rate(quantity))
    assert 0 <= step <= max(Fraction(tier.unit_price) for tier in model.tiers)


def test_nothing_used_still_shows_the_price_that_would_be_next() -> None:
    model = tiers((10, "0"), (20, "5"), (None, "3"))
    assert model.rate(0) == [Portion(0, 0, Decimal(0))]
    assert model.rate(0, 10) == [Portion(1, 0, Decimal(5))]
    assert model.rate(0, 99) == [Portion(2, 0, Decimal(3))]
    assert per_unit(Decimal(2)).rate(0) == [Portion(0, 0, Decimal(2))]


# 120,000 participant minutes of one month, prices per minute.
FREE_10K = 10_000


@pytest.mark.parametrize(
    ("model", "quantity", "amount"),
    [
        pytest.param(
            tiers((20, "0"), (5 * 1024, "120"), (None, "110")), 10 * 1024, "1175200",
            id="NAVER Cloud: 10 TB out, 20 GB free, 120 won to 5 TB, 110 above",
        ),
        pytest.param(
            tiers((1000, "150"), (2000, "140"), (3000, "130"), (4000, "120"), (None, "110")),
            4000, "540000", id="Cafe24: 4,000 GB in steps of 1,000",
        ),
        pytest.param(
            tiers((2000, "0"), (10_000, "150"), (None, "100")), 2500, str(294_990 - 7_333 * 30),
            id="GameChat: 500 concurrent users above 2,000, beside 30 days at 7,333",
        ),
        pytest.param(
            tiers((10_000, "0.0010"), (50_000, "0.0008"), (100_000, "0.0006"), (None, "0.0004"),
                  fee="10", volume=True),
            65_000, "49", id="Lago: volume, with a fee of the tier",
        ),
        pytest.param(
            tiers((100, "1"), (200, "0.5"), (None, "0.1")), 250, "155",
            id="Lago: graduated, 100 at 1, 100 at 0.5, 50 at 0.1",
        ),
        pytest.param(per_unit(Decimal(7_333)), 30, "219990", id="GameChat: 30 days"),
        pytest.param(
            tiers((FREE_10K, "0"), (None, "0.00099")), 120_000, "108.90", id="Agora audio"
        ),
        pytest.param(
            tiers((FREE_10K, "0"), (None, "0.00399")), 120_000, "438.90", id="Agora HD"
        ),
        pytest.param(
            tiers((FREE_10K, "0"), (None, "0.00899")), 120_000, "988.90", id="Agora Full HD"
        ),
        pytest.param(
            tiers((100_000, "0.0041"), (None, "0.003895")), 120_000, "487.90", id="Vonage"
        ),
        pytest.param(per_unit(Decimal("0.002")), 120_000, "240", id="Cloudflare audio and video"),
        pytest.param(per_unit(Decimal("0.0005")), 120_000, "60", id="Cloudflare audio"),
        pytest.param(
            tiers((FREE_10K, "0"), (None, "0.003")), 120_000, "330", id="VideoSDK HD"
        ),
        pytest.param(
            tiers((FREE_10K, "0"), (None, "0.0006")), 120_000, "66", id="VideoSDK audio"
        ),
    ],
)  # fmt: skip
def test_vendors_own_examples(model: Tiers, quantity: int, amount: str) -> None:
    assert cost(model.rate(quantity)) == Fraction(amount)


# -- rounding: what is measured to what is paid ---------------------------------------------------

MINUTE_UP = Rounding(60, Way.UP, Scope.SESSION)


def test_livekit_rounds_each_connection_up_to_a_minute() -> None:
    assert MINUTE_UP.total([Piece(10)]) == 60
    assert MINUTE_UP.total([Piece(70)]) == 120
    assert MINUTE_UP.total([Piece(10), Piece(70)]) == 180
    assert MINUTE_UP.total([Piece(10, times=3)]) == 180


@given(
    st.sampled_from(Way),
    st.integers(1, 90),
    st.lists(st.integers(0, 200), min_size=1, max_size=6),
)
@settings(max_examples=2_000)
def test_a_session_costs_the_same_however_borders_cut_it(
    way: Way, step: int, grown: list[int]
) -> None:
    """Each side of a border pays what the rounded total grew by on it, and never less than none."""
    rounding = Rounding(step, way, Scope.SESSION)
    reached = list(accumulate(grown, initial=0))
    paid = [rounding.total([Piece(b, a)]) for a, b in pairwise(reached)]
    assert sum(paid) == rounding.of(reached[-1])
    assert min(paid) >= 0


def test_agora_rounds_the_month_up_once() -> None:
    assert Rounding(60, Way.UP, Scope.MONTH).of(10 + 70) == 120


def test_chime_rounds_to_a_tenth_of_a_minute() -> None:
    assert Rounding(6, Way.UP, Scope.SESSION).total(map(Piece, [1, 6, 7])) == 6 + 6 + 12


def test_lagos_package_of_100_with_100_free() -> None:
    """201 units: 100 free, then two started packages at 5, which is 0.05 for each unit of them."""
    package = Rounding(100, Way.UP, Scope.MONTH)
    model = tiers((100, "0"), (None, "0.05"))
    assert cost(model.rate(package.of(201))) == 10
    assert cost(model.rate(package.of(200))) == 5
    assert cost(model.rate(package.of(100))) == 0


@given(
    st.builds(Rounding, st.integers(1, 10_000), st.sampled_from(Way), st.sampled_from(Scope)),
    st.integers(0, 10**15),
)
def test_a_rounded_quantity_is_a_multiple_less_than_a_step_away(
    rounding: Rounding, quantity: int
) -> None:
    rounded = rounding.of(quantity)
    assert rounded % rounding.step == 0
    assert abs(rounded - quantity) < rounding.step
    match rounding.way:
        case Way.UP:
            assert rounded >= quantity
        case Way.DOWN:
            assert rounded <= quantity
        case Way.HALF:
            assert -rounding.step < 2 * (quantity - rounded) < rounding.step or (
                2 * (rounded - quantity) == rounding.step
            )


# -- small change ---------------------------------------------------------------------------------

KRW = CURRENCIES["KRW"]


@given(st.integers(0, 10**9), st.sampled_from([10, 100]), st.sampled_from(Level),
       st.decimals(0, 30, places=2))  # fmt: skip
def test_what_is_cut_is_less_than_a_step_and_the_sums_still_add_up(
    subtotal: int, step: int, level: Level, percent: Decimal
) -> None:
    before = Decimal(subtotal) + vat_of(Decimal(subtotal), percent, KRW)
    cut, left, vat = truncated(Truncation(step, level), Decimal(subtotal), percent, KRW)
    assert left == left.to_integral_value()
    assert vat >= 0
    assert left + (0 if cut is None else -cut.amount) == subtotal
    if level is Level.TOTAL:
        assert left + vat == before - before % step
        assert abs(vat - vat_of(left, percent, KRW)) <= 1
    else:
        assert left == subtotal - subtotal % step
        assert vat == vat_of(left, percent, KRW)


def test_a_cut_after_vat_is_split_again() -> None:
    """1,234,567 + 123,457 = 1,358,024; of 1,358,020 the net is 1,234,563.6… and VAT the rest."""
    cut, left, vat = truncated(Truncation(10, Level.TOTAL), Decimal(1_234_567), Decimal(10), KRW)
    assert cut is not None
    assert (left, vat, cut.amount) == (1_234_564, 123_456, -3)
