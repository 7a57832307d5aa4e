"""One definition of what can be asked over HTTP: each module's `OPERATIONS`.

1. `lay` makes the routes of an application out of operations, and remembers which is which.
2. `enforce` stands before every handler: it finds the operation of the route, verifies the token
   that `who` asks for, and reads the query into its struct.
3. `metaport.api.openapi` tells the same operations as a document.

**A route without an operation is refused, and `check_laid` does not let a hub start with one**: no
handler can be reached without its check, and none is undocumented by mistake.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Literal, TypeVar

import msgspec
from aiohttp import web

from metaport.api.access import authenticated
from metaport.api.deprecation import Deprecation
from metaport.api.problems import Handler, Problem
from metaport.language import Say
from metaport.roles import PERMITTED, Permission, may
from metaport.tokens import Claims


class Audience(Enum):
    """Who may ask where no permission decides."""

    ANYONE = "anyone"
    SIGNED_IN = "signed-in"


ANYONE, SIGNED_IN = Audience.ANYONE, Audience.SIGNED_IN

Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


@dataclass(frozen=True)
class Operation:
    """One thing that can be asked.

    `who` is what a token must permit; what a handler decides by the object besides (whose room it
    is) comes on top. `body`, `query` and `answer` are the structs that validate and document;
    `status` is what success is answered with. What is not `described` is no REST operation (pages,
    the chat connection) and stays out of the OpenAPI document.
    """

    method: Method
    path: str
    handler: Handler
    summary: Say
    who: Permission | Audience
    body: type[msgspec.Struct] | None = None
    answer: type[msgspec.Struct] | None = None
    query: type[msgspec.Struct] | None = None
    status: int = 200
    media_types: tuple[str, ...] = ("application/json",)
    """What the answer comes as."""
    takes: str = "application/json"
    """What the body comes as."""
    bodiless: bool = False
    """Whether the body may be left out, as everything in it may."""
    described: bool = True
    head: bool = True
    """Whether a GET answers HEAD as well."""
    tagged: bool = False
    """Whether the answer carries an ETag, and a change minds `If-Match`."""
    noted: bool | None = None
    """Whether it is written into the audit log; by default what changes something is."""
    personal: str | None = None
    """Which data about other people it tells or changes: then the log says whose, and who did it.

    Of what somebody does with their own data only taking all of it along and erasing it.
    """

    deprecated: Deprecation | None = None
    """Since when it is not to be used any more, and until when it is there."""

    @property
    def audited(self) -> bool:
        """Whether each request is written into the audit log."""
        if self.noted is not None:
            return self.noted
        changes = self.method not in ("GET", "OPTIONS")
        return changes and self.described and self.who is not ANYONE

    @property
    def makes(self) -> bool:
        """Whether it makes something, so that an `Idempotency-Key` keeps it from doing so twice."""
        asked = self.method == "POST" and self.who is not ANYONE
        return asked and self.status == 201 and self.body is not None

    @property
    def narrows(self) -> bool:
        """Whether `fields=` chooses members of the answer."""
        return self.method == "GET" and self.answer is not None

    @property
    def roles(self) -> frozenset[str]:
        """The roles one of which is needed; empty where none is."""
        return frozenset() if isinstance(self.who, Audience) else PERMITTED[self.who]


class Unlaid(Exception):
    """Routes have no operation, or two have the same one."""

    def __init__(self, routes: Iterable[str]) -> None:
        self.routes = sorted(routes)
        super().__init__(f"routes without an operation: {', '.join(self.routes)}")


Laid = dict[web.AbstractRoute, Operation]

LAID: web.AppKey[Laid] = web.AppKey("laid", dict)
OPERATION = web.RequestKey("operation", Operation)
CLAIMS = web.RequestKey("claims", Claims)
QUERY = web.RequestKey("query", msgspec.Struct)

Query = TypeVar("Query", bound=msgspec.Struct)


def lay(app: web.Application, operations: Iterable[Operation]) -> None:
    """Add the routes of operations to an application."""
    if LAID not in app:
        app[LAID] = {}
    laid = app[LAID]
    for operation in operations:
        resource = app.router.add_resource(operation.path)
        laid[resource.add_route(operation.method, operation.handler)] = operation
        if operation.method == "GET" and operation.head:
            laid[resource.add_route("HEAD", operation.handler)] = operation


def check_laid(app: web.Application) -> None:
    """Refuse to go on with a route that no operation stands for. Raises `Unlaid`."""
    stray = [route for route in app.router.routes() if route not in app[LAID]]
    if stray:
        raise Unlaid(
            f"{route.method} {getattr(route.resource, 'canonical', '')}" for route in stray
        )


@web.middleware
async def enforce(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Let through what the operation of a request permits.

    Raises:
        Problem: what `access.authenticated` raises, `forbidden`, `bad-request` for its query.
    """
    if request.match_info.http_exception is not None:
        return await handler(request)  # no route: 404 or 405
    operation = request.app[LAID].get(request.match_info.route)
    if operation is None:
        raise Problem("forbidden")
    request[OPERATION] = operation
    if operation.who is not ANYONE:
        # Known also where it is refused: the audit log names who tried.
        request[CLAIMS] = authenticated(request)
        permitted(request[CLAIMS], operation.who)
    if operation.query is not None:
        request[QUERY] = read_query(request, operation.query)
    return await handler(request)


def permitted(claims: Claims, who: Permission | Audience) -> None:
    """Refuse claims that do not permit it. Raises `Problem`: `forbidden`."""
    if isinstance(who, Permission) and not may(claims.roles, who):
        raise Problem("forbidden", needs=sorted(PERMITTED[who]))


def read_query(request: web.Request, kind: type[Query]) -> Query:
    """Read a query string into its struct; what the struct does not name is ignored.

    Raises:
        Problem: `bad-request`, with the name of the parameter that does not fit.
    """
    given = request.query
    for name in set(given):
        if name in kind.__struct_encode_fields__ and len(given.getall(name)) > 1:
            raise Problem("bad-request", f"{name}: more than once")
    try:
        return msgspec.convert(dict(given), kind, strict=False)
    except msgspec.ValidationError as error:
        raise Problem("bad-request", str(error)) from None


def claims_of(request: web.Request) -> Claims:
    """Return who asks, as `enforce` found; not for operations of anyone."""
    return request[CLAIMS]


def query_of(request: web.Request, kind: type[Query]) -> Query:
    """Return the query that `enforce` read; `kind` is the operation's."""
    query = request[QUERY]
    assert isinstance(query, kind)
    return query


def operation_of(request: web.Request) -> Operation | None:
    """Return the operation of a request, None where no route was found."""
    found: Operation | None = request.get(OPERATION, None)
    return found
