"""The keys of apps: with which a platform's own backend signs tokens for its users.

A key is of one app and of one algorithm, and what it signs is bound to that app (`bind`): users and
rooms are the app's, and no role of staff can be given. HS256 secrets are derived from a key in the
secrets directory, so that the database alone mints nothing; for EdDSA and RS256 the backend keeps
its private key and gives the public one.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import logging
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from metaport.jwks import PublicKey, parse

logger = logging.getLogger(__name__)

DEFAULT_APP = "default"
KEY_PREFIX = "ak_"
HS256 = "HS256"
# Of the roles there are; the others are given to accounts, by two people (`metaport.duties`).
APP_ROLES = frozenset({"visitor", "member", "host", "moderator", "guest", "listener"})
# What a backend could otherwise pass somebody off as.
RESERVED_USERS = frozenset({"admin"})
RESERVED_PREFIXES = ("guest-", "console:")


class AppKey(msgspec.Struct, frozen=True):
    """A key; `public` is its JWK, None for HS256. After `ends_at_s` it is void."""

    id: str
    app: str
    algorithm: str
    public: str | None
    created_at_s: int
    ends_at_s: int | None = None


class AppKeySecrets:
    """The secrets of HS256 keys, derived from one key of this installation; none is stored."""

    def __init__(self, key: str) -> None:
        self._key = key.encode()

    def of(self, app: str, key_id: str) -> str:
        """Return the secret of a key, as a backend is given it: 43 characters, 256 bits."""
        message = f"app key\0{app}\0{key_id}".encode()
        derived = hmac.new(self._key, message, hashlib.sha256).digest()
        return base64.urlsafe_b64encode(derived).decode().rstrip("=")


class AppKeyBook:
    """The keys that one process knows; `away` until it has heard of any."""

    def __init__(self, secrets: AppKeySecrets) -> None:
        self._secrets = secrets
        self._keys: dict[str, AppKey] = {}
        self._verifying: dict[str, str | PublicKey] = {}
        self.away = True

    def __iter__(self) -> Iterator[AppKey]:
        return iter(self._keys.values())

    def take(self, keys: Iterable[AppKey]) -> None:
        """Know exactly these from now on."""
        self._keys = {key.id: key for key in keys}
        self._verifying = {key.id: self._open(key) for key in self._keys.values()}
        self.away = False

    def get(self, key_id: str) -> tuple[AppKey, str | PublicKey] | None:
        """Return a key and what verifies with it; void ones too."""
        key = self._keys.get(key_id)
        return None if key is None else (key, self._verifying[key_id])

    def _open(self, key: AppKey) -> str | PublicKey:
        if key.public is None:
            return self._secrets.of(key.app, key.id)
        return public_key(key.algorithm, key.public)


def public_key(algorithm: str, jwk: str) -> PublicKey:
    """Return the public key of a JWK.

    Raises:
        ValueError: it is none for this algorithm, weak, or a private one.
    """
    try:
        entry = json.loads(jwk)
    except (ValueError, RecursionError):
        raise ValueError("the key is not a JWK (RFC 7517)") from None
    found = parse(json.dumps({"keys": [entry]}).encode())
    if len(found) != 1 or found[0].algorithm != algorithm:
        raise ValueError(f"the key is no public JWK for {algorithm}, or it is too short")
    return found[0].public


def bind(body: Mapping[str, Any], key: AppKey) -> dict[str, Any]:
    """Return what a token signed with a key of an app claims, in that app.

    Users of another app than the default one are named `app:user`, and so are its rooms; without
    grants all of its rooms are meant.

    Raises:
        ValueError: it claims what an app cannot give.
    """
    user, roles = body["sub"], body.get("roles", [])
    if not isinstance(user, str):
        raise ValueError("sub is not a text")
    rooms, subscribed = body.get("rooms", []), body.get("subscribe", [])
    if not isinstance(rooms, list) or not isinstance(subscribed, list):
        raise ValueError("rooms or subscribe is not a list")
    if not isinstance(roles, list) or not APP_ROLES.issuperset(map(str, roles)):
        raise ValueError("an app cannot give this role")
    if user in RESERVED_USERS or user.startswith(RESERVED_PREFIXES):
        raise ValueError("an app cannot name this user")
    jti = body.get("jti", "")
    bound = {**body, "app": key.app, "jti": f"{key.id}.{jti}"}
    bound.pop("sid", None)
    if key.app == DEFAULT_APP:
        # `gumi:hong` is a user of the app `gumi`.
        if ":" in user:
            raise ValueError("a user of the default app has no colon in the id")
        return bound
    prefix = f"{key.app}:"
    bound["name"] = body.get("name", user)
    bound["sub"] = user if user.startswith(prefix) else prefix + user
    bound["rooms"] = body.get("rooms", [f"{prefix}*", f"{prefix}*/**"])
    named = [*bound["rooms"], *subscribed]
    if not all(_room_of(entry).startswith(prefix) for entry in named):
        raise ValueError("an app grants its own rooms only")
    return bound


def _room_of(entry: object) -> str:
    return str(entry.get("room") if isinstance(entry, dict) else entry)
