"""The transports of all peers behind one UDP port: ICE, DTLS and SRTP brought together.

1. `Transports.receive_datagram` tells STUN, DTLS and SRTP apart by the first byte (RFC 7983).
2. STUN goes to the ICE agent, whose answer returns on the path it came from.
3. DTLS and SRTP count only from paths that proved themselves; others are dropped.
4. `PeerTransport` decrypts and calls `on_rtp` or `on_rtcp`; `send_rtp` and `send_rtcp` encrypt
   and send at once: it is the `sfu.forwarding.Output` of its peer.
5. Once a peer's SRTP proves that its handshake is over, OpenSSL is let go (`sfu.farewell`).

**No byte from the network raises out of `receive_datagram`**: each drop is counted by cause.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Literal, Protocol

from sfu.aiortc_seam import Certificate, DtlsSrtp, UnprotectError
from sfu.errors import HostileBytes
from sfu.fanout import Departures, Route
from sfu.handshakes import HandshakeLimit
from sfu.ice import Credentials, IceAgent, IceSession, Path
from sfu.inlet import FORWARDED, NOT_TAKEN, Inlet
from sfu.sdp import Candidate, Fingerprint, LocalTransport

logger = logging.getLogger(__name__)

# From the first check to SRTP keys; a handshake with three lost flights takes 7 s.
HANDSHAKE_S = 20.0

Send = Callable[[bytes, Path], None]


class Core(Protocol):
    """A sans-IO core that a transport feeds: a publisher or a subscriber."""

    def receive_rtcp(self, packet: bytes, now: float) -> None:
        """Take one plain compound RTCP packet."""

    def handle_timeout(self, now: float) -> None:
        """Do what is due."""

    def next_deadline(self) -> float | None:
        """Tell when `handle_timeout` must run."""


class TransportCounters:
    """What the ports of this process saw; all grow only."""

    def __init__(self) -> None:
        self.datagrams_received = 0
        self.bytes_received = 0
        self.datagrams_sent = 0
        self.bytes_sent = 0
        self.connected = 0
        self.tcp_accepted = 0
        self.dropped: Counter[str] = Counter()


class PeerTransport:
    """One peer's transport.

    `on_connected()` is called each time media can flow (again), `on_lost()` when consent ended:
    an ICE restart may bring it back; `on_closed(reason)` when the peer left or never got through.
    """

    def __init__(self, layer: "Transports", session: IceSession, now: float) -> None:
        self.ice = session
        # Whose timers may have changed when a packet arrived.
        self.core: Core | None = None
        self.on_rtp: Callable[[bytes, float], None] = _ignore
        self.on_rtcp: Callable[[bytes, float], None] = _ignore
        self.on_connected: Callable[[], None] = _nothing
        self.on_lost: Callable[[], None] = _nothing
        self.on_closed: Callable[[str], None] = _nothing_why
        # How packets for many leave; `None` where all go by `send_rtp`.
        self.route = Route(layer.departures, session) if layer.departures is not None else None
        # How packets that nothing is to be decided about get in, without `on_rtp`.
        self.inlet = Inlet(layer.counters)
        self.lost = False
        self.closed = False
        self.fingerprints: tuple[Fingerprint, ...] = ()
        # Ours for as long as this transport lives: descriptions have named it.
        self.certificate = layer.certificate
        self._layer = layer
        self._counters = layer.counters
        self._reachable = False
        self._admitted = False  # the handshake was counted
        self._heard = False  # something under the handshake's keys
        self._handshake_until: float | None = None
        self._dtls = self._fresh_dtls()

    @property
    def connected(self) -> bool:
        """Tell whether packets sent now reach the peer, as far as anyone can know."""
        return self.ice.selected is not None and self._dtls.connected

    @property
    def credentials(self) -> Credentials:
        """Return our ICE credentials for the next description."""
        return self.ice.local

    def local(
        self, candidates: Sequence[Candidate], setup: Literal["actpass", "passive"]
    ) -> LocalTransport:
        """Say what a description tells of this side."""
        return LocalTransport(self.ice.local, self.certificate.fingerprint, candidates, setup)

    def accept(self, fingerprints: Sequence[Fingerprint], remote: Credentials, now: float) -> None:
        """Take the peer's description. Other certificates than before mean a new handshake."""
        self.ice.remote = remote
        self.ice.touch(now)
        if self._dtls.started and tuple(fingerprints) == self.fingerprints:
            return
        if self._dtls.started:
            self._unkey()
            self._dtls.close()
            self._dtls = self._fresh_dtls()
            self._admitted = False
            self._heard = False
            if self._reachable:
                self._handshake_until = now + HANDSHAKE_S
        self.fingerprints = tuple(fingerprints)
        self._dtls.start(self.fingerprints)

    def restart(self, now: float) -> None:
        """Change our ICE credentials; media goes on until the peer checks with the new ones."""
        self._layer.agent.restart(self.ice, now)

    def close(self) -> None:
        """Say goodbye to the peer and forget it, without calling `on_closed`."""
        if self.closed:
            return
        self.closed = True
        self._unkey()
        self._dtls.close()
        self._layer.forget(self)

    def receive_srtp(self, datagram: bytes, now: float) -> None:
        """Decrypt a datagram and pass it on."""
        if not self._dtls.connected:
            self._counters.dropped["srtp_before_keys"] += 1
            return
        if len(datagram) < 8:
            self._counters.dropped["srtp_malformed"] += 1
            return
        # RFC 5761 section 4: RTCP has 192 to 223 where RTP has marker and payload type.
        rtcp = 192 <= datagram[1] <= 223
        try:
            if rtcp:
                packet = self._dtls.unprotect_rtcp(datagram)
                self._heard = True
                self.on_rtcp(packet, now)
            else:
                packet = self._dtls.unprotect_rtp(datagram)
                self._heard = True
                self.on_rtp(packet, now)
        except (UnprotectError, HostileBytes) as error:
            self._counters.dropped[error.cause] += 1

    def receive_dtls(self, datagram: bytes, path: Path, now: float) -> None:
        """Feed the handshake, if its address may begin one, or a goodbye."""
        if not self._admitted:
            if not self._layer.handshakes.allow(path.address[0], now):
                self._counters.dropped["handshake_limit"] += 1
                return
            self._admitted = True
        if not self._dtls.receive_dtls(datagram):
            self._counters.dropped["dtls_backlog"] += 1

    def send_rtp(self, packet: bytes) -> None:
        """Encrypt and send a plain RTP packet; dropped and counted when it cannot be."""
        path = self.ice.selected
        if path is None or not self._dtls.connected:
            self._counters.dropped["send_not_connected"] += 1
            return
        protected = self._dtls.protect_rtp(packet)
        if protected is None:
            self._counters.dropped["send_refused_by_srtp"] += 1
            return
        self._layer.send(protected, path)

    def send_rtcp(self, packet: bytes) -> None:
        """Encrypt and send a plain RTCP packet; dropped and counted when it cannot be."""
        path = self.ice.selected
        if path is None or not self._dtls.connected:
            self._counters.dropped["send_not_connected"] += 1
            return
        protected = self._dtls.protect_rtcp(packet)
        if protected is None:
            self._counters.dropped["send_refused_by_srtp"] += 1
            return
        self._layer.send(protected, path)

    def reached(self, now: float) -> None:
        """Note that the peer's checks select a path; the first one starts or revives media."""
        if self._reachable:
            return
        self._reachable = True
        if self._dtls.connected:
            self.lost = False
            self.on_connected()
        else:
            self._handshake_until = now + HANDSHAKE_S

    def handle_timeout(self, now: float) -> None:
        """Notice the end of consent (RFC 7675) and handshakes that lead nowhere."""
        if self._heard:
            self._heard = False
            self._dtls.settle()
        if self._handshake_until is not None and now >= self._handshake_until:
            self._end("handshake_timeout")
        elif now >= self.ice.expires_at and not self.lost:
            if not self._dtls.connected:
                self._end("no_connection")
                return
            self.lost = True
            self._reachable = False
            self._layer.agent.forget_paths(self.ice)
            self.on_lost()

    def _fresh_dtls(self) -> DtlsSrtp:
        return DtlsSrtp(
            self.certificate,
            self._send_dtls,
            on_connected=self._dtls_connected,
            on_closed=self._end,
        )

    def _send_dtls(self, datagram: bytes) -> None:
        if self.ice.selected is not None:
            self._layer.send(datagram, self.ice.selected)

    def _dtls_connected(self) -> None:
        self._handshake_until = None
        self._counters.connected += 1
        sender = self._dtls.sender
        if self.route is not None and sender is not None:
            self.route.key(sender)
        receiver = self._dtls.receiver
        if receiver is not None:
            self.inlet.key(receiver)
        if self.ice.selected is not None:
            self.on_connected()

    def _unkey(self) -> None:
        self.inlet.unkey()
        if self.route is not None:
            self.route.unkey()

    def _end(self, reason: str) -> None:
        if not self.closed:
            self.close()
            self.on_closed(reason)


