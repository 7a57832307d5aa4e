"""Access and refresh tokens: JWTs signed with HS256 (RFC 7519, RFC 7518 section 3.2).

A platform's own backend may mint access tokens with the same secret: `sub` and `exp` are needed,
`name`, `roles`, `rooms` (what may be entered, see `chatd.grants`; absent means any room) and
`subscribe` (rooms one is in without asking) are optional.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import jwt

from chatd.grants import Grants, read_grants, read_subscriptions
from metaport.secret_files import signing_secret

__all__ = ["Claims", "TokenError", "TokenExpired", "TokenInvalid", "Tokens", "signing_secret"]

ALGORITHM = "HS256"
NAME_CHARACTERS = 128
ACCESS, REFRESH = "access", "refresh"


class TokenError(Exception):
    """A token cannot be accepted.

    TokenError
    ├── TokenInvalid   not one of ours, or it says what it must not
    └── TokenExpired   it was one of ours
    """


class TokenInvalid(TokenError):
    """The token is not signed by us or carries something it must not."""


class TokenExpired(TokenError):
    """The token's time is over; a refresh token gets a new one."""


@dataclass(frozen=True)
class Claims:
    """Say who a token speaks for; `rooms` are grants, `None` is any room."""

    user: str
    name: str
    roles: frozenset[str]
    rooms: Grants
    expires_at: float
    subscriptions: tuple[str, ...] = ()


class Tokens:
    """Mint and verify tokens under one secret. Times are seconds since the Unix epoch."""

    def __init__(self, secret: str | bytes) -> None:
        self._secret = secret.encode() if isinstance(secret, str) else secret

    def mint(
        self,
        user: str,
        name: str | None = None,
        *,
        roles: Collection[str] = (),
        rooms: Collection[str] | None = None,
        ttl_s: float,
        now: float | None = None,
    ) -> str:
        """Return an access token.

        Raises:
            ValueError: `user` or `name` is not fit to show, or a room is not a pattern.
        """
        return self._sign(_body(user, name, roles, rooms), ttl_s, now)

    def mint_refresh(
        self,
        user: str,
        name: str | None = None,
        *,
        roles: Collection[str] = (),
        rooms: Collection[str] | None = None,
        ttl_s: float,
        now: float | None = None,
    ) -> str:
        """Return a refresh token: good for new tokens, never for access."""
        return self._sign(_body(user, name, roles, rooms) | {"use": REFRESH}, ttl_s, now)

    def verify(self, token: str, now: float) -> Claims:
        """Return what an access token claims. Raises `TokenInvalid`, `TokenExpired`."""
        return self._verify(ACCESS, token, now)

    def verify_refresh(self, token: str, now: float) -> Claims:
        """Return what a refresh token claims. Raises `TokenInvalid`, `TokenExpired`."""
        return self._verify(REFRESH, token, now)

    def _sign(self, body: dict[str, Any], ttl_s: float, now: float | None) -> str:
        issued_at = time.time() if now is None else now
        body |= {"iat": int(issued_at), "exp": int(issued_at + ttl_s)}
        return jwt.encode(body, self._secret, ALGORITHM)

    def _verify(self, use: str, token: str, now: float) -> Claims:
        # The clock is the caller's, so PyJWT checks the signature and nothing of time.
        options: Any = {"require": ["sub", "exp"], "verify_exp": False, "verify_nbf": False}
        options |= {"verify_iat": False, "verify_aud": False}
        try:
            body = jwt.decode(token, self._secret, [ALGORITHM], options=options)
            claims = _claims(body)
            used = body.get("use", ACCESS)
        except (jwt.PyJWTError, ValueError, UnicodeError) as error:
            raise TokenInvalid(str(error)) from None
        if used != use:
            raise TokenInvalid(f"a token for {use} is needed")
        if now >= claims.expires_at:
            raise TokenExpired("the token has expired")
        return claims


def _body(
    user: str, name: str | None, roles: Collection[str], rooms: Collection[str] | None
) -> dict[str, Any]:
    body: dict[str, Any] = {
        "sub": _shown(user),
        "name": _shown(name or user),
        "roles": sorted(roles),
        "jti": secrets.token_urlsafe(9),
    }
    if rooms is None:
        return body
    read_grants(list(rooms))
    return body | {"rooms": list(rooms)}


def _claims(body: Mapping[str, Any]) -> Claims:
    user, expires_at = body["sub"], body["exp"]
    if isinstance(expires_at, bool) or not isinstance(expires_at, int | float):
        raise ValueError("exp is not a number")
    rooms = body.get("rooms")
    return Claims(
        user=_shown(user),
        name=_shown(body.get("name", user)),
        roles=frozenset(_texts("roles", body.get("roles", []))),
        rooms=None if rooms is None else read_grants(rooms),
        expires_at=float(expires_at),
        subscriptions=read_subscriptions(body.get("subscribe", [])),
    )


def _texts(claim: str, value: object) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError(f"{claim} is not a list of texts")
    return value


def _shown(value: object) -> str:
    if not isinstance(value, str) or not value.isprintable() or not value.strip():
        raise ValueError("a user or name is not printable text")
    if len(value) > NAME_CHARACTERS:
        raise ValueError(f"a user or name is longer than {NAME_CHARACTERS} characters")
    return value
