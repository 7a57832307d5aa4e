"""Friends over HTTP, requests to be, and blocks: each person's own."""

import math
from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec
from aiohttp import web

from chatd.room_book import USER_CHARS, direct_room
from chatd.session import GUEST_ROLE
from metaport.api.bodies import respond
from metaport.api.operations import SIGNED_IN, Operation, claims_of, query_of
from metaport.api.problems import Problem, away_as
from metaport.api.services import SERVICES, Services
from metaport.api.signing_in import named
from metaport.db.errors import DatabaseError
from metaport.db.friends import BlockedByAsker, Known, Tie, TooMany
from metaport.language import Say

LIMIT = 200


class Person(msgspec.Struct):
    """Somebody, and since when (milliseconds since the Unix epoch); `name` where it is known."""

    user: str
    name: str | None
    at: int


class PersonPage(msgspec.Struct):
    """People by their ids; `next` is `after` of the next page."""

    people: list[Person]
    next: str | None


class Asked(msgspec.Struct):
    """What came of a request: `friend` where the other had asked already, else `waiting`."""

    user: str
    state: Literal["friend", "waiting"]


class PeopleQuery(msgspec.Struct):
    """Which page: people by their ids, on from `next` of the page before."""

    after: str = ""
    limit: Annotated[int, msgspec.Meta(ge=1, le=LIMIT)] = 50


class RequestsQuery(msgspec.Struct):
    """Which page, and whether of requests that came `in` or went `out`."""

    way: Literal["in", "out"] = "in"
    after: str = ""
    limit: Annotated[int, msgspec.Meta(ge=1, le=LIMIT)] = 50


async def friends(request: web.Request) -> web.Response:
    """Return a page of one's friends."""
    services, query = request.app[SERVICES], query_of(request, PeopleQuery)
    me, after = _me(request), _place(services, "friends", query.after)
    with away_as("friends-away"):
        found = await services.friend_store.friends(me, after, query.limit + 1)
    return respond(_page(services, "friends", found, query.limit))


async def requests(request: web.Request) -> web.Response:
    """Return a page of requests that wait, to oneself or of oneself."""
    services, query = request.app[SERVICES], query_of(request, RequestsQuery)
    store, scope = services.friend_store, f"friend-requests {query.way}"
    me, after = _me(request), _place(services, scope, query.after)
    listed = store.requests_to if query.way == "in" else store.requests_of
    with away_as("friends-away"):
        found = await listed(me, after, query.limit + 1)
    return respond(_page(services, scope, found, query.limit))


async def blocks(request: web.Request) -> web.Response:
    """Return a page of whom one blocks."""
    services, query = request.app[SERVICES], query_of(request, PeopleQuery)
    me, after = _me(request), _place(services, "blocks", query.after)
    with away_as("friends-away"):
        found = await services.friend_store.blocks(me, after, query.limit + 1)
    return respond(_page(services, "blocks", found, query.limit))


async def ask(request: web.Request) -> web.Response:
    """Ask somebody to be a friend, or accept what they asked. Who blocks one is asked like all."""
    services, (me, other) = request.app[SERVICES], _two(request)
    if wait_s := services.wait_for_room(me):
        raise Problem("rate-limited", retry_after_s=math.ceil(wait_s))
    try:
        tie = await services.friend_store.ask(me, other, int(services.clock()))
    except TooMany:
        raise Problem("too-many-people") from None
    except BlockedByAsker:
        raise Problem("blocked", user=other) from None
    except DatabaseError:
        raise Problem("friends-away", retry_after_s=2) from None
    return respond(Asked(other, "friend" if tie is Tie.FRIEND else "waiting"))


async def accept(request: web.Request) -> web.Response:
    """Accept what somebody asked."""
    services, (me, other) = request.app[SERVICES], _two(request)
    try:
        done = await services.friend_store.accept(me, other, int(services.clock()))
    except TooMany:
        raise Problem("too-many-people") from None
    except DatabaseError:
        raise Problem("friends-away", retry_after_s=2) from None
    if not done:
        raise Problem("no-such-request", user=other)
    return respond(Asked(other, "friend"))


async def withdraw(request: web.Request) -> web.Response:
    """Decline what somebody asked, or take back what one asked."""
    return await _part(request, friends=False)


async def remove(request: web.Request) -> web.Response:
    """Be friends no more."""
    return await _part(request, friends=True)


