"""Lay the routes over the services."""

from aiohttp import web

from metaport import tls
from metaport.api import (
    accounts,
    headers,
    health,
    history,
    media,
    openapi,
    pages,
    problems,
    revocation,
    rooms,
    usage,
    webhooks,
    whip,
)
from metaport.api.bodies import respond
from metaport.api.services import SERVICES, Services

# The largest REST body is an SDP offer with many m-lines (about 60 KiB seen with 30).
BODY_BYTES = 256 * 1024


async def describe(_: web.Request) -> web.Response:
    """Return the OpenAPI document."""
    return respond(openapi.build())


def build_app(services: Services) -> web.Application:
    """Build the application of one hub process."""
    config = services.config
    secure = headers.secure(
        config.http.origins, config.http.frame_ancestors, config.http.tls != "off"
    )
    app = web.Application(middlewares=[secure, problems.render], client_max_size=BODY_BYTES)
    app[SERVICES] = services
    app[whip.RESOURCES] = services.resources
    app.add_routes(
        [
            web.get("/ws", services.chat),
            web.get("/sse", services.open_stream, allow_head=False),
            web.post("/sse/{stream}", services.post_to_stream),
            web.get("/healthz", health.healthz),
            web.get("/readyz", health.readyz),
            web.get("/metrics", health.metrics),
            web.get("/api/v1/openapi.json", describe),
            web.get("/api/v1/config", health.config),
            web.get("/api/v1/status", health.status),
            web.post("/api/v1/auth/guest", accounts.guest),
            web.post("/api/v1/auth/refresh", accounts.refresh),
            web.post("/api/v1/auth/login", accounts.login),
            web.post("/api/v1/auth/revoke", revocation.revoke),
            web.get("/api/v1/rooms", rooms.index),
            web.post("/api/v1/rooms", rooms.create),
            web.get("/api/v1/rooms/{room}", rooms.read),
            web.patch("/api/v1/rooms/{room}", rooms.change),
            web.delete("/api/v1/rooms/{room}", rooms.remove),
            web.get("/api/v1/rooms/{room}/messages", history.messages),
            web.get("/api/v1/media/sfus", media.sfus),
            web.get("/api/v1/media/rooms", media.rooms),
            web.get("/api/v1/media/rooms/{room}", media.room),
            web.get("/api/v1/webhooks", webhooks.index),
            web.post("/api/v1/webhooks", webhooks.create),
            web.patch("/api/v1/webhooks/{webhook}", webhooks.change),
            web.delete("/api/v1/webhooks/{webhook}", webhooks.remove),
            web.get("/api/v1/webhooks/{webhook}/deliveries", webhooks.deliveries),
            web.post("/api/v1/webhooks/{webhook}/replay", webhooks.replay),
            web.get("/api/v1/usage/report", usage.report),
            web.get("/api/v1/usage/budget", usage.budget),
            web.get("/api/v1/usage/visit", usage.visit),
            web.patch("/{kind:whip|whep}/sessions/{participant}", whip.patch),
            web.delete("/{kind:whip|whep}/sessions/{participant}", whip.delete),
            web.post("/whip/{room:.+}", whip.publish),
            web.post("/whep/{room:.+}", whip.subscribe),
            web.options("/{kind:whip|whep}/{room:.+}", whip.options),
            web.get("/", pages.page("index.html")),
            web.get("/console", pages.page("console.html")),
            web.get("/sdk/{path:.+}", pages.folder(pages.SDK)),
            web.get("/static/{path:.+}", pages.folder(pages.WEB / "static")),
        ]
    )
    if config.http.tls == "auto":
        app.router.add_get("/ca.crt", pages.authority(tls.Files(config.data.dir / "tls").ca_cert))
    return app
