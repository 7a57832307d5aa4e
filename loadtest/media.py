"""Added delay of a media packet, and CPU the SFU takes to forward one: one publisher, N receivers.

A packet carries the time it left; the kernel stamps its arrival, so a busy client adds no delay to
what it measures. The same packets over the same loopback without a server are the zero line.
"""

import asyncio
import secrets
import selectors
import time
import urllib.parse
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, field

import pylibsrtp

from loadtest.offer import AUDIO, Line, offer, read_answer
from loadtest.packets import OPUS, VP8, Flow, Source, asks_for_key_frame, is_rtcp, stamp_ns
from loadtest.results import Figures
from loadtest.statistics import percentile
from loadtest.target import Target
from loadtest.transport import Transport, arrival_ns

RECEIVERS = (1, 40)
RUN_S = 10.0
IDLE_S = 5.0
WARM_UP_S = 2.0
CONSENT_S = 4.0
READS_AT_ONCE = 64


@dataclass
class Session:
    """One WHIP or WHEP session on a transport of its own."""

    transport: Transport
    url: str
    token: str

    @classmethod
    def open(
        cls, url: str, token: str, lines: Sequence[Line], transport: Transport | None = None
    ) -> "Session":
        """POST an offer and run ICE and DTLS to the end."""
        transport = transport or Transport()
        answer, location = _post(url, token, offer(transport.local, lines))
        transport.connect(read_answer(answer))
        return cls(transport, urllib.parse.urljoin(url, location), token)

    def close(self) -> None:
        """DELETE the session and drop the transport."""
        with urllib.request.urlopen(_request(self.url, self.token, method="DELETE"), timeout=10):
            pass
        self.transport.close()


@dataclass
class Arrivals:
    """What one receiver got, counted while `counting`."""

    packets: int = 0
    refused: int = 0
    delays_ms: list[float] = field(default_factory=list)


class Run:
    """Send a flow and read every receiver's socket, for a time."""

    def __init__(
        self, source: Source, publisher: Transport, receivers: Sequence[Transport]
    ) -> None:
        self._source = source
        self._publisher = publisher
        self._receivers = receivers
        self._counting = False
        self._stopped = False
        self.arrivals = Arrivals()
        self.sent = 0
        self.late_bursts = 0

    def turn(self, seconds: float, *, counting: bool) -> None:
        """Send and receive for that long."""
        self._counting = counting
        with selectors.DefaultSelector() as selector:
            selector.register(self._publisher.socket, selectors.EVENT_READ, None)
            for receiver in self._receivers:
                selector.register(receiver.socket, selectors.EVENT_READ, receiver)
            self._loop(selector, time.monotonic() + seconds)

    def stop(self) -> None:
        """End a turn early, from another thread."""
        self._stopped = True

    def _loop(self, selector: selectors.BaseSelector, end: float) -> None:
        distance = 1 / self._source.flow.bursts_per_s
        due = consent = time.monotonic()
        while (now := time.monotonic()) < end and not self._stopped:
            if now >= consent:
                self._keep_consent()
                consent = now + CONSENT_S
            if now >= due:
                self._send()
                self.late_bursts += now - due > distance
                due = max(due + distance, now)
            for key, _ in selector.select(max(0.0, min(due, end) - time.monotonic())):
                if key.data is None:
                    self._hear_feedback()
                else:
                    self._drain(key.data)

    def _send(self) -> None:
        session = self._publisher.outgoing
        assert session is not None
        for packet in self._source.burst():
            self._publisher.socket.send(session.protect(packet))
            self.sent += self._counting

    def _keep_consent(self) -> None:
        for transport in (self._publisher, *self._receivers):
            if transport.answer is not None:
                transport.check()

    def _hear_feedback(self) -> None:
        assert self._publisher.incoming is not None
        try:
            datagram = self._publisher.socket.recv(2048)
        except BlockingIOError:
            return
        if datagram[0] >> 6 == 2 and is_rtcp(datagram):
            try:
                compound = self._publisher.incoming.unprotect_rtcp(datagram)
            except pylibsrtp.Error:
                return
            if asks_for_key_frame(compound):
                self._source.want_key_frame()

    def _drain(self, receiver: Transport) -> None:
        assert receiver.incoming is not None
        for _ in range(READS_AT_ONCE):
            try:
                datagram, ancillary, _, _ = receiver.socket.recvmsg(2048, 64)
            except BlockingIOError:
                return
            # RFC 7983: 128 to 191 is RTP or RTCP; the rest answers our checks.
            if not 128 <= datagram[0] <= 191 or is_rtcp(datagram):
                continue
            arrived = arrival_ns(ancillary)
            try:
                packet = receiver.incoming.unprotect(datagram)
            except pylibsrtp.Error:
                self.arrivals.refused += 1
                continue
            if self._counting:
                self.arrivals.packets += 1
                self.arrivals.delays_ms.append((arrived - stamp_ns(packet)) / 1e6)


