import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatd.grants import (
    MAX_GRANTS,
    MAX_SUBSCRIPTIONS,
    Grant,
    Rights,
    is_pattern,
    read_grants,
    read_subscriptions,
    rights_in,
    to,
)


@pytest.mark.parametrize(
    ("pattern", "room", "fits"),
    [
        ("hall", "hall", True),
        ("hall", "halls", False),
        ("*", "hall", True),
        ("*", "world/hall", False),
        ("**", "world/1/hall", True),
        ("world/*/lobby", "world/1/lobby", True),
        ("world/*/lobby", "world/1/2/lobby", False),
        ("world/*/lobby", "world//lobby", True),
        ("world/**/lobby", "world/1/2/lobby", True),
        ("world/**/lobby", "world/lobby", False),
        ("world/**", "world/1/2", True),
        ("world/**", "world", False),
        ("world/**", "world/", True),
        ("**/lobby", "world/1/lobby", True),
        ("**/**", "hall", False),
        ("**/a/**/a", "x/a/a/a", True),
        ("class-*", "class-7b", True),
        ("class-*-*", "class-7", False),
        ("*-7-*", "class-7-", True),
        ("a*a", "a", False),
        ("광장/*", "광장/동쪽", True),
        ("a.b", "aXb", False),
    ],
)
def test_wildcards_stand_for_what_is_written(pattern, room, fits):
    assert is_pattern(pattern)
    assert Grant(pattern).covers(room) is fits


@pytest.mark.parametrize("pattern", ["", "a**", "**b", "***", "a b", "[ab]", "a?", "a" * 129, "é́"])
def test_what_is_no_pattern_is_refused(pattern):
    assert not is_pattern(pattern)
    with pytest.raises(ValueError, match="pattern"):
        read_grants([pattern])


def as_regex(pattern):
    """Say the same in another language."""
    segments = (
        "[^/]*(?:/[^/]*)*" if s == "**" else "[^/]*".join(map(re.escape, s.split("*")))
        for s in pattern.split("/")
    )
    return re.compile("/".join(segments))


segments = st.sampled_from(["", "a", "b", "ab", "ba", "*", "a*", "*b", "*a*", "a*b", "**"])
patterns = st.lists(segments, min_size=1, max_size=6).map("/".join).filter(is_pattern)
rooms = st.text("ab/", min_size=1, max_size=12)


@given(patterns, rooms)
def test_patterns_fit_as_their_regular_expressions_do(pattern, room):
    assert Grant(pattern).covers(room) == bool(as_regex(pattern).fullmatch(room))


def test_a_hostile_pattern_takes_no_time():
    """As a regular expression this one takes longer than the universe has."""
    pattern = "/".join(["**", "a"] * 20)[:127]
    assert not Grant(pattern).covers("a/" * 63 + "b")
    assert not Grant("*a" * 60).covers("a" * 126 + "b")


def test_rights_add_up_and_none_at_all_is_none():
    grants = read_grants(
        [
            {"room": "news/*", "can": ["read"]},
            {"room": "news/local", "can": ["send", "teleport"]},
            "hall",
            {"room": "stage", "can": ["read", "publish"]},
            {"room": "attic", "can": []},
        ]
    )
    assert rights_in("news/world", grants) == Rights.READ
    assert rights_in("news/local", grants) == Rights.READ | Rights.SEND
    assert rights_in("hall", grants) == Rights.ALL
    assert rights_in("stage", grants) == Rights.READ | Rights.PUBLISH
    assert rights_in("attic", grants) == rights_in("cellar", grants) == Rights.NONE
    assert rights_in("cellar", None) == Rights.ALL
    assert rights_in("cellar", ()) == Rights.NONE


def test_grants_of_the_same_rights_are_made_together():
    assert to("a", "b/*", rights=Rights.READ) == (
        Grant("a", Rights.READ),
        Grant("b/*", Rights.READ),
    )


@pytest.mark.parametrize(
    "claim",
    [
        "hall",
        {"room": "hall"},
        [1],
        [None],
        [["hall"]],
        [{"can": ["read"]}],
        [{"room": 1}],
        [{"room": "hall", "can": "read"}],
        [{"room": "hall", "can": [1]}],
        ["hall"] * (MAX_GRANTS + 1),
    ],
)
def test_a_claim_that_is_no_list_of_grants_is_refused(claim):
    with pytest.raises(ValueError, match=r"rooms|can"):
        read_grants(claim)


def test_subscriptions_are_rooms_each_once():
    assert read_subscriptions(["hall", "stage", "hall"]) == ("hall", "stage")
    assert read_subscriptions([]) == ()


@pytest.mark.parametrize("claim", ["hall", [1], ["no spaces"], ["world/*"], ["a"] * 101])
def test_a_claim_that_is_no_list_of_rooms_is_refused(claim):
    assert MAX_SUBSCRIPTIONS == 100
    with pytest.raises(ValueError, match="subscribe"):
        read_subscriptions(claim)
