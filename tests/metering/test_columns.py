"""Columns of a terminal with characters of two cells."""

from hypothesis import given
from hypothesis import strategies as st

from metering.columns import cells, left, right, wrapped


def test_a_korean_syllable_takes_two_cells() -> None:
    assert cells("음성 chat") == 9
    assert cells("１２") == 4
    assert cells("e\u0301") == 1


def test_padding_fills_cells_not_characters() -> None:
    assert left("음성", 6) == "음성  "
    assert right("음성", 6) == "  음성"
    assert left("too long", 3) == "too long"


@given(st.text(st.sampled_from("가나 ab,."), max_size=80), st.integers(4, 30))
def test_wrapping_keeps_every_word_and_the_width(text: str, width: int) -> None:
    lines = wrapped(text, width)
    assert " ".join(lines).split() == text.split()
    assert all(cells(line) <= width or " " not in line for line in lines)
