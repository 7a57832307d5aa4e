"""The threat model names, for each threat, tests that are there; both editions the same ones."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EDITIONS = [ROOT / "deploy" / name for name in ("SECURITY.md", "SECURITY.ko.md")]
NAMED = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?`")


def threats(path):
    """Return the tests that each threat names."""
    text = path.read_text("utf-8")
    section = text.split("\n### ", 1)[1]
    return [NAMED.findall(line) for line in section.splitlines() if line.startswith("- ")]


@pytest.mark.parametrize("path", EDITIONS, ids=lambda path: path.name)
def test_every_threat_names_a_test_that_is_there(path):
    listed = threats(path)
    assert len(listed) > 20
    for tests in listed:
        assert tests
        for file, name in tests:
            tree = ast.parse((ROOT / file).read_text("utf-8"))
            known = {getattr(node, "name", "") for node in ast.walk(tree)}
            assert not name or name in known, f"{file}::{name}"


def test_both_editions_name_the_same_tests():
    english, korean = map(threats, EDITIONS)
    assert english == korean
