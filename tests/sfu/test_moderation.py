"""What moderation asks of an SFU: people silenced and sent out, whatever they came by."""

from typing import Any

import pytest

from sfu.errors import Refused
from tests.sfu.memory_peer import Network
from tests.sfu.offers import offer
from tests.sfu.world import CAMERA, MICROPHONE, ROOM, World


@pytest.fixture
def world(network: Network) -> World:
    return World(network)


def muted(world: World, user: str) -> dict[str, bool]:
    tracks = world.conference.rooms[ROOM].tracks.values()
    return {track.media.source: track.media.muted for track in tracks if track.owner.user == user}


def silence(world: World, user: str, *kinds: str) -> dict[str, Any]:
    return world.ask("silence", room=ROOM, user=user, kinds=list(kinds))


async def test_what_is_silenced_is_not_forwarded_and_cannot_be_unmuted(world: World) -> None:
    host, visitor = world.person("host"), world.person("visitor")
    host.join()
    visitor.join()
    host.publish([MICROPHONE, CAMERA])
    assert silence(world, "u-host", "audio") == {"participants": 1}
    assert muted(world, "u-host") == {"microphone": True, "camera": False}
    assert host.pushed("silenced") == [{"t": "media.silenced", "room": ROOM, "kinds": ["audio"]}]
    assert [f["event"] for f in visitor.pushed("track")] == ["added", "added", "muted"]
    with pytest.raises(Refused, match=r"^silenced:"):
        host.frame("mute", track=host.tracks["0"], muted=False, silenced=["audio"])
    assert muted(world, "u-host")["microphone"]


async def test_who_may_speak_again_unmutes_themselves(world: World) -> None:
    host = world.person("host")
    host.join()
    host.publish([MICROPHONE])
    silence(world, "u-host", "audio")
    silence(world, "u-host")
    assert muted(world, "u-host")["microphone"]
    assert host.frame("mute", track=host.tracks["0"], muted=False)["muted"] is False
    assert [frame["kinds"] for frame in host.pushed("silenced")] == [["audio"], []]


async def test_what_is_published_while_silenced_is_muted_from_the_start(world: World) -> None:
    host = world.person("host")
    host.join(silenced=["audio", "video"])
    host.publish([MICROPHONE, CAMERA], silenced=["audio", "video"])
    assert muted(world, "u-host") == {"microphone": True, "camera": True}
    sdp = offer(world.network.peer(), [MICROPHONE])
    world.ask("whip", room=ROOM, user="u-wall", name="wall", sdp=sdp, silenced=["audio"])
    assert muted(world, "u-wall") == {"microphone": True}


async def test_who_is_expelled_is_out_whatever_they_came_by(world: World) -> None:
    host, visitor = world.person("host"), world.person("visitor")
    host.join()
    visitor.join()
    sdp = offer(world.network.peer(), [MICROPHONE])
    session = world.ask("whip", room=ROOM, user="u-host", name="host", sdp=sdp)
    assert world.ask("expel", room=ROOM, user="u-host", reason="removed") == {"participants": 2}
    assert host.pushed("closed") == [{"t": "media.closed", "room": ROOM, "reason": "removed"}]
    ended = [event for event in world.hub.events if event["event"] == "ended"]
    assert [event["participant"] for event in ended] == [session["participant"]]
    assert [member.user for member in world.conference.rooms[ROOM].members.values()] == [
        "u-visitor"
    ]
    assert world.ask("expel", room=ROOM, user="u-host", reason="removed") == {"participants": 0}
    assert world.ask("expel", room="nowhere", user="u-host", reason="x") == {"participants": 0}
    assert host.join()["t"] == "media.joined"
