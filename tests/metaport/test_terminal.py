"""Text in columns."""

from hypothesis import given
from hypothesis import strategies as st

from metaport.terminal import fitted, printable
from metering.columns import cells


def test_hangul_takes_two_columns_and_is_cut_between_syllables():
    assert fitted("방문자", 8) == "방문자  "
    assert fitted("방문자", 8, right=True) == "  방문자"
    assert fitted("청소년상담사", 8) == "청소년… "
    assert fitted("visitor", 4) == "vis…"


def test_control_characters_do_not_reach_the_terminal():
    assert printable("a\x1b[2J\nb\u202e") == "a\ufffd[2J\ufffdb\ufffd"


@given(st.text(), st.integers(1, 40), st.booleans())
def test_every_text_takes_exactly_its_columns(text, columns, right):
    assert cells(fitted(text, columns, right=right)) == columns
