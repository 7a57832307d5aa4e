"""Sign-in with OpenID Connect: the authorization code flow with PKCE (RFC 7636), as a client.

1. `new_attempt` makes what binds the way out to the way back: state, nonce and code verifier. They
   stay with the browser, sealed, so that any hub can finish what another began.
2. `authorization_url` is where the browser goes.
3. `OpenIdClient.exchange` turns the code that comes back into an ID token, over a connection of our
   own, and `read_id_token` says whom it speaks for.

Keys come from the provider's key set as in `metaport.jwks`; RS256 and EdDSA are taken, whatever a
token says. `iss` of the answer is held against the provider (RFC 9207).
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode, urlsplit

import aiohttp
import jwt

from metaport.config import Oidc
from metaport.jwks import ALGORITHMS, JwksKeys, KeyUndecided, KeyUnknown, PublicKey, parse

SCOPE = "openid profile email"
LEEWAY_S = 90.0
TIMEOUT_S = 10
DOCUMENT_BYTES = 256 * 1024
# Discovery and keys are read again so often; a key nobody knows sooner, but not each time.
REFRESH_S, INTERVAL_S = 3_600.0, 10.0


class OpenIdError(Exception):
    """The provider did not sign anybody in; the sentence is for the log."""


class Attempt(NamedTuple):
    """One way out and back; `return_to` is the path on this server where it ends."""

    state: str
    nonce: str
    verifier: str
    return_to: str


class Provider(NamedTuple):
    """What discovery tells of a provider."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str


class Subject(NamedTuple):
    """Whom an ID token speaks for; the email is one that the provider has verified."""

    issuer: str
    subject: str
    name: str | None
    email: str | None


def new_attempt(random: bytes, return_to: str) -> Attempt:
    """Return what binds an attempt; `random` has 96 bytes nobody can guess."""
    parts = [base64.urlsafe_b64encode(random[at : at + 32]).rstrip(b"=") for at in (0, 32, 64)]
    state, nonce, verifier = (part.decode() for part in parts)
    return Attempt(state, nonce, verifier, local_path(return_to))


def local_path(path: str) -> str:
    """Return a path on this server, `/` for anything that could lead elsewhere."""
    bare = path.isascii() and path.isprintable() and "\\" not in path
    return path if bare and path.startswith("/") and not path.startswith("//") else "/"


def authorization_url(provider: Provider, config: Oidc, attempt: Attempt) -> str:
    """Return where the browser is sent."""
    challenge = hashlib.sha256(attempt.verifier.encode()).digest()
    query = {
        "response_type": "code",
        "client_id": config.client_id,
        "redirect_uri": config.redirect_uri,
        "scope": SCOPE,
        "state": attempt.state,
        "nonce": attempt.nonce,
        "code_challenge": base64.urlsafe_b64encode(challenge).rstrip(b"=").decode(),
        "code_challenge_method": "S256",
    }
    joint = "&" if urlsplit(provider.authorization_endpoint).query else "?"
    return provider.authorization_endpoint + joint + urlencode(query)


def read_discovery(document: bytes, issuer: str) -> Provider:
    """Return what a discovery document tells (OpenID Connect Discovery 1.0, section 4.3).

    Raises:
        OpenIdError: it is none, or another issuer's.
    """
    try:
        told = json.loads(document)
        provider = Provider(**{name: str(told[name]) for name in Provider._fields})
    except (ValueError, KeyError, TypeError, RecursionError):
        raise OpenIdError("the discovery document cannot be read") from None
    if provider.issuer != issuer:
        raise OpenIdError(f"discovery tells of {provider.issuer!r}, not of {issuer!r}")
    return provider


def read_id_token(
    token: str, keys: JwksKeys, *, issuer: str, client_id: str, nonce: str, now: float
) -> Subject:
    """Return whom an ID token speaks for (OpenID Connect Core 1.0, section 3.1.3.7).

    Raises:
        OpenIdError: it is not for us, not of this attempt, or nobody's.
        KeyUndecided: its key may be known once the key set was read again.
    """
    try:
        header = jwt.get_unverified_header(token)
        algorithm, kid = header.get("alg"), header.get("kid")
        if algorithm not in ALGORITHMS or "crit" in header:
            raise OpenIdError(f"the ID token is signed with {algorithm!r}")
        key: PublicKey = keys.find(algorithm, kid, time.monotonic())
        body: dict[str, Any] = jwt.decode(token, key, [algorithm], options=_SIGNATURE_ONLY)
    except (jwt.PyJWTError, KeyUnknown, ValueError) as error:
        raise OpenIdError(f"the ID token cannot be verified: {error!r}") from None
    _check(body, issuer, client_id, nonce, now)
    email = body.get("email") if body.get("email_verified") is True else None
    return Subject(issuer, str(body["sub"]), _text(body.get("name")), _text(email))