def _ignore(packet: bytes, now: float) -> None:
    """Drop a packet nobody waits for."""


def _nothing() -> None:
    """Tell nobody."""


def _nothing_why(reason: str) -> None:
    """Tell nobody why."""


class Transports:
    """All peer transports of this process. `send` puts a datagram on a path, never raising.

    `certificate` is the one that the next peers see; assign another to rotate it.
    With `departures` packets for many receivers leave on its sockets, without `send`.
    """

    def __init__(
        self,
        certificate: Certificate,
        send: Send,
        random: Callable[[int], bytes],
        counters: TransportCounters | None = None,
        departures: Departures | None = None,
    ) -> None:
        self.certificate = certificate
        self.departures = departures
        self.counters = counters or TransportCounters()
        self.send = send
        self.agent = IceAgent(random)
        self.handshakes = HandshakeLimit()
        # Peers heard since the caller last looked at their cores' deadlines, and cleared this.
        self.touched: set[PeerTransport] = set()
        self._peers: dict[IceSession, PeerTransport] = {}

    def __len__(self) -> int:
        return len(self._peers)

    def __iter__(self) -> Iterator[PeerTransport]:
        return iter(list(self._peers.values()))

    def open(self, now: float) -> PeerTransport:
        """Make a transport that waits for its peer."""
        session = self.agent.open(now)
        peer = PeerTransport(self, session, now)
        self._peers[session] = peer
        return peer

    def forget(self, peer: PeerTransport) -> None:
        """Free what `peer` held here; `PeerTransport.close` calls this."""
        self.agent.close(peer.ice)
        self._peers.pop(peer.ice, None)
        self.touched.discard(peer)

    def receive_datagram(self, datagram: bytes, path: Path, now: float) -> None:
        """Take one datagram from the network."""
        counters = self.counters
        counters.datagrams_received += 1
        counters.bytes_received += len(datagram)
        first = datagram[0] if datagram else 255
        try:
            if first < 4:
                self._receive_stun(datagram, path, now)
                return
            session = self.agent.find(path)
            if session is None:
                counters.dropped["unknown_address"] += 1
            elif 128 <= first < 192:
                peer = self._peers[session]
                taken = peer.inlet.receive(datagram, now)
                if taken == FORWARDED:
                    return
                self.touched.add(peer)
                if taken == NOT_TAKEN:
                    peer.receive_srtp(datagram, now)
            elif 20 <= first < 64:
                self._peers[session].receive_dtls(datagram, path, now)
            else:
                counters.dropped["unknown_protocol"] += 1
        except HostileBytes as error:
            counters.dropped[error.cause] += 1
        except Exception:
            # A bug met by one peer's bytes must not silence the others.
            counters.dropped["internal_error"] += 1
            logger.exception("datagram of %d bytes failed", len(datagram))

    def knows(self, path: Path) -> bool:
        """Tell whether a peer proved itself on a path."""
        return self.agent.find(path) is not None

    def handle_timeout(self, now: float) -> None:
        """End what expired; call it about once a second."""
        for peer in self:
            peer.handle_timeout(now)

    def _receive_stun(self, datagram: bytes, path: Path, now: float) -> None:
        answer = self.agent.receive_check(datagram, path, now)
        self.send(answer.datagram, path)
        if answer.moved:
            self._peers[answer.session].reached(now)
