import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.statistics import Spread, percentile, rounded, slope

figures = st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=200)


def test_percentile_is_the_nearest_rank():
    values = [15.0, 20.0, 35.0, 40.0, 50.0]
    assert [percentile(values, p) for p in (5, 30, 40, 50, 100)] == [15, 20, 20, 35, 50]


def test_percentile_of_one_value_is_that_value():
    assert {percentile([7.0], p) for p in (0, 1, 50, 99, 100)} == {7.0}


@pytest.mark.parametrize("percent", [-1, 100.1])
def test_percentile_refuses_what_is_no_percentage(percent):
    with pytest.raises(ValueError, match="no percentage"):
        percentile([1.0], percent)


def test_percentile_of_nothing_is_refused():
    with pytest.raises(ValueError, match="no values"):
        percentile([], 50)


@given(figures, st.floats(0, 100))
def test_percentile_is_a_measured_value_with_enough_at_or_below(values, percent):
    found = percentile(values, percent)
    assert found in values
    assert sum(v <= found for v in values) * 100 >= percent * len(values) * (1 - 1e-12)


@given(figures)
def test_the_order_of_measuring_does_not_matter(values):
    assert percentile(values, 99) == percentile(values[::-1], 99)


def test_spread_tells_the_middle_and_both_ends():
    assert Spread.of([3.0, 1.0, 2.0]) == Spread(2.0, 1.0, 3.0)
    assert str(Spread.of([1234.0, 1.5, 0.01234])) == "1.50 (0.0123 – 1,230)"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (1_234_567, "1,230,000"),
        (12.345, "12.3"),
        (0.00456, "0.00456"),
        (-5.5, "-5.50"),
    ],
)
def test_rounded_keeps_three_digits(value, text):
    assert rounded(value) == text


@given(
    st.floats(-1e3, 1e3),
    st.floats(-1e3, 1e3),
    st.lists(st.integers(0, 10_000), min_size=2, unique=True),
)
def test_slope_finds_the_line_it_was_drawn_from(gradient, offset, xs):
    points = [(float(x), gradient * x + offset) for x in xs]
    assert slope(points) == pytest.approx(gradient, abs=1e-5, rel=1e-5)


@pytest.mark.parametrize("points", [[], [(1.0, 2.0)], [(1.0, 2.0), (1.0, 3.0)]])
def test_slope_needs_two_different_x(points):
    with pytest.raises(ValueError, match="no slope"):
        slope(points)
