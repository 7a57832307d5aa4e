from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatd.counters import Counters
from chatd.errors import FactsRefused
from chatd.facts import ConnectionTime, MemoryFacts, MessagesRecovered, RoomOpened
from chatd.owed import OwedFacts

A, B, C = (RoomOpened(name, "e") for name in "abc")


@pytest.fixture
def facts():
    return MemoryFacts()


@pytest.fixture
def counters():
    return Counters(lambda: 0)


@pytest.fixture
def owed(facts, clock, counters):
    return OwedFacts(facts, clock, counters)


def test_a_commit_keeps_what_is_owed_first_in_one_call(owed, facts):
    owed.owe([A])
    owed.commit([B])
    assert facts.kept == [A, B]
    assert facts.commits == 1
    assert len(owed) == 0


def test_nothing_is_no_call(owed, facts):
    owed.commit()
    owed.retry()
    assert facts.commits == 0


def test_refused_facts_of_a_call_are_forgotten_and_owed_ones_are_not(owed, facts, counters):
    owed.owe([A])
    facts.refusal = FactsRefused()
    with pytest.raises(FactsRefused):
        owed.commit([B])
    facts.refusal = None
    owed.commit([C])
    assert facts.kept == [A, C]
    assert counters.commits_refused == 1


def test_a_retry_waits_as_told_and_a_commit_does_not(owed, facts, clock):
    owed.owe([A])
    facts.refusal = FactsRefused(retry_after_ms=2000)
    owed.retry()
    assert owed.refused
    facts.refusal = None
    owed.retry()
    assert facts.kept == []
    clock.advance(2)
    assert not owed.refused
    owed.retry()
    assert facts.kept == [A]


def test_a_port_that_breaks_is_a_refusal(owed, facts, caplog):
    facts.refusal = OSError("no space left")
    with pytest.raises(FactsRefused) as caught:
        owed.commit([A])
    assert caught.value.retry_after_ms > 0
    assert "the facts port failed" in caplog.text


def counted(facts):
    """Count as metering does: whole seconds, and messages by window."""
    counts = Counter()
    for fact in facts:
        if isinstance(fact, ConnectionTime):
            whole_s = fact.end_ms // 1000 - fact.start_ms // 1000
            counts[fact.user] += whole_s * fact.connections
        else:
            counts[fact.room, fact.user, fact.at_ms // 900_000] += fact.count
    return +counts


def test_while_the_log_refuses_what_is_owed_stays_small(owed, facts):
    """Each join with history and each connection left a fact behind, for as long as the disk
    was full."""
    facts.refusal = FactsRefused()
    told = []
    for second in range(600):
        at_ms = 60_000 + second * 1000
        told.append(MessagesRecovered("r", "visitor", 5, at_ms))
        told.append(ConnectionTime("visitor", at_ms + 100, at_ms + 300))
        told.append(ConnectionTime("host", at_ms, at_ms + 1000, 2))
    for fact in told:
        owed.owe([fact])
        owed.retry()
    assert len(owed) <= 12
    facts.refusal = None
    owed.commit()
    assert counted(facts.kept) == counted(told)


def test_a_room_that_is_opened_again_is_owed_once(owed, facts):
    owed.owe([A, B, RoomOpened("a", "e2")])
    owed.commit()
    assert facts.kept == [RoomOpened("a", "e2"), B]


stretches = st.lists(
    st.tuples(st.sampled_from("uv"), st.integers(0, 2500), st.integers(0, 4000), st.integers(1, 3)),
    max_size=40,
)


@given(stretches)
def test_owing_changes_no_count(stretches):
    owed, told, ends = OwedFacts(facts := MemoryFacts(), None, Counters(lambda: 0)), [], Counter()
    for user, pause_ms, length_ms, connections in stretches:
        start_ms = ends[user] + pause_ms
        ends[user] = start_ms + length_ms
        told.append(ConnectionTime(user, start_ms, ends[user], connections))
    owed.owe(told)
    owed.commit()
    assert counted(facts.kept) == counted(told)


def test_settled_is_the_beginning_of_the_oldest(owed, facts):
    assert owed.settled_ms(9000) == 9000
    owed.owe([ConnectionTime("u", 3000, 7000), MessagesRecovered("r", "u", 1, 2000), A])
    assert owed.settled_ms(9000) == 2000
    owed.commit()
    assert owed.settled_ms(9000) == 9000
