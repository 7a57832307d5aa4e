import asyncio
from collections.abc import AsyncIterator

import pytest

from loadtest.relay import Relay


class Echo(asyncio.DatagramProtocol):
    """A server that sends back what it gets."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.transport.sendto(data, addr)  # type: ignore[attr-defined]


class Client(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self.news = asyncio.Event()

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.heard.append(data)
        self.news.set()


@pytest.fixture
async def relay() -> AsyncIterator[Relay]:
    relay = Relay(seed=1)
    yield relay
    relay.close()


async def ask(relay: Relay, count: int) -> list[bytes]:
    """Send numbered datagrams through the relay to an echo; return what comes back."""
    transport, _ = await relay.open(Echo, ("127.0.0.1", 0))
    port = await relay.door(transport.get_extra_info("sockname"))
    assert await relay.door(transport.get_extra_info("sockname")) == port
    made, client = await relay.open(Client, ("127.0.0.1", 0))
    assert isinstance(client, Client)
    loss, relay.loss = relay.loss, 0.0
    async with asyncio.timeout(20):
        while not client.heard:  # the first ones are lost while the port is being opened
            made.sendto(b"hello", ("127.0.0.1", port))
            await asyncio.sleep(0.01)
        relay.loss = loss
        for number in range(count):
            made.sendto(b"%d" % number, ("127.0.0.1", port))
            await asyncio.sleep(0.001)  # a socket holds fewer than 300 of them
        expected = relay.lost
        while len(client.heard) + relay.lost < count or relay.lost != expected:
            expected = relay.lost
            await asyncio.sleep(0.05)
    return [data for data in client.heard if data != b"hello"]


async def test_without_loss_everything_comes_back_in_order(relay: Relay) -> None:
    assert await ask(relay, 50) == [b"%d" % number for number in range(50)]
    assert relay.lost == 0


async def test_so_many_are_lost_each_way(relay: Relay) -> None:
    relay.loss = 0.2
    heard = await ask(relay, 400)
    assert 200 < len(heard) < 310  # 256 expected


async def test_a_seed_loses_the_same_again() -> None:
    fates = []
    for seed in (7, 7, 8):
        relay = Relay(seed)
        relay.loss = 0.3
        passed: list[bytes] = []
        link = relay.link(0, 0, "up")
        for number in range(100):
            link.pass_on(b"%d" % number, passed.append)
        fates.append(passed)
    assert fates[0] == fates[1] != fates[2]
