"""Public keys of other signers: a JSON Web Key Set (RFC 7517) and when to fetch it again.

`parse` reads a set. `JwksKeys` is the policy, without IO: it answers for keys it knows, and for
others says when they may be known. `metaport.jwks_reader` fetches.

A key is good for one algorithm, whatever a token says: Ed25519 for EdDSA (RFC 8037), RSA of 2048
bits and more for RS256 (RFC 7518, section 3.3). Everything else in a set is left out.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any, NamedTuple

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

logger = logging.getLogger(__name__)

EDDSA, RS256 = "EdDSA", "RS256"
ALGORITHMS = (EDDSA, RS256)
LEAST_RSA_BITS = 2048
# A set of 100 RSA keys is about 50 KiB.
DOCUMENT_BYTES = 256 * 1024
# Strangers may make up key ids; what is remembered of them is bounded.
REMEMBERED_UNKNOWN = 1024

PublicKey = Ed25519PublicKey | RSAPublicKey


class KeyUnknown(Exception):
    """No key of the set fits."""


class KeyUndecided(Exception):
    """No key fits, but the set was not fetched since the key was first asked for."""

    def __init__(self, retry_after_s: float) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(f"the key may be known in {retry_after_s:.0f} s")


class Key(NamedTuple):
    """One key of a set; `kid` is None where the set names none."""

    kid: str | None
    algorithm: str
    public: PublicKey


def parse(document: bytes) -> tuple[Key, ...]:
    """Return the keys of a set that may verify a token here.

    Raises:
        ValueError: it is no key set.
    """
    if len(document) > DOCUMENT_BYTES:
        raise ValueError("the key set is too large")
    try:
        entries = json.loads(document)["keys"]
    except (KeyError, TypeError, RecursionError) as error:
        raise ValueError("not a key set (RFC 7517)") from error
    if not isinstance(entries, list):
        raise ValueError("not a key set (RFC 7517)")
    found = [_key(entry) for entry in entries if isinstance(entry, dict)]
    return tuple(key for key in found if key is not None)


def _key(entry: Mapping[str, Any]) -> Key | None:
    kid = entry.get("kid")
    if not isinstance(kid, str | None):
        return None
    algorithm = {"OKP": EDDSA, "RSA": RS256}.get(str(entry.get("kty")))
    if algorithm is None or entry.get("alg", algorithm) != algorithm:
        return None
    operations = entry.get("key_ops", ["verify"])
    if entry.get("use", "sig") != "sig" or "verify" not in operations:
        return None
    if "d" in entry:
        logger.warning("the key set publishes the private key %r; it is not used", kid)
        return None
    try:
        public = jwt.PyJWK(dict(entry), algorithm).key
    except (jwt.PyJWTError, ValueError, TypeError):
        return None
    if isinstance(public, RSAPublicKey) and public.key_size < LEAST_RSA_BITS:
        logger.warning("the RSA key %r has fewer than %d bits; not used", kid, LEAST_RSA_BITS)
        return None
    return Key(kid, algorithm, public) if isinstance(public, PublicKey) else None


class JwksKeys:
    """The keys of one signer. Times are seconds of any clock that never goes back.

    Whoever fetches asks `due`, then tells `receive` or `failed`.

    Args:
        refresh_s: a set this old is fetched again.
        interval_s: between two fetches at least so long, whatever is asked for.
    """

    def __init__(self, refresh_s: float, interval_s: float) -> None:
        self._refresh_s = refresh_s
        self._interval_s = interval_s
        self._keys: tuple[Key, ...] = ()
        self._tried_at: float | None = None
        self._fetched_at: float | None = None
        # When each key nobody knows was first asked for, oldest first.
        self._unknown: dict[tuple[str, str | None], float] = {}

    def find(self, algorithm: str, kid: str | None, now: float) -> PublicKey:
        """Return the key that a token names; without a name the only one of its algorithm.

        Raises:
            KeyUnknown, KeyUndecided
        """
        fitting = [key.public for key in self._keys if key.algorithm == algorithm]
        if kid is not None:
            fitting = [
                key.public for key in self._keys if (key.algorithm, key.kid) == (algorithm, kid)
            ]
        if len(fitting) == 1 or (fitting and kid is not None):
            return fitting[0]
        asked_at = self._unknown.setdefault((algorithm, kid), now)
        if len(self._unknown) > REMEMBERED_UNKNOWN:
            self._unknown.pop(next(iter(self._unknown)))
        if self._fetched_at is not None and self._fetched_at > asked_at:
            raise KeyUnknown
        wait_s = 0.0 if self._tried_at is None else self._tried_at + self._interval_s - now
        # The fetch itself takes a moment.
        raise KeyUndecided(max(0.0, wait_s) + 1.0)

    def due(self, now: float) -> bool:
        """Say whether to fetch now."""
        if self._tried_at is not None and now < self._tried_at + self._interval_s:
            return False
        if self._fetched_at is None or now >= self._fetched_at + self._refresh_s:
            return True
        return any(asked_at >= self._fetched_at for asked_at in self._unknown.values())

    def receive(self, keys: tuple[Key, ...], asked_at: float, now: float) -> None:
        """Take a set that was asked for at `asked_at`; it replaces the one before."""
        self._keys = keys
        self._tried_at = now
        self._fetched_at = asked_at

    def recall(self, keys: tuple[Key, ...]) -> None:
        """Take the set of an earlier run, until there is a newer one."""
        if self._fetched_at is None:
            self._keys = keys

    def failed(self, now: float) -> None:
        """Note that a fetch failed; the keys at hand stay good."""
        self._tried_at = now
