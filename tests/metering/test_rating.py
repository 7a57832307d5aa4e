"""Price models: conservation, continuity, and vendors' own worked examples."""

from decimal import Decimal
from fractions import Fraction
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metering.rating import Portion, PriceModel
from metering.rating.graduated import Graduated, Tier
from metering.rating.per_unit import PerUnit

prices = st.decimals(0, 1000, places=6)
quantities = st.integers(0, 10**12)


@st.composite
def graduated(draw: st.DrawFn) -> Graduated:
    steps = draw(st.lists(st.integers(1, 5_000), max_size=4))
    bounds: list[int | None] = [*accumulate(steps), None]
    return Graduated(tuple(Tier(bound, draw(prices)) for bound in bounds))


models: st.SearchStrategy[PriceModel] = st.one_of(prices.map(PerUnit), graduated())


def cost(portions: list[Portion]) -> Fraction:
    return sum((p.quantity * Fraction(p.unit_price) for p in portions), Fraction(0))


def merged(portions: list[Portion]) -> dict[tuple[int, Decimal], int]:
    sums: dict[tuple[int, Decimal], int] = {}
    for tier, quantity, price in portions:
        sums[tier, price] = sums.get((tier, price), 0) + quantity
    return {key: quantity for key, quantity in sums.items() if quantity}


def tiers(*stated: tuple[int | None, str]) -> Graduated:
    return Graduated(tuple(Tier(up_to, Decimal(price)) for up_to, price in stated))


@given(models, quantities, quantities)
def test_portions_add_up_to_the_quantity(model: PriceModel, quantity: int, already: int) -> None:
    portions = model.rate(quantity, already)
    assert portions
    assert sum(portion.quantity for portion in portions) == quantity


@given(models, quantities, quantities, quantities)
def test_rating_in_two_steps_is_rating_at_once(
    model: PriceModel, already: int, first: int, second: int
) -> None:
    steps = model.rate(first, already) + model.rate(second, already + first)
    assert merged(steps) == merged(model.rate(first + second, already))


@given(graduated(), st.integers(0, 300), st.integers(0, 300))
def test_each_unit_costs_what_the_tier_costs_in_which_it_falls(
    model: Graduated, quantity: int, already: int
) -> None:
    def price_of_unit(number: int) -> Fraction:
        fitting = (t for t in model.tiers if t.up_to is None or number <= t.up_to)
        return Fraction(next(fitting).unit_price)

    one_by_one = sum(
        (price_of_unit(n) for n in range(already + 1, already + quantity + 1)), Fraction(0)
    )
    assert cost(model.rate(quantity, already)) == one_by_one


@given(graduated(), st.integers(0, 20_000))
def test_an_amount_never_jumps_at_the_border_of_a_tier(model: Graduated, quantity: int) -> None:
    """One unit more costs one unit's price: never less than before, never more than the dearest."""
    step = cost(model.rate(quantity + 1)) - cost(model.rate(quantity))
    assert 0 <= step <= max(Fraction(tier.unit_price) for tier in model.tiers)


def test_nothing_used_still_shows_the_price_that_would_be_next() -> None:
    model = tiers((10, "0"), (20, "5"), (None, "3"))
    assert model.rate(0) == [Portion(0, 0, Decimal(0))]
    assert model.rate(0, 10) == [Portion(1, 0, Decimal(5))]
    assert model.rate(0, 99) == [Portion(2, 0, Decimal(3))]
    assert PerUnit(Decimal(2)).rate(0) == [Portion(0, 0, Decimal(2))]


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
        pytest.param(PerUnit(Decimal(7_333)), 30, "219990", id="GameChat: 30 days"),
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
        pytest.param(PerUnit(Decimal("0.002")), 120_000, "240", id="Cloudflare audio and video"),
        pytest.param(PerUnit(Decimal("0.0005")), 120_000, "60", id="Cloudflare audio"),
        pytest.param(
            tiers((FREE_10K, "0"), (None, "0.003")), 120_000, "330", id="VideoSDK HD"
        ),
        pytest.param(
            tiers((FREE_10K, "0"), (None, "0.0006")), 120_000, "66", id="VideoSDK audio"
        ),
    ],
)  # fmt: skip
def test_vendors_own_examples(model: PriceModel, quantity: int, amount: str) -> None:
    assert cost(model.rate(quantity)) == Fraction(amount)
