"""Usage held against what the contract allows."""

from decimal import Decimal

import pytest

from metering.budget import Budget

# The order's amount including VAT: 11,500,000 + 1,150,000.
CONTRACT = Budget(Decimal(12_650_000))


@pytest.mark.parametrize(
    ("spent", "percent", "reached"),
    [
        (0, "0.0", ()),
        (6_324_999, "49.9", ()),
        (6_325_000, "50.0", (50,)),
        (10_120_000, "80.0", (50, 80)),
        (12_649_999, "99.9", (50, 80)),
        (12_650_000, "100.0", (50, 80, 100)),
        (25_300_000, "200.0", (50, 80, 100)),
    ],
)
def test_thresholds_are_reached_to_the_won(
    spent: int, percent: str, reached: tuple[int, ...]
) -> None:
    standing = CONTRACT.standing(Decimal(spent))
    assert str(standing.percent) == percent
    assert standing.reached == reached
    assert standing.left == 12_650_000 - spent


def test_a_budget_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="more than 0"):
        Budget(Decimal(0))
