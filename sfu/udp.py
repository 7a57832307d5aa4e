"""The UDP port: one socket for each of our addresses, all on the same port number.

A socket of its own for each address, because a reply must come from the address that was asked:
on a wildcard socket the kernel picks the source, and a machine with several addresses in one
network (or IPv6 with its temporary ones) would answer from the wrong one.
"""

import asyncio
import errno
import ipaddress
import logging
import socket
from collections.abc import Callable, Iterable, Sequence
from itertools import count
from typing import Protocol

import ifaddr

from sfu.arrivals import Arrivals
from sfu.fanout import Departures
from sfu.ice import Path
from sfu.sdp import Candidate
from sfu.stun import SocketAddress
from sfu.transport import TransportCounters

logger = logging.getLogger(__name__)

# The kernel holds what arrives while the loop is busy: 4 MiB are about 3,000 packets of video.
BUFFER_BYTES = 4 << 20

Receive = Callable[[bytes, Path, float], None]


class Way(Protocol):
    """What a packet leaves by, to the addresses of paths with its number: a socket, mostly."""

    def sendto(self, datagram: bytes, address: SocketAddress, /) -> int:
        """Send at once. Raises BlockingIOError when nothing more fits, OSError otherwise."""


def local_addresses() -> list[str]:
    """Return this machine's addresses: IPv4 before IPv6, loopback last, no link-local ones."""
    found: list[ipaddress.IPv4Address | ipaddress.IPv6Address] = []
    for adapter in ifaddr.get_adapters():
        for entry in adapter.ips:
            text = entry.ip if isinstance(entry.ip, str) else entry.ip[0]
            address = ipaddress.ip_address(text)
            if not address.is_link_local and address not in found:
                found.append(address)
    found.sort(key=lambda address: (address.is_loopback, address.version))
    return [str(address) for address in found]


def addresses_to_bind(host: str | None) -> list[str]:
    """Return the addresses a configured host stands for: `None` and wildcards for all."""
    match host:
        case None | "" | "*" | "::":
            return local_addresses()
        case "0.0.0.0":
            return [a for a in local_addresses() if ":" not in a]
        case _:
            return [host]


def resolve(entries: Iterable[str], port: int) -> list[Candidate]:
    """Turn `address[:port]` entries into candidates; names are looked up once. Raises OSError."""
    candidates: list[Candidate] = []
    for entry in entries:
        host, own_port = split_port(entry, port)
        for info in socket.getaddrinfo(host, own_port, type=socket.SOCK_DGRAM):
            candidate = Candidate(str(info[4][0]), own_port)
            if candidate not in candidates:
                candidates.append(candidate)
    return candidates


def split_port(entry: str, port: int) -> tuple[str, int]:
    """Split `address[:port]`; an IPv6 address with a port stands in brackets."""
    if entry.startswith("["):
        host, _, rest = entry[1:].partition("]")
        return host, int(rest[1:]) if rest.startswith(":") else port
    if entry.count(":") == 1:
        host, _, text = entry.partition(":")
        return host, int(text)
    return entry, port


class UdpPort:
    """The sockets of one port, read by the running loop, written at once.

    1. `open` binds them; 2. each datagram goes to `receive(datagram, path, now)`;
    3. `received` is called once after each batch; 4. `send` never raises and never blocks;
    5. `follow` when the machine's addresses may have changed.

    `Path.local` numbers the sockets; a number is never used again. Numbers below zero are others'
    `ways`.
    """

    def __init__(self, *, clock: Callable[[], float], counters: TransportCounters) -> None:
        self.port = 0
        self.departures = Departures(counters)
        self.ways: dict[int, Way] = {}
        self._clock = clock
        self._counters = counters
        self._receive: Receive = _ignore
        self._received: Callable[[], None] = _nothing
        self._sockets: dict[int, socket.socket] = {}
        self._by_address: dict[str, int] = {}
        self._numbers = count()

    @property
    def addresses(self) -> list[str]:
        """Return the addresses that are bound, in the order they were asked for."""
        return list(self._by_address)

    def open(
        self,
        addresses: Sequence[str],
        port: int,
        receive: Receive,
        received: Callable[[], None],
    ) -> None:
        """Bind `port` on each address; 0 takes a free one, the same everywhere.

        An address that is not there (any more) is left out.

        Raises:
            OSError: the port is taken, or no address could be bound.
        """
        self._receive, self._received = receive, received
        self.port = port
        try:
            for address in addresses:
                self._bind(address)
        except OSError:
            self.close()
            raise
        if not self._sockets:
            raise OSError(errno.EADDRNOTAVAIL, f"none of {', '.join(addresses)} can be bound")

    def follow(self, addresses: Sequence[str]) -> bool:
        """Bind addresses that are new and close those that are gone; tell whether any changed."""
        before = set(self._by_address)
        for address in before.difference(addresses):
            self._close(address)
        for address in addresses:
            if address not in before:
                try:
                    self._bind(address)
                except OSError as error:
                    logger.warning("%s", error)
        return before != set(self._by_address)

    def close(self) -> None:
        """Close the sockets."""
        for address in self.addresses:
            self._close(address)

    def send(self, datagram: bytes, path: Path) -> None:
        """Send a datagram on a path; dropped and counted when the kernel does not take it."""
        counters = self._counters
        try:
            self.ways[path[0]].sendto(datagram, path[1])
        except BlockingIOError:
            counters.dropped["send_buffer_full"] += 1
        except (OSError, KeyError):
            counters.dropped["send_failed"] += 1
        else:
            counters.datagrams_sent += 1
            counters.bytes_sent += len(datagram)

    def _close(self, address: str) -> None:
        number = self._by_address.pop(address)
        sock = self._sockets.pop(number)
        del self.ways[number]
        self.departures.close(number)
        asyncio.get_running_loop().remove_reader(sock.fileno())
        sock.close()

    def _bind(self, address: str) -> None:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_DGRAM)
        try:
            sock.setblocking(False)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
                sock.setsockopt(socket.SOL_SOCKET, option, BUFFER_BYTES)
            sock.bind((address, self.port))
        except OSError as error:
            sock.close()
            if error.errno in {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}:
                # It went away since it was listed, or IPv6 has not finished checking it is ours.
                logger.debug("media address %s is not available", address)
                return
            raise OSError(
                error.errno, f"UDP port {self.port} on {address}: {error.strerror}"
            ) from None
        number = next(self._numbers)
        self.port = sock.getsockname()[1]
        self._sockets[number] = self.ways[number] = sock
        self.departures.open(number, sock)
        self._by_address[address] = number
        arrivals = Arrivals(sock, number)
        asyncio.get_running_loop().add_reader(sock.fileno(), self._read, arrivals)

    def _read(self, arrivals: Arrivals) -> None:
        now = self._clock()
        receive = self._receive
        batch = arrivals.read()
        if len(batch) > 1:
            # What a burst brings for one receiver leaves together.
            self.departures.gather()
        for datagram, path in batch:
            receive(datagram, path, now)
        self.departures.flush()
        self._received()


def _ignore(datagram: bytes, path: Path, now: float) -> None:
    """Drop a datagram nobody waits for."""


def _nothing() -> None:
    """Tell nobody."""
