"""Who is told of events, over HTTP: endpoints, their secret, deliveries and replay; role admin."""

import secrets
from typing import Annotated, Any, Literal

import msgspec
from aiohttp import web

from metaport.api.bodies import read_json, respond
from metaport.api.etags import check_match, respond_tagged, tag_of
from metaport.api.operations import Operation, claims_of, query_of
from metaport.api.problems import Problem, away_as
from metaport.api.services import SERVICES, Services
from metaport.db.webhooks import Endpoint
from metaport.language import Say
from metaport.roles import Permission
from metaport.webhooks import fault_of

MOST_ENDPOINTS = 100
LIMIT = 200
SCOPE = "deliveries"

Pattern = Annotated[str, msgspec.Meta(min_length=1, max_length=64, pattern=r"^[a-z0-9_.*]+$")]
Patterns = Annotated[tuple[Pattern, ...], msgspec.Meta(min_length=1, max_length=32)]


class WebhookRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Tell `url` of events whose type fits one of the patterns, `budget.*` or `*`."""

    url: str
    events: Patterns = ("*",)


class WebhookPatch(msgspec.Struct, forbid_unknown_fields=True):
    """Change some of an endpoint; `rotate` makes a new secret, the former signs a day longer."""

    url: str | msgspec.UnsetType = msgspec.UNSET
    events: Patterns | msgspec.UnsetType = msgspec.UNSET
    enabled: bool | msgspec.UnsetType = msgspec.UNSET
    rotate: bool = False


class Webhook(msgspec.Struct, omit_defaults=True):
    """An endpoint. `secret` is told where it was just made, never again."""

    id: str
    url: str
    events: tuple[str, ...]
    enabled: bool
    secret: str | None = None


class WebhookList(msgspec.Struct):
    """All endpoints, the oldest first."""

    webhooks: list[Webhook]


class WebhookDelivery(msgspec.Struct):
    """How far telling an event has come."""

    event: str
    type: str
    at: int
    state: str
    attempts: int
    next_at: int
    status: int | None
    error: str | None


class DeliveriesQuery(msgspec.Struct):
    """Deliveries of which state, any where it is not given, and from where on."""

    after: str | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=LIMIT)] = 50
    state: Literal["pending", "delivered", "dead"] | None = None


class DeliveryPage(msgspec.Struct):
    """Deliveries to an endpoint, the newest events first; `next` is `after` of the next page."""

    deliveries: list[WebhookDelivery]
    next: str | None


class ReplayRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Try dead deliveries again: of one event, or all."""

    event: str | None = None


class Replayed(msgspec.Struct):
    """How many are tried again."""

    replayed: int


async def create(request: web.Request) -> web.Response:
    """Keep a new endpoint and tell its secret."""
    services = request.app[SERVICES]
    claims = claims_of(request)
    body = await read_json(request, WebhookRequest)
    _check(body.url)
    now = services.clock()
    endpoint = Endpoint("we_" + secrets.token_hex(8), body.url, body.events, True, 1, int(now))
    with away_as("webhooks-away"):
        if len(await services.webhooks.endpoints()) >= MOST_ENDPOINTS:
            raise Problem("bad-request", f"webhooks: {MOST_ENDPOINTS}")
        await services.webhooks.add(endpoint, claims.user, now)
    told = _told(services, endpoint, with_secret=True)
    return respond_tagged(request, told, tag_of(endpoint), 201)


async def index(request: web.Request) -> web.Response:
    """Return all endpoints."""
    services = request.app[SERVICES]
    with away_as("webhooks-away"):
        found = await services.webhooks.endpoints()
    return respond(WebhookList([_told(services, endpoint) for endpoint in found]))


async def read(request: web.Request) -> web.Response:
    """Return one endpoint, without its secret."""
    services = request.app[SERVICES]
    endpoint = await _found(request, services)
    return respond_tagged(request, _told(services, endpoint), tag_of(endpoint))


async def change(request: web.Request) -> web.Response:
    """Change an endpoint, or its secret."""
    services = request.app[SERVICES]
    patch = await read_json(request, WebhookPatch)
    before = await _found(request, services)
    check_match(request, tag_of(before))
    given: dict[str, Any] = {
        name: value
        for name in ("url", "events", "enabled")
        if (value := getattr(patch, name)) is not msgspec.UNSET
    }
    if "url" in given:
        _check(given["url"])
    endpoint = before._replace(**given)
    if patch.rotate:
        endpoint = endpoint._replace(
            secret_version=endpoint.secret_version + 1, rotated_at_s=int(services.clock())
        )
    with away_as("webhooks-away"):
        if not await services.webhooks.change(before, endpoint):
            raise Problem("webhook-changed", webhook=endpoint.id)
    told = _told(services, endpoint, with_secret=patch.rotate)
    return respond_tagged(request, told, tag_of(endpoint))


