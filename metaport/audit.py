"""What is written down of who did what, and the chain that shows when it was tampered with.

1. An entry is written before its request is answered (`audit_writer.AuditWriter`).
2. Every two seconds what is new is sealed as a batch (`db.audit.SqlAudit.seal`): each row, and the
   batch with all of its rows, its number and the batch before it. Writers never wait for
   each other.
3. The last seal is kept beside the database as an anchor, so that an end cut off is noticed too.

Seals are HMAC-SHA256 with a key of this installation: who can write the database but has not the
key cannot seal again what they have changed. Rows of the last two seconds are not sealed yet.
"""

import hashlib
import hmac
from collections.abc import Iterable
from typing import NamedTuple

import msgspec


class Entry(NamedTuple):
    """One act: when, who, from where, what, on what, whose, with what result.

    `personal` says what data about people were told; empty where none were. `id` is there once.
    """

    id: str
    at_ms: int
    actor: str
    address: str
    via: str
    action: str
    object: str
    whose: str
    personal: str
    result: str
    request_id: str


class Batch(NamedTuple):
    """What is sealed together; `digest` is of its rows' seals, `seal` chains it to `previous`."""

    number: int
    previous: bytes
    rows: int
    digest: bytes
    sealed_at_s: int
    seal: bytes


GENESIS = bytes(32)


class Sealer:
    """Makes and checks seals."""

    def __init__(self, key: str) -> None:
        self._key = hmac.new(key.encode(), b"audit", hashlib.sha256).digest()

    def row(self, serial: int, entry: Entry) -> bytes:
        """Return the seal of one row in its place."""
        return self._mac("row", serial, *entry)

    def batch(
        self, number: int, previous: bytes, rows: Iterable[bytes], count: int, at_s: int
    ) -> Batch:
        """Seal the seals of `count` rows after the batch before."""
        digest = hashlib.sha256(b"".join(rows)).digest()
        return Batch(
            number, previous, count, digest, at_s, self.chain(number, previous, digest, count, at_s)
        )

    def chain(self, number: int, previous: bytes, digest: bytes, count: int, at_s: int) -> bytes:
        """Return the seal that ties a batch to the one before."""
        return self._mac("batch", number, previous, digest, count, at_s)

    def forgotten(self, number: int, seal: bytes) -> bytes:
        """Return the seal that says the rows of a batch were deleted when their time was over."""
        return self._mac("forgotten", number, seal)

    def _mac(self, *parts: str | int | bytes) -> bytes:
        return hmac.new(self._key, msgspec.msgpack.encode(parts), hashlib.sha256).digest()
