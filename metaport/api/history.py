"""Messages of a room over HTTP, page by page, newest first or on from a place."""

import asyncio
import math
from collections.abc import Callable
from typing import Annotated, NamedTuple

import msgspec
from aiohttp import web

from chatd.archive import ArchiveAway, Stretch
from chatd.errors import FactsRefused, Refused
from chatd.grants import Rights
from chatd.wire import MAX_EXACT_INT, Message, Since
from metaport.api.bodies import respond
from metaport.api.operations import SIGNED_IN, Operation, claims_of, query_of
from metaport.api.problems import Problem, of_room
from metaport.api.services import SERVICES, Services
from metaport.language import Say
from metaport.tokens import Claims

PAGE_MESSAGES = 200
ARCHIVE_TIMEOUT_S = 5.0


class _Place(NamedTuple):
    epoch: str
    offset: Annotated[int, msgspec.Meta(ge=0, le=MAX_EXACT_INT)]


class MessagesQuery(msgspec.Struct):
    """Which page: the newest, older ones `before` a cursor, or newer ones `after` one."""

    before: str | None = None
    after: str | None = None
    """The empty string is the beginning."""
    limit: Annotated[int, msgspec.Meta(ge=1, le=PAGE_MESSAGES)] = 50


class MessagePage(msgspec.Struct):
    """Messages of one epoch, oldest first, as they were sent on the WebSocket.

    `prev` is `before` of the next older page, null where there is none; `next` is `after` of the
    next newer one, which may still be empty.
    """

    room: str
    epoch: str
    messages: list[Message]
    prev: str | None
    next: str | None


async def messages(request: web.Request) -> web.Response:
    """Return a page: the newest, `before` a cursor or `after` one; `after=` is the beginning."""
    services = request.app[SERVICES]
    claims, query = claims_of(request), query_of(request, MessagesQuery)
    room = _room(services, claims, request.match_info["room"])
    if query.before is not None and query.after is not None:
        raise Problem("bad-request", "before and after exclude each other")
    newer = query.after is not None
    cursor = query.after or query.before
    scope = f"messages {room}"
    place = Since(*services.cursors.read(scope, cursor, _Place)) if cursor else None
    if wait_s := services.wait_for_page(claims.user):
        raise Problem("rate-limited", retry_after_s=math.ceil(wait_s))
    found = await _read(services, room, place, query.limit, newer)
    if found.messages:
        try:
            services.recovered(room, claims.user, len(found.messages))
        except FactsRefused as refusal:
            raise Problem("history-away", str(refusal), retry_after_s=1) from None

    def cursor_of(at: Since) -> str:
        return services.cursors.make(scope, _Place(at.epoch, at.offset))

    return respond(_page(cursor_of, room, found, place, newer))


async def _read(
    services: Services, room: str, place: Since | None, limit: int, newer: bool
) -> Stretch:
    read = services.archive.after if newer else services.archive.before
    try:
        async with asyncio.timeout(ARCHIVE_TIMEOUT_S):
            return await read(room, place, limit)
    except (ArchiveAway, TimeoutError):
        raise Problem("history-away", retry_after_s=1) from None


def _page(
    cursor: Callable[[Since], str], room: str, found: Stretch, place: Since | None, newer: bool
) -> MessagePage:
    if not found.messages:
        return MessagePage(room, "", [], None, cursor(place) if newer and place else None)
    first = Since(found.epoch, found.messages[0].offset)
    last = Since(found.epoch, found.messages[-1].offset)
    older = place is not None if newer else found.more
    prev = cursor(first) if older else None
    return MessagePage(room, found.epoch, list(found.messages), prev, cursor(last))


def _room(services: Services, claims: Claims, raw: str) -> str:
    try:
        return services.enter(claims, raw, Rights.READ)
    except Refused as refused:
        raise of_room(refused, raw) from None


OPERATIONS = (
    Operation(
        "GET", "/api/v1/rooms/{room}/messages", messages,
        Say("지난 대화", "Messages of a room"), SIGNED_IN, answer=MessagePage, query=MessagesQuery,
    ),
)  # fmt: skip
