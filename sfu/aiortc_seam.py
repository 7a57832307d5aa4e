"""DTLS and SRTP of one peer, over aiortc's DTLS transport: the only file that knows its insides.

aiortc is pinned to one version because of this file. What it relies on (aiortc 1.16):

- `RTCDtlsTransport` asks of its ICE transport only `_recv`, `_send` and `role`;
- `_srtp_profiles` is the order of preference, and the DTLS server's order decides;
- once connected, it needs its task and `_ssl` only for what `sfu.farewell` does with less;
- after `start`, `_rx_srtp` and `_tx_srtp` are pylibsrtp sessions, whose `_srtp[0]` is the
  `srtp_t` that libsrtp's own functions take.

Only DTLS datagrams pass through aiortc. SRTP goes straight to libsrtp: aiortc would parse and
route each packet, and closes the transport when a malformed header extension raises.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

from aiortc import rtcdtlstransport
from aiortc.rtcdtlstransport import (
    SRTP_AEAD_AES_128_GCM,
    SRTP_AES128_CM_SHA1_80,
    RTCCertificate,
    RTCDtlsFingerprint,
    RTCDtlsParameters,
    RTCDtlsTransport,
    SRTPProtectionProfile,
)
from OpenSSL import SSL
from pylibsrtp import Session
from pylibsrtp._binding import ffi, lib

from sfu.farewell import Farewell, farewell_of
from sfu.sdp import Fingerprint

logger = logging.getLogger(__name__)

# AES-128-GCM costs 0.37 us for 1,100 bytes, AES-CM with SHA-1 1.07 us (measured); aiortc would
# take AES-256-GCM first. Some builds of libsrtp lack GCM.
SRTP_PROFILES = [
    profile
    for profile in (SRTP_AEAD_AES_128_GCM, SRTP_AES128_CM_SHA1_80)
    if profile in rtcdtlstransport.SRTP_PROFILES
]

# Larger than any datagram that crosses an Ethernet path; pylibsrtp's own buffer refuses to
# protect more than 1,356 bytes, which GStreamer's 1,400-byte packets exceed.
DATAGRAM_LIMIT_BYTES = 2048
# SRTP_MAX_TRAILER_LEN + the SRTCP index of libsrtp.
_TRAILER_BYTES = 16 + 128 + 4

# A flight of a handshake is at most a few datagrams; more than this is not a handshake.
_DTLS_BACKLOG = 32

# libsrtp's `srtp_err_status_t`: auth_fail, replay_fail, replay_old; the rest are counted together.
_UNPROTECT_CAUSES = {7: "srtp_bad_authentication", 9: "srtp_replayed", 10: "srtp_replayed"}


class _Buffer(Protocol):
    def __getitem__(self, part: slice) -> bytes: ...
    def __setitem__(self, part: slice, data: bytes) -> None: ...


# One for the process: calls do not interleave, and each leaves with a copy.
_cdata = ffi.new("char[]", DATAGRAM_LIMIT_BYTES + _TRAILER_BYTES)
_buffer: _Buffer = ffi.buffer(_cdata)
_length = ffi.new("int *")
_protect_rtp = lib.srtp_protect
_protect_rtcp = lib.srtp_protect_rtcp
_unprotect_rtp = lib.srtp_unprotect
_unprotect_rtcp = lib.srtp_unprotect_rtcp

# Compiled code calls it by this address; another release of libsrtp might want other arguments.
_protect_pointer = ffi.addressof(lib, "srtp_protect")
_unprotect_pointer = ffi.addressof(lib, "srtp_unprotect")
_FUNCTION = "srtp_err_status_t(*)(struct srtp_ctx_t_ *, void *, int *)"


class Sender(NamedTuple):
    """What compiled code protects a peer's RTP with. The addresses live as long as ``owner``."""

    owner: object
    srtp: int  # an srtp_t
    protect: int  # srtp_protect


class Receiver(NamedTuple):
    """What compiled code decrypts a peer's RTP with. The addresses live as long as ``owner``."""

    owner: object
    srtp: int  # an srtp_t
    unprotect: int  # srtp_unprotect


class UnprotectError(Exception):
    """A datagram that is not SRTP or SRTCP under this peer's keys; `cause` names the counter."""

    def __init__(self, cause: str) -> None:
        super().__init__(cause)
        self.cause = cause


