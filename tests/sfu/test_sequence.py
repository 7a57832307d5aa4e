from hypothesis import given
from hypothesis import strategies as st

from sfu.sequence import extend_sequence, extend_timestamp


def test_a_number_past_the_wrap_is_the_next_one() -> None:
    assert extend_sequence(0, 0xFFFF) == 0x10000
    assert extend_sequence(0xFFFF, 0x10000) == 0xFFFF
    assert extend_timestamp(5, 0xFFFFFFF0) == 0x100000005


@given(st.integers(0, 1 << 40), st.integers(-0x8000, 0x7FFF))
def test_a_sequence_number_is_found_again_within_half_a_cycle(near: int, offset: int) -> None:
    assert extend_sequence((near + offset) & 0xFFFF, near) == near + offset


@given(st.integers(0, 1 << 50), st.integers(-0x80000000, 0x7FFFFFFF))
def test_a_timestamp_is_found_again_within_half_a_cycle(near: int, offset: int) -> None:
    assert extend_timestamp((near + offset) & 0xFFFFFFFF, near) == near + offset
