"""DTLS goodbyes (close_notify) without OpenSSL, once a handshake is over; sans-IO.

After the handshake WebRTC media needs one thing of DTLS: to hear and to say goodbye. An OpenSSL
connection that waits for it holds about 90 KiB, two of them for each participant; the keys of one
direction each are 100 bytes. DTLS 1.2 (RFC 6347) with AES-GCM (RFC 5288) or ChaCha20-Poly1305
(RFC 7905), which is what browsers, aiortc and GStreamer negotiate.
"""

import hmac
from struct import Struct
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from OpenSSL import SSL

_ALERT = 21
_VERSION = 0xFEFD
_EPOCH = 1  # what the handshake's keys protect; nobody renegotiates
_FATAL, _WARNING, _CLOSE_NOTIFY = 2, 1, 0
_RECORD = Struct(">BHQH")  # type, version, epoch and number, length
_ASSOCIATED = Struct(">QBHH")
# Beyond any number the handshake used: a receiver takes a jump forward.
_OUR_NUMBER = _EPOCH << 48 | 1 << 32


class _Cipher(NamedTuple):
    make: type[AESGCM] | type[ChaCha20Poly1305]
    key_bytes: int
    salt_bytes: int
    explicit_bytes: int  # of the nonce, sent along


_CIPHERS = {
    "ECDHE-ECDSA-AES128-GCM-SHA256": _Cipher(AESGCM, 16, 4, 8),
    "ECDHE-ECDSA-CHACHA20-POLY1305": _Cipher(ChaCha20Poly1305, 32, 12, 0),
}


class Farewell:
    """The keys of one association, for alerts only."""

    __slots__ = ("_cipher", "_from_peer", "_peer_salt", "_salt", "_to_peer")

    def __init__(self, cipher: _Cipher, block: bytes) -> None:
        """Cut the key block (RFC 5246 section 6.3); we are the server."""
        key, salt = cipher.key_bytes, cipher.salt_bytes
        self._cipher = cipher
        self._from_peer = cipher.make(block[:key])
        self._to_peer = cipher.make(block[key : 2 * key])
        self._peer_salt = block[2 * key : 2 * key + salt]
        self._salt = block[2 * key + salt : 2 * (key + salt)]

    def is_goodbye(self, datagram: bytes) -> bool:
        """Tell whether the peer said goodbye, or gave up, in an authentic alert."""
        position = 0
        while position + _RECORD.size <= len(datagram):
            kind, version, number, length = _RECORD.unpack_from(datagram, position)
            start = position + _RECORD.size
            position = start + length
            if position > len(datagram):
                return False
            if kind != _ALERT or version != _VERSION or number >> 48 != _EPOCH:
                continue
            alert = self._open(number, datagram[start:position])
            if alert is not None and (alert[0] == _FATAL or alert[1] == _CLOSE_NOTIFY):
                return True
        return False

    def goodbye(self) -> bytes:
        """Build our own goodbye; always the same, so that the nonce protects one text only."""
        alert = bytes((_WARNING, _CLOSE_NOTIFY))
        number = _OUR_NUMBER.to_bytes(8, "big")
        associated = _ASSOCIATED.pack(_OUR_NUMBER, _ALERT, _VERSION, len(alert))
        nonce = self._nonce(self._salt, number)
        explicit = number[: self._cipher.explicit_bytes]
        sealed = explicit + self._to_peer.encrypt(nonce, alert, associated)
        return _RECORD.pack(_ALERT, _VERSION, _OUR_NUMBER, len(sealed)) + sealed

    def _open(self, number: int, fragment: bytes) -> bytes | None:
        explicit, sealed = (
            fragment[: self._cipher.explicit_bytes],
            fragment[self._cipher.explicit_bytes :],
        )
        if len(explicit) < self._cipher.explicit_bytes or len(sealed) != 2 + 16:
            return None
        nonce = self._nonce(self._peer_salt, explicit or number.to_bytes(8, "big"))
        try:
            return self._from_peer.decrypt(
                nonce, sealed, _ASSOCIATED.pack(number, _ALERT, _VERSION, 2)
            )
        except InvalidTag:
            return None

    def _nonce(self, salt: bytes, number: bytes) -> bytes:
        if self._cipher.explicit_bytes:
            return salt + number
        padded = bytes(4) + number
        return bytes(a ^ b for a, b in zip(salt, padded, strict=True))


def farewell_of(connection: SSL.Connection) -> Farewell | None:
    """Take the keys of a finished handshake; `None` where its version or cipher is another."""
    cipher = _CIPHERS.get(connection.get_cipher_name() or "")
    if cipher is None or connection.get_protocol_version_name() != "DTLSv1.2":
        return None
    server, client = connection.server_random(), connection.client_random()
    master = connection.master_key()
    if server is None or client is None or master is None:  # the handshake is not over
        return None
    size = 2 * (cipher.key_bytes + cipher.salt_bytes)
    return Farewell(cipher, _prf(master, b"key expansion" + server + client, size))


def _prf(secret: bytes, seed: bytes, size: int) -> bytes:
    """Expand a secret (RFC 5246 section 5, P_SHA256)."""
    out, chained = b"", seed
    while len(out) < size:
        chained = hmac.digest(secret, chained, "sha256")
        out += hmac.digest(secret, chained + seed, "sha256")
    return out[:size]
