"""The whole SFU over loopback: aiortc peers, a control socket, facts, and hostile datagrams."""

import asyncio
import random
import socket
from collections.abc import AsyncIterator
from os import urandom
from pathlib import Path

import pytest

from sfu.control import ControlClient, ControlError, Map
from sfu.facts import MediaBytes, MemoryFacts, ParticipantInterval
from sfu.server import SfuServer
from tests.sfu.real_peers import ROOM, ChatClient, Encoder, Player, by_kind, hears, sees

# Two cores decode and encode here besides; what takes longer than this does not come.
PATIENCE_S = 30


class Running:
    """A server and a hub connected to it."""

    def __init__(self, directory: Path) -> None:
        self.facts = MemoryFacts()
        path = str(directory / "sfu.sock")
        self.server = SfuServer(None, 0, [], path, self.facts)
        self.control = ControlClient(path, on_event=self._receive)
        self.clients: dict[str, ChatClient] = {}
        self.ended: asyncio.Queue[Map] = asyncio.Queue()

    def _receive(self, event: Map) -> None:
        if event["event"] == "frame":
            self.clients[event["session"]].frames.put_nowait(event["frame"])
        else:
            self.ended.put_nowait(event)

    def client(self, name: str) -> ChatClient:
        self.clients[f"s-{name}"] = ChatClient(self.control, name)
        return self.clients[f"s-{name}"]

    def intervals(self, user: str) -> list[ParticipantInterval]:
        return [
            fact
            for fact in self.facts.kept
            if isinstance(fact, ParticipantInterval) and fact.user == user
        ]


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Running]:
    running = Running(tmp_path)
    await running.server.start()
    await running.control.start()
    await running.control.wait_connected()
    async with asyncio.timeout(PATIENCE_S):
        yield running
    await running.control.close()
    await running.server.drain(1)


async def test_a_player_sees_and_hears_what_an_encoder_publishes(running: Running) -> None:
    encoder, player = Encoder(running.control), Player(running.control)
    await encoder.start()
    await player.start("u-encoder")
    (audio,), (video,) = by_kind(player.pc, "audio"), by_kind(player.pc, "video")
    # Long enough for the metering, which looks four times a second.
    await asyncio.gather(hears(audio), sees(video, 25))
    await running.control.request({"op": "delete", "participant": player.created["participant"]})
    await running.control.request({"op": "delete", "participant": encoder.created["participant"]})
    assert {(await running.ended.get())["user"] for _ in range(2)} == {"u-encoder", "u-player"}
    await player.pc.close()
    await encoder.pc.close()
    assert max(fact.pixels for fact in running.intervals("u-player")) == 640 * 480
    assert {fact.pixels for fact in running.intervals("u-encoder")} == {0}
    octets = [fact for fact in running.facts.kept if isinstance(fact, MediaBytes)]
    assert sum(fact.ingress_bytes for fact in octets) > 0
    assert sum(fact.egress_bytes for fact in octets) > 0


async def test_a_player_sees_and_hears_everybody(running: Running) -> None:
    encoders = [Encoder(running.control, f"u-{n}") for n in range(2)]
    for encoder in encoders:
        await encoder.start()
    player = Player(running.control)
    await player.start(places=3)
    audio, video = by_kind(player.pc, "audio"), by_kind(player.pc, "video")
    assert [t.currentDirection for t in audio] == ["recvonly", "recvonly", "inactive"]
    await asyncio.gather(*(hears(t) for t in audio[:2]), *(sees(t) for t in video[:2]))
    await asyncio.gather(player.pc.close(), *(encoder.pc.close() for encoder in encoders))


async def test_a_peer_that_closes_leaves(running: Running) -> None:
    encoder, player = Encoder(running.control), Player(running.control)
    await encoder.start(video=False)
    await player.start()
    await hears(by_kind(player.pc, "audio")[0])
    await player.pc.close()
    assert (await running.ended.get())["participant"] == player.created["participant"]
    await encoder.pc.close()
    assert (await running.ended.get())["participant"] == encoder.created["participant"]
    counters = running.server.counters()
    assert (counters["participants"], counters["transports"]) == (0, 0)


async def test_people_in_a_room_hear_each_other_and_an_encoder(running: Running) -> None:
    host, visitor = running.client("host"), running.client("visitor")
    await host.frame("join")
    await visitor.frame("join")
    await host.publish()
    await visitor.publish()
    await asyncio.gather(host.answer(), visitor.answer())
    await asyncio.gather(
        hears(by_kind(host.down, "audio")[0]), hears(by_kind(visitor.down, "audio")[0])
    )
    encoder = Encoder(running.control)
    await encoder.start()
    await asyncio.gather(host.answer(), visitor.answer())
    await asyncio.gather(
        *(hears(client.down.getTransceivers()[1]) for client in (host, visitor)),
        *(sees(client.down.getTransceivers()[2]) for client in (host, visitor)),
    )
    counters = await running.control.request({"op": "stats"})
    assert (counters["rooms"], counters["participants"], counters["tracks"]) == (1, 3, 4)
    assert counters["packets_forwarded"] > counters["packets_in"]
    await encoder.pc.close()
    offer = await visitor.answer()
    assert [track["user"] for track in offer["tracks"]] == ["u-host"]
    await asyncio.gather(host.close(), visitor.close())


