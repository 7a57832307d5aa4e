"""Access and refresh tokens: JWTs (RFC 7519) of this server and of those it trusts.

- HS256 (RFC 7518, section 3.2) with the server's secrets: the first signs, the former ones still
  verify. A platform's own backend may mint with the same secret.
- EdDSA (RFC 8037) and RS256 with the public keys of another signer (`metaport.jwks`).
- Any of them with the key of an app (`metaport.app_keys`), which binds the token to that app.

The algorithm decides which keys are looked at and a key is good for one algorithm only, so none
can be taken for another's. `sub` and `exp` are needed; `name`, `roles`, `rooms` (what may be
entered, see `chatd.grants`; absent means any room) and `subscribe` (rooms one is in without asking)
are optional, `jti` and `iat` are what a revocation goes by. What is minted for a session has its id
as `sid`, and a `jti` that begins with it, so that the end of a session is one revocation.
"""

from __future__ import annotations

import hashlib
import math
import secrets
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import jwt

from chatd.grants import Grants, read_grants, read_subscriptions
from metaport.app_keys import DEFAULT_APP, KEY_PREFIX, AppKeyBook, bind
from metaport.jwks import ALGORITHMS, KeyUndecided, KeyUnknown, PublicKey
from metaport.secret_files import signing_secret

__all__ = [
    "Claims",
    "TokenError",
    "TokenExpired",
    "TokenInvalid",
    "TokenRevoked",
    "TokenUndecided",
    "Tokens",
    "signing_secret",
]

ALGORITHM = "HS256"
NAME_CHARACTERS = 128
# A server that keeps no time is a minute off before somebody notices, rarely more.
LEEWAY_S = 90.0
# A third of what a read over HTTP takes went into opening a token seen just before (py-spy). A
# backend has few tokens; in a storm of joins each is new, and the oldest makes room.
REMEMBERED, REMEMBERED_CHARACTERS = 1_000, 2_048
# A cookie is an access token that only a browser of ours sends (`metaport.api.cookies`).
ACCESS, REFRESH, COOKIE = "access", "refresh", "cookie"
# Claims that nobody makes but this server.
_OURS = frozenset({"app", "sid", "turn"})
# What `verify_…` would check by a clock of its own; here the clock is the caller's.
_SIGNATURE_ONLY: Any = {"require": ["sub", "exp"]} | {
    f"verify_{claim}": False for claim in ("exp", "nbf", "iat", "aud", "iss", "sub", "jti")
}


class TokenError(Exception):
    """A token cannot be accepted.

    TokenError
    ├── TokenInvalid     not one of ours, or it says what it must not
    │   └── TokenRevoked   it was one of ours and was taken back
    ├── TokenExpired     it was one of ours
    └── TokenUndecided   its signer's key is not known yet
    """


class TokenInvalid(TokenError):
    """The token is not signed by us or carries something it must not."""


class TokenRevoked(TokenInvalid):
    """The token was taken back before its time."""


class TokenExpired(TokenError):
    """The token's time is over; a refresh token gets a new one."""


class TokenUndecided(TokenError):
    """The key of the token may be known in `retry_after_s`."""

    def __init__(self, retry_after_s: float) -> None:
        self.retry_after_s = retry_after_s
        super().__init__("the key of the token is not known yet")


@dataclass(frozen=True)
class Claims:
    """Say who a token speaks for; `rooms` are grants, `None` is any room.

    `issued_at` is 0 for a token that does not tell.
    """

    user: str
    name: str
    roles: frozenset[str]
    rooms: Grants
    expires_at: float
    subscriptions: tuple[str, ...] = ()
    token_id: str | None = field(default=None, compare=False)
    issued_at: float = field(default=0.0, compare=False)
    app: str = DEFAULT_APP
    session: str | None = field(default=None, compare=False)
    """The session it was minted for, None for a token that somebody else signed."""
    turn: int = field(default=0, compare=False)
    """Of a refresh token: see `metaport.session_turns`."""


_Opened = tuple[Claims, Mapping[str, Any], float]


