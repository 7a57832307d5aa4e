"""What is laid down about rooms: read and changed by operators, direct rooms by their users."""

import math
from typing import Annotated

import msgspec
from aiohttp import web

from chatd.errors import Refused
from chatd.grants import Rights
from chatd.room_book import Kind, RoomSettings, direct_room, fault_of
from chatd.session import GUEST_ROLE
from metaport.api.bodies import read_json, respond
from metaport.api.etags import check_match, respond_tagged, tag_of
from metaport.api.operations import SIGNED_IN, Operation, claims_of, query_of
from metaport.api.problems import Problem, away_as, of_room
from metaport.api.services import SERVICES, Services
from metaport.language import Say
from metaport.roles import PERMITTED, Permission, may
from metaport.tokens import Claims

LIMIT = 200
SCOPE = "rooms"

User = Annotated[str, msgspec.Meta(max_length=128)]
Capacity = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]


class RoomRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Lay something down about a room; the name of a direct one follows from its two users."""

    room: str | None = None
    kind: Kind = "public"
    persistent: bool = True
    capacity: Capacity | None = None
    users: tuple[User, ...] = ()
    guests: bool = True
    subscribed: bool | None = None
    """Whether `users` are in it without asking; by default those of a direct room are."""


class RoomPatch(msgspec.Struct, forbid_unknown_fields=True):
    """Lay some of it down anew; what is left out stays (RFC 7396)."""

    kind: Kind | msgspec.UnsetType = msgspec.UNSET
    persistent: bool | msgspec.UnsetType = msgspec.UNSET
    capacity: Capacity | msgspec.UnsetType | None = msgspec.UNSET
    users: tuple[User, ...] | msgspec.UnsetType = msgspec.UNSET
    guests: bool | msgspec.UnsetType = msgspec.UNSET
    subscribed: bool | msgspec.UnsetType = msgspec.UNSET


class RoomsQuery(msgspec.Struct):
    """Which page: rooms by name, on from `next` of the page before."""

    after: str = ""
    limit: Annotated[int, msgspec.Meta(ge=1, le=LIMIT)] = 50


class Room(msgspec.Struct):
    """A room as it is laid down, and how many users are in it now, as this hub knows."""

    room: str
    kind: Kind
    persistent: bool
    capacity: int | None
    users: tuple[str, ...]
    guests: bool
    subscribed: bool
    present: int


class RoomPage(msgspec.Struct):
    """Rooms something is laid down about, by name; `next` is `after` of the next page."""

    rooms: list[Room]
    next: str | None


async def create(request: web.Request) -> web.Response:
    """Lay something down about a room: 201, or 200 with a direct room that was there before."""
    services = request.app[SERVICES]
    claims = claims_of(request)
    wanted = asked_for(await read_json(request, RoomRequest))
    _may_create(services, claims, wanted)
    with away_as("rooms-away"):
        await _check_blocks(services, claims, wanted)
        found = await services.room_store.create(wanted, claims.user, services.clock())
        if wanted.kind == "direct":
            # Who blocked meanwhile found no room to close.
            await _check_blocks(services, claims, wanted, close=True)
        await services.rooms_changed()
    if found is not None and wanted.kind != "direct":
        raise Problem("room-exists", room=wanted.room)
    status = 201 if found is None else 200
    settings = found or wanted
    return respond_tagged(request, _room(services, settings), tag_of(settings), status)


async def index(request: web.Request) -> web.Response:
    """Return a page of rooms."""
    services = request.app[SERVICES]
    query = query_of(request, RoomsQuery)
    after = services.cursors.read(SCOPE, query.after, str) if query.after else ""
    with away_as("rooms-away"):
        found = await services.room_store.page(after, query.limit + 1)
    rooms = [_room(services, settings) for settings in found[: query.limit]]
    more = len(found) > query.limit
    return respond(RoomPage(rooms, services.cursors.make(SCOPE, rooms[-1].room) if more else None))


async def read(request: web.Request) -> web.Response:
    """Return one room, to operators and to those who may enter it."""
    services = request.app[SERVICES]
    claims = claims_of(request)
    name = request.match_info["room"]
    if not may(claims.roles, Permission.ROOMS_MANAGE):
        try:
            services.enter(claims, name, Rights.READ)
        except Refused as refused:
            raise of_room(refused, name) from None
    settings = await _laid_down(services, name)
    return respond_tagged(request, _room(services, settings), tag_of(settings))


async def change(request: web.Request) -> web.Response:
    """Change some of what is laid down; it holds at once, also for those who are in."""
    services = request.app[SERVICES]
    claims = claims_of(request)
    patch = await read_json(request, RoomPatch)
    before = await _laid_down(services, request.match_info["room"])
    check_match(request, tag_of(before))
    after = patched(before, patch)
    with away_as("rooms-away"):
        done = await services.room_store.change(before, after, claims.user, services.clock())
        await services.rooms_changed()
    if not done:
        raise Problem("room-changed", room=before.room)
    return respond_tagged(request, _room(services, after), tag_of(after))


async def remove(request: web.Request) -> web.Response:
    """Lay nothing down about a room any more; what was said in it stays."""
    services = request.app[SERVICES]
    claims = claims_of(request)
    name = request.match_info["room"]
    if "If-Match" in request.headers:
        check_match(request, tag_of(await _laid_down(services, name)))
    with away_as("rooms-away"):
        done = await services.room_store.remove(name, claims.user, services.clock())
        await services.rooms_changed()
    if not done:
        raise Problem("no-such-room", room=name)
    return web.Response(status=204)


def asked_for(body: RoomRequest) -> RoomSettings:
    """Return the settings that a request asks for. Raises `Problem`: `bad-request`."""
    direct = body.kind == "direct"
    name = direct_room(*body.users) if direct and len(body.users) == 2 else body.room or ""
    if direct and body.room not in (None, name):
        raise Problem("bad-request", "room: a direct room's name follows from its users")
    return _fit(
        RoomSettings(
            name,
            body.kind,
            body.persistent,
            body.capacity,
            # Two requests for the same two ask for the same room.
            tuple(sorted(body.users)) if direct else body.users,
            body.guests,
            direct if body.subscribed is None else body.subscribed,
        )
    )


def _may_create(services: Services, claims: Claims, wanted: RoomSettings) -> None:
    """Let operators lay down anything, and people with an account a plain direct room of theirs."""
    if may(claims.roles, Permission.ROOMS_MANAGE):
        return
    plain = RoomSettings(wanted.room, "direct", users=wanted.users, subscribed=True)
    if GUEST_ROLE in claims.roles or wanted != plain or claims.user not in wanted.users:
        raise Problem("forbidden", needs=sorted(PERMITTED[Permission.ROOMS_MANAGE]))
    if wait_s := services.wait_for_room(claims.user):
        raise Problem("rate-limited", retry_after_s=math.ceil(wait_s))


async def _check_blocks(
    services: Services, claims: Claims, wanted: RoomSettings, *, close: bool = False
) -> None:
    """Refuse a direct room of two who are apart, and `close` it if it is there."""
    if wanted.kind == "direct" and await services.friend_store.apart(*wanted.users):
        if close:
            await services.room_store.remove(wanted.room, claims.user, services.clock())
            await services.rooms_changed()
        raise Problem("blocked")


def _fit(settings: RoomSettings) -> RoomSettings:
    fault = fault_of(settings)
    if fault is not None:
        raise Problem("bad-request", fault)
    return settings


def patched(before: RoomSettings, patch: RoomPatch) -> RoomSettings:
    """Return what is laid down after a change. Raises `Problem`: `bad-request`."""
    fields = msgspec.structs.asdict(patch)
    given = {name: value for name, value in fields.items() if value is not msgspec.UNSET}
    return _fit(msgspec.structs.replace(before, **given))


async def _laid_down(services: Services, name: str) -> RoomSettings:
    with away_as("rooms-away"):
        found = await services.room_store.get(name)
    if found is None:
        raise Problem("no-such-room", room=name)
    return found


def _room(services: Services, settings: RoomSettings) -> Room:
    return Room(
        settings.room,
        settings.kind,
        settings.persistent,
        settings.capacity,
        settings.users,
        settings.guests,
        settings.subscribed,
        services.present(settings.room),
    )


OPERATIONS = (
    Operation(
        "GET", "/api/v1/rooms", index, Say("방 목록", "Rooms that have settings"),
        Permission.ROOMS_MANAGE, answer=RoomPage, query=RoomsQuery,
    ),
    Operation(
        "POST", "/api/v1/rooms", create,
        Say("방 만들기", "Lay something down about a room"), SIGNED_IN, RoomRequest, Room,
        status=201, tagged=True,
    ),
    Operation(
        "GET", "/api/v1/rooms/{room}", read, Say("방 설정", "Settings of a room"),
        SIGNED_IN, answer=Room, tagged=True,
    ),
    Operation(
        "PATCH", "/api/v1/rooms/{room}", change,
        Say("방 설정 변경", "Change settings of a room"), Permission.ROOMS_MANAGE, RoomPatch, Room,
        tagged=True,
    ),
    Operation(
        "DELETE", "/api/v1/rooms/{room}", remove,
        Say("방 설정 삭제", "Remove settings of a room"), Permission.ROOMS_MANAGE, status=204,
        tagged=True,
    ),
)  # fmt: skip