# The claims are checked by the clock and the configuration of the caller.
_SIGNATURE_ONLY: Any = {"require": ["iss", "sub", "aud", "exp", "iat"]} | {
    f"verify_{claim}": False for claim in ("exp", "nbf", "iat", "aud", "iss", "sub", "jti")
}


def _check(body: Mapping[str, Any], issuer: str, client_id: str, nonce: str, now: float) -> None:
    audience = body["aud"] if isinstance(body["aud"], list) else [body["aud"]]
    if body["iss"] != issuer:
        raise OpenIdError("the ID token is of another issuer")
    if client_id not in audience:
        raise OpenIdError("the ID token is for another client")
    # With several audiences it has to say which of them asked for it.
    if (len(audience) > 1 or "azp" in body) and body.get("azp") != client_id:
        raise OpenIdError("the ID token was given to another client")
    if not hmac.compare_digest(str(body.get("nonce", "")).encode(), nonce.encode()):
        raise OpenIdError("the ID token is of another attempt")
    for claim in ("exp", "iat"):
        if isinstance(body[claim], bool) or not isinstance(body[claim], int | float):
            raise OpenIdError(f"{claim} of the ID token is no moment")
    if not (body["iat"] - LEEWAY_S <= now < body["exp"] + LEEWAY_S):
        raise OpenIdError("the ID token is of another time")
    if not isinstance(body["sub"], str) or not 0 < len(body["sub"]) <= 255:
        raise OpenIdError("the ID token names nobody")


def _encoded(text: str | None) -> str:
    return quote(text or "", safe="")


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


class OpenIdClient:
    """Speaks to one provider; discovery and keys are read when they are first needed."""

    def __init__(self, config: Oidc) -> None:
        assert config.issuer is not None
        self._config = config
        self._issuer = config.issuer
        self._keys = JwksKeys(REFRESH_S, INTERVAL_S)
        self._provider: Provider | None = None
        # One reading at a time.
        self._reading = asyncio.Lock()

    async def provider(self) -> Provider:
        """Return what the provider tells of itself. Raises `OpenIdError`."""
        async with self._reading:
            if self._provider is None:
                where = self._issuer.rstrip("/") + "/.well-known/openid-configuration"
                self._provider = read_discovery(await self._ask(where), self._issuer)
            return self._provider

    async def exchange(self, code: str, attempt: Attempt, now: float) -> Subject:
        """Turn the code of an attempt into whom it speaks for. Raises `OpenIdError`."""
        provider = await self.provider()
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self._config.redirect_uri or "",
            "code_verifier": attempt.verifier,
            "client_id": self._config.client_id or "",
        }
        answer = await self._ask(provider.token_endpoint, form)
        try:
            token = str(json.loads(answer)["id_token"])
        except (ValueError, KeyError, TypeError, RecursionError):
            raise OpenIdError("the token endpoint gave no ID token") from None
        if self._keys.due(time.monotonic()):
            await self._read_keys(provider)
        try:
            return self._read(token, attempt, now)
        except KeyUndecided:
            await self._read_keys(provider)
        try:
            return self._read(token, attempt, now)
        except KeyUndecided:
            raise OpenIdError("the key of the ID token is not known") from None

    def _read(self, token: str, attempt: Attempt, now: float) -> Subject:
        return read_id_token(
            token,
            self._keys,
            issuer=self._issuer,
            client_id=self._config.client_id or "",
            nonce=attempt.nonce,
            now=now,
        )

    async def _read_keys(self, provider: Provider) -> None:
        asked_at = time.monotonic()
        try:
            keys = parse(await self._ask(provider.jwks_uri))
        except ValueError as error:
            raise OpenIdError(str(error)) from None
        self._keys.receive(keys, asked_at, time.monotonic())

    async def _ask(self, where: str, form: dict[str, str] | None = None) -> bytes:
        headers = {"Accept": "application/json"}
        if form is not None and self._config.client_secret is not None:
            # RFC 6749, section 2.3.1: both are form-encoded first.
            pair = f"{_encoded(self._config.client_id)}:{_encoded(self._config.client_secret)}"
            headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.request(
                    "GET" if form is None else "POST",
                    where,
                    data=form,
                    headers=headers,
                    allow_redirects=False,
                ) as answer,
            ):
                document = b""
                while chunk := await answer.content.read(DOCUMENT_BYTES + 1 - len(document)):
                    document += chunk
                    if len(document) > DOCUMENT_BYTES:
                        raise OpenIdError(f"{where} answers too much")
                if answer.status != 200:
                    raise OpenIdError(f"{where} answers {answer.status}: {document[:200]!r}")
                return document
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            raise OpenIdError(f"{where}: {error or type(error).__name__}") from None
