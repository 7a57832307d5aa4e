"""How media is doing, as operators are told: figures of the streams, and few classes of them."""

import pytest

from sfu import rtcp
from sfu.diagnostics import path_kind
from sfu.ice import Path
from tests.sfu.memory_peer import Network
from tests.sfu.world import CAMERA, MICROPHONE, World


@pytest.fixture
def world(network: Network) -> World:
    return World(network)


async def test_a_room_is_told_with_connections_tracks_and_subscriptions(world: World) -> None:
    host, visitor = world.person("host"), world.person("visitor")
    host.join()
    await host.publish_and_connect([MICROPHONE, CAMERA])
    visitor.join()
    await visitor.answer_and_connect()
    world.ask("diagnose")
    for number in range(50):
        world.clock.advance(0.02)
        host.speak(number)
    world.clock.advance(1)
    host.show(0, key=True)
    (room,) = world.ask("diagnose", room="room")["rooms"]
    sender, receiver = room["participants"]
    assert sender["publishing"]["state"] == "connected"
    assert sender["publishing"]["path"] == "udp4"
    assert sender["receiving"] is None
    voice, picture = sender["tracks"]
    assert (voice["codec"], voice["packets"], voice["silent_s"]) == ("opus", 50, 1)
    assert voice["bitrate_bps"] == voice["ingress_bytes"] * 8 / 2
    assert voice["fraction_lost"] == 0
    assert (picture["codec"], picture["width"], picture["height"]) == ("VP8", 640, 480)
    assert receiver["receiving"]["state"] == "connected"
    heard, seen = receiver["subscriptions"]
    assert (heard["user"], heard["kind"], heard["packets"]) == ("u-host", "audio", 50)
    assert (seen["source"], seen["width"], seen["rtt_s"]) == ("camera", 640, None)
    assert world.ask("diagnose", room="elsewhere") == {"rooms": []}


async def test_what_receivers_ask_for_is_counted_by_stream(world: World) -> None:
    host, visitor = world.person("host"), world.person("visitor")
    host.join()
    await host.publish_and_connect([MICROPHONE])
    visitor.join()
    await visitor.answer_and_connect()
    for number in range(10):
        host.speak(number)
    (subscription,) = visitor.connection("subscribing").subscriptions
    subscriber = visitor.connection("subscribing").subscriber
    subscriber.receive_rtcp(rtcp.nack(1, subscription.ssrc, [7, 9]), world.clock())
    subscriber.receive_rtcp(rtcp.picture_loss(1, subscription.ssrc), world.clock())
    (room,) = world.ask("diagnose")["rooms"]
    (heard,) = room["participants"][1]["subscriptions"]
    assert (heard["nacked"], heard["repeated"], heard["key_frames_asked"]) == (2, 0, 1)


async def test_streams_are_counted_in_few_classes(world: World) -> None:
    host, visitor = world.person("host"), world.person("visitor")
    host.join()
    await host.publish_and_connect([MICROPHONE])
    visitor.join()
    await visitor.answer_and_connect()
    host.speak(1)
    (subscription,) = visitor.connection("subscribing").subscriptions
    subscription.receive_report(fraction=15, lost=3, jitter=9, last=0, delay=0, now=world.clock())
    stats = world.ask("stats")
    assert stats["subscriptions_by_loss"] == {
        "0": 0, "1": 0, "2": 0, "5": 0, "10": 1, "over": 0,
    }  # fmt: skip
    assert sum(stats["subscriptions_by_rtt"].values()) == 0
    assert stats["tracks_by_codec"] == {"opus": 1}
    assert stats["connections_by_path"] == {"udp4": 2}


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        (Path(3, ("192.0.2.1", 5)), "udp4"),
        (Path(3, ("2001:db8::1", 5, 0, 0)), "udp6"),
        (Path(-1, ("192.0.2.1", 5)), "tcp4"),
        (Path(-9, ("::ffff:192.0.2.1", 5, 0, 0)), "tcp4"),
    ],
)
def test_a_path_is_named_by_protocol_and_family(path: Path, kind: str) -> None:
    assert path_kind(path) == kind


async def test_streams_nobody_looks_at_are_forgotten(world: World) -> None:
    host = world.person("host")
    host.join()
    await host.publish_and_connect([MICROPHONE])
    world.ask("diagnose")
    assert world.conference._diagnostics._rates
    host.frame("leave")
    world.clock.advance(60)
    world.ask("diagnose")
    assert not world.conference._diagnostics._rates
