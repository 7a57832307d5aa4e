import pytest
from hypothesis import given
from hypothesis import strategies as st

from metaport.log_records import (
    LENGTH_MASK,
    RECORD_BYTES,
    encode,
    encode_hole,
    first_bad,
    next_valid,
    parse,
)

payloads = st.lists(st.binary(min_size=1, max_size=40), min_size=1, max_size=5)
positions = st.integers(0, 2**63)


@given(appends=st.lists(payloads, max_size=4), position=positions)
def test_what_is_encoded_is_parsed(appends: list[list[bytes]], position: int) -> None:
    data = b""
    for records in appends:
        data += encode(records, position + len(data))
    parsed = parse(data, position)
    assert [payload for _, payload in parsed.records] == [p for a in appends for p in a]
    assert (parsed.end, parsed.bad) == (len(data), None)
    if parsed.records:
        assert parsed.records[-1][0] == position + len(data)


@given(first=payloads, second=payloads, position=positions, data=st.data())
def test_an_append_is_read_whole_or_not_at_all(first, second, position, data) -> None:
    head = encode(first, position)
    tail = encode(second, position + len(head))
    cut = data.draw(st.integers(0, len(tail) - 1))
    parsed = parse(head + tail[:cut], position)
    assert [payload for _, payload in parsed.records] == first
    assert (parsed.end, parsed.bad) == (len(head), None)


@given(records=payloads, position=positions, data=st.data())
def test_one_flipped_bit_is_never_taken_for_a_record(records, position, data) -> None:
    encoded = bytearray(encode(records, position))
    at = data.draw(st.integers(0, len(encoded) * 8 - 1))
    encoded[at // 8] ^= 1 << at % 8
    assert parse(bytes(encoded), position).records == []


@given(data=st.binary(max_size=300), position=positions)
def test_arbitrary_bytes_are_no_record_and_no_exception(data: bytes, position: int) -> None:
    assert parse(data, position).records == []
    assert first_bad(data, position, 0) == 0
    assert next_valid(data, position, 0) is None


def test_zeros_are_no_record() -> None:
    assert parse(bytes(64), 0) == ([], 0, 0)


def test_a_record_holds_only_at_its_own_position() -> None:
    """A payload with a record in it must not look like one after a crash."""
    assert parse(encode([b"pay"], 100), 101).records == []


def test_a_hole_is_passed_over_and_ends_an_append() -> None:
    first, second = encode([b"a", b"b"], 0), encode([b"c"], 19)
    hole = encode_hole(10, 9)
    damaged = first[:9] + hole + second
    assert parse(damaged, 0).records == [(9, b"a"), (28, b"c")]
    assert len(encode_hole(RECORD_BYTES, 0)) == RECORD_BYTES


def test_the_next_valid_record_is_found_behind_a_damaged_one() -> None:
    data = bytearray(encode([b"first", b"second", b"third"], 1000))
    data[13] ^= 1  # of "second"
    assert first_bad(bytes(data), 1000, 0) == 13
    assert next_valid(bytes(data), 1000, 13) == 13 + 8 + 6


def test_an_empty_or_oversized_record_is_a_bug_of_the_caller() -> None:
    class Huge(bytes):
        def __len__(self) -> int:
            return LENGTH_MASK + 1

    for record in (b"", Huge()):
        with pytest.raises(ValueError, match="a record has 1 to 1073741823 bytes"):
            encode([record], 0)
