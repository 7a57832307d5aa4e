"""The conference over time: what is metered, what dies with its transport, how it ends."""

from itertools import pairwise

import pytest

from sfu import conference
from sfu.conference import CHECKPOINT_S, TRANSPORT_GRACE_S
from sfu.errors import Refused
from sfu.facts import MediaBytes, ParticipantInterval
from sfu.ice import CONSENT_S
from tests.sfu.memory_peer import Network
from tests.sfu.world import CAMERA, MICROPHONE, ROOM, Person, World

VGA = 640 * 480


@pytest.fixture
def world(network: Network) -> World:
    return World(network)


async def call(world: World) -> tuple[Person, Person]:
    """Let a host publish to a visitor."""
    host, visitor = world.person("host"), world.person("visitor")
    host.join()
    visitor.join()
    await host.publish_and_connect([MICROPHONE, CAMERA])
    await visitor.answer_and_connect()
    return host, visitor


def intervals(world: World, person: Person) -> list[ParticipantInterval]:
    return [
        fact
        for fact in world.facts.kept
        if isinstance(fact, ParticipantInterval) and fact.participant == person.participant
    ]


def octets(world: World, person: Person) -> tuple[int, int]:
    facts = [
        fact
        for fact in world.facts.kept
        if isinstance(fact, MediaBytes) and fact.participant == person.participant
    ]
    return sum(f.ingress_bytes for f in facts), sum(f.egress_bytes for f in facts)


# Metering


async def test_voice_is_metered_from_joining_to_leaving(world: World) -> None:
    visitor = world.person("visitor")
    began = world.clock.wall_ms()
    visitor.join()
    world.advance(10)
    visitor.frame("leave")
    told = intervals(world, visitor)
    assert told[0].start_ms == began
    assert told[-1].end_ms == began + 10_000
    assert {(t.room, t.user, t.pixels) for t in told} == {(ROOM, "u-visitor", 0)}
    assert max(t.end_ms - t.start_ms for t in told) <= 5000
    assert all(a.end_ms == b.start_ms for a, b in pairwise(told))


async def test_video_is_metered_by_the_pixels_that_are_forwarded(world: World) -> None:
    host, visitor = await call(world)
    for sequence in range(40):
        host.show(sequence, key=sequence == 0)
        world.advance(0.25, host.up, visitor.down)
    world.advance(5, host.up, visitor.down)
    visitor.frame("leave")
    host.frame("leave")
    seconds: dict[int, int] = {}
    for told in intervals(world, visitor):
        seconds[told.pixels] = seconds.get(told.pixels, 0) + told.end_ms - told.start_ms
    assert seconds == {VGA: 11_750, 0: 3_250}
    assert {told.pixels for told in intervals(world, host)} == {0}


async def test_a_muted_camera_is_metered_as_voice(world: World) -> None:
    host, visitor = await call(world)
    host.show(1, key=True)
    world.advance(1, host.up, visitor.down)
    host.frame("mute", track=host.tracks["1"], muted=True)
    world.advance(1, host.up, visitor.down)
    visitor.frame("leave")
    assert [t.pixels for t in intervals(world, visitor)] == [0, VGA, 0]


async def test_bytes_are_metered_for_both_sides(world: World) -> None:
    host, visitor = await call(world)
    host.show(1, key=True)
    host.speak(1)
    world.advance(CHECKPOINT_S + 1, host.up, visitor.down)
    host.speak(2)
    received = sum(len(packet) for packet in visitor.down.rtp)
    visitor.frame("leave")
    host.frame("leave")
    sent, nothing = octets(world, host)
    assert (sent > 200, nothing) == (True, 0)
    assert octets(world, visitor) == (0, received)


async def test_facts_are_committed_before_leaving_is_answered(world: World) -> None:
    visitor = world.person("visitor")
    visitor.join()
    world.clock.advance(1)
    request = {"t": "media.leave", "room": ROOM}
    world.signaling.receive_request(
        world.hub,
        {
            "op": "frame",
            "session": visitor.session,
            "user": "u-visitor",
            "name": "visitor",
            "room": ROOM,
            "may_publish": True,
            "frame": request,
        },
    )
    assert [t.end_ms - t.start_ms for t in intervals(world, visitor)] == [1000]


async def test_refused_facts_are_offered_again(world: World) -> None:
    visitor = world.person("visitor")
    visitor.join()
    world.facts.full = True
    world.advance(9)
    visitor.frame("leave")
    assert world.facts.kept == []
    assert world.conference.counters()["facts_pending"] == 4  # two of them told, not counted
    world.facts.full = False
    world.advance(CHECKPOINT_S)
    assert [t.end_ms - t.start_ms for t in intervals(world, visitor)] == [9000]


