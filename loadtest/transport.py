"""A bare media transport: ICE (RFC 8445, controlling), DTLS (pyOpenSSL), SRTP (libsrtp).

Blocking on purpose: a handshake takes a few datagrams, and afterwards the owner reads the socket in
a loop of its own, as fast as it can.
"""

import secrets
import socket
import struct
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache

import pylibsrtp
from aioice import stun
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from OpenSSL import SSL
from pylibsrtp._binding import ffi

from loadtest.offer import Answer, Local

HANDSHAKE_DEADLINE_S = 10.0
RETRY_S = 0.2
MTU = 1200
RECEIVE_BUFFER_BYTES = 4 << 20
# Linux: the kernel's wall-clock time of arrival comes with each datagram (socket(7)).
SO_TIMESTAMPNS = 35
STUN_REQUEST = b"\x00\x01"


class HandshakeError(Exception):
    """ICE or DTLS did not come through."""


@dataclass(frozen=True)
class Profile:
    """An SRTP protection profile as OpenSSL and libsrtp name it."""

    openssl: bytes
    libsrtp: int
    key_bytes: int
    salt_bytes: int


PROFILES = (
    Profile(b"SRTP_AEAD_AES_128_GCM", pylibsrtp.Policy.SRTP_PROFILE_AEAD_AES_128_GCM, 16, 12),
    Profile(b"SRTP_AES128_CM_SHA1_80", pylibsrtp.Policy.SRTP_PROFILE_AES128_CM_SHA1_80, 16, 14),
)


