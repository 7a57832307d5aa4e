"""Who is asking: bearer tokens, and the address behind trusted proxies.

What a token permits is said by `metaport.api.operations`.
"""

import math

from aiohttp import web

from metaport.api.cookies import check_site, cookie_of
from metaport.api.forwarded import Proxies
from metaport.api.problems import Problem
from metaport.api.services import SERVICES
from metaport.tokens import (
    Claims,
    TokenError,
    TokenExpired,
    TokenInvalid,
    TokenRevoked,
    TokenUndecided,
)


def bearer(request: web.Request) -> str:
    """Return the bearer token of a request (RFC 6750 §2.1).

    Raises:
        Problem: `no-token` where there is none.
    """
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Problem("no-token")
    return token.strip()


def authenticated(request: web.Request) -> Claims:
    """Verify the bearer token of a request, or its cookie where it has none.

    Raises:
        Problem: `no-token`, `bad-token`, `token-expired`, `token-revoked`, `token-undecided`,
            `rate-limited`, `cross-site`.
    """
    services = request.app[SERVICES]
    try:
        if "Authorization" not in request.headers and (cookie := cookie_of(request)) is not None:
            check_site(request)
            return services.tokens.verify_cookie(cookie, services.clock())
        return services.tokens.verify(bearer(request), services.clock())
    except TokenError as error:
        strike(request, error)
        raise refusal(error) from None


def strike(request: web.Request, error: TokenError) -> None:
    """Count a token nobody signed against the address it came from; good ones never wait for it.

    Raises:
        Problem: `rate-limited`.
    """
    if isinstance(error, TokenInvalid):
        services = request.app[SERVICES]
        throttle(services.wait_for_bad_token(client_address(request, services.trusted)))


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


def client_address(request: web.Request, proxies: Proxies) -> str:
    """Return the address of the client behind trusted proxies."""
    return proxies.client_of(request.remote or "", request.headers.getall(proxies.header, ()))


def throttle(wait_s: float) -> None:
    """Refuse a request whose address has to wait. Raises `Problem`: `rate-limited`."""
    if wait_s > 0:
        raise Problem("rate-limited", retry_after_s=math.ceil(wait_s))
