"""People who move to another SFU: seconds end where they go on, media does not."""

import pytest

from sfu.conference import HAND_OVER_S
from sfu.errors import Refused
from sfu.facts import MediaBytes, ParticipantInterval
from tests.sfu.memory_peer import Network
from tests.sfu.offers import offer
from tests.sfu.world import MICROPHONE, ROOM, Hub, Person, World


@pytest.fixture
def world(network: Network) -> World:
    return World(network)


def seconds(world: World, person: Person) -> float:
    return sum(
        (fact.end_ms - fact.start_ms) / 1000
        for fact in world.facts.kept
        if isinstance(fact, ParticipantInterval) and fact.participant == person.participant
    )


async def test_what_was_handed_over_is_metered_elsewhere_and_still_carries(world: World) -> None:
    host, visitor = world.person("host"), world.person("visitor")
    host.join()
    await host.publish_and_connect([MICROPHONE])
    visitor.join()
    await visitor.answer_and_connect()
    world.advance(3, host.up, visitor.down)
    answered = world.ask("hand_over", session=visitor.session, room=ROOM)
    assert answered == {"participant": visitor.participant}
    heard = len(visitor.down.rtp)
    for number in range(20):
        world.advance(0.25, host.up, visitor.down)
        host.speak(number)
    assert len(visitor.down.rtp) - heard == 20
    assert visitor.frame("release")["t"] == "media.released"
    assert seconds(world, visitor) == 3
    sent = [f for f in world.facts.kept if isinstance(f, MediaBytes)]
    assert sum(f.egress_bytes for f in sent if f.participant == visitor.participant) > 0
    host.frame("leave")
    assert seconds(world, host) == 8
    intervals = [f for f in world.facts.kept if isinstance(f, ParticipantInterval)]
    assert all(fact.start_ms < fact.end_ms for fact in intervals)


async def test_figures_are_settled_beside_somebody_who_is_leaving(world: World) -> None:
    """What was handed over tells no more seconds; it must not hold back what is complete."""
    visitor = world.person("visitor")
    visitor.join()
    world.ask("hand_over", session=visitor.session, room=ROOM)
    world.advance(8)
    now_ms = world.clock.wall_ms()
    assert now_ms - world.conference.settled_ms(now_ms) <= 5000


async def test_the_place_ends_by_itself_when_nobody_releases_it(world: World) -> None:
    visitor = world.person("visitor")
    visitor.join()
    world.ask("hand_over", session=visitor.session, room=ROOM)
    world.advance(HAND_OVER_S + 1)
    assert world.conference.participants == {}
    assert seconds(world, visitor) == 0


async def test_who_is_refused_elsewhere_is_taken_back(world: World) -> None:
    visitor = world.person("visitor")
    visitor.join()
    world.advance(2)
    world.ask("hand_over", session=visitor.session, room=ROOM)
    world.advance(1)
    before = visitor.participant
    assert visitor.join()["participant"] == before
    world.advance(20)
    visitor.frame("leave")
    assert seconds(world, visitor) == 22


async def test_a_hub_that_comes_back_does_not_claim_who_was_handed_over(world: World) -> None:
    visitor = world.person("visitor")
    visitor.join()
    world.ask("hand_over", session=visitor.session, room=ROOM)
    world.ask("sessions", sessions=[visitor.session])
    world.advance(HAND_OVER_S + 1)
    assert world.conference.participants == {}


async def test_nobody_is_handed_over_who_is_not_here(world: World) -> None:
    assert world.ask("hand_over", session="s-nobody", room=ROOM) == {"participant": None}


async def test_a_draining_sfu_tells_every_hub_and_admits_nobody(world: World) -> None:
    other = Hub()
    world.ask("load", hub=other)
    visitor, late = world.person("visitor"), world.person("late")
    visitor.join()
    assert world.ask("drain") == {"participants": 1}
    assert {"event": "draining"} in world.hub.events
    assert {"event": "draining"} in other.events
    with pytest.raises(Refused, match="media_unavailable"):
        late.join()
    assert world.ask("load") == {
        "participants": 1, "rooms": [ROOM], "packets": 0, "draining": True, "hubs": 0,
        "claim": False,
    }  # fmt: skip
    world.ask("admit")
    late.join()
    world.ask("sessions", sessions=[], hub=other)
    assert world.ask("load")["hubs"] == 1
    world.signaling.link_lost(other)
    assert world.ask("load")["hubs"] == 0


async def test_an_operator_can_have_it_end_after_the_drain(world: World) -> None:
    asked: list[bool] = []
    world.signaling.stop = lambda: asked.append(True)
    world.ask("drain")
    assert asked == []
    world.ask("drain", stop=True)
    assert asked == [True]


async def test_a_room_that_cannot_move_is_ended(world: World) -> None:
    visitor = world.person("visitor")
    visitor.join()
    world.ask("end_room", room=ROOM)
    assert visitor.pushed("closed")[-1]["reason"] == "draining"
    assert world.conference.rooms == {}
    world.ask("end_room", room=ROOM)


async def test_whip_sessions_end_once_the_people_of_their_room_have_moved(world: World) -> None:
    """They cannot be moved; their client finds the room's new place when it comes back."""
    visitor = world.person("visitor")
    visitor.join()
    sdp = offer(world.network.peer(), [MICROPHONE])
    whip = world.ask("whip", room=ROOM, user="u-cam", name="cam", sdp=sdp)
    world.ask("drain")
    world.advance(1)
    assert whip["participant"] in world.conference.participants
    world.ask("hand_over", session=visitor.session, room=ROOM)
    visitor.frame("release")
    world.advance(0.5)
    assert world.conference.participants == {}
    [ended] = [e for e in world.hub.events if e["event"] == "ended"]
    assert ended["participant"] == whip["participant"]
