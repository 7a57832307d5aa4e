"""The audit log over HTTP: what each request did is written down before it is answered."""

import secrets
from collections.abc import Mapping
from typing import Annotated

import msgspec
from aiohttp import web

from metaport.api.access import client_address
from metaport.api.bodies import respond
from metaport.api.operations import ANYONE, CLAIMS, Operation, operation_of, query_of
from metaport.api.problems import Handler, Problem, away_as, request_id_of
from metaport.api.services import SERVICES
from metaport.audit import Entry
from metaport.db.audit import Filter
from metaport.language import Say
from metaport.roles import Permission

LIMIT = 500
SCOPE = "audit"
# Whose data a list tells where nobody says it more exactly.
EVERYBODY = "*"
ACTOR = web.RequestKey("actor", str)
WHOSE = web.RequestKey("whose", str)
WRITTEN = web.RequestKey("written", bool)


class AuditQuery(msgspec.Struct):
    """Which entries: of whom, of personal data only; the newest first, on from `next`."""

    actor: str | None = None
    personal: bool = False
    after: str = ""
    limit: Annotated[int, msgspec.Meta(ge=1, le=LIMIT)] = 100


class AuditEntry(msgspec.Struct):
    """Who did what: when (milliseconds), from where, on what, whose data, with what result."""

    at: int
    actor: str
    address: str
    via: str
    action: str
    object: str
    whose: str
    personal: str
    result: str
    request_id: str


class AuditPage(msgspec.Struct):
    """Entries, the newest first; `next` is `after` of the next page."""

    entries: list[AuditEntry]
    next: str | None


def acts_as(request: web.Request, user: str) -> None:
    """Say who acts where no token does: who signs in."""
    request[ACTOR] = user


def tells_of(request: web.Request, user: str) -> None:
    """Say whose personal data are told, where the path does not."""
    request[WHOSE] = user


async def begins_to_tell(request: web.Request) -> None:
    """Write down that data are told, before the first byte leaves: who breaks off has some."""
    await _write(request, 200, "")
    request[WRITTEN] = True


@web.middleware
async def record(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Write down what was done, what was refused, and whose personal data were told."""
    try:
        response = await handler(request)
    except Problem as problem:
        await _write(request, problem.status, problem.reason)
        raise
    except web.HTTPException as error:
        await _write(request, error.status, "")
        raise
    except Exception:
        await _write(request, 500, "internal")
        raise
    await _write(request, response.status, "")
    return response


async def _write(request: web.Request, status: int, reason: str) -> None:
    operation = operation_of(request)
    if operation is None or request.get(WRITTEN, False):
        return
    tells = operation.personal is not None and status < 300
    # Who was kept out is written down too: that is how trying doors shows.
    refused = status == 403 and operation.who is not ANYONE
    if not (operation.audited or tells or refused):
        return
    services = request.app[SERVICES]
    claims = request.get(CLAIMS, None)
    named = request.match_info
    await services.audit(
        Entry(
            id=secrets.token_hex(12),
            at_ms=int(services.clock() * 1000),
            actor=request.get(ACTOR, "") if claims is None else claims.user,
            address=client_address(request, services.trusted),
            via="api",
            action=f"{operation.method} {operation.path}",
            object=msgspec.json.encode(dict(named)).decode() if named else "",
            whose=request.get(WHOSE, _named(named)) if tells else "",
            personal=(operation.personal or "") if tells else "",
            result=f"{status} {reason}".strip(),
            request_id=request_id_of(request),
        )
    )


def _named(parts: Mapping[str, str]) -> str:
    return parts.get("user") or ", ".join(parts.values()) or EVERYBODY


async def index(request: web.Request) -> web.Response:
    """Return a page of the audit log."""
    services = request.app[SERVICES]
    query = query_of(request, AuditQuery)
    before = services.cursors.read(SCOPE, query.after, int) if query.after else None
    with away_as("audit-away"):
        found = await services.audit_log.page(
            Filter(query.actor, query.personal, before), query.limit + 1
        )
    told = [AuditEntry(*entry[1:]) for _, entry in found[: query.limit]]
    last = found[query.limit - 1][0] if len(found) > query.limit else None
    return respond(AuditPage(told, None if last is None else services.cursors.make(SCOPE, last)))


OPERATIONS = (
    Operation(
        "GET", "/api/v1/audit", index, Say("감사 기록", "The audit log"), Permission.AUDIT_READ,
        answer=AuditPage, query=AuditQuery, personal="actors, network addresses",
    ),
)  # fmt: skip
