"""Who is asking: bearer tokens, roles, and the address behind trusted proxies."""

import math
from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address

from aiohttp import web

from metaport.api.problems import Problem
from metaport.tokens import (
    Claims,
    TokenError,
    TokenExpired,
    TokenRevoked,
    Tokens,
    TokenUndecided,
)

Networks = Sequence[IPv4Network | IPv6Network]


def bearer(request: web.Request) -> str:
    """Return the bearer token of a request (RFC 6750 §2.1).

    Raises:
        Problem: `no-token` where there is none.
    """
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Problem("no-token")
    return token.strip()


def require(request: web.Request, tokens: Tokens, now: float, *roles: str) -> Claims:
    """Verify the bearer token and, where roles are named, that it holds one of them.

    Raises:
        Problem: `no-token`, `bad-token`, `token-expired`, `token-revoked`, `token-undecided`,
            `forbidden`.
    """
    token = bearer(request)
    try:
        claims = tokens.verify(token, now)
    except TokenError as error:
        raise refusal(error) from None
    if roles and not claims.roles & set(roles):
        raise Problem("forbidden", needs=sorted(roles))
    return claims


def refusal(error: TokenError) -> Problem:
    """Return what a token that is not accepted is answered with."""
    match error:
        case TokenExpired():
            return Problem("token-expired")
        case TokenRevoked():
            return Problem("token-revoked")
        case TokenUndecided():
            return Problem("token-undecided", retry_after_s=math.ceil(error.retry_after_s))
    return Problem("bad-token")


def client_address(request: web.Request, trusted: Networks) -> str:
    """Return the address of the client: the last hop that is not a trusted proxy.

    `X-Forwarded-For` is believed from the right, one trusted hop at a time, so that a client
    cannot choose its own address by sending the header itself.
    """
    hop = request.remote or ""
    forwarded = [h.strip() for h in request.headers.get("X-Forwarded-For", "").split(",")]
    while forwarded and forwarded[-1] and _within(hop, trusted):
        hop = forwarded.pop()
    return hop


def _within(address: str, networks: Networks) -> bool:
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    return any(parsed in network for network in networks)


def throttle(wait_s: float) -> None:
    """Refuse a request whose address has to wait. Raises `Problem`: `rate-limited`."""
    if wait_s > 0:
        raise Problem("rate-limited", retry_after_s=math.ceil(wait_s))
