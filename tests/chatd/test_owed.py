import pytest

from chatd.counters import Counters
from chatd.errors import FactsRefused
from chatd.facts import MemoryFacts, RoomOpened
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
