"""The SFU process: one UDP and one TCP port, a control socket, timers; this package's only shell.

1. `UdpPort` reads datagrams in batches and hands each to `Transports`, which never raises;
   `TcpPort` does the same with packets of those who reach us by no other way.
2. Control requests go to `Signaling`; what others are to hear of them is sent right after.
3. `Conference` ticks four times a second; the packet cores are called at their own deadlines.
"""

import asyncio
import logging
import os
from collections.abc import Callable, Sequence
from math import inf
from time import monotonic, time_ns

from sfu.aiortc_seam import Certificate
from sfu.conference import TICK_S, Conference
from sfu.control import ControlAddress, ControlServer, Link, Map
from sfu.facts import Facts
from sfu.sdp import Candidate
from sfu.signaling import Signaling
from sfu.tcp import TcpPort
from sfu.timers import Timers
from sfu.transport import TransportCounters, Transports
from sfu.turn import Turn
from sfu.udp import UdpPort, addresses_to_bind, resolve

logger = logging.getLogger(__name__)

# Listing the addresses takes 0.4 ms.
FOLLOW_S = 10.0
# A stolen key opens a day's new sessions; aiortc's certificates hold for 30 days.
CERTIFICATE_S = 24 * 3600.0
# How soon refused facts are offered again while draining.
RETRY_S = 0.1
# Of the time a stop may take: what hubs have to move people to another SFU.
MOVING_SHARE = 0.6
MOVED_S = 0.05


def _wall_ms() -> int:
    return time_ns() // 1_000_000


