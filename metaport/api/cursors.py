"""Cursors: where a page ended, sealed so that only what this service has told is taken back.

All lists page in one form: `limit` and `after` (where a list goes back, `before`) in the query,
`next` (and `prev`) in the answer, null where there is no more. A cursor says which list it is of;
it is a place, not a right: who may read is asked again on every page.
"""

import base64
import hashlib
import hmac
from typing import Any, TypeVar

import msgspec

from metaport.api.problems import Problem

# 64 bits of a tag over a place in a list that its reader may read anyway.
TAG_BYTES = 8
MAX_CHARACTERS = 1_024

Place = TypeVar("Place")


class Cursors:
    """Makes and reads cursors with one key of this installation."""

    def __init__(self, key: str) -> None:
        self._key = hmac.new(key.encode(), b"cursor", hashlib.sha256).digest()

    def make(self, scope: str, place: Any) -> str:
        """Return the cursor of a place (plain values) in the list that `scope` names."""
        packed = msgspec.msgpack.encode(place)
        return base64.urlsafe_b64encode(self._tag(scope, packed) + packed).rstrip(b"=").decode()

    def read(self, scope: str, cursor: str, kind: type[Place]) -> Place:
        """Return the place of a cursor. Raises `Problem`: `bad-cursor`."""
        try:
            if len(cursor) > MAX_CHARACTERS:
                raise ValueError("too long")
            sealed = base64.b64decode(
                (cursor + "=" * (-len(cursor) % 4)).encode("ascii"), altchars=b"-_", validate=True
            )
            tag, packed = sealed[:TAG_BYTES], sealed[TAG_BYTES:]
            if not hmac.compare_digest(tag, self._tag(scope, packed)):
                raise ValueError("not of this list")
            return msgspec.msgpack.decode(packed, type=kind)
        except (ValueError, msgspec.MsgspecError):
            raise Problem("bad-cursor") from None

    def _tag(self, scope: str, packed: bytes) -> bytes:
        signed = scope.encode() + b"\0" + packed
        return hmac.new(self._key, signed, hashlib.sha256).digest()[:TAG_BYTES]
