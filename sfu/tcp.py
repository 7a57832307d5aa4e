"""The TCP port for people whose network lets no UDP out: ICE-TCP, passive (RFC 6544).

A connection is one more path of the ICE agent: its packets go to `receive` like datagrams, and
answers leave by the `Way` that it adds to the ways of `sfu.udp.UdpPort` under a number below zero.
So UDP pays nothing for it.

**What one peer can make us hold is bounded**: half a packet on the way in, `QUEUE_BYTES` on the
way out (more is dropped, as a full socket buffer drops datagrams), few connections of an address
that have not proved themselves, and none of them for long.
"""

import asyncio
import logging
import socket
from collections import Counter
from collections.abc import Callable, MutableMapping
from typing import Protocol, cast

from sfu.errors import FramingError
from sfu.fanout import Departures
from sfu.framing import FrameReader, frame
from sfu.ice import Path
from sfu.transport import TransportCounters
from sfu.udp import Receive, Way

logger = logging.getLogger(__name__)

# At the 3 Mbit/s that a person may receive this is half a second: older media helps nobody.
QUEUE_BYTES = 192 << 10
# What waits in the kernel cannot be dropped any more (tcp(7), TCP_NOTSENT_LOWAT).
UNSENT_BYTES = 64 << 10
# From accepting to the first authenticated check; also after the last path of a peer was forgotten.
UNPROVEN_S = 10.0
# A few checks of each connection; who sends more without proving anything is somebody else.
UNPROVEN_BYTES = 8 << 10
# An office shares one address: these have not checked yet. Those who have are participants.
UNPROVEN_PER_ADDRESS = 64
CONNECTIONS_LIMIT = 8192
BACKLOG = 512


class Known(Protocol):
    """Tells whether a path belongs to a peer that proved itself: `Transports.knows`."""

    def __call__(self, path: Path) -> bool: ...


class TcpPort:
    """The listening sockets of one port and the connections they accepted.

    1. `open` binds; 2. each packet goes to `receive(packet, path, now)`, and `received` follows
    once for each read; 3. `handle_timeout` about once a second closes whom nobody knows.

    ``ways`` is where answers look for the way to a path, see `UdpPort.ways`.
    """

    def __init__(
        self,
        *,
        ways: MutableMapping[int, Way],
        departures: Departures,
        clock: Callable[[], float],
        counters: TransportCounters,
    ) -> None:
        self.port = 0
        self.connections: dict[int, TcpConnection] = {}
        self.departures = departures
        self.clock = clock
        self.counters = counters
        self.receive: Receive = _ignore
        self.received: Callable[[], None] = _nothing
        self.knows: Known = _nobody
        self._ways = ways
        self._servers: list[asyncio.Server] = []
        # Accepted and not known yet, by address.
        self._unproven: Counter[str] = Counter()
        self._next_number = -1

    async def open(
        self,
        host: str | None,
        port: int,
        receive: Receive,
        received: Callable[[], None],
        knows: Known,
    ) -> None:
        """Listen on one address, or with `None` or a wildcard on all of them.

        Raises:
            OSError: the port is taken, or the address is not ours.
        """
        self.receive, self.received, self.knows = receive, received, knows
        self.port = port
        try:
            for family, address in _to_bind(host):
                await self._listen(family, address)
        except OSError:
            self.close()
            self.port = 0
            raise

    def close(self) -> None:
        """Stop listening and end all connections."""
        for server in self._servers:
            server.close()
        self._servers.clear()
        for connection in list(self.connections.values()):
            connection.abort()

    def handle_timeout(self, now: float) -> None:
        """Close connections that proved nothing, and those whose peer was forgotten."""
        for connection in list(self.connections.values()):
            if self.knows(connection.path):
                connection.known_at = now
            elif now - connection.known_at >= UNPROVEN_S:
                self.counters.dropped["tcp_never_checked"] += 1
                connection.abort()

    def admit(self, connection: "TcpConnection", address: str) -> int | None:
        """Give a new connection its number, `None` when there are too many of them."""
        crowded = self._unproven[address] >= UNPROVEN_PER_ADDRESS
        if crowded or len(self.connections) >= CONNECTIONS_LIMIT:
            self.counters.dropped["tcp_too_many_connections"] += 1
            return None
        self._unproven[address] += 1
        number, self._next_number = self._next_number, self._next_number - 1
        self.connections[number] = connection
        self._ways[number] = connection
        self.counters.tcp_accepted += 1
        return number

    def prove(self, address: str) -> None:
        """Count a connection of an address as proven, or as ended before it was."""
        self._unproven[address] -= 1
        if self._unproven[address] <= 0:
            del self._unproven[address]

    def forget(self, number: int) -> None:
        """Let go of a connection that ended."""
        self.connections.pop(number, None)
        self._ways.pop(number, None)

    async def _listen(self, family: socket.AddressFamily, address: str) -> None:
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind((address, self.port))
            self.port = sock.getsockname()[1]
            self._servers.append(
                await asyncio.get_running_loop().create_server(
                    lambda: TcpConnection(self), sock=sock, backlog=BACKLOG
                )
            )
        except OSError as error:
            sock.close()
            raise OSError(
                error.errno, f"TCP port {self.port} on {address}: {error.strerror}"
            ) from None