async def block(request: web.Request) -> web.Response:
    """Want nothing from somebody any more.

    1. The block is kept.
    2. The direct room of the two is laid down no more; what was said in it stays. A crash before
       leaves it open until the same is asked again.
    """
    services, (me, other) = request.app[SERVICES], _two(request)
    try:
        await services.friend_store.block(me, other, int(services.clock()))
        await close_direct_room(services, me, other)
    except TooMany:
        raise Problem("too-many-people") from None
    except DatabaseError:
        raise Problem("friends-away", retry_after_s=2) from None
    return web.Response(status=204)


async def unblock(request: web.Request) -> web.Response:
    """Take a block back; the direct room of the two may be opened again."""
    services, (me, other) = request.app[SERVICES], _two(request)
    with away_as("friends-away"):
        done = await services.friend_store.unblock(me, other)
    if not done:
        raise Problem("no-such-block", user=other)
    return web.Response(status=204)


async def close_direct_room(services: Services, me: str, other: str) -> None:
    """Let the two talk in their direct room no more, on any hub. Raises `DatabaseError`."""
    if await services.room_store.remove(direct_room(me, other), me, services.clock()):
        await services.rooms_changed()


async def _part(request: web.Request, *, friends: bool) -> web.Response:
    services, (me, other) = request.app[SERVICES], _two(request)
    with away_as("friends-away"):
        done = await services.friend_store.part(me, other, friends=friends)
    if not done:
        raise Problem("no-such-friend" if friends else "no-such-request", user=other)
    return web.Response(status=204)


def _me(request: web.Request) -> str:
    claims = claims_of(request)
    if GUEST_ROLE in claims.roles:
        raise Problem("needs-account")
    return claims.user


def _two(request: web.Request) -> tuple[str, str]:
    me, other = _me(request), named(request, "user")
    if other == me or len(other) > USER_CHARS or not other.isprintable():
        raise Problem("bad-request", f"user: somebody else, 1–{USER_CHARS} printable characters")
    if _app_of(other) != _app_of(me):
        raise Problem("bad-request", "user: of another app")
    return me, other


def _app_of(user: str) -> str:
    return user.partition(":")[0] if ":" in user else ""


def _place(services: Services, scope: str, after: str) -> str:
    return services.cursors.read(scope, after, str) if after else ""


def _page(services: Services, scope: str, found: Sequence[Known], limit: int) -> PersonPage:
    people = [Person(each.user, each.name, each.at_s * 1000) for each in found[:limit]]
    more = len(found) > limit
    return PersonPage(people, services.cursors.make(scope, people[-1].user) if more else None)


OPERATIONS = (
    Operation(
        "GET", "/api/v1/me/friends", friends, Say("친구 목록", "One's friends"),
        SIGNED_IN, answer=PersonPage, query=PeopleQuery, personal="names",
    ),
    Operation(
        "PUT", "/api/v1/me/friends/{user}", accept,
        Say("친구 신청 받아들이기", "Accept what somebody asked"), SIGNED_IN, answer=Asked,
    ),
    Operation(
        "DELETE", "/api/v1/me/friends/{user}", remove,
        Say("친구 끊기", "Be friends no more"), SIGNED_IN, status=204,
    ),
    Operation(
        "GET", "/api/v1/me/friend-requests", requests,
        Say("기다리는 친구 신청", "Requests to be friends that wait"),
        SIGNED_IN, answer=PersonPage, query=RequestsQuery, personal="names",
    ),
    Operation(
        "PUT", "/api/v1/me/friend-requests/{user}", ask,
        Say("친구 신청", "Ask somebody to be a friend"), SIGNED_IN, answer=Asked,
    ),
    Operation(
        "DELETE", "/api/v1/me/friend-requests/{user}", withdraw,
        Say("친구 신청 거절 또는 취소", "Decline a request, or take one's own back"),
        SIGNED_IN, status=204,
    ),
    Operation(
        "GET", "/api/v1/me/blocks", blocks, Say("차단 목록", "Whom one blocks"),
        SIGNED_IN, answer=PersonPage, query=PeopleQuery,
    ),
    Operation(
        "PUT", "/api/v1/me/blocks/{user}", block, Say("차단", "Block somebody"),
        SIGNED_IN, status=204,
    ),
    Operation(
        "DELETE", "/api/v1/me/blocks/{user}", unblock,
        Say("차단 풀기", "Take a block back"), SIGNED_IN, status=204,
    ),
)  # fmt: skip
