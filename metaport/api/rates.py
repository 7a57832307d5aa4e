"""How often somebody may ask under `/api/`: one bucket a user, or an address without a token.

What is left is told in every answer, as draft-ietf-httpapi-ratelimit-headers has it:
`RateLimit-Policy: "rest";q=300;w=6` (so many in so many seconds) and `RateLimit: "rest";r=12;t=5`
(so many are left; it is full again in so many seconds). Who has none left waits `Retry-After`.
"""

import time

from aiohttp import web

from metaport.api.access import client_address, throttle
from metaport.api.forwarded import network_of
from metaport.api.operations import CLAIMS
from metaport.api.problems import Handler
from metaport.api.rest_limit import Standing
from metaport.api.services import SERVICES

PREFIX = "/api/"


STANDING = web.RequestKey("standing", Standing)


@web.middleware
async def limit(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Let a request under `/api/` wait its turn. Raises `Problem`: `rate-limited`."""
    services = request.app[SERVICES]
    if services.rest_limit is not None and request.path.startswith(PREFIX):
        claims = request.get(CLAIMS, None)
        # A user's id can look like an address; the two never share a bucket.
        key = (
            "address " + network_of(client_address(request, services.trusted))
            if claims is None
            else "user " + claims.user
        )
        request[STANDING] = standing = services.rest_limit.take(key, time.monotonic())
        throttle(standing.wait_s)
    return await handler(request)


def headers_of(request: web.Request) -> dict[str, str]:
    """Return what is told of the limit, nothing where there is none."""
    standing = request.get(STANDING, None)
    limited = request.app[SERVICES].rest_limit
    if standing is None or limited is None:
        return {}
    return {
        "RateLimit-Policy": limited.policy,
        "RateLimit": f'"rest";r={standing.left};t={standing.full_in_s}',
    }
