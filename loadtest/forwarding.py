"""What one forwarded packet costs: one publisher, many receivers, ours and Janus beside it.

CPU is what the operating system counts for the server's process, user and system time, whatever it
did in those seconds, divided by the packets that arrived. Peers take turns in every repeat.
"""

import asyncio
import socket
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from loadtest import chat_beside, processes
from loadtest.crowd import Crowd, Flow
from loadtest.forwarders import (
    Forwarder,
    Metaport,
    bench_environment,
    janus_beside,
    metaport,
    pure_environment,
)
from loadtest.launch import running
from loadtest.namespace import Namespace, namespace
from loadtest.offer import AUDIO, VIDEO
from loadtest.results import Figures
from loadtest.statistics import percentile, slope

COMPILED, PURE = "Metaport", "Metaport, pure Python"
RECEIVERS = 40
RUN_S = 4.0
WARM_UP_S = 3.0

SPEECH = Flow(AUDIO, 100, 200)
EVEN = Flow(VIDEO, 1_100, 170, burst=1, picture=8)
BURSTS = Flow(VIDEO, 1_100, 170, burst=8, picture=8)
SCENARIOS = {
    "100 B audio at 200/s": SPEECH,
    "1,100 B video at 170/s, evenly": EVEN,
    "1,100 B video at 170/s, bursts of 8": BURSTS,
}
# Forwarded packets a second, 40 receivers, 100 B evenly: half of the promise, the promise, more.
LADDER = (60_000, 120_000, 160_000)
CROWDS = (1, 10, 100, 1_000)
CONVERSATION = Flow(AUDIO, 100, 50)
TALKERS = 30
# At four messages a second of each: 960 round trips, of which the slowest nine are beyond the 99th.
CONVERSATION_S = 8.0
JOINERS = 50
JOINERS_AT_ONCE = 10


@dataclass
class Run:
    """What one run measured."""

    forwarded: int
    lost: int
    seconds: float
    cpu_s: float
    p50_us: float
    p99_us: float
    late: int

    @property
    def packet_us(self) -> float:
        """Return the CPU time a forwarded packet took."""
        return self.cpu_s / self.forwarded * 1e6


def run(
    server: Forwarder,
    network: Namespace,
    flow: Flow,
    receivers: int,
    seconds: float = RUN_S,
) -> Run:
    """Measure one publisher and its receivers in a room of their own."""
    crowd = Crowd(network)
    server.open_room()
    server.publish(crowd, flow)
    _enter(server, crowd, flow, receivers)
    measured = _count(server, crowd, receivers, seconds)
    server.close_room()
    crowd.close()
    return measured


def _enter(server: Forwarder, crowd: Crowd, flow: Flow, receivers: int, streams: int = 1) -> None:
    """Let receivers come in, a few at a time."""

    def join(_: int) -> None:
        server.subscribe(crowd, flow, streams)

    with ThreadPoolExecutor(JOINERS_AT_ONCE) as pool:
        list(pool.map(join, range(receivers)))


def _count(server: Forwarder, crowd: Crowd, streams: int, seconds: float) -> Run:
    """Warm up, then count: each packet sent should arrive so many times."""
    crowd.turn(WARM_UP_S)
    crowd.rest()
    crowd.streams.reset()
    cpu, began = server.cpu_seconds(), time.monotonic()
    crowd.turn(seconds)
    cpu, seconds = server.cpu_seconds() - cpu, time.monotonic() - began
    crowd.rest()
    streams_, sent = crowd.streams, crowd.streams.sent
    return Run(
        forwarded=streams_.received,
        lost=sent * streams - streams_.received,
        seconds=seconds,
        cpu_s=cpu,
        p50_us=streams_.percentile(50),
        p99_us=streams_.percentile(99),
        late=streams_.late,
    )


def sendto_us(network: Namespace, flow: Flow, seconds: float = 1.0) -> float:
    """Return what one bare `sendto` takes here in the same rhythm, in CPU time of the thread."""
    with network.entered():
        receivers = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(RECEIVERS)]
        for receiver in receivers:
            receiver.bind((network.client_host, 0))
    addresses = [receiver.getsockname() for receiver in receivers]
    rounds: list[float] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.bind((network.server_host, 0))
        packet = bytes(flow.payload_bytes + 36)  # header, extension and tag
        due = time.monotonic()
        end = due + seconds
        while due < end:
            time.sleep(max(0.0, due - time.monotonic()))
            before = time.thread_time()
            for _ in range(flow.burst):
                for address in addresses:
                    sender.sendto(packet, address)
            rounds.append((time.thread_time() - before) / (flow.burst * RECEIVERS) * 1e6)
            due += flow.distance_ns / 1e9
    for receiver in receivers:
        receiver.close()
    return percentile(rounds, 50)


def costs(servers: Sequence[Forwarder], network: Namespace, figures: Figures) -> None:
    """Add one repeat of what a packet costs, in each scenario, each server in turn."""
    for axis, flow in SCENARIOS.items():
        figures.add("sendto alone", f"{axis}, 1 → {RECEIVERS}", "µs", sendto_us(network, flow))
        measured = {server.name: run(server, network, flow, RECEIVERS) for server in servers}
        for name, result in measured.items():
            where = f"{axis}, 1 → {RECEIVERS}, {name}"
            figures.add("CPU a forwarded packet", where, "µs", result.packet_us)
            figures.add("lost", where, "packets", result.lost)
            figures.add("delay p99", where, "ms", result.p99_us / 1e3)
            if name.startswith("Janus"):
                for other in (COMPILED, PURE):
                    ratio = result.packet_us / measured[other].packet_us
                    figures.add("times cheaper than Janus", f"{axis}, {other}", "×", ratio)


