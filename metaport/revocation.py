"""Which tokens hold no longer although their time is not over: one by its id, or all of a user's.

A user is signed out everywhere by a moment: tokens issued before it are void, later ones hold.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from metaport.app_keys import KEY_PREFIX
from metaport.session_turns import SESSION_PREFIX
from metaport.tokens import Claims

Kind = Literal["token", "user"]

# How long a revocation is kept where the end of the tokens it voids is not known; the longest
# life that can be configured is a year.
KEPT_S = 400 * 86_400.0
ID_CHARACTERS = 256
# What ids of tokens begin with that are taken back together.
WHOLE = (SESSION_PREFIX, KEY_PREFIX)


@dataclass(frozen=True, slots=True)
class Revocation:
    """One token (by its `jti`), or a user's tokens issued before `before_s`.

    Times are seconds since the Unix epoch. After `until_s` every token meant has expired, and the
    revocation may be forgotten.
    """

    kind: Kind
    subject: str
    before_s: float
    until_s: float


def of_user(user: str, before_s: float, now: float) -> Revocation:
    """Sign a user out everywhere: tokens issued before `before_s` are void."""
    # Up to the next millisecond, in which tokens say when they were issued.
    return Revocation("user", user, math.ceil(before_s * 1000) / 1000, now + KEPT_S)


def of_token_id(token_id: str, now: float) -> Revocation:
    """Take back the token with this `jti`."""
    return Revocation("token", token_id, 0.0, now + KEPT_S)


def of_token(claims: Claims, now: float) -> Revocation:
    """Take back one token.

    Raises:
        ValueError: it has no id by which it could be told.
    """
    if claims.token_id is None:
        raise ValueError("the token has no id (jti); revoke its user's tokens")
    # An hour more than it lives, for the clocks of all hubs.
    until_s = max(now, claims.expires_at) + 3600.0
    return Revocation("token", claims.token_id, 0.0, until_s)


def _whole(token_id: str) -> str | None:
    """Return the session or the app's key that a token's id begins with."""
    whole, dot, _ = token_id.partition(".")
    return whole if dot and whole.startswith(WHOLE) else None


class Revocations:
    """The revocations in force in one process."""

    def __init__(self) -> None:
        self._tokens: dict[str, Revocation] = {}
        self._users: dict[str, Revocation] = {}

    def __len__(self) -> int:
        return len(self._tokens) + len(self._users)

    def __iter__(self) -> Iterator[Revocation]:
        yield from self._tokens.values()
        yield from self._users.values()

    def add(self, revocation: Revocation) -> bool:
        """Put a revocation in force; False when it says nothing that is not in force already."""
        known = self._users if revocation.kind == "user" else self._tokens
        before = known.get(revocation.subject)
        if (
            before is not None
            and before.before_s >= revocation.before_s
            and before.until_s >= revocation.until_s
        ):
            return False
        if before is not None:
            revocation = Revocation(
                revocation.kind,
                revocation.subject,
                max(before.before_s, revocation.before_s),
                max(before.until_s, revocation.until_s),
            )
        known[revocation.subject] = revocation
        return True

    def covers(self, user: str, token_id: str | None, issued_at: float) -> bool:
        """Say whether a token is void; one that tells no age (`issued_at` 0) is the oldest."""
        if token_id is not None and (token_id in self._tokens or _whole(token_id) in self._tokens):
            return True
        signed_out = self._users.get(user)
        return signed_out is not None and issued_at < signed_out.before_s

    def forget(self, now: float) -> int:
        """Drop what can void nothing any more; return how many."""
        over = [entry for entry in self if entry.until_s <= now]
        for entry in over:
            (self._users if entry.kind == "user" else self._tokens).pop(entry.subject)
        return len(over)
