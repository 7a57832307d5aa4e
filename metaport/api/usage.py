"""Usage over HTTP: the month's report for operators, a visit's cost for the visitor."""

from typing import Any

from aiohttp import web

from metaport.api.access import require
from metaport.api.bodies import respond
from metaport.api.problems import Problem, wants_korean
from metaport.api.services import SERVICES
from metering.errors import MeteringError
from metering.report import RENDERERS
from metering.report_html import STYLE_SOURCE

CONTENT_TYPES = {
    "json": "application/json",
    "text": "text/plain",
    "csv": "text/csv",
    "html": "text/html",
}


async def report(request: web.Request) -> web.Response:
    """Return the report of `month` (YYYY-MM) in `format`; role operator."""
    services = request.app[SERVICES]
    now = services.clock()
    require(request, services.tokens, now, "operator", "admin")
    form = request.query.get("format", "json")
    if form not in RENDERERS:
        raise Problem("bad-request", f"format: {'|'.join(RENDERERS)}")
    language = request.query.get("lang", "ko" if wants_korean(request) else "en")
    if language not in ("ko", "en"):
        raise Problem("bad-request", "lang: ko|en")
    try:
        month = await services.reports.month(request.query.get("month", ""), now)
    except ValueError as error:
        raise Problem("bad-request", f"month: {error}") from None
    except MeteringError as error:
        raise Problem("usage-unavailable", str(error)) from None
    response = web.Response(
        text=RENDERERS[form](month, language), content_type=CONTENT_TYPES[form], charset="utf-8"
    )
    if form == "html":
        # The page carries its own style, to be saved and printed; the policy admits just that.
        response.headers["Content-Security-Policy"] = (
            f"default-src 'none'; style-src {STYLE_SOURCE}; frame-ancestors 'none'"
        )
    return response


async def visit(request: web.Request) -> web.Response:
    """Price what the caller caused since this token's session began (embedded demo only)."""
    services = request.app[SERVICES]
    now = services.clock()
    claims = require(request, services.tokens, now)
    try:
        answer: dict[str, Any] = await services.reports.visit(claims.user, now)
    except MeteringError:
        raise Problem("usage-unavailable") from None  # why is not the visitor's business
    return respond(answer)
