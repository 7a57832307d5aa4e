"""Live counters over HTTP: what was used since midnight, by app, space or room."""

from typing import Literal

import msgspec
from aiohttp import web

from metaport.api.bodies import respond
from metaport.api.operations import Operation, query_of
from metaport.api.problems import Problem
from metaport.api.services import SERVICES
from metaport.language import Say
from metaport.roles import Permission
from metering.errors import MeteringError


class LiveQuery(msgspec.Struct):
    """By what to tell apart, and of which one alone if given."""

    by: Literal["app", "space", "room"] = "app"
    key: str | None = None


class Counters(msgspec.Struct):
    """What one app, space or room used since midnight, by meter."""

    key: str
    used: dict[str, int]


class LiveUsage(msgspec.Struct):
    """Counters since midnight in `zone`; `as_of` is up to when all of it is told.

    Times are milliseconds since the Unix epoch. Usage without a room has the key "".
    """

    zone: str
    since: int
    as_of: int | None
    by: str
    counters: list[Counters]
    total: dict[str, int]


async def live(request: web.Request) -> web.Response:
    """Return the counters since midnight, at most 10 s behind."""
    services, query = request.app[SERVICES], query_of(request, LiveQuery)
    now = services.clock()
    try:
        found = await services.reports.today(query.by, now)
    except MeteringError as error:
        raise Problem("usage-unavailable", str(error), retry_after_s=2) from None
    used = {
        key: dict(meters)
        for key, meters in found.used.items()
        if query.key is None or key == query.key
    }
    total: dict[str, int] = {}
    for meters in used.values():
        for meter, quantity in meters.items():
            total[meter] = total.get(meter, 0) + quantity
    as_of = None if found.as_of_s is None else found.as_of_s * 1000
    counters = [Counters(key, meters) for key, meters in used.items()]
    return respond(LiveUsage(found.zone, found.since_s * 1000, as_of, query.by, counters, total))


OPERATIONS = (
    Operation(
        "GET", "/api/v1/usage/live", live,
        Say("오늘 자정부터의 사용량", "Usage since midnight"),
        Permission.USAGE_READ, answer=LiveUsage, query=LiveQuery,
    ),
)  # fmt: skip
