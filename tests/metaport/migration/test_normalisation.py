"""Equal by definition, and nothing else."""

import json
import unicodedata
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metaport.migration.catalogue import Kind
from metaport.migration.checksum import row_hash
from metaport.migration.copy_text import read_line, write_line
from metaport.migration.normalisation import normal, shared_kind
from metaport.migration.sqlite_values import as_text, from_text


@pytest.mark.parametrize(
    ("kind", "one", "other"),
    [
        (Kind.TEXT, "안녕", unicodedata.normalize("NFD", "안녕")),
        (Kind.NUMERIC, "1.00", "1"),
        (Kind.NUMERIC, "-0.0", "0"),
        (Kind.NUMERIC, "100", "1E+2"),
        (Kind.BOOLEAN, "t", "1"),
        (Kind.INSTANT, "2026-11-28 09:00:00+09", "2026-11-28 00:00:00+00"),
        (Kind.INSTANT, "2026-11-28 00:00:00.500000+00", "2026-11-28 00:00:00.5"),
        (Kind.TIMESTAMP, "2026-11-28 00:00:00.100", "2026-11-28 00:00:00.1"),
        (Kind.JSON, '{"a": 1.0, "b": [1, 2]}', '{"b":[1,2],"a":1}'),
    ],
)
def test_equal(kind: Kind, one: str, other: str) -> None:
    assert normal(kind)(one) == normal(kind)(other)


@pytest.mark.parametrize(
    ("kind", "one", "other"),
    [
        (Kind.TEXT, "a", "a "),
        (Kind.TEXT, "1.0", "1"),
        (Kind.NUMERIC, "1.01", "1.010000000000000000000000000000000001"),
        (Kind.INSTANT, "2026-11-28 09:00:00+09", "2026-11-28 09:00:00+00"),
        (Kind.JSON, "[1, 2]", "[2, 1]"),
        (Kind.JSON, '{"a": "1"}', '{"a": 1}'),
        (Kind.JSON, "null", '"null"'),
    ],
)
def test_not_equal(kind: Kind, one: str, other: str) -> None:
    assert normal(kind)(one) != normal(kind)(other)


@given(st.decimals(allow_nan=False, allow_infinity=False))
def test_a_number_stays_the_number_it_is(number: Decimal) -> None:
    assert Decimal(normal(Kind.NUMERIC)(str(number))) == number


@given(st.sampled_from(list(Kind)), st.sampled_from(list(Kind)))
def test_two_columns_are_compared_by_the_same_kind_from_either_side(one: Kind, two: Kind) -> None:
    assert shared_kind(one, two) is shared_kind(two, one)


TEXT = st.text(st.characters(codec="utf-8"))
ROWS = st.lists(st.none() | TEXT, min_size=1).map(tuple)


@given(ROWS)
def test_a_row_comes_back_from_its_line(row: tuple[str | None, ...]) -> None:
    line = write_line(row)
    assert line.count(b"\n") == 1
    assert read_line(line[:-1]) == row


@given(ROWS, ROWS)
def test_rows_that_differ_have_other_hashes(
    one: tuple[str | None, ...], two: tuple[str | None, ...]
) -> None:
    assert (row_hash(one) == row_hash(two)) == (one == two)


@given(st.binary() | st.integers(-(2**63), 2**63 - 1) | TEXT | st.floats(allow_nan=False))
def test_a_value_of_sqlite_comes_back(value: object) -> None:
    kind = {bytes: Kind.BYTES, int: Kind.INTEGER, str: Kind.TEXT, float: Kind.FLOAT}[type(value)]
    assert from_text(as_text(value, kind), kind) == value


def test_json_keeps_what_is_no_json() -> None:
    assert normal(Kind.JSON)("{") == "{"
    assert json.loads(normal(Kind.JSON)('{"b": {"d": 1, "c": 2}}')) == {"b": {"c": 2, "d": 1}}