class _SharedContext(RTCCertificate):
    """A certificate whose OpenSSL context serves all peers.

    aiortc makes one for each peer, which holds a copy of all that OpenSSL knows of ciphers.
    """

    _context: SSL.Context | None = None

    def _create_ssl_context(self, srtp_profiles: list[SRTPProtectionProfile]) -> SSL.Context:
        if self._context is None:
            context = super()._create_ssl_context(srtp_profiles)
            # Nobody resumes: a cached session would stay, and a shared context would offer it.
            context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
            context.set_mode(SSL.MODE_RELEASE_BUFFERS)
            self._context = context
        return self._context


class Certificate:
    """A DTLS certificate of this process, and what its handshakes share."""

    def __init__(self) -> None:
        self._certificate = _SharedContext.generateCertificate()
        sha256 = next(
            f for f in self._certificate.getFingerprints() if f.algorithm.lower() == "sha-256"
        )
        # What session descriptions carry.
        self.fingerprint = Fingerprint("sha-256", sha256.value)


class _IceShim:
    """What aiortc's DTLS transport sees of ICE."""

    role = "controlled"
    state = "completed"

    def __init__(self, send: Callable[[bytes], None]) -> None:
        self.received: asyncio.Queue[bytes] = asyncio.Queue(_DTLS_BACKLOG)
        self._send_datagram = send

    async def _recv(self) -> bytes:
        return await self.received.get()

    async def _send(self, data: bytes) -> None:
        self._send_datagram(data)


