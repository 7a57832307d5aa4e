"""A browser's transport without a network: checks of aioice, DTLS and SRTP of aiortc."""

import asyncio
from base64 import b64encode
from os import urandom

from aioice import stun
from aiortc import rtcdtlstransport
from aiortc.rtcdtlstransport import (
    RTCCertificate,
    RTCDtlsFingerprint,
    RTCDtlsParameters,
    RTCDtlsTransport,
)

from sfu.aiortc_seam import Certificate
from sfu.fanout import Departures
from sfu.ice import Credentials, Path
from sfu.sdp import Fingerprint
from sfu.transport import Transports


class Clock:
    """Monotonic seconds and wall milliseconds that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def wall_ms(self) -> int:
        return 1_800_000_000_000 + round(self.now * 1000)

    def advance(self, seconds: float) -> None:
        self.now += seconds


class Network:
    """Hands datagrams of the transports to the peers, and the other way."""

    def __init__(
        self, clock: Clock, certificate: Certificate, departures: Departures | None = None
    ) -> None:
        self.clock = clock
        self.peers: dict[Path, MemoryPeer] = {}
        self.transports = Transports(certificate, self._send, urandom, departures=departures)

    def _send(self, datagram: bytes, path: Path) -> None:
        if path in self.peers:
            self.peers[path].receive(datagram)

    def peer(self, host: int = 0) -> "MemoryPeer":
        path = Path(0, (f"198.51.100.{host or len(self.peers) + 1}", 40000))
        self.peers[path] = MemoryPeer(self, path)
        return self.peers[path]


class _Shim:
    """What aiortc's DTLS transport asks of ICE."""

    role = "controlling"

    def __init__(self, peer: "MemoryPeer") -> None:
        self.received: asyncio.Queue[bytes] = asyncio.Queue()
        self._peer = peer

    async def _recv(self) -> bytes:
        return await self.received.get()

    async def _send(self, data: bytes) -> None:
        self._peer.send(data)


class MemoryPeer:
    """One RTCPeerConnection's transport, on one address."""

    def __init__(self, network: Network, path: Path) -> None:
        self.network = network
        self.path = path
        self.credentials = Credentials("peer", b64encode(urandom(18)).decode())
        self.certificate = RTCCertificate.generateCertificate()
        self.stun: list[stun.Message] = []
        self.rtp: list[bytes] = []
        self.rtcp: list[bytes] = []
        self.closed = False
        self._shim = _Shim(self)
        self.dtls = RTCDtlsTransport(self._shim, [self.certificate])  # type: ignore[arg-type]
        self.dtls._set_role("client")

    @property
    def fingerprint(self) -> Fingerprint:
        sha256 = self.certificate.getFingerprints()[0]
        return Fingerprint(sha256.algorithm, sha256.value)

    def send(self, datagram: bytes) -> None:
        self.network.transports.receive_datagram(datagram, self.path, self.network.clock())

    def receive(self, datagram: bytes) -> None:
        if datagram[0] < 4:
            self.stun.append(stun.parse_message(datagram))
        elif datagram[0] < 64:
            self._shim.received.put_nowait(datagram)
        elif 192 <= datagram[1] <= 223:
            self.rtcp.append(self.dtls._rx_srtp.unprotect_rtcp(datagram))
        else:
            self.rtp.append(self.dtls._rx_srtp.unprotect(datagram))

    def check(self, remote: Credentials, *, nominate: bool = True, password: str = "") -> None:
        """Send a connectivity check, as a controlling full agent does."""
        request = stun.Message(message_method=stun.Method.BINDING, message_class=stun.Class.REQUEST)
        request.attributes["USERNAME"] = f"{remote.ufrag}:{self.credentials.ufrag}"
        request.attributes["PRIORITY"] = 1
        request.attributes["ICE-CONTROLLING"] = 7
        if nominate:
            request.attributes["USE-CANDIDATE"] = None
        request.add_message_integrity((password or remote.password).encode())
        self.send(bytes(request))

    async def connect(self, remote: Credentials, server: Fingerprint) -> None:
        """Check, then shake hands; the server must have accepted our fingerprint before."""
        self.check(remote)
        await self.dtls.start(
            RTCDtlsParameters([RTCDtlsFingerprint(server.algorithm, server.value)])
        )
        assert self.dtls.state == "connected"
        # The server's task ends its own handshake once it has read our last flight.
        for _ in range(5):
            await asyncio.sleep(0)

    def send_rtp(self, packet: bytes) -> None:
        self.send(self.dtls._tx_srtp.protect(packet))

    def send_rtcp(self, packet: bytes) -> None:
        self.send(self.dtls._tx_srtp.protect_rtcp(packet))

    async def close(self) -> None:
        """Say goodbye with close_notify."""
        await self.dtls.stop()
        for _ in range(5):
            await asyncio.sleep(0)


def offer_only(peer: MemoryPeer, profile: bytes) -> None:
    """Let a peer know one SRTP profile only."""
    peer.dtls._srtp_profiles = [
        known for known in rtcdtlstransport.SRTP_PROFILES if known.openssl_profile == profile
    ]