async def remove(request: web.Request) -> web.Response:
    """Forget an endpoint and what it was still to be told."""
    services = request.app[SERVICES]
    name = request.match_info["webhook"]
    if "If-Match" in request.headers:
        check_match(request, tag_of(await _found(request, services)))
    with away_as("webhooks-away"):
        done = await services.webhooks.remove(name)
    if not done:
        raise Problem("no-such-webhook", webhook=name)
    return web.Response(status=204)


async def deliveries(request: web.Request) -> web.Response:
    """Return a page of deliveries to an endpoint, of one `state` if given."""
    services, query = request.app[SERVICES], query_of(request, DeliveriesQuery)
    after = services.cursors.read(SCOPE, query.after, tuple[int, str]) if query.after else None
    endpoint = await _found(request, services)
    with away_as("webhooks-away"):
        found = await services.webhooks.deliveries(endpoint.id, query.state, query.limit + 1, after)
    told = [WebhookDelivery(*delivery) for delivery in found[: query.limit]]
    more = len(found) > query.limit
    place = services.cursors.make(SCOPE, (told[-1].at, told[-1].event)) if more else None
    return respond(DeliveryPage(told, place))


async def replay(request: web.Request) -> web.Response:
    """Try dead deliveries again."""
    services = request.app[SERVICES]
    body = await read_json(request, ReplayRequest)
    endpoint = await _found(request, services)
    with away_as("webhooks-away"):
        count = await services.webhooks.replay(endpoint.id, body.event, services.clock())
    return respond(Replayed(count))


def _check(url: str) -> None:
    fault = fault_of(url)
    if fault is not None:
        raise Problem("bad-request", f"url {fault}")


async def _found(request: web.Request, services: Services) -> Endpoint:
    name = request.match_info["webhook"]
    with away_as("webhooks-away"):
        found = await services.webhooks.endpoints()
    for endpoint in found:
        if endpoint.id == name:
            return endpoint
    raise Problem("no-such-webhook", webhook=name)


def _told(services: Services, endpoint: Endpoint, *, with_secret: bool = False) -> Webhook:
    secret = None
    if with_secret:
        secret = services.webhook_secrets.of(endpoint.id, endpoint.secret_version)
    return Webhook(endpoint.id, endpoint.url, endpoint.events, endpoint.enabled, secret)


OPERATIONS = (
    Operation(
        "GET", "/api/v1/webhooks", index,
        Say("웹훅 목록", "Endpoints that are told of events"),
        Permission.WEBHOOKS_MANAGE, answer=WebhookList,
    ),
    Operation(
        "POST", "/api/v1/webhooks", create, Say("웹훅 추가", "Tell an endpoint of events"),
        Permission.WEBHOOKS_MANAGE, WebhookRequest, Webhook, status=201,
        tagged=True,
    ),
    Operation(
        "GET", "/api/v1/webhooks/{webhook}", read, Say("웹훅 보기", "One endpoint"),
        Permission.WEBHOOKS_MANAGE, answer=Webhook, tagged=True,
    ),
    Operation(
        "PATCH", "/api/v1/webhooks/{webhook}", change,
        Say("웹훅 변경, 비밀 교체", "Change an endpoint, rotate its secret"),
        Permission.WEBHOOKS_MANAGE, WebhookPatch, Webhook, tagged=True,
    ),
    Operation(
        "DELETE", "/api/v1/webhooks/{webhook}", remove, Say("웹훅 삭제", "Forget an endpoint"),
        Permission.WEBHOOKS_MANAGE, status=204, tagged=True,
    ),
    Operation(
        "GET", "/api/v1/webhooks/{webhook}/deliveries", deliveries,
        Say("전달 현황", "How far telling is"), Permission.WEBHOOKS_MANAGE,
        answer=DeliveryPage, query=DeliveriesQuery,
    ),
    Operation(
        "POST", "/api/v1/webhooks/{webhook}/replay", replay,
        Say("다시 전달", "Try dead deliveries again"), Permission.WEBHOOKS_MANAGE,
        ReplayRequest, Replayed,
    ),
)  # fmt: skip