class DtlsSrtp:
    """The DTLS server and the SRTP keys towards one peer.

    1. `receive_dtls` takes datagrams from the start; they wait until `start` tells whom to trust.
    2. `on_connected` is called once keys are there: `protect_*` and `unprotect_*` work.
    3. `settle`, once the peer has shown that it has keys too, lets go of OpenSSL.
    4. `on_closed(reason)` is called once when the handshake fails or the peer says goodbye,
       not after `close`.
    """

    def __init__(
        self,
        certificate: Certificate,
        send: Callable[[bytes], None],
        *,
        on_connected: Callable[[], None],
        on_closed: Callable[[str], None],
    ) -> None:
        self._shim = _IceShim(send)
        self._send = send
        self._on_connected = on_connected
        self._on_closed = on_closed
        self._dtls = RTCDtlsTransport(self._shim, [certificate._certificate])  # type: ignore[arg-type]
        self._dtls._srtp_profiles = SRTP_PROFILES
        self._dtls._set_role("server")
        self._closed = False
        self._rx: Any = None  # srtp_t, owned by the sessions of self._dtls
        self._tx: Any = None
        self._sessions: tuple[Session, Session] | None = None
        # What is left of DTLS after settle().
        self._farewell: Farewell | None = None
        # None until start(); ends with the handshake, cancelled by close().
        self._handshake_task: asyncio.Task[None] | None = None

    @property
    def started(self) -> bool:
        """Tell whether the peer's fingerprint is known."""
        return self._handshake_task is not None

    @property
    def connected(self) -> bool:
        """Tell whether SRTP keys are there and the peer has not left."""
        return self._tx is not None and not self._closed

    @property
    def sender(self) -> Sender | None:
        """Return what `protect_rtp` uses; `None` without keys, or if it is not as expected."""
        if not self.connected or ffi.typeof(_protect_pointer).cname != _FUNCTION:
            return None
        assert self._sessions is not None
        return Sender(
            self._sessions[1]._srtp,
            int(ffi.cast("uintptr_t", self._tx)),
            int(ffi.cast("uintptr_t", _protect_pointer)),
        )

    @property
    def receiver(self) -> Receiver | None:
        """Return what `unprotect_rtp` uses; `None` without keys, or if it is not as expected."""
        if not self.connected or ffi.typeof(_unprotect_pointer).cname != _FUNCTION:
            return None
        return Receiver(
            self._dtls._rx_srtp._srtp,
            int(ffi.cast("uintptr_t", self._rx)),
            int(ffi.cast("uintptr_t", _unprotect_pointer)),
        )

    def start(self, fingerprints: Sequence[Fingerprint]) -> None:
        """Answer the handshake of the peer with these certificate fingerprints."""
        parameters = RTCDtlsParameters(
            fingerprints=[RTCDtlsFingerprint(f.algorithm, f.value) for f in fingerprints],
            role="client",
        )
        self._handshake_task = asyncio.get_running_loop().create_task(
            self._handshake(parameters), name="dtls-handshake"
        )

    def receive_dtls(self, datagram: bytes) -> bool:
        """Take a DTLS datagram; `False` when it was dropped because too many wait."""
        if self._farewell is not None:
            if self._farewell.is_goodbye(datagram):
                self._end("closed_by_peer")
            return True
        try:
            self._shim.received.put_nowait(datagram)
        except asyncio.QueueFull:
            return False
        return True

    def protect_rtp(self, packet: bytes) -> bytes | None:
        """Return the SRTP packet, or `None` when libsrtp refuses (too long, number too old)."""
        size = len(packet)
        if size > DATAGRAM_LIMIT_BYTES:
            return None
        _buffer[:size] = packet
        _length[0] = size
        if _protect_rtp(self._tx, _cdata, _length):
            return None
        return _buffer[: _length[0]]

    def protect_rtcp(self, packet: bytes) -> bytes | None:
        """Return the SRTCP packet, or `None` when libsrtp refuses."""
        size = len(packet)
        if size > DATAGRAM_LIMIT_BYTES:
            return None
        _buffer[:size] = packet
        _length[0] = size
        if _protect_rtcp(self._tx, _cdata, _length):
            return None
        return _buffer[: _length[0]]

    def unprotect_rtp(self, datagram: bytes) -> bytes:
        """Return the plain RTP packet. Raises UnprotectError."""
        size = len(datagram)
        if size > DATAGRAM_LIMIT_BYTES:
            raise UnprotectError("datagram_too_long")
        _buffer[:size] = datagram
        _length[0] = size
        if status := _unprotect_rtp(self._rx, _cdata, _length):
            raise UnprotectError(_UNPROTECT_CAUSES.get(status, "srtp_malformed"))
        return _buffer[: _length[0]]

    def unprotect_rtcp(self, datagram: bytes) -> bytes:
        """Return the plain compound RTCP packet. Raises UnprotectError."""
        size = len(datagram)
        if size > DATAGRAM_LIMIT_BYTES:
            raise UnprotectError("datagram_too_long")
        _buffer[:size] = datagram
        _length[0] = size
        if status := _unprotect_rtcp(self._rx, _cdata, _length):
            raise UnprotectError(_UNPROTECT_CAUSES.get(status, "srtp_malformed"))
        return _buffer[: _length[0]]

    def settle(self) -> None:
        """Keep of DTLS what goodbyes need; call it when the peer's SRTP proved it is through.

        A flight sent again is of no use to it then. OpenSSL stays where the cipher is a rare one.
        """
        ssl = self._dtls._ssl
        if not self.connected or self._farewell is not None or ssl is None:
            return
        self._farewell = farewell_of(ssl)
        if self._farewell is None:
            return
        assert self._dtls._task is not None
        self._dtls._task.cancel()
        self._dtls._ssl = None

    def close(self) -> None:
        """Say goodbye (close_notify) and stop. Doing it twice is harmless."""
        if self._closed:
            return
        self._closed = True
        if self._handshake_task is not None:
            self._handshake_task.cancel()
        if self._dtls._task is not None:
            self._dtls._task.cancel()
        if self._tx is not None:
            self._send_close_notify()

    async def _handshake(self, parameters: RTCDtlsParameters) -> None:
        try:
            await self._dtls.start(parameters)
        except Exception as error:
            # What aiortc did not foresee; this peer's bytes caused it, so only this peer goes.
            logger.info("DTLS handshake failed: %r", error)
            self._end("dtls_failed")
            return
        if self._dtls.state != "connected":
            self._end("dtls_failed")
            return
        rx: Session = self._dtls._rx_srtp
        tx: Session = self._dtls._tx_srtp
        self._sessions = rx, tx
        self._rx, self._tx = rx._srtp[0], tx._srtp[0]
        assert self._dtls._task is not None
        self._dtls._task.add_done_callback(self._pump_ended)
        self._on_connected()

    def _pump_ended(self, task: "asyncio.Future[None]") -> None:
        if task.cancelled():
            return
        if (error := task.exception()) is not None:
            logger.info("DTLS ended: %r", error)
        self._end("closed_by_peer")

    def _end(self, reason: str) -> None:
        if not self._closed:
            self._closed = True
            self._on_closed(reason)

    def _send_close_notify(self) -> None:
        if self._farewell is not None:
            self._send(self._farewell.goodbye())
            return
        ssl = self._dtls._ssl
        assert ssl is not None
        try:
            ssl.shutdown()
            self._send(ssl.bio_read(DATAGRAM_LIMIT_BYTES))
        except SSL.Error:
            logger.debug("DTLS close_notify not sent")
