"""Sessions in a cookie, for pages that this server serves, and what keeps other sites out.

A cookie is `HttpOnly`, `SameSite=Lax`, and `Secure` under the prefix `__Host-` over TLS. A request
that changes something by it has to come from a page of this origin: browsers say so in
`Sec-Fetch-Site` (Fetch Metadata), older ones in `Origin`; one that says neither is refused. Reading
by it is not offered to other origins: CORS here never allows credentials.
"""

from aiohttp import web

from metaport.api.problems import Problem
from metaport.api.services import SERVICES, Services
from metaport.tokens import Claims

NAME = "metaport-session"
SECURE_NAME = f"__Host-{NAME}"
# A working day; then one signs in again.
TTL_S = 43_200
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


def cookie_of(request: web.Request) -> str | None:
    """Return the session cookie of a request; over TLS only the one that only TLS can set."""
    if not request.cookies:
        return None
    return request.cookies.get(SECURE_NAME if is_secure(request) else NAME)


def check_site(request: web.Request) -> None:
    """Refuse a change that another site's page has a browser make.

    Raises:
        Problem: `cross-site`.
    """
    if request.method in SAFE:
        return
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        if site == "same-origin":
            return
        raise Problem("cross-site")
    origin = request.headers.get("Origin")
    if origin is None or origin.partition("://")[2] != request.host:
        raise Problem("cross-site")


def set_cookie(request: web.Request, response: web.StreamResponse, claims: Claims) -> None:
    """Keep a session in the browser."""
    services: Services = request.app[SERVICES]
    secure = is_secure(request)
    response.set_cookie(
        SECURE_NAME if secure else NAME,
        services.tokens.mint_cookie(claims, ttl_s=TTL_S, now=services.clock()),
        max_age=TTL_S,
        path="/",
        secure=secure,
        httponly=True,
        samesite="Lax",
    )


def clear_cookie(request: web.Request, response: web.StreamResponse) -> None:
    """Have the browser forget its session."""
    secure = is_secure(request)
    response.del_cookie(
        SECURE_NAME if secure else NAME, path="/", secure=secure, httponly=True, samesite="Lax"
    )


def is_secure(request: web.Request) -> bool:
    """Tell whether the browser speaks TLS, to us or to a proxy in front of us."""
    config = request.app[SERVICES].config
    return config.http.tls != "off" or (config.oidc.redirect_uri or "").startswith("https://")