async def test_mute_silences_and_unmute_resumes(running: Running) -> None:
    host, visitor = running.client("host"), running.client("visitor")
    await host.frame("join")
    await visitor.frame("join")
    published = await host.publish()
    await visitor.answer()
    (audio,) = by_kind(visitor.down, "audio")
    await hears(audio)
    track = published["tracks"][0]["track"]
    await host.frame("mute", track=track, muted=True)
    before = running.server.counters()
    while running.server.counters()["dropped"].get("muted", 0) < 10:  # noqa: ASYNC110
        await asyncio.sleep(0.01)  # packets come in their own time
    assert running.server.counters()["packets_forwarded"] == before["packets_forwarded"]
    await host.frame("mute", track=track, muted=False)
    await hears(audio)
    assert (await visitor.next("track"))["event"] == "muted"
    assert (await visitor.next("track"))["event"] == "unmuted"
    await asyncio.gather(host.close(), visitor.close())


async def test_hostile_datagrams_disturb_nobody(running: Running) -> None:
    encoder, player = Encoder(running.control), Player(running.control)
    await encoder.start(video=False)
    await player.start()
    (audio,) = by_kind(player.pc, "audio")
    await hears(audio)
    seed = random.Random(4)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as attacker:
        address = ("127.0.0.1", running.server.media_port)
        for datagram in (
            b"",
            b"\x00",
            b"\x00\x01\x00\x08" + urandom(16),
            b"\x16\xfe\xfd\x00",
            b"\x80\x60\x00\x01",
            b"\x80\xc8\x00\x06",
            b"GET / HTTP/1.1\r\n\r\n",
            bytes(9000),
            *(seed.randbytes(seed.randrange(1500)) for _ in range(500)),
        ):
            attacker.sendto(datagram, address)
        await hears(audio)
        attacker.setblocking(False)
        with pytest.raises(BlockingIOError):
            attacker.recvfrom(2048)
    dropped = running.server.counters()["dropped"]
    assert dropped["stun_malformed"] >= 2
    assert dropped["unknown_address"] >= 400
    assert "internal_error" not in dropped
    await asyncio.gather(player.pc.close(), encoder.pc.close())


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        ({"op": "explode"}, "unknown_op"),
        ({"op": "whip", "room": ROOM}, "bad_op"),
        ({"op": "whip", "room": ROOM, "user": "u", "name": "n", "sdp": "no"}, "bad_sdp"),
        ({"op": "delete", "participant": "nobody"}, "no_such_participant"),
    ],
)
async def test_refusals_reach_the_hub(running: Running, request_: Map, reason: str) -> None:
    with pytest.raises(ControlError) as error:
        await running.control.request(request_)
    assert error.value.reason == reason


async def test_draining_tells_everybody(running: Running) -> None:
    visitor = running.client("visitor")
    await visitor.frame("join")
    await running.server.drain(1)
    assert (await visitor.next("closed"))["reason"] == "draining"


async def test_a_taken_port_is_an_os_error(running: Running, tmp_path: Path) -> None:
    port = running.server.media_port
    second = SfuServer("127.0.0.1", port, [], str(tmp_path / "second.sock"), MemoryFacts())
    with pytest.raises(OSError, match=f"UDP port {port}"):
        await second.start()


async def test_a_control_socket_that_cannot_be_made_frees_the_port(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.touch()
    server = SfuServer("127.0.0.1", 0, [], str(blocked / "sfu.sock"), MemoryFacts())
    with pytest.raises(OSError):  # noqa: PT011 - the system's words
        await server.start()


async def test_advertised_addresses_replace_the_bound_ones(tmp_path: Path) -> None:
    server = SfuServer(
        "127.0.0.1", 0, ["203.0.113.5:7000", "203.0.113.6"], str(tmp_path / "s"), MemoryFacts()
    )
    await server.start()
    candidates = server.conference.candidates
    assert [tuple(c) for c in candidates] == [
        ("203.0.113.5", 7000, "udp"),
        ("203.0.113.6", server.media_port, "udp"),
        ("203.0.113.5", 7000, "tcp"),
        ("203.0.113.6", server.media_tcp_port, "tcp"),
    ]
    await server.drain(0)


async def test_a_taken_tcp_port_leaves_udp(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        server = SfuServer("127.0.0.1", port, [], str(tmp_path / "s"), MemoryFacts())
        await server.start()
        assert f"TCP port {port} on 127.0.0.1" in caplog.text
        assert [tuple(c) for c in server.conference.candidates] == [("127.0.0.1", port, "udp")]
        await server.drain(0)


async def test_without_tcp_nothing_is_offered_or_opened(tmp_path: Path) -> None:
    server = SfuServer("127.0.0.1", 0, [], str(tmp_path / "s"), MemoryFacts(), media_tcp=False)
    await server.start()
    assert [c.transport for c in server.conference.candidates] == ["udp"]
    with pytest.raises(OSError):  # noqa: PT011 - the system's words
        await asyncio.open_connection("127.0.0.1", server.media_port)
    await server.drain(0)


async def test_the_certificate_is_changed_on_schedule(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sfu.server.CERTIFICATE_S", 0.001)
    server = SfuServer("127.0.0.1", 0, [], str(tmp_path / "s"), MemoryFacts())
    seen = {server.conference.transports.certificate.fingerprint}
    await server.start()
    async with asyncio.timeout(20):
        while len(seen) < 4:
            seen.add(server.conference.transports.certificate.fingerprint)
            await asyncio.sleep(0)
    await server.drain(0)