async def test_people_who_came_together_are_checkpointed_in_turns(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their facts were kept all at once: 60 ms without media for 2,000 people."""
    monkeypatch.setattr(conference, "CHECKPOINTS_AT_ONCE", 1)
    for number in range(8):
        world.person(str(number)).join()
    world.advance(CHECKPOINT_S - 0.25)
    kept = []
    for _ in range(20):
        world.advance(0.25)
        kept.append(len(world.facts.kept))
        world.facts.kept.clear()
    assert kept == [2, 2, 2, 2, *[0] * 12, 2, 2, 2, 2]


async def test_what_is_settled_follows_the_checkpoints(world: World) -> None:
    settled_ms, wall_ms = world.conference.settled_ms, world.clock.wall_ms
    visitor = world.person("visitor")
    visitor.join()
    began = wall_ms()
    world.advance(CHECKPOINT_S - 0.25)
    assert settled_ms(wall_ms()) == began
    world.advance(0.5)
    checkpoint = wall_ms() - 250
    assert settled_ms(wall_ms()) == checkpoint
    world.facts.full = True
    visitor.frame("leave")
    assert settled_ms(wall_ms()) == checkpoint
    world.facts.full = False
    world.advance(CHECKPOINT_S)
    assert settled_ms(wall_ms()) == wall_ms()


# Transports die and revive


async def test_a_publisher_without_consent_is_hidden_and_shown_again_when_it_returns(
    world: World,
) -> None:
    host, visitor = await call(world)
    world.advance(CONSENT_S + 0.5, visitor.down)
    assert [f["event"] for f in visitor.pushed("track")] == ["added", "added", "removed", "removed"]
    visitor.answer()
    host.up.check(host.connection("publishing").transport.credentials)
    world.deliver()
    assert [f["event"] for f in visitor.pushed("track")][-2:] == ["added", "added"]
    assert visitor.pushed("track")[-1]["track"]["track"] == host.tracks["1"]
    visitor.answer()
    host.speak(1)
    assert len(visitor.down.rtp) == 1


async def test_a_publisher_that_stays_away_is_told_to_join_again(world: World) -> None:
    host, visitor = await call(world)
    world.advance(CONSENT_S + TRANSPORT_GRACE_S + 1, visitor.down)
    assert list(world.conference.participants) == [visitor.participant]
    assert host.pushed("closed")[-1]["reason"] == "transport_lost"
    with pytest.raises(Refused, match="not_in_media"):
        host.frame("subscribe", auto=True)
    gone = host.participant
    assert host.join()["participant"] != gone


async def test_a_subscriber_that_returns_gets_fresh_ssrcs(world: World) -> None:
    """Numbers must not start over under the same keys and SSRC."""
    host, visitor = await call(world)
    host.speak(1)
    before = {slot.ssrc for slot in visitor.connection("subscribing").slots}
    world.advance(CONSENT_S + 0.5, host.up)
    host.speak(2)
    assert len(visitor.down.rtp) == 1
    visitor.down.check(visitor.connection("subscribing").transport.credentials)
    world.deliver()
    visitor.answer()
    host.speak(3)
    assert len(visitor.down.rtp) == 2
    after = {slot.ssrc for slot in visitor.connection("subscribing").slots}
    assert before.isdisjoint(after)


async def test_goodbye_on_the_publishing_connection_ends_its_tracks(world: World) -> None:
    host, visitor = await call(world)
    await host.up.close()
    world.deliver()
    assert [f["event"] for f in visitor.pushed("track")][-2:] == ["removed", "removed"]
    assert host.participant in world.conference.participants
    world.advance(TRANSPORT_GRACE_S - 1, visitor.down)
    host.up = world.network.peer()
    await host.publish_and_connect([MICROPHONE])
    world.advance(TRANSPORT_GRACE_S, host.up, visitor.down)
    assert host.participant in world.conference.participants


async def test_a_new_receiving_peer_connection_is_offered_everything(world: World) -> None:
    host, visitor = await call(world)
    await visitor.down.close()
    world.deliver()
    offers = len(visitor.pushed("offer"))
    visitor.down = world.network.peer()
    visitor.frame("restart")
    assert len(visitor.pushed("offer")) == offers + 1
    await visitor.answer_and_connect()
    host.speak(1)
    assert len(visitor.down.rtp) == 1


async def test_a_reloaded_page_that_answers_with_another_certificate_hears_again(
    world: World,
) -> None:
    host, visitor = await call(world)
    visitor.down = world.network.peer()
    visitor.join(resume=visitor.resume)
    visitor.frame("restart")
    await visitor.answer_and_connect()
    host.speak(1)
    assert len(visitor.down.rtp) == 1


async def test_somebody_who_only_listens_to_an_empty_room_may_stay(world: World) -> None:
    visitor = world.person("visitor")
    visitor.join()
    world.advance(120)
    assert visitor.participant in world.conference.participants


# Limits and the end


async def test_participants_are_limited(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conference, "PARTICIPANTS_LIMIT", 1)
    world.person("host").join()
    with pytest.raises(Refused, match="too_many_participants"):
        world.person("visitor").join()


async def test_draining_ends_everybody_and_admits_nobody(world: World) -> None:
    host, visitor = await call(world)
    world.clock.advance(2)
    world.conference.drain()
    world.deliver()
    assert [p.pushed("closed")[-1]["reason"] for p in (host, visitor)] == ["draining"] * 2
    assert intervals(world, host)[-1].end_ms == world.clock.wall_ms()
    assert len(world.network.transports) == 0
    with pytest.raises(Refused, match="media_unavailable"):
        visitor.join()


async def test_wake_is_called_when_there_is_something_to_send(world: World) -> None:
    woken: list[bool] = []
    world.conference.wake = lambda: woken.append(True)
    world.person("host").join()
    assert woken


async def test_the_offers_of_a_crowd_are_made_in_turns(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody who left a full room held all media up while everybody's offer was written."""
    monkeypatch.setattr(conference, "LINES_AT_ONCE", 4)
    people = [world.person(str(n)) for n in range(5)]
    for person in people:
        person.join()
    people[0].publish([MICROPHONE, CAMERA])
    for person in people[1:]:
        person.answer()
    world.conference.leave(world.conference.participants[people[0].participant])
    turns = []
    while events := world.conference.drain_events():
        turns.append(sum(e["frame"]["t"] == "media.offer" for _, e in events))
    assert turns == [2, 2]
