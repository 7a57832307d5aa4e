"""The UDP port: which addresses, one number for all, replies from the address that was asked."""

import asyncio
import socket
from collections import Counter
from time import monotonic

import pytest

from sfu import udp
from sfu.ice import Path
from sfu.sdp import Candidate
from sfu.transport import TransportCounters
from sfu.udp import UdpPort


class Inbox:
    """What a port received."""

    def __init__(self) -> None:
        self.datagrams: asyncio.Queue[tuple[bytes, Path]] = asyncio.Queue()
        self.batches = 0
        self.counters = TransportCounters()
        self.port = UdpPort(clock=monotonic, counters=self.counters)

    def open(self, *addresses: str, port: int = 0) -> None:
        self.port.open(addresses, port, self._receive, self._received)

    def _receive(self, datagram: bytes, path: Path, now: float) -> None:
        self.datagrams.put_nowait((datagram, path))

    def _received(self) -> None:
        self.batches += 1


def test_all_addresses_end_with_loopback_and_have_no_link_local_ones() -> None:
    addresses = udp.local_addresses()
    assert "127.0.0.1" in addresses
    assert not [a for a in addresses if a.startswith(("fe80", "169.254"))]
    loopback = [a in {"127.0.0.1", "::1"} for a in addresses]
    assert loopback == sorted(loopback)


@pytest.mark.parametrize("host", [None, "", "*", "::"])
def test_wildcards_stand_for_all_addresses(host: str | None) -> None:
    assert udp.addresses_to_bind(host) == udp.local_addresses()


def test_the_ipv4_wildcard_stands_for_ipv4_only() -> None:
    assert not [a for a in udp.addresses_to_bind("0.0.0.0") if ":" in a]
    assert udp.addresses_to_bind("192.0.2.1") == ["192.0.2.1"]


def test_advertised_entries_may_have_their_own_port() -> None:
    entries = ["192.0.2.1", "192.0.2.1:9000", "[2001:db8::1]:9000", "[2001:db8::2]", "2001:db8::3"]
    assert udp.resolve([*entries, entries[0]], 7882) == [
        Candidate("192.0.2.1", 7882),
        Candidate("192.0.2.1", 9000),
        Candidate("2001:db8::1", 9000),
        Candidate("2001:db8::2", 7882),
        Candidate("2001:db8::3", 7882),
    ]


def test_an_advertised_name_is_looked_up() -> None:
    assert Candidate("127.0.0.1", 7882) in udp.resolve(["localhost"], 7882)


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
async def test_datagrams_cross_in_both_directions(address: str) -> None:
    here, there = Inbox(), Inbox()
    here.open(address)
    there.open(address)
    family = (0, 0) if ":" in address else ()
    here.port.send(b"ping", Path(0, (address, there.port.port, *family)))
    datagram, path = await there.datagrams.get()
    assert (datagram, path.address[1]) == (b"ping", here.port.port)
    there.port.send(b"pong", path)
    datagram, _ = await here.datagrams.get()
    assert datagram == b"pong"
    assert (here.counters.datagrams_sent, here.counters.bytes_sent) == (1, 4)
    assert there.batches == 1
    here.port.close()
    there.port.close()


async def test_every_address_gets_the_same_port() -> None:
    inbox = Inbox()
    inbox.open("127.0.0.1", "::1")
    assert inbox.port.addresses == ["127.0.0.1", "::1"]
    assert inbox.port.port > 0
    inbox.port.close()


async def test_a_taken_port_says_which() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=f"UDP port {port} on 127.0.0.1"):
            Inbox().open("127.0.0.1", port=port)


async def test_an_address_that_is_not_there_is_left_out() -> None:
    inbox = Inbox()
    inbox.open("192.0.2.254", "127.0.0.1")
    assert inbox.port.addresses == ["127.0.0.1"]
    inbox.port.close()
    with pytest.raises(OSError, match="none of"):
        inbox.open("192.0.2.254")


async def test_what_cannot_be_sent_is_counted() -> None:
    inbox = Inbox()
    inbox.open("127.0.0.1")
    inbox.port.send(bytes(70_000), Path(0, ("127.0.0.1", 9)))
    inbox.port.send(b"x", Path(7, ("127.0.0.1", 9)))
    inbox.port.close()
    inbox.port.send(b"x", Path(0, ("127.0.0.1", 9)))
    assert inbox.counters.dropped == Counter({"send_failed": 3})


async def test_addresses_that_come_and_go_are_followed() -> None:
    inbox, other = Inbox(), Inbox()
    inbox.open("127.0.0.1")
    other.open("::1")
    assert not inbox.port.follow(["127.0.0.1"])
    assert inbox.port.follow(["::1"])
    assert inbox.port.addresses == ["::1"]
    other.port.send(b"hello", Path(0, ("::1", inbox.port.port, 0, 0)))
    datagram, path = await inbox.datagrams.get()
    assert (datagram, path.local) == (b"hello", 1)
    inbox.port.send(b"lost", Path(0, ("127.0.0.1", 9)))
    assert inbox.counters.dropped == Counter({"send_failed": 1})
    inbox.port.close()
    other.port.close()


async def test_a_new_address_whose_port_is_taken_is_left_out(
    caplog: pytest.LogCaptureFixture,
) -> None:
    inbox = Inbox()
    inbox.open("127.0.0.1")
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as taken:
        taken.bind(("::1", inbox.port.port))
        assert not inbox.port.follow(["127.0.0.1", "::1"])
    assert "UDP port" in caplog.text
    inbox.port.close()
