"""Lay the operations of every module over the services."""

from aiohttp import web

from metaport import tls
from metaport.api import (
    accounts,
    apps,
    audit,
    avatars,
    chat,
    friends,
    headers,
    health,
    history,
    invitations,
    live_usage,
    me,
    media,
    moderation,
    openapi,
    openid,
    pages,
    participants,
    personal_data,
    problems,
    revocation,
    rooms,
    spaces,
    usage,
    user_sessions,
    users,
    webhooks,
    whip,
)
from metaport.api.audit import record
from metaport.api.fields import narrow
from metaport.api.idempotency import once
from metaport.api.operations import check_laid, enforce, lay
from metaport.api.rates import limit
from metaport.api.services import SERVICES, Services

# The largest REST body is an SDP offer with many m-lines (about 60 KiB seen with 30).
BODY_BYTES = 256 * 1024

OPERATIONS = (
    *chat.OPERATIONS,
    *health.OPERATIONS,
    *openapi.OPERATIONS,
    *accounts.OPERATIONS,
    *openid.OPERATIONS,
    *me.OPERATIONS,
    *avatars.OPERATIONS,
    *friends.OPERATIONS,
    *personal_data.OPERATIONS,
    *users.OPERATIONS,
    *user_sessions.OPERATIONS,
    *apps.OPERATIONS,
    *revocation.OPERATIONS,
    *rooms.OPERATIONS,
    *invitations.OPERATIONS,
    *spaces.OPERATIONS,
    *history.OPERATIONS,
    *media.OPERATIONS,
    *participants.OPERATIONS,
    *moderation.OPERATIONS,
    *webhooks.OPERATIONS,
    *usage.OPERATIONS,
    *live_usage.OPERATIONS,
    *audit.OPERATIONS,
    *whip.OPERATIONS,
    *pages.OPERATIONS,
)


def build_app(services: Services) -> web.Application:
    """Build the application of one hub process. Raises `metaport.api.operations.Unlaid`."""
    config = services.config
    secure = headers.secure(
        config.http.origins, config.http.frame_ancestors, config.http.tls != "off"
    )
    app = web.Application(
        middlewares=[secure, problems.render, record, enforce, limit, once, narrow],
        client_max_size=BODY_BYTES,
    )
    app[SERVICES] = services
    app[whip.RESOURCES] = services.resources
    lay(app, OPERATIONS)
    if config.http.tls == "auto":
        lay(app, [pages.authority_operation(tls.Files(config.data.dir / "tls").ca_cert)])
    check_laid(app)
    return app
