"""A conference without a network: hubs that ask, people who answer offers."""

from collections.abc import Sequence
from os import urandom
from typing import Any

from sfu.conference import Conference
from sfu.control import Map
from sfu.errors import FactsRefused
from sfu.facts import Fact, MemoryFacts
from sfu.signaling import Signaling
from tests.sfu.memory_peer import MemoryPeer, Network
from tests.sfu.offers import Line, answer, offer
from tests.sfu.packets import rtp, vp8_delta, vp8_key

ROOM = "room"
MICROPHONE = ("audio", "sendonly")
CAMERA = ("video", "sendonly")


class Hub:
    """A control connection that keeps what is pushed to it."""

    def __init__(self) -> None:
        self.events: list[Map] = []

    def push(self, event: Map) -> None:
        self.events.append(event)


class Disk(MemoryFacts):
    """Keeps facts, but refuses them while it is `full`."""

    full = False

    def commit(self, facts: Sequence[Fact]) -> None:
        if self.full:
            raise FactsRefused
        super().commit(facts)


class World:
    """One SFU's signalling, and time."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.clock = network.clock
        self.facts = Disk()
        self.conference = Conference(
            network.transports,
            self.facts,
            clock=self.clock,
            wall_ms=self.clock.wall_ms,
            random=urandom,
        )
        self._awake = False
        self.conference.wake = self._wake
        self.signaling = Signaling(self.conference)
        self.hub = Hub()

    def ask(self, op: str, *, hub: Hub | None = None, **fields: Any) -> Map:
        """Ask as a hub does; events are delivered after the answer."""
        answered = self.signaling.receive_request(hub or self.hub, {"op": op, **fields})
        self.deliver()
        return answered

    def deliver(self) -> None:
        self._awake = True
        while self._awake:
            self._awake = False
            for link, event in self.conference.drain_events():
                link.push(event)

    def _wake(self) -> None:
        self._awake = True

    def advance(self, seconds: float, *alive: MemoryPeer) -> None:
        """Let time pass in ticks; the peers in `alive` keep their consent fresh."""
        for _ in range(round(seconds / 0.25)):
            self.clock.advance(0.25)
            for peer in alive:
                self.refresh(peer)
            self.conference.handle_timeout()
            self.deliver()

    def refresh(self, peer: MemoryPeer) -> None:
        for transport in self.network.transports:
            if peer.path in transport.ice.paths:
                peer.check(transport.credentials, nominate=False)

    def person(self, name: str) -> "Person":
        return Person(self, name)


class Person:
    """A chat client: joins, publishes on one connection, receives on the other."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        self.session = f"s-{name}"
        self.hub = world.hub
        self.participant = ""
        self.resume = ""
        self.up = world.network.peer()
        self.down = world.network.peer()
        self.tracks: dict[str, str] = {}
        self.declines = ""

    def frame(
        self,
        kind: str,
        *,
        may_publish: bool = True,
        may_enter: bool = True,
        silenced: Sequence[str] = (),
        **fields: Any,
    ) -> Map:
        return self.world.ask(
            "frame",
            hub=self.hub,
            session=self.session,
            user=f"u-{self.name}",
            name=self.name,
            room=ROOM,
            may_publish=may_publish,
            may_enter=may_enter,
            silenced=list(silenced),
            frame={"t": f"media.{kind}", "room": ROOM, **fields},
        )

    def join(self, **fields: Any) -> Map:
        joined = self.frame("join", **fields)
        self.participant, self.resume = joined["participant"], joined["resume"]
        return joined

    def pushed(self, kind: str = "") -> list[Map]:
        """Return the frames pushed to this session, of one kind or all."""
        return [
            event["frame"]
            for event in self.hub.events
            if event.get("session") == self.session
            and event["frame"]["t"].startswith(f"media.{kind}")
        ]

    @property
    def offered(self) -> Map:
        """Return the last offer pushed."""
        return self.pushed("offer")[-1]

    def publish(self, lines: list[Line], **fields: Any) -> Map:
        """Offer `lines`; the answer's tracks are remembered by mid."""
        sdp = offer(self.up, lines)
        published = self.frame("publish", sdp=sdp, **fields)
        self.tracks = {entry["mid"]: entry["track"] for entry in published["tracks"]}
        return published

    async def publish_and_connect(self, lines: list[Line]) -> None:
        self.publish(lines)
        connection = self.connection("publishing")
        certificate = self.world.network.transports.certificate
        await self.up.connect(connection.transport.credentials, certificate.fingerprint)
        self.world.deliver()

    def answer(self, frame: Map | None = None) -> Map:
        frame = frame or self.offered
        text = answer(self.down, frame["sdp"], declined=self.declines)
        return self.frame("answer", n=frame["n"], sdp=text)

    async def answer_and_connect(self) -> None:
        self.answer()
        connection = self.connection("subscribing")
        certificate = self.world.network.transports.certificate
        await self.down.connect(connection.transport.credentials, certificate.fingerprint)
        self.world.deliver()

    def connection(self, which: str) -> Any:
        return getattr(self.world.conference.participants[self.participant], which)

    def speak(self, sequence: int, *, mid: int = 0) -> None:
        self.up.send_rtp(rtp(sequence, ssrc=0x1000 + 16 * mid, timestamp=sequence * 960))

    def show(self, sequence: int, *, mid: int = 1, key: bool = False) -> None:
        payload = vp8_key(640, 480) if key else vp8_delta()
        ssrc = 0x1000 + 16 * mid
        self.up.send_rtp(
            rtp(sequence, ssrc=ssrc, timestamp=sequence * 3000, payload_type=96, payload=payload)
        )
