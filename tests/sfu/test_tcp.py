"""The TCP port: packets of peers whose network blocks UDP, and what strangers can make it hold."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from os import urandom

import pytest

from sfu import tcp
from sfu.aiortc_seam import Certificate
from sfu.framing import FrameReader, frame
from sfu.ice import Path
from sfu.tcp import TcpPort
from sfu.transport import PeerTransport, TransportCounters, Transports
from sfu.udp import UdpPort
from tests.sfu.memory_peer import Clock, MemoryPeer, Network
from tests.sfu.packets import rtp


class Port:
    """A TCP port in front of transports, as the server wires them."""

    def __init__(self, clock: Clock, certificate: Certificate) -> None:
        self.counters = TransportCounters()
        udp = UdpPort(clock=clock, counters=self.counters)
        self.transports = Transports(certificate, udp.send, urandom, self.counters, udp.departures)
        self.tcp = TcpPort(
            ways=udp.ways, departures=udp.departures, clock=clock, counters=self.counters
        )
        self.ways = udp.ways
        self.network = Network(clock, certificate)
        self.network.transports = self.transports
        self.received: list[bytes] = []

    async def open(self, host: str | None = "127.0.0.1") -> None:
        await self.tcp.open(host, 0, self._receive, lambda: None, self.transports.knows)

    def _receive(self, packet: bytes, path: Path, now: float) -> None:
        self.received.append(packet)
        self.transports.receive_datagram(packet, path, now)

    async def connect(self) -> socket.socket:
        client = socket.socket()
        client.setblocking(False)
        await asyncio.get_running_loop().sock_connect(client, ("127.0.0.1", self.tcp.port))
        return client

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(20):
            while not condition():  # noqa: ASYNC110 - sockets come in their own time
                await asyncio.sleep(0.001)


@pytest.fixture
async def port(clock: Clock, certificate: Certificate) -> AsyncIterator[Port]:
    port = Port(clock, certificate)
    await port.open()
    yield port
    port.tcp.close()
    await port.until(lambda: not port.tcp.connections)


async def closed(client: socket.socket) -> None:
    """Wait until the other side closed, having sent nothing."""
    with suppress(ConnectionResetError):
        assert await asyncio.get_running_loop().sock_recv(client, 1) == b""
    client.close()


class TcpPeer(MemoryPeer):
    """A browser's transport on a real TCP connection."""

    writer: asyncio.StreamWriter
    reading_task: asyncio.Task[None]

    async def reach(self, port: int) -> None:
        reader, self.writer = await asyncio.open_connection("127.0.0.1", port)
        self.reading_task = asyncio.create_task(self._read(reader))

    async def _read(self, reader: asyncio.StreamReader) -> None:
        frames = FrameReader()
        while data := await reader.read(4096):
            for packet in frames.receive_data(data):
                self.receive(packet)

    def send(self, datagram: bytes) -> None:
        self.writer.write(frame(datagram))


async def joined(port: Port) -> tuple[PeerTransport, TcpPeer]:
    peer = TcpPeer(port.network, Path(0, ("", 0)))
    await peer.reach(port.tcp.port)
    transport = port.transports.open(port.network.clock())
    transport.accept([peer.fingerprint], peer.credentials, port.network.clock())
    await peer.connect(transport.credentials, port.transports.certificate.fingerprint)
    await port.until(lambda: transport.connected)
    return transport, peer


async def test_media_crosses_in_both_directions(port: Port) -> None:
    transport, peer = await joined(port)
    heard: list[bytes] = []
    transport.on_rtp = lambda packet, now: heard.append(packet)
    for number in range(5):
        peer.send_rtp(rtp(number))
        transport.send_rtp(rtp(100 + number))
    await port.until(lambda: len(heard) == 5 and len(peer.rtp) == 5)
    assert heard == [rtp(number) for number in range(5)]
    assert peer.rtp == [rtp(100 + number) for number in range(5)]
    assert peer.stun[0].attributes["XOR-MAPPED-ADDRESS"][0] == "127.0.0.1"
    peer.writer.close()
    await peer.reading_task


