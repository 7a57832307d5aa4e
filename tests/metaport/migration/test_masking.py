"""Pseudonyms keep joins and uniqueness, and rules say what is wrong with them."""

import json
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metaport.migration.catalogue import Column, Kind
from metaport.migration.errors import Misused
from metaport.migration.masking import MASKS, Masking
from metaport.migration.rules import load_rules
from metaport.secret_files import kept_bytes

KEY = b"k" * 32
COLUMNS = (Column("id", "text", Kind.TEXT, False), Column("note", "text", Kind.TEXT))


@given(st.sets(st.text(), min_size=2, max_size=20), st.sampled_from(sorted(MASKS)))
def test_the_same_value_has_the_same_pseudonym_and_no_other_has(values: set[str], how: str) -> None:
    mask = Masking(KEY, COLUMNS, {"id": how})
    masked = {value: mask.row((value, None))[0] for value in values}
    assert masked == {value: mask.row((value, None))[0] for value in values}
    if how in ("id", "name", "email", "phone", "address"):
        assert len(set(masked.values())) == len(values)
        other = Masking(b"o" * 32, COLUMNS, {"id": how})
        assert all(other.row((value, None))[0] != masked[value] for value in values)


def test_null_stays_null_and_nothing_is_null_where_it_may_be() -> None:
    mask = Masking(KEY, COLUMNS, {"id": "nothing", "note": "nothing"})
    assert mask.row(("secret", "secret")) == ("", None)
    assert Masking(KEY, COLUMNS, {"note": "id"}).row(("a", None)) == ("a", None)


def test_a_document_keeps_its_shape() -> None:
    mask = Masking(KEY, COLUMNS, {"note": "json"})
    masked = mask.row(("a", '{"말": "안녕", "n": [1, true, null]}'))[1]
    assert json.loads(masked or "") == {"말": "··", "n": [0, True, None]}


def test_the_key_is_made_once_and_for_its_owner(tmp_path: Path) -> None:
    key = kept_bytes(tmp_path / "secrets" / "mask.key")
    assert key == kept_bytes(tmp_path / "secrets" / "mask.key")
    assert stat.S_IMODE((tmp_path / "secrets" / "mask.key").stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("leave = 1", "no usable rules"),
        ('[[leave]]\ntable = "t"\nwhy_ko = "a"\nwhy_en = "b"', "leave number 1 needs all, or"),
        ('[[mask]]\ntable = "t"\ncolumn = "c"\nas = "rot13"', "as is one of"),
        ('[[mask]]\ntable = "t"\ncolumn = "c"\nas = "id"\nmore = 1', "no usable rules"),
    ],
)
def test_a_rules_file_says_what_is_wrong_with_it(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "rules.toml"
    path.write_text(text, "utf-8")
    with pytest.raises(Misused, match=sentence):
        load_rules(str(path))


def test_a_rules_file_that_is_not_there_names_those_that_are() -> None:
    with pytest.raises(Misused, match="shipped: promote, anonymize"):
        load_rules("nowhere.toml")