async def measure(target: Target, figures: Figures) -> None:
    """Measure once: one repeat of every figure."""
    before, began = target.cpu_seconds("sfu"), time.monotonic()
    await asyncio.sleep(IDLE_S)
    after, seconds = target.cpu_seconds("sfu"), time.monotonic() - began
    if before is not None and after is not None:
        figures.add("SFU CPU", "nobody there", "% of a core", (after - before) / seconds * 100)
    for flow in (OPUS, VP8):
        direct = await asyncio.to_thread(straight, flow, RUN_S / 2)
        axis = f"{_named(flow)}, no server between"
        figures.add("delay p50", axis, "ms", percentile(direct, 50))
        for receivers in RECEIVERS:
            await _through_server(target, figures, flow, receivers, percentile(direct, 50))


def straight(flow: Flow, seconds: float) -> list[float]:
    """Return the delays in ms of the same packets from socket to socket."""
    sender, receiver = _pair()
    run = Run(Source(flow, "0", 1), sender, [receiver])
    run.turn(seconds, counting=True)
    sender.socket.close()
    receiver.socket.close()
    return run.arrivals.delays_ms


async def _through_server(
    target: Target, figures: Figures, flow: Flow, receivers: int, direct_p50_ms: float
) -> None:
    room = f"media-{secrets.token_hex(4)}"
    publisher_token, publisher = await target.token("publisher")
    receiver_token, _ = await target.token("receiver")
    source = Source(flow, "0", secrets.randbits(31) | 1)
    whip = f"{target.url}/whip/{room}"
    whep = f"{target.url}/whep/{room}?from={publisher}"

    def sessions() -> list[Session]:
        publishing = Session.open(whip, publisher_token, [Line(flow.kind, "0", source.ssrc)])
        line = [Line(flow.kind, "0")]
        return [publishing, *(Session.open(whep, receiver_token, line) for _ in range(receivers))]

    publishing, *receiving = await asyncio.to_thread(sessions)
    run = Run(source, publishing.transport, [session.transport for session in receiving])
    await asyncio.to_thread(run.turn, WARM_UP_S, counting=False)
    cpu_before, began = target.cpu_seconds("sfu"), time.monotonic()
    await asyncio.to_thread(run.turn, RUN_S, counting=True)
    cpu_after, seconds = target.cpu_seconds("sfu"), time.monotonic() - began
    for session in receiving:
        await asyncio.to_thread(session.close)
    await asyncio.to_thread(publishing.close)

    arrivals = run.arrivals
    axis = f"{_named(flow)}, 1 → {receivers}"
    delays = arrivals.delays_ms
    figures.add("added delay p50", axis, "ms", percentile(delays, 50) - direct_p50_ms)
    figures.add("delay p99", axis, "ms", percentile(delays, 99))
    figures.add("lost", axis, "packets", run.sent * receivers - arrivals.packets)
    # With one receiver the figure would tell what the process does anyway, not what a packet costs.
    if cpu_before is not None and cpu_after is not None and receivers > 1:
        used = cpu_after - cpu_before
        figures.add("forwarded", axis, "packets/s", arrivals.packets / seconds)
        figures.add("SFU CPU", axis, "% of a core", used / seconds * 100)
        figures.add("SFU CPU a forwarded packet", axis, "µs", used / arrivals.packets * 1e6)


def _named(flow: Flow) -> str:
    name = "Opus" if flow.kind == AUDIO else "VP8"
    return f"{name} {flow.payload_bytes} B at {flow.packets_per_s}/s"


def _pair() -> tuple[Transport, Transport]:
    """Make two transports that share a key, without a server to tell them."""
    sender, receiver = Transport(), Transport()
    for transport, peer in ((sender, receiver), (receiver, sender)):
        transport.socket.connect(peer.socket.getsockname())
    key = secrets.token_bytes(28)
    sender.establish(key, key)
    receiver.establish(key, key)
    return sender, receiver


def _request(
    url: str, token: str, body: bytes | None = None, method: str = "POST"
) -> urllib.request.Request:
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/sdp"}
    return urllib.request.Request(url, data=body, headers=headers, method=method)


def _post(url: str, token: str, sdp: str) -> tuple[str, str]:
    with urllib.request.urlopen(_request(url, token, sdp.encode()), timeout=10) as answer:
        return answer.read().decode(), answer.headers["Location"]