def ladder(server: Forwarder, network: Namespace, figures: Figures) -> None:
    """Add one repeat of what one process can forward, and how late."""
    for rate in LADDER:
        flow = Flow(AUDIO, 100, rate // RECEIVERS)
        result = run(server, network, flow, RECEIVERS, seconds=3.0)
        axis = f"100 B evenly, {rate:,} packets/s, 1 → {RECEIVERS}"
        figures.add("forwarded", axis, "packets/s", result.forwarded / result.seconds)
        figures.add("lost", axis, "packets", result.lost)
        figures.add("CPU", axis, "% of a core", result.cpu_s / result.seconds * 100)
        figures.add("delay p50", axis, "ms", result.p50_us / 1e3)
        figures.add("delay p99", axis, "ms", result.p99_us / 1e3)


def crowds(server: Forwarder, network: Namespace, figures: Figures) -> None:
    """Add one repeat of cost and memory by the number of receivers."""
    memory: list[tuple[float, float]] = []
    for receivers in CROWDS:
        crowd = Crowd(network)
        server.open_room()
        server.publish(crowd, CONVERSATION)
        _enter(server, crowd, CONVERSATION, receivers)
        result = _count(server, crowd, receivers, 4.0)
        memory.append((float(receivers), float(processes.resident_bytes(server.pid))))
        server.close_room()
        crowd.close()
        axis = f"100 B audio at 50/s, 1 → {receivers:,}"
        figures.add("CPU", axis, "% of a core", result.cpu_s / result.seconds * 100)
        figures.add("CPU a forwarded packet", axis, "µs", result.packet_us)
        figures.add("lost", axis, "packets", result.lost)
    axis = f"{CROWDS[0]} to {CROWDS[-1]:,} receivers, audio only"
    figures.add("memory a participant", axis, "KiB", slope(memory) / 1024)


def conversation(server: Metaport, network: Namespace, figures: Figures) -> None:
    """Add one repeat of a room in which everybody talks at once, and a chat alive beside it."""
    alone = chat_beside.Beside(server.url, CONVERSATION_S).finish()
    chat_beside.add(figures, f"{chat_beside.PEOPLE} people, nobody talks", alone)
    crowd = Crowd(network)
    server.open_room()
    for _ in range(TALKERS):
        server.publish(crowd, CONVERSATION)
    _enter(server, crowd, CONVERSATION, TALKERS, TALKERS)
    beside = chat_beside.Beside(server.url, WARM_UP_S + CONVERSATION_S)
    result = _count(server, crowd, TALKERS, CONVERSATION_S)
    told = beside.finish()
    server.close_room()
    crowd.close()
    axis = f"{TALKERS} × {TALKERS} audio, 100 B at 50/s each"
    chat_beside.add(figures, f"{chat_beside.PEOPLE} people beside {axis}", told)
    figures.add("CPU", axis, "% of a core", result.cpu_s / result.seconds * 100)
    figures.add("CPU a forwarded packet", axis, "µs", result.packet_us)
    figures.add("lost", axis, "packets", result.lost)
    figures.add("delay p99", axis, "ms", result.p99_us / 1e3)


def joins(server: Forwarder, network: Namespace, figures: Figures) -> None:
    """Add one repeat of how fast people come in: ICE, DTLS, and the first packet of each."""
    crowd = Crowd(network)
    server.open_room()
    server.publish(crowd, CONVERSATION)
    crowd.turn(0.1)
    cpu, began = server.cpu_seconds(), time.monotonic()
    _enter(server, crowd, CONVERSATION, JOINERS)
    while any(not crowd.streams.heard(number)[2] for number in range(JOINERS)):
        crowd.turn(0.01)
    seconds = time.monotonic() - began
    axis = f"{JOINERS} receivers, {JOINERS_AT_ONCE} at a time"
    figures.add("until everybody heard something", axis, "s", seconds)
    figures.add("SFU CPU a join", axis, "ms", (server.cpu_seconds() - cpu) / JOINERS * 1e3)
    server.close_room()
    crowd.close()


@asynccontextmanager
async def servers(network: Namespace) -> AsyncIterator[tuple[Metaport, list[Forwarder]]]:
    """Run every server that is measured: ours, ours without compiled code, Janus if it is here."""
    environment = bench_environment(network.server_host)
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="metaport-load-")))
        pure = {**environment, **pure_environment(folder)}
        ours = await stack.enter_async_context(running(folder / "compiled", environment))
        twin = await stack.enter_async_context(running(folder / "pure", pure))
        beside = stack.enter_context(janus_beside(network.server_host))
        first = metaport(COMPILED, ours)
        yield first, [first, metaport(PURE, twin), *beside]


async def measure(repeats: int, figures: Figures) -> None:
    """Measure everything; the few long ones once."""
    with namespace() as network:
        async with servers(network) as (ours, peers):
            for _ in range(repeats):
                await asyncio.to_thread(costs, peers, network, figures)
            for _ in range(repeats):
                await asyncio.to_thread(ladder, ours, network, figures)
                await asyncio.to_thread(conversation, ours, network, figures)
                await asyncio.to_thread(joins, ours, network, figures)
            await asyncio.to_thread(crowds, ours, network, figures)
