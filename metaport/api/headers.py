"""What every response carries: request id, security headers, CORS for allowed origins."""

from collections.abc import Sequence
from typing import Any

from aiohttp import web

from metaport import request_id
from metaport.api import rates
from metaport.api.operations import operation_of
from metaport.api.problems import REQUEST_ID, Handler, request_id_of

# No inline script or style anywhere, so no 'unsafe-inline'. `connect-src` names ws: and wss:
# because older Safari does not count them under 'self'.
CONTENT_SECURITY_POLICY = (
    "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "media-src 'self' blob:; connect-src 'self' ws: wss:; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors {ancestors}"
)
PERMISSIONS_POLICY = (
    "microphone=(self), camera=(self), display-capture=(self), geolocation=(), payment=(), usb=()"
)
# What a browser application of another origin (Unity WebGL) may send and read.
ALLOWED_METHODS = "GET, POST, PUT, PATCH, DELETE, OPTIONS"
ALLOWED_HEADERS = (
    "Authorization, Content-Type, If-Match, If-None-Match, Accept-Language, Idempotency-Key, "
    "X-Request-Id"
)
EXPOSED_HEADERS = (
    "Location, ETag, Link, Retry-After, X-Request-Id, RateLimit, RateLimit-Policy, "
    "Idempotency-Replayed, Deprecation, Sunset"
)


def origin_allowed(origin: str, host: str, allowed: Sequence[str]) -> bool:
    """Tell whether a browser page of `origin` may use this server.

    Its own origin always may; `*` in the list admits every origin.
    """
    if origin.split("://", 1)[-1] == host:
        return True
    return "*" in allowed or origin in allowed


def secure(origins: Sequence[str], frame_ancestors: Sequence[str], tls: bool) -> Any:
    """Make the middleware that adds the headers and answers CORS preflights."""
    policy = CONTENT_SECURITY_POLICY.format(ancestors=" ".join(frame_ancestors) or "'self'")

    def add(request: web.Request, headers: Any) -> None:
        headers.setdefault("X-Request-Id", request_id_of(request))
        headers.update(rates.headers_of(request))
        operation = operation_of(request)
        if operation is not None and operation.deprecated is not None:
            headers.update(operation.deprecated.headers)
        headers.setdefault("Content-Security-Policy", policy)
        headers.setdefault("Permissions-Policy", PERMISSIONS_POLICY)
        headers.setdefault("X-Content-Type-Options", "nosniff")
        headers.setdefault("Referrer-Policy", "same-origin")
        headers.setdefault("Cache-Control", "no-store")
        if tls:
            headers.setdefault("Strict-Transport-Security", "max-age=31536000")
        origin = request.headers.get("Origin")
        if origin and origin_allowed(origin, request.host, origins):
            headers["Access-Control-Allow-Origin"] = origin
            headers["Access-Control-Expose-Headers"] = EXPOSED_HEADERS
            headers.add("Vary", "Origin")

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        request[REQUEST_ID] = named = request_id.accepted(request.headers.get("X-Request-Id"))
        # A connection's requests follow each other in one task: the next one sets its own.
        request_id.CURRENT.set(named)
        if request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers:
            response: web.StreamResponse = web.Response(status=204)
            response.headers["Access-Control-Allow-Methods"] = ALLOWED_METHODS
            response.headers["Access-Control-Allow-Headers"] = ALLOWED_HEADERS
            response.headers["Access-Control-Max-Age"] = "600"
        else:
            response = await handler(request)
        if not response.prepared:
            add(request, response.headers)
        return response

    return middleware
