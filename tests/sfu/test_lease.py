"""Hubs vouch for their people: an SFU that hears nothing of them meters nobody for sure."""

import pytest

from sfu.conference import LEASE_S, LINK_GRACE_S
from sfu.facts import ParticipantInterval
from tests.sfu.memory_peer import Network
from tests.sfu.world import ROOM, Hub, Person, World


@pytest.fixture
def world(network: Network) -> World:
    return World(network)


@pytest.fixture
def visitor(world: World) -> Person:
    """Somebody whose hub has begun to look after them."""
    visitor = world.person("visitor")
    world.ask("sessions", sessions=[visitor.session])
    assert not world.ask("load")["claim"]
    visitor.join()
    return visitor


def seconds(world: World) -> float:
    kept = [fact for fact in world.facts.kept if isinstance(fact, ParticipantInterval)]
    return sum(fact.end_ms - fact.start_ms for fact in kept) / 1000


def test_a_hub_that_looks_each_second_has_its_people_metered(world: World, visitor: Person) -> None:
    for _ in range(30):
        world.advance(1)
        assert not world.ask("load")["claim"]
    visitor.frame("leave")
    assert seconds(world) == 30


def test_a_partition_is_metered_on_one_side_only(world: World, visitor: Person) -> None:
    """The hub sends its people elsewhere; here they stay until grace ends, uncounted."""
    world.advance(1)
    world.ask("load")
    world.advance(LINK_GRACE_S + LEASE_S + 1)
    assert world.conference.participants == {}
    assert seconds(world) == 1 + LEASE_S


def test_a_process_that_stood_still_counts_nothing_of_it(world: World, visitor: Person) -> None:
    """What waits in the socket is older than it looks: it vouches for nobody."""
    world.advance(1)
    world.ask("load")
    world.clock.advance(60)
    assert world.ask("load")["claim"]
    world.conference.handle_timeout()
    again = Hub()
    world.ask("frame", hub=again, **leave(visitor))
    assert world.ask("sessions", hub=again, sessions=[visitor.session])["known"] == []
    assert seconds(world) == 1 + LEASE_S


def test_words_that_waited_while_it_stood_still_vouch_for_nobody(
    world: World, visitor: Person
) -> None:
    """The hub connected again and gave up; what it said is read when it is long untrue."""
    world.advance(1)
    world.ask("load")
    world.clock.advance(60)
    world.ask("load")
    stale, again = Hub(), Hub()
    assert world.ask("sessions", hub=stale, sessions=[visitor.session])["known"]
    world.signaling.link_lost(world.hub)
    world.signaling.link_lost(stale)
    world.ask("frame", hub=again, **leave(visitor))
    assert seconds(world) == 1 + LEASE_S


def leave(visitor: Person) -> dict[str, object]:
    return {
        "session": visitor.session,
        "user": f"u-{visitor.name}",
        "name": visitor.name,
        "room": ROOM,
        "may_publish": True,
        "may_enter": True,
        "silenced": [],
        "frame": {"t": "media.leave", "room": ROOM},
    }


def test_who_is_claimed_again_was_there_all_the_time(world: World, visitor: Person) -> None:
    """The hub restarted, or stood still itself: nobody else metered them."""
    world.advance(1)
    world.ask("load")
    world.signaling.link_lost(world.hub)
    world.advance(10)
    assert seconds(world) <= 1 + LEASE_S
    again = visitor.hub = Hub()
    assert world.ask("sessions", hub=again, sessions=[visitor.session])["known"] == ["s-visitor"]
    world.ask("load", hub=again)
    visitor.frame("leave")
    assert seconds(world) == 11


def test_who_resumes_was_there_all_the_time(world: World, visitor: Person) -> None:
    world.advance(1)
    world.ask("load")
    world.signaling.link_lost(world.hub)
    world.advance(10)
    visitor.session, visitor.hub = "s-later", Hub()
    world.ask("sessions", hub=visitor.hub, sessions=[visitor.session])
    visitor.join(resume=visitor.resume)
    world.ask("load", hub=visitor.hub)
    world.advance(2)
    visitor.frame("leave")
    assert seconds(world) == 13


def test_a_hub_that_was_silent_is_asked_whom_it_has(world: World, visitor: Person) -> None:
    world.advance(5)
    assert world.ask("load")["claim"]
    assert world.ask("load")["claim"]
    world.ask("sessions", sessions=[visitor.session])
    assert not world.ask("load")["claim"]
    visitor.frame("leave")
    assert seconds(world) == 5
