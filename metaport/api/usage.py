"""Usage over HTTP: the month's report for operators, a visit's cost for the visitor."""

import asyncio
from typing import Any

from aiohttp import web

from metaport.api.access import require
from metaport.api.bodies import respond
from metaport.api.problems import Problem, wants_korean
from metaport.api.services import SERVICES
from metering.budget_document import budget_document
from metering.contract import load_contract
from metering.document_html import STYLE_SOURCE
from metering.errors import MeteringError
from metering.forms import FORMS
from metering.report import DETAILED, RENDERERS

CONTENT_TYPES = {
    "json": "application/json",
    "text": "text/plain",
    "csv": "text/csv",
    "focus": "text/csv",
    "html": "text/html",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "pdf": "application/pdf",
}
BINARY = frozenset({"xlsx", "pdf"})


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
        month = await services.reports.month(
            request.query.get("month", ""), now, details=form in DETAILED
        )
        # Laying out a PDF takes a second: chat goes on meanwhile.
        body = await asyncio.to_thread(RENDERERS[form], month, language)
    except ValueError as error:
        raise Problem("bad-request", f"month: {error}") from None
    except MeteringError as error:
        raise Problem("usage-unavailable", str(error)) from None
    return _delivered(form, body)


async def budget(request: web.Request) -> web.Response:
    """Return usage held against the contract, in `format`; role operator."""
    services = request.app[SERVICES]
    now = services.clock()
    require(request, services.tokens, now, "operator", "admin")
    path = services.config.usage.contract
    if path is None:
        raise Problem("no-contract", "usage.contract")
    form = request.query.get("format", "json")
    if form not in (*FORMS, "json"):
        raise Problem("bad-request", f"format: {'|'.join((*FORMS, 'json'))}")
    language = request.query.get("lang", "ko" if wants_korean(request) else "en")
    if language not in ("ko", "en"):
        raise Problem("bad-request", "lang: ko|en")
    try:
        contract = await asyncio.to_thread(load_contract, path)
        statement = await services.reports.budget(contract, now)
    except MeteringError as error:
        raise Problem("usage-unavailable", str(error)) from None
    if form == "json":
        return respond(statement.as_json())
    body = await asyncio.to_thread(FORMS[form], budget_document(statement, language))
    return _delivered(form, body)


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


def _delivered(form: str, body: bytes) -> web.Response:
    response = web.Response(
        body=body,
        content_type=CONTENT_TYPES[form],
        charset=None if form in BINARY else "utf-8",
    )
    if form == "html":
        # The page carries its own style, to be saved and printed; the policy admits just that.
        response.headers["Content-Security-Policy"] = (
            f"default-src 'none'; style-src {STYLE_SOURCE}; frame-ancestors 'none'"
        )
    return response
