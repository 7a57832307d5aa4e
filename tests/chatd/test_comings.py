import pytest

from chatd.errors import FactsRefused
from chatd.facts import Attended


@pytest.fixture
def wanted():
    return [True]


@pytest.fixture
def house(build, wanted):
    return build(comings_wanted=lambda: wanted[0])


def told(house):
    return [(fact.room, fact.user, fact.here) for fact in house.kept(Attended)]


def test_the_first_connection_comes_and_the_last_one_goes(house):
    first, second = house.visitor("eve", "hall"), house.visitor("eve", "hall")
    assert told(house) == [("", "eve", True), ("hall", "eve", True)]
    house.hub.disconnected(first.client)
    assert len(told(house)) == 2
    second.ask(t="leave", room="hall")
    assert told(house)[2:] == [("hall", "eve", False)]
    house.hub.disconnected(second.client)
    assert told(house)[3:] == [("", "eve", False)]
    assert house.hub.comings.present() == []
    assert len({fact.id for fact in house.kept(Attended)}) == 4


def test_who_comes_without_a_connection_is_told_as_well(house):
    attendance = house.hub.attach("hall", "wall", "Wall")
    attendance.detach()
    assert told(house) == [("hall", "wall", True), ("hall", "wall", False)]


def test_what_nobody_wants_is_not_told_nor_is_its_end(house, wanted):
    wanted[0] = False
    eve = house.visitor("eve", "hall")
    wanted[0] = True
    house.hub.disconnected(eve.client)
    assert told(house) == []
    house.visitor("ann")
    assert told(house) == [("", "ann", True)]


def test_a_refused_fact_is_told_later(house):
    house.facts.refusal = FactsRefused("full")
    house.visitor("eve")
    house.facts.refusal = None
    house.elapse(2)
    house.hub.tick()
    assert told(house) == [("", "eve", True)]