class PublicKeys(Protocol):
    """Keys of other signers; `metaport.jwks.JwksKeys` is one."""

    def find(self, algorithm: str, kid: str | None, now: float) -> PublicKey:
        """Return a key; `now` is monotonic. Raises `KeyUnknown`, `KeyUndecided` of `jwks`."""


@dataclass(frozen=True)
class Trust:
    """What is asked of tokens that this server did not mint.

    `leeway_s` is how far the clocks of their signers may be off. Where `issuer` or `audience` is
    set, a token verified with a public key must say the same.
    """

    public: PublicKeys | None = None
    leeway_s: float = LEEWAY_S
    issuer: str | None = None
    audience: str | None = None


class Tokens:
    """Mint and verify tokens. Times are seconds since the Unix epoch.

    Args:
        secret: signs, and verifies.
        former: verify only; tokens they signed hold to their end.
        revoked: says of a verified token whether it was taken back.
        apps: the keys of apps; without them their tokens are nobody's.
    """

    def __init__(
        self,
        secret: str | bytes,
        *,
        former: Sequence[str | bytes] = (),
        trust: Trust | None = None,
        revoked: Callable[[Claims], bool] = lambda _: False,
        apps: AppKeyBook | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._trust = trust or Trust()
        self._revoked = revoked
        self._apps = apps
        self._monotonic = monotonic
        self.use_secrets(secret, former)

    def use_secrets(self, secret: str | bytes, former: Sequence[str | bytes] = ()) -> None:
        """Sign with `secret` from now on, and verify with `former` besides."""
        known = [s.encode() if isinstance(s, str) else s for s in (secret, *former)]
        self._secrets = {_fingerprint(each): each for each in known}
        self._signing_kid = _fingerprint(known[0])
        # What these secrets have verified; what they have not is looked at each time.
        self._read_before: dict[str, _Opened] = {}

    def mint(
        self,
        user: str,
        name: str | None = None,
        *,
        roles: Collection[str] = (),
        rooms: Collection[str] | None = None,
        app: str = DEFAULT_APP,
        session: str | None = None,
        ttl_s: float,
        now: float | None = None,
    ) -> str:
        """Return an access token.

        Raises:
            ValueError: `user` or `name` is not fit to show, or a room is not a pattern.
        """
        return self._sign(_body(user, name, roles, rooms) | _place(app, session), ttl_s, now)

    def mint_refresh(
        self,
        user: str,
        name: str | None = None,
        *,
        roles: Collection[str] = (),
        rooms: Collection[str] | None = None,
        app: str = DEFAULT_APP,
        session: str | None = None,
        turn: int = 0,
        ttl_s: float,
        now: float | None = None,
    ) -> str:
        """Return a refresh token: good for new tokens, never for access."""
        body = _body(user, name, roles, rooms) | _place(app, session) | {"use": REFRESH}
        return self._sign(body | ({"turn": turn} if turn else {}), ttl_s, now)

    def seal(self, use: str, body: Mapping[str, Any], *, ttl_s: float, now: float) -> str:
        """Return a token that says something to this installation itself, for one use."""
        return self._sign({"sub": use, **body, "use": use}, ttl_s, now)

    def unseal(self, use: str, token: str, now: float) -> dict[str, Any]:
        """Return what was sealed for a use. Raises `TokenError`."""
        try:
            header = jwt.get_unverified_header(token)
            secret = self._secrets.get(str(header.get("kid")))
            if secret is None:
                raise TokenInvalid("not sealed here")
            body: dict[str, Any] = _decode(token, secret, ALGORITHM)
            ends_at = _moment(body, "exp")
        except (jwt.PyJWTError, ValueError, UnicodeError) as error:
            raise TokenInvalid(str(error)) from None
        if body.get("use") != use:
            raise TokenInvalid("sealed for another use")
        if now >= ends_at:
            raise TokenExpired("what was sealed is over")
        return body

    def verify(self, token: str, now: float) -> Claims:
        """Return what an access token claims. Raises `TokenError`."""
        return self._verify(ACCESS, token, now)

    def mint_cookie(self, claims: Claims, *, ttl_s: float, now: float) -> str:
        """Return what a browser keeps of a session."""
        body = _body(claims.user, claims.name, claims.roles, None)
        return self._sign(body | _place(claims.app, claims.session) | {"use": COOKIE}, ttl_s, now)

    def verify_cookie(self, token: str, now: float) -> Claims:
        """Return what a cookie claims. Raises `TokenError`."""
        return self._verify(COOKIE, token, now)

    def verify_refresh(self, token: str, now: float) -> Claims:
        """Return what a refresh token claims. Raises `TokenError`."""
        return self._verify(REFRESH, token, now)

    def inspect(self, token: str, now: float) -> Claims:
        """Return what any token of ours claims, expired or revoked ones too, to revoke it.

        Raises:
            TokenInvalid, TokenUndecided
        """
        return self._read(token, now)[0]

    def _sign(self, body: dict[str, Any], ttl_s: float, now: float | None) -> str:
        issued_at = time.time() if now is None else now
        # Milliseconds: whoever signs in again right after a revocation has a later token.
        body |= {"iat": round(issued_at, 3), "exp": int(issued_at + ttl_s)}
        secret = self._secrets[self._signing_kid]
        return jwt.encode(body, secret, ALGORITHM, headers={"kid": self._signing_kid})

    def _verify(self, use: str, token: str, now: float) -> Claims:
        claims, body, leeway_s = self._read(token, now)
        if body.get("use", ACCESS) != use:
            raise TokenInvalid(f"a token for {use} is needed")
        if now + self._trust.leeway_s < _moment(body, "nbf"):
            raise TokenInvalid("the token is not valid yet")
        if now >= claims.expires_at + leeway_s:
            raise TokenExpired("the token has expired")
        if self._revoked(claims):
            raise TokenRevoked("the token was revoked")
        if now >= claims.expires_at:
            # By its signer's clock it has not expired yet.
            return replace(claims, expires_at=claims.expires_at + leeway_s)
        return claims

    def _read(self, token: str, now: float) -> _Opened:
        """Check the signature; return the claims, the body, and the leeway of its signer."""
        if (before := self._read_before.get(token)) is not None:
            return before
        try:
            header = jwt.get_unverified_header(token)
            if (kid := _app_key(header)) is not None:
                body, leeway_s = self._open_of_app(token, header, kid, now), self._trust.leeway_s
            else:
                body, leeway_s = self._open(token, header)
            opened = _claims(body), body, leeway_s
            # Other keys may be taken back at any time: only those of `use_secrets` are told.
            if kid is None and header.get("alg") == ALGORITHM:
                self._remember(token, opened)
            return opened
        except KeyUndecided as undecided:
            raise TokenUndecided(undecided.retry_after_s) from None
        except (jwt.PyJWTError, KeyUnknown, ValueError, UnicodeError, OverflowError) as error:
            raise TokenInvalid(str(error) or "the key is not known") from None

    def _remember(self, token: str, opened: _Opened) -> None:
        if len(token) > REMEMBERED_CHARACTERS:
            return
        if len(self._read_before) >= REMEMBERED:
            del self._read_before[next(iter(self._read_before))]
        self._read_before[token] = opened

    def _open(self, token: str, header: Mapping[str, Any]) -> tuple[dict[str, Any], float]:
        algorithm, kid = header.get("alg"), header.get("kid")
        if "crit" in header:  # RFC 7515, section 4.1.11: we understand no extension
            raise ValueError("the token asks for an extension")
        if algorithm == ALGORITHM:
            own = self._secrets.get(kid) if isinstance(kid, str) else None
            if own is not None:
                # Minted here: its life was told by this installation's clocks.
                return _decode(token, own, ALGORITHM), 0.0
            return self._open_shared(token), self._trust.leeway_s
        if algorithm not in ALGORITHMS or self._trust.public is None:
            raise ValueError("the token is signed in a way that is not accepted here")
        key = self._trust.public.find(algorithm, kid, self._monotonic())
        body = _decode(token, key, algorithm)
        if body.get("use") == REFRESH:
            raise ValueError("refresh tokens are minted here only")
        if body.get("use") == COOKIE:
            raise ValueError("cookies are minted here only")
        self._check_parties(body)
        return {claim: body[claim] for claim in body if claim not in _OURS}, self._trust.leeway_s

    def _open_of_app(
        self, token: str, header: Mapping[str, Any], kid: str, now: float
    ) -> dict[str, Any]:
        if "crit" in header:
            raise ValueError("the token asks for an extension")
        found = None if self._apps is None else self._apps.get(kid)
        if found is None:
            if self._apps is not None and self._apps.away:
                raise TokenUndecided(1.0)
            raise ValueError("the key is of no app")
        key, verifying = found
        if key.ends_at_s is not None and now >= key.ends_at_s:
            raise TokenRevoked("the key of the app is void")
        body = _decode(token, verifying, key.algorithm)
        if "use" in body:
            raise ValueError("an app signs access tokens only")
        return bind(body, key)

    def _open_shared(self, token: str) -> dict[str, Any]:
        """Open a token of a backend that has one of our secrets but does not name it."""
        for secret in self._secrets.values():
            try:
                return _decode(token, secret, ALGORITHM)
            except jwt.InvalidSignatureError:
                continue
        raise ValueError("nobody here has signed the token")

    def _check_parties(self, body: Mapping[str, Any]) -> None:
        """Refuse what another service was meant to get (RFC 7519, sections 4.1.1 and 4.1.3)."""
        if self._trust.issuer is not None and body.get("iss") != self._trust.issuer:
            raise ValueError("another issuer")
        audience = body.get("aud")
        meant = audience if isinstance(audience, list) else [audience]
        if self._trust.audience is not None and self._trust.audience not in meant:
            raise ValueError("another audience")


def _app_key(header: Mapping[str, Any]) -> str | None:
    """Return the id of the app's key that a token says it is signed with."""
    kid = header.get("kid")
    return kid if isinstance(kid, str) and kid.startswith(KEY_PREFIX) else None


def _decode(token: str, key: Any, algorithm: str) -> dict[str, Any]:
    return jwt.decode(token, key, [algorithm], options=_SIGNATURE_ONLY)


def _fingerprint(secret: bytes) -> str:
    """Name a secret without telling anything of it."""
    return hashlib.sha256(b"metaport token key\0" + secret).hexdigest()[:16]


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


def _place(app: str, session: str | None) -> dict[str, Any]:
    """Return the claims that say of which app and session a token is."""
    place: dict[str, Any] = {} if app == DEFAULT_APP else {"app": app}
    if session is not None:
        place |= {"sid": session, "jti": f"{session}.{secrets.token_urlsafe(6)}"}
    return place


def _claims(body: Mapping[str, Any]) -> Claims:
    user = body["sub"]
    rooms = body.get("rooms")
    token_id = body.get("jti")
    if token_id is not None and not (isinstance(token_id, str) and token_id):
        raise ValueError("jti is not a text")
    return Claims(
        user=_shown(user),
        name=_shown(body.get("name", user)),
        roles=frozenset(_texts("roles", body.get("roles", []))),
        rooms=None if rooms is None else read_grants(rooms),
        expires_at=_moment(body, "exp"),
        subscriptions=read_subscriptions(body.get("subscribe", [])),
        token_id=token_id,
        issued_at=_moment(body, "iat"),
        app=_text("app", body.get("app", DEFAULT_APP)),
        session=None if body.get("sid") is None else _text("sid", body["sid"]),
        turn=int(_moment(body, "turn")),
    )


def _moment(body: Mapping[str, Any], claim: str) -> float:
    """Return a NumericDate (RFC 7519, section 2), 0 where there is none."""
    moment = body.get(claim, 0)
    if isinstance(moment, bool) or not isinstance(moment, int | float):
        raise ValueError(f"{claim} is not a number")
    if not math.isfinite(moment):  # JSON has no NaN, but Python's decoder takes it
        raise ValueError(f"{claim} is no moment")
    return float(moment)


def _text(claim: str, value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{claim} is not a text")
    return value


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
