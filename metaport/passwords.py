"""Passwords: which are accepted, and how they are kept (argon2id, RFC 9106).

A password is Unicode in NFC, so that Hangul typed on a Mac and on a phone is the same password.
There is no rule of kinds of characters and no change by calendar (NIST SP 800-63B, section 3.1.1):
length is what counts, and a few that are guessed first are refused.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
import unicodedata

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError

LEAST, MOST = 10, 256
# "가가가가가가가가가가", "1212121212"
LEAST_DIFFERENT = 4
# 64 MiB and two passes take 0.10-0.13 s of one core here, as scrypt did before (OWASP's floor is
# 19 MiB and two: 0.02 s).
_HASHER = PasswordHasher(time_cost=2, memory_cost=65_536, parallelism=1)
# At once: 128 MiB and two cores; who comes later waits.
AT_ONCE = 2
_SCRYPT = "$scrypt$"
_GUESSED_FIRST = ("password", "metaport", "qwerty", "1234567890", "비밀번호", "메타포트")


def normal(password: str) -> str:
    """Return a password as it is hashed."""
    return unicodedata.normalize("NFC", password)


def fault_of(password: str, login: str = "") -> str | None:
    """Say why a password is refused: `short`, `long`, `simple`; None when it is good."""
    chosen = normal(password)
    if len(chosen) < LEAST:
        return "short"
    if len(chosen) > MOST:
        return "long"
    folded = chosen.casefold()
    bare = folded.strip("0123456789!@#$%^&*._- ")
    if len(set(folded)) < LEAST_DIFFERENT or folded in "01234567890123456789":
        return "simple"
    if bare in _GUESSED_FIRST or (login and login.casefold() in (folded, bare)):
        return "simple"
    return None


class Passwords:
    """Hash and check passwords away from the loop, a few at once.

    Args:
        hasher: parameters of another strength.
    """

    def __init__(self, hasher: PasswordHasher = _HASHER) -> None:
        self._hasher = hasher
        self._free = asyncio.Semaphore(AT_ONCE)
        # What a password of nobody is held against: it takes as long.
        self._nobody = hasher.hash(secrets.token_hex())

    async def hash(self, password: str) -> str:
        """Return the argon2id hash of a password."""
        async with self._free:
            return await asyncio.to_thread(self._hasher.hash, _bytes(password))

    async def check(self, password: str, known: str | None) -> bool:
        """Tell whether a password is the one `known` is the hash of; None is nobody's.

        It takes as long whatever the answer, and whether or not there is such a person.
        """
        async with self._free:
            right = await asyncio.to_thread(verify, self._hasher, password, known or self._nobody)
        return right and known is not None

    def outdated(self, known: str) -> bool:
        """Tell whether a hash is of other parameters and is to be made anew at a sign-in."""
        return is_outdated(known, self._hasher)


def hash_now(password: str) -> str:
    """Return the argon2id hash of a password; blocks for 0.1 s."""
    return _HASHER.hash(_bytes(password))


def verify_now(password: str, known: str) -> bool:
    """Tell whether a password is that of a hash; blocks for 0.1 s."""
    return verify(_HASHER, password, known)


def is_outdated(known: str, hasher: PasswordHasher = _HASHER) -> bool:
    """Tell whether a hash is of another algorithm or other parameters."""
    try:
        return known.startswith(_SCRYPT) or hasher.check_needs_rehash(known)
    except InvalidHashError:
        return True


def scrypt_hash(n: int, r: int, p: int, salt: bytes, digest: bytes) -> str:
    """Write an scrypt hash (RFC 7914) of an earlier version as one text."""
    return f"{_SCRYPT}{n}${r}${p}${salt.hex()}${digest.hex()}"


def verify(hasher: PasswordHasher, password: str, known: str) -> bool:
    """Tell whether a password is that of a hash; one that cannot be read is nobody's."""
    if known.startswith(_SCRYPT):
        return _verify_scrypt(password, known)
    try:
        return hasher.verify(known, _bytes(password))
    except (Argon2Error, InvalidHashError):
        return False


def _verify_scrypt(password: str, known: str) -> bool:
    try:
        n, r, p, salt, digest = known.removeprefix(_SCRYPT).split("$")
        given = hashlib.scrypt(
            # As it was typed: what that version hashed was not normalised.
            password.encode("utf-8", "surrogatepass"),
            salt=bytes.fromhex(salt),
            n=int(n),
            r=int(r),
            p=int(p),
            maxmem=256 * int(n) * int(r),
        )
        return hmac.compare_digest(given, bytes.fromhex(digest))
    except ValueError:
        return False


def _bytes(password: str) -> bytes:
    return normal(password).encode("utf-8", "surrogatepass")