class SfuServer:
    """One SFU: media on one UDP port, orders on a Unix socket and `control_tcp`, facts to `facts`.

    `media_host` is one address, or `None` for all of the machine's. `advertise` lists
    `address[:port]` offered as ICE candidates instead of the bound addresses. With `media_tcp`
    the same port number is served over TCP too, if it is free; `turn` are the servers whose
    relays participants may use.
    """

    def __init__(
        self,
        media_host: str | None,
        media_port: int,
        advertise: Sequence[str],
        control_path: str,
        facts: Facts,
        *,
        media_tcp: bool = True,
        control_tcp: ControlAddress | None = None,
        turn: Turn | None = None,
        clock: Callable[[], float] = monotonic,
        wall_ms: Callable[[], int] = _wall_ms,
        random: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._media_host = media_host
        self._media_port = media_port
        self._media_tcp = media_tcp
        self._advertise = advertise
        self._clock = clock
        counters = TransportCounters()
        self._udp = UdpPort(clock=clock, counters=counters)
        self._transports = Transports(
            Certificate(), self._udp.send, random, counters, self._udp.departures
        )
        self._tcp = TcpPort(
            ways=self._udp.ways, departures=self._udp.departures, clock=clock, counters=counters
        )
        self._timers = Timers()
        self.conference = Conference(
            self._transports, facts, clock=clock, wall_ms=wall_ms, random=random, turn=turn
        )
        self.conference.wake = self._wake
        self._signaling = Signaling(self.conference)
        self._control = ControlServer(control_path, self, control_tcp)
        self._flush_handle: asyncio.Handle | None = None
        self._tick_handle: asyncio.TimerHandle | None = None
        self._media_handle: asyncio.TimerHandle | None = None
        self._follow_handle: asyncio.TimerHandle | None = None
        self._certificate_handle: asyncio.TimerHandle | None = None
        self._armed_for = inf

    @property
    def media_port(self) -> int:
        """Return the UDP port that is bound."""
        return self._udp.port

    @property
    def media_tcp_port(self) -> int:
        """Return the TCP port that is bound, 0 without one."""
        return self._tcp.port

    async def start(self) -> None:
        """Bind the media ports and the control socket. Without TCP there is UDP.

        Raises:
            OSError: the UDP port is taken, or the control socket cannot be made.
        """
        self._udp.open(
            addresses_to_bind(self._media_host),
            self._media_port,
            self._transports.receive_datagram,
            self._media_received,
        )
        try:
            await self._open_tcp()
            self._advertise_addresses()
            await self._control.start()
        except OSError:
            await self._control.close()
            self._tcp.close()
            self._udp.close()
            raise
        self._tick()
        self._follow_addresses()
        self._await_rotation()

    async def _open_tcp(self) -> None:
        if not self._media_tcp:
            return
        transports = self._transports
        try:
            await self._tcp.open(
                self._media_host,
                # The same number as asked for; 0 takes a free one of its own.
                self._media_port,
                transports.receive_datagram,
                self._media_received,
                transports.knows,
            )
        except OSError as error:
            logger.warning("no media for people whose network blocks UDP: %s", error.strerror)

    def _advertise_addresses(self) -> None:
        port = self._udp.port
        found = resolve(self._advertise, port)
        found = found or [Candidate(address, port) for address in self._udp.addresses]
        if self._tcp.port:
            # Whoever maps a port of its own for us maps it for both.
            found += [
                Candidate(c.address, self._tcp.port if c.port == port else c.port, "tcp")
                for c in found
            ]
        self.conference.candidates = tuple(found)
        logger.info(
            "media on UDP port %d and %s, advertised as %s",
            port,
            f"TCP port {self._tcp.port}" if self._tcp.port else "no TCP port",
            ", ".join(f"{c.address} port {c.port}/{c.transport}" for c in found),
        )

    def _follow_addresses(self) -> None:
        """Keep up with the machine's addresses: a laptop changes networks, a container gets one."""
        self._follow_handle = asyncio.get_running_loop().call_later(
            FOLLOW_S, self._follow_addresses
        )
        if self._udp.follow(addresses_to_bind(self._media_host)) and not self._advertise:
            self._advertise_addresses()

    def _await_rotation(self) -> None:
        self._certificate_handle = asyncio.get_running_loop().call_later(
            CERTIFICATE_S, self._rotate_certificate
        )

    def _rotate_certificate(self) -> None:
        """Show new peers another certificate; those who are here keep the one they know."""
        self._transports.certificate = Certificate()
        self._await_rotation()

    async def drain(self, timeout_s: float) -> None:
        """Let the hubs move everybody, end who is left, commit the last facts, close everything.

        Facts that the port refuses are offered again until `timeout_s` is over.
        """
        self._signaling.begin_drain()
        self._flush()
        await self._moved(self._clock() + timeout_s * MOVING_SHARE)
        self.conference.drain()
        self._flush()
        deadline = self._clock() + timeout_s
        usage = self.conference.usage
        while not usage.commit() and self._clock() < deadline:  # noqa: ASYNC110 - a disk has no event
            await asyncio.sleep(RETRY_S)
        if usage.pending:
            logger.error("%d facts could not be kept", usage.pending)
        for handle in (
            self._tick_handle,
            self._media_handle,
            self._follow_handle,
            self._certificate_handle,
            self._flush_handle,
        ):
            if handle is not None:
                handle.cancel()
        await self._control.close()
        self._tcp.close()
        self._udp.close()

    async def _moved(self, deadline: float) -> None:
        """Wait until everybody has moved, or nobody is there who could move them."""
        participants, hubs = self.conference.participants, self._signaling.hubs
        while participants and hubs and self._clock() < deadline:  # noqa: ASYNC110 - no event
            await asyncio.sleep(MOVED_S)

    def counters(self) -> Map:
        """Return the process-wide counters and gauges for metrics."""
        return self.conference.counters()

    # Control

    def receive_request(self, link: Link, request: Map) -> Map:
        """Answer a control request. Raises Refused."""
        return self._signaling.receive_request(link, request)

    def link_lost(self, link: Link) -> None:
        """Note that a hub's connection ended."""
        self._signaling.link_lost(link)

    def on_stop(self, call: Callable[[], None]) -> None:
        """Have `call` called when a hub or an operator asks the process to end."""
        self._signaling.stop = call

    def _wake(self) -> None:
        if self._flush_handle is None:
            self._flush_handle = asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_handle = None
        for link, event in self.conference.drain_events():
            link.push(event)

    # Media

    def _media_received(self) -> None:
        touched = self._transports.touched
        if touched:
            for peer in touched:
                self._timers.touch(peer)
            touched.clear()
            self._arm()

    def _tick(self) -> None:
        self._tick_handle = asyncio.get_running_loop().call_later(TICK_S, self._tick)
        self.conference.handle_timeout()
        self._tcp.handle_timeout(self._clock())
        for peer in self._transports:
            # Deadlines also move without a packet: a subscription, a key frame asked for.
            self._timers.touch(peer)
        self._arm()

    def _arm(self) -> None:
        """Have the timers called at their next deadline, if it is nearer than before."""
        deadline = self._timers.next_deadline()
        if deadline is None or deadline >= self._armed_for:
            return
        if self._media_handle is not None:
            self._media_handle.cancel()
        self._armed_for = deadline
        self._media_handle = asyncio.get_running_loop().call_later(
            max(0.0, deadline - self._clock()), self._media_timeout
        )

    def _media_timeout(self) -> None:
        self._media_handle = None
        self._armed_for = inf
        self._timers.handle_timeout(self._clock())
        self._arm()