@cache
def certificate() -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """Make the one certificate all clients of this process show."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "loadtest")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=2))
        .sign(key, hashes.SHA256())
    )
    return made, key


@cache
def _context() -> SSL.Context:
    context = SSL.Context(SSL.DTLS_METHOD)
    made, key = certificate()
    context.use_certificate(made)
    context.use_privatekey(key)
    # The fingerprint in the answer is not compared: who answers on loopback is not in question.
    context.set_verify(SSL.VERIFY_PEER, lambda *_: True)
    context.set_tlsext_use_srtp(b":".join(profile.openssl for profile in PROFILES))
    return context


class Transport:
    """One UDP socket that ends up with SRTP sessions in both directions."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        self.socket.bind((host, 0))
        self.ufrag = secrets.token_hex(4)
        self.password = secrets.token_hex(16)
        self.outgoing: pylibsrtp.Session | None = None  # None until the handshake is through
        self.incoming: pylibsrtp.Session | None = None
        self.answer: Answer | None = None
        self.profile: Profile | None = None
        self._dtls = SSL.Connection(_context(), None)

    @property
    def local(self) -> Local:
        """Return what our offer says of this transport."""
        digest = certificate()[0].fingerprint(hashes.SHA256()).hex(":").upper()
        host, port = self.socket.getsockname()
        return Local(self.ufrag, self.password, digest, (host, port))

    def connect(self, answer: Answer) -> None:
        """Run ICE and DTLS to the end.

        Raises:
            HandshakeError: no answer, or no end, in time.
        """
        self.answer = answer
        self.socket.connect(answer.address)
        deadline = time.monotonic() + HANDSHAKE_DEADLINE_S
        self.check()
        while not _is_stun_success(self._receive()):
            if time.monotonic() > deadline:
                raise HandshakeError("no answer to the connectivity check")
            self.check()
        self._handshake(deadline)
        self._derive()

    def establish(self, ours: bytes, theirs: bytes, profile: Profile = PROFILES[0]) -> None:
        """Make the SRTP sessions from each side's master key and salt; the socket is then ready."""
        self.profile = profile
        self.outgoing = _session(profile, ours, pylibsrtp.Policy.SSRC_ANY_OUTBOUND)
        self.incoming = _session(profile, theirs, pylibsrtp.Policy.SSRC_ANY_INBOUND)
        self.socket.setblocking(False)
        if sys.platform == "linux":
            self.socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)

    @property
    def sender_address(self) -> int:
        """Return where libsrtp's session of the outgoing direction is; `outgoing` keeps it."""
        return _address(self.outgoing)

    @property
    def receiver_address(self) -> int:
        """Return where libsrtp's session of the incoming direction is; `incoming` keeps it."""
        return _address(self.incoming)

    def check(self) -> None:
        """Send a connectivity check that nominates; later ones keep consent (RFC 7675)."""
        assert self.answer is not None
        message = stun.Message(message_method=stun.Method.BINDING, message_class=stun.Class.REQUEST)
        message.attributes["USERNAME"] = f"{self.answer.ufrag}:{self.ufrag}"
        message.attributes["PRIORITY"] = 2_130_706_431
        message.attributes["ICE-CONTROLLING"] = 1
        message.attributes["USE-CANDIDATE"] = None
        message.add_message_integrity(self.answer.password.encode())
        message.add_fingerprint()
        self.socket.send(bytes(message))

    def close(self) -> None:
        """Say goodbye by DTLS and close the socket."""
        if self.outgoing is not None:
            self._dtls.shutdown()
            self._flush()
        self.socket.close()

    def _handshake(self, deadline: float) -> None:
        self._dtls.set_connect_state()
        self._dtls.set_ciphertext_mtu(MTU)
        while True:
            try:
                self._dtls.do_handshake()
                self._flush()
                break
            except SSL.WantReadError:
                self._flush()
            except SSL.Error as error:
                raise HandshakeError(f"DTLS: {error}") from None
            if time.monotonic() > deadline:
                raise HandshakeError("DTLS did not finish")
            datagram = self._receive()
            if datagram and 20 <= datagram[0] <= 63:  # RFC 7983: DTLS
                self._dtls.bio_write(datagram)
            elif not datagram:
                self._dtls.DTLSv1_handle_timeout()

    def _derive(self) -> None:
        """Make the sessions from the exported keys (RFC 5764 section 4.2; we are the client)."""
        chosen = self._dtls.get_selected_srtp_profile()
        profile = next((p for p in PROFILES if p.openssl == chosen), None)
        if profile is None:
            raise HandshakeError(f"no SRTP profile in common: {chosen!r}")
        key, salt = profile.key_bytes, profile.salt_bytes
        material = self._dtls.export_keying_material(b"EXTRACTOR-dtls_srtp", 2 * (key + salt))
        ours = material[:key] + material[2 * key : 2 * key + salt]
        theirs = material[key : 2 * key] + material[2 * key + salt :]
        self.establish(ours, theirs, profile)

    def _receive(self) -> bytes:
        self.socket.settimeout(RETRY_S)
        try:
            datagram = self.socket.recv(2048)
        except TimeoutError:
            return b""
        if datagram[:2] == STUN_REQUEST:
            self.answer_check(datagram)
        return datagram

    def answer_check(self, datagram: bytes) -> None:
        """Answer a connectivity check of a server that makes its own."""
        request = stun.parse_message(datagram)
        response = stun.Message(
            message_method=stun.Method.BINDING,
            message_class=stun.Class.RESPONSE,
            transaction_id=request.transaction_id,
        )
        response.attributes["XOR-MAPPED-ADDRESS"] = self.socket.getpeername()
        response.add_message_integrity(self.password.encode())
        response.add_fingerprint()
        self.socket.send(bytes(response))

    def _flush(self) -> None:
        while True:
            try:
                self.socket.send(self._dtls.bio_read(MTU + 300))
            except SSL.WantReadError:
                return


def arrival_ns(ancillary: list[tuple[int, int, bytes]]) -> int:
    """Return the kernel's time of arrival of a datagram, or the time now where there is none."""
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == SO_TIMESTAMPNS:
            seconds, nanoseconds = struct.unpack("qq", data[:16])
            return int(seconds * 1_000_000_000 + nanoseconds)
    return time.time_ns()


def _session(profile: Profile, key: bytes, direction: int) -> pylibsrtp.Session:
    policy = pylibsrtp.Policy(key=key, ssrc_type=direction, srtp_profile=profile.libsrtp)
    policy.allow_repeat_tx = True
    policy.window_size = 1024
    return pylibsrtp.Session(policy)


def _address(session: pylibsrtp.Session | None) -> int:
    assert session is not None
    return int(ffi.cast("uintptr_t", session._srtp[0]))


def _is_stun_success(datagram: bytes) -> bool:
    return datagram[:2] == b"\x01\x01"