class TcpConnection(asyncio.Protocol):
    """One accepted connection: a `Way` to one peer."""

    path: Path

    def __init__(self, port: TcpPort) -> None:
        self.known_at = port.clock()
        self._port = port
        self._reader = FrameReader()
        self._unproven_bytes = UNPROVEN_BYTES
        self._proven = False
        self._transport: asyncio.Transport | None = None
        self._number: int | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's are none by class.
        self._transport = cast(asyncio.Transport, transport)
        address = transport.get_extra_info("peername")
        if address is None:  # gone already
            self.abort()
            return
        self._address = str(address[0])
        self._number = self._port.admit(self, self._address)
        if self._number is None:
            self.abort()
            return
        self.path = Path(self._number, address)
        sock = transport.get_extra_info("socket")
        if hasattr(socket, "TCP_NOTSENT_LOWAT"):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._number is None:
            return
        self._port.forget(self._number)
        if not self._proven:
            self._port.prove(self._address)

    def data_received(self, data: bytes) -> None:
        if self._number is None:
            return
        port = self._port
        try:
            packets = self._reader.receive_data(data)
        except FramingError as error:
            port.counters.dropped[error.cause] += 1
            self.abort()
            return
        now = port.clock()
        if len(packets) > 1:
            port.departures.gather()
        for packet in packets:
            port.receive(packet, self.path, now)
        port.departures.flush()
        port.received()
        if not self._proven:
            self._prove(len(data))

    def sendto(self, datagram: bytes, _: object) -> int:
        """Send a packet. Raises BlockingIOError when too much waits, as a socket does."""
        transport = self._transport
        assert transport is not None
        if transport.get_write_buffer_size() > QUEUE_BYTES:
            raise BlockingIOError
        transport.write(frame(datagram))
        return len(datagram)

    def abort(self) -> None:
        """End the connection without sending what waits."""
        if self._transport is not None:
            self._transport.abort()

    def _prove(self, received: int) -> None:
        if self._port.knows(self.path):
            self._proven = True
            self._port.prove(self._address)
            return
        self._unproven_bytes -= received
        if self._unproven_bytes < 0:
            self._port.counters.dropped["tcp_never_checked"] += 1
            self.abort()


def _to_bind(host: str | None) -> list[tuple[socket.AddressFamily, str]]:
    """Return the addresses a configured host stands for; replies need no socket of their own."""
    match host:
        case None | "" | "*" | "::":
            families = [(socket.AF_INET, "0.0.0.0")]
            if _has_ipv6():
                families.append((socket.AF_INET6, "::"))
            return families
        case _:
            return [(socket.AF_INET6 if ":" in host else socket.AF_INET, host)]


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def _ignore(packet: bytes, path: Path, now: float) -> None:
    """Drop a packet nobody waits for."""


def _nothing() -> None:
    """Tell nobody."""


def _nobody(path: Path) -> bool:
    return False
