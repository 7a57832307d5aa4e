"""A file that only its passphrase opens, and that tells when it was changed or cut short.

Header: magic, then one line of JSON (scrypt's salt and cost, a check of the key). Body: pieces of
64 KiB, each AES-256-GCM with a nonce of counter and a mark on the last one (the STREAM
construction, Hoang, Reyhanitabar, Rogaway and Vizár 2015): pieces cannot be changed, moved,
repeated or left out. The header is authenticated with each piece.
"""

import hashlib
import hmac
import json
import os
import secrets
from typing import BinaryIO

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from metaport.migration.errors import BackupRefused

MAGIC = b"METAPORT-BACKUP-1\n"
PIECE_BYTES = 64 * 1024
TAG_BYTES = 16
# 32 MiB and about 0.1 s: for a passphrase that a person chose.
COST, BLOCK, LANES = 2**15, 8, 1
# What a header may ask for at most, before anything is known of who wrote it.
HEADER_BYTES, GREATEST_COST = 1_024, 2**20


def _keys(passphrase: bytes, salt: bytes, cost: int) -> tuple[bytes, bytes]:
    made = Scrypt(salt=salt, length=64, n=cost, r=BLOCK, p=LANES).derive(passphrase)
    return made[:32], made[32:]


def _check(key: bytes, salt: bytes) -> str:
    return hmac.digest(key, b"check" + salt, "sha256")[:16].hex()


def _nonce(number: int, last: bool) -> bytes:
    return number.to_bytes(11) + bytes([last])


class Sealer:
    """Writes a sealed file; nothing may be believed of it before `close`."""

    def __init__(self, file: BinaryIO, passphrase: bytes) -> None:
        salt = secrets.token_bytes(16)
        key, check_key = _keys(passphrase, salt, COST)
        header = {"salt": salt.hex(), "cost": COST, "check": _check(check_key, salt)}
        line = json.dumps(header).encode() + b"\n"
        file.write(MAGIC + line)
        self._file = file
        self._cipher = AESGCM(key)
        self._bound = hashlib.sha256(line).digest()
        self._number = 0
        self._waiting = bytearray()

    def write(self, data: bytes) -> int:
        """Take bytes; write whole pieces, but keep what may be the last one."""
        self._waiting += data
        while len(self._waiting) > PIECE_BYTES:
            self._piece(bytes(self._waiting[:PIECE_BYTES]), last=False)
            del self._waiting[:PIECE_BYTES]
        return len(data)

    def close(self) -> None:
        """Write the last piece, marked as such, and everything to disk."""
        self._piece(bytes(self._waiting), last=True)
        self._file.flush()
        os.fsync(self._file.fileno())

    def _piece(self, data: bytes, *, last: bool) -> None:
        self._file.write(self._cipher.encrypt(_nonce(self._number, last), data, self._bound))
        self._number += 1


class Opener:
    """Reads a sealed file. Raises BackupRefused with the one sentence that says why not."""

    def __init__(self, file: BinaryIO, passphrase: bytes, name: str) -> None:
        self._file = file
        self._name = name
        if file.read(len(MAGIC)) != MAGIC:
            raise BackupRefused(
                f"{name}: metaport의 백업이 아니거나 모르는 판입니다",
                f"{name} is no backup of metaport, or of a version it does not know",
            )
        line = file.readline(HEADER_BYTES)
        try:
            header = json.loads(line)
            salt, cost, check = bytes.fromhex(header["salt"]), header["cost"], header["check"]
            if not isinstance(cost, int) or not 2 <= cost <= GREATEST_COST or cost & (cost - 1):
                raise ValueError(cost)
        except (ValueError, KeyError, TypeError):
            raise self._damaged() from None
        key, check_key = _keys(passphrase, salt, cost)
        if not hmac.compare_digest(_check(check_key, salt), str(check)):
            raise BackupRefused(
                f"{name}: 암호가 다르거나 파일의 머리가 손상되었습니다",
                f"{name}: another passphrase, or its header is damaged",
            )
        self._cipher = AESGCM(key)
        self._bound = hashlib.sha256(line).digest()
        self._number = 0
        self._ahead = file.read(PIECE_BYTES + TAG_BYTES)
        self._ready = bytearray()
        self._ended = False

    def read(self, size: int = -1) -> bytes:
        """Return `size` bytes, fewer at the end only, all of them if it is negative."""
        while not self._ended and (size < 0 or len(self._ready) < size):
            self._ready += self._piece()
        taken = bytes(self._ready if size < 0 else self._ready[:size])
        del self._ready[: len(taken)]
        return taken

    def _piece(self) -> bytes:
        sealed = self._ahead
        self._ahead = self._file.read(PIECE_BYTES + TAG_BYTES)
        last = not self._ahead
        try:
            data = self._cipher.decrypt(_nonce(self._number, last), sealed, self._bound)
        except InvalidTag:
            if last:
                raise BackupRefused(
                    f"{self._name}: 파일이 중간에서 잘렸거나 끝이 손상되었습니다",
                    f"{self._name} is cut short, or damaged at its end",
                ) from None
            raise self._damaged() from None
        self._number += 1
        self._ended = last
        return data

    def _damaged(self) -> BackupRefused:
        return BackupRefused(f"{self._name}: 파일이 손상되었습니다", f"{self._name} is damaged")