async def test_what_is_forwarded_to_many_reaches_a_peer_on_tcp(port: Port) -> None:
    """The compiled fan-out writes to UDP sockets only and must hand TCP over."""
    from sfu.fanout import Flow, forward

    transport, peer = await joined(port)
    flow = Flow()
    flow.numbers = None
    flow.ssrc, flow.sequence_shift, flow.timestamp_shift = 1, 0, 0
    flow.packets = flow.octets = flow.egress_bytes = 0
    flow.send, flow.route = transport.send_rtp, transport.route
    forward([flow], rtp(7, ssrc=1), 7, 0, 7)
    await port.until(lambda: peer.rtp)
    assert peer.rtp == [rtp(7, ssrc=1)]
    assert not port.counters.dropped
    peer.writer.close()
    await peer.reading_task


async def test_a_reader_that_is_slow_loses_packets_and_holds_a_bounded_queue(port: Port) -> None:
    transport, peer = await joined(port)
    peer.reading_task.cancel()
    peer.writer.transport.pause_reading()
    (connection,) = port.tcp.connections.values()
    packet = rtp(1, payload=bytes(1100))
    number = 0
    while not port.counters.dropped["send_buffer_full"]:
        number += 1
        transport.send_rtp(rtp(number, payload=bytes(1100)))
        if number % 50 == 0:
            await asyncio.sleep(0)
    assert connection._transport is not None
    assert connection._transport.get_write_buffer_size() <= tcp.QUEUE_BYTES + 2 * len(packet)
    assert transport.connected
    peer.writer.transport.abort()


async def test_a_stream_that_is_not_framed_is_closed(port: Port) -> None:
    client = await port.connect()
    client.send(b"GET / HTTP/1.1\r\n\r\n")
    await closed(client)
    assert port.counters.dropped["tcp_frame_too_long"] == 1


async def test_nobody_is_answered_without_an_authentic_check(port: Port, clock: Clock) -> None:
    client = await port.connect()
    client.send(
        frame(b"\x00\x01\x00\x00" + bytes(16)) + frame(b"\x16\xfe\xfd") + frame(b"\x80" * 99)
    )
    await port.until(lambda: len(port.received) == 3)
    with pytest.raises(BlockingIOError):
        client.recv(1)
    clock.advance(tcp.UNPROVEN_S)
    port.tcp.handle_timeout(clock())
    await closed(client)
    assert port.counters.dropped["tcp_never_checked"] == 1


async def test_a_stranger_who_sends_much_is_closed_at_once(port: Port) -> None:
    client = await port.connect()
    for _ in range(10):
        client.send(frame(bytes(1000)))
    await closed(client)


async def test_strangers_of_one_address_are_limited_and_participants_not(
    port: Port, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tcp, "UNPROVEN_PER_ADDRESS", 3)
    _, peer = await joined(port)
    strangers = [await port.connect() for _ in range(5)]
    await port.until(lambda: port.counters.dropped["tcp_too_many_connections"] == 2)
    assert len(port.tcp.connections) == 4
    for stranger in strangers:
        stranger.close()
    await port.until(lambda: len(port.tcp.connections) == 1)
    again = await port.connect()
    await port.until(lambda: len(port.tcp.connections) == 2)
    again.close()
    peer.writer.close()
    await peer.reading_task


async def test_the_connection_of_a_peer_that_left_is_closed(port: Port, clock: Clock) -> None:
    transport, peer = await joined(port)
    port.tcp.handle_timeout(clock())
    transport.close()
    clock.advance(tcp.UNPROVEN_S)
    port.tcp.handle_timeout(clock())
    await port.until(lambda: not port.tcp.connections)
    assert not port.ways
    await asyncio.gather(peer.reading_task, return_exceptions=True)
    peer.writer.close()


async def test_all_addresses_share_one_port(clock: Clock, certificate: Certificate) -> None:
    port = Port(clock, certificate)
    await port.open(None)
    for host in ("127.0.0.1", "::1"):
        _, writer = await asyncio.open_connection(host, port.tcp.port)
        writer.close()
    port.tcp.close()
    await port.until(lambda: not port.tcp.connections)


async def test_a_taken_port_says_which(port: Port, clock: Clock) -> None:
    second = TcpPort(
        ways={}, departures=port.tcp.departures, clock=clock, counters=TransportCounters()
    )
    with pytest.raises(OSError, match=f"TCP port {port.tcp.port} on 127.0.0.1"):
        await second.open("127.0.0.1", port.tcp.port, port._receive, lambda: None, lambda _: False)
