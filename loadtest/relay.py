"""A lossy link for UDP: a port of ours in place of the server's, a seeded chance in between.

Not every kernel has netem, and netem's chance cannot be repeated: here each direction of each
client draws from a generator of its own, so that the same packets in the same order meet the same
fate.
"""

import asyncio
import random
from collections.abc import Callable
from typing import cast

Address = tuple[str, int]


class Link:
    """One direction of one client: loses by chance, delays the rest, keeps the order."""

    def __init__(self, seed: str, relay: "Relay") -> None:
        self._chance = random.Random(seed)
        self._relay = relay

    def pass_on(self, datagram: bytes, send: Callable[[bytes], None]) -> None:
        """Send a datagram later, or never."""
        relay = self._relay
        if self._chance.random() < relay.loss:
            relay.lost += 1
            return
        relay.passed += 1
        if relay.delay_s:
            asyncio.get_running_loop().call_later(relay.delay_s, send, datagram)
        else:
            send(datagram)


class Relay:
    """All links to one server. ``loss`` may be changed at any time; so may ``delay_s``, one way."""

    def __init__(self, seed: int, host: str = "127.0.0.1") -> None:
        self.loss = 0.0
        self.delay_s = 0.0
        self.lost = 0
        self.passed = 0
        self._seed = seed
        self._host = host
        self._doors: dict[Address, _Door] = {}
        self._transports: list[asyncio.DatagramTransport] = []

    async def door(self, server: Address) -> int:
        """Return the port that stands for one of the server's, the same for the same."""
        door = self._doors.get(server)
        if door is None:
            door = self._doors[server] = _Door(self, server, len(self._doors))
            transport, _ = await self.open(lambda: door, (self._host, 0))
            door.port = transport.get_extra_info("sockname")[1]
        return door.port

    async def open(
        self, protocol: Callable[[], asyncio.DatagramProtocol], local: Address
    ) -> tuple[asyncio.DatagramTransport, asyncio.DatagramProtocol]:
        """Open a socket that `close` closes."""
        loop = asyncio.get_running_loop()
        transport, made = await loop.create_datagram_endpoint(protocol, local_addr=local)
        self._transports.append(transport)
        return transport, made

    def link(self, *name: int | str) -> Link:
        """Make one direction; the seed and its name decide what it loses."""
        return Link(f"{self._seed} {name}", self)

    def close(self) -> None:
        """Close every socket."""
        for transport in self._transports:
            transport.close()


class _Door(asyncio.DatagramProtocol):
    """The port clients see. Each of them gets a port towards the server."""

    def __init__(self, relay: Relay, server: Address, number: int) -> None:
        self.port = 0
        self._relay = relay
        self._server = server
        self._number = number
        self._transport: asyncio.DatagramTransport | None = None
        self._clients: dict[Address, _Client] = {}
        # One for each client whose port is being opened; they end by themselves.
        self._open_tasks: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Not every loop's datagram transport says that it is one.
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: Address) -> None:
        client = self._clients.get(addr)
        if client is None:
            client = self._clients[addr] = _Client(self, self._server, addr, self._relay)
            task = asyncio.create_task(client.open(), name="relay-open")
            self._open_tasks.add(task)
            task.add_done_callback(self._open_tasks.discard)
        client.up(data)

    def down(self, data: bytes, client: Address) -> None:
        """Send to a client what came from the server."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.sendto(data, client)

    @property
    def number(self) -> int:
        """Return which door this is, in the order of opening."""
        return self._number

    @property
    def clients(self) -> int:
        """Return how many clients it has."""
        return len(self._clients)


class _Client(asyncio.DatagramProtocol):
    """One client's port towards the server."""

    def __init__(self, door: _Door, server: Address, client: Address, relay: Relay) -> None:
        self._door = door
        self._server = server
        self._client = client
        self._relay = relay
        self._up = relay.link(door.number, door.clients, "up")
        self._down = relay.link(door.number, door.clients, "down")
        self._transport: asyncio.DatagramTransport | None = None  # None until `open` is through

    async def open(self) -> None:
        """Open the port; what comes before is lost, as on a way that is not there yet."""
        host = "127.0.0.1" if self._server[0] == "127.0.0.1" else "0.0.0.0"
        transport, _ = await self._relay.open(lambda: self, (host, 0))
        self._transport = transport

    def up(self, data: bytes) -> None:
        """Pass a datagram on to the server."""
        if self._transport is not None:
            self._up.pass_on(data, self._send_up)

    def datagram_received(self, data: bytes, addr: Address) -> None:
        self._down.pass_on(data, self._send_down)

    def _send_up(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.sendto(data, self._server)

    def _send_down(self, data: bytes) -> None:
        self._door.down(data, self._client)
