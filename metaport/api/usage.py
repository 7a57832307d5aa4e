"""Usage over HTTP: the month's report for operators, a visit's cost for the visitor."""

import asyncio
from typing import Annotated, Any, Literal

import msgspec
from aiohttp import web

from metaport.api.bodies import respond
from metaport.api.operations import SIGNED_IN, Operation, claims_of, query_of
from metaport.api.problems import Problem, wants_korean
from metaport.api.services import SERVICES
from metaport.language import Lang, Say
from metaport.roles import Permission
from metering.budget_document import budget_document
from metering.contract import load_contract
from metering.dimensions import Dimension
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

Month = Annotated[str, msgspec.Meta(pattern=r"^[0-9]{4}-(0[1-9]|1[0-2])$")]


class ReportQuery(msgspec.Struct):
    """Which month, in what form and language; by default that of `Accept-Language`."""

    month: Month
    format: Literal["json", "text", "csv", "focus", "html", "xlsx", "pdf"] = "json"
    lang: Lang | None = None
    by: Literal["app", "space", "room", "node", "user"] | None = None


class BudgetQuery(msgspec.Struct):
    """In what form and language; by default that of `Accept-Language`."""

    format: Literal["json", "text", "html", "xlsx", "pdf"] = "json"
    lang: Lang | None = None


async def report(request: web.Request) -> web.Response:
    """Return the report of `month` (YYYY-MM) in `format`; role operator."""
    services = request.app[SERVICES]
    now = services.clock()
    query = query_of(request, ReportQuery)
    form = query.format
    language = query.lang or ("ko" if wants_korean(request) else "en")
    try:
        by = None if query.by is None else Dimension(query.by)
        month = await services.reports.month(query.month, now, details=form in DETAILED, by=by)
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
    path = services.config.usage.contract
    if path is None:
        raise Problem("no-contract", "usage.contract")
    query = query_of(request, BudgetQuery)
    form = query.format
    language = query.lang or ("ko" if wants_korean(request) else "en")
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
    claims = claims_of(request)
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


OPERATIONS = (
    Operation(
        "GET", "/api/v1/usage/report", report,
        Say("월 사용량·금액", "Usage and amount of a month"), Permission.USAGE_READ,
        query=ReportQuery, media_types=tuple(dict.fromkeys(CONTENT_TYPES.values())),
    ),
    Operation(
        "GET", "/api/v1/usage/budget", budget,
        Say("예산 대비 현황", "Usage held against the contract"), Permission.USAGE_READ,
        query=BudgetQuery, media_types=tuple(dict.fromkeys(CONTENT_TYPES.values())),
    ),
    Operation(
        "GET", "/api/v1/usage/visit", visit, Say("이번 방문 비용", "Cost of this visit"), SIGNED_IN,
    ),
)  # fmt: skip
