"""Invitations over HTTP: made for a private room, and redeemed by whoever has the code."""

import math
import secrets
from typing import Annotated

import msgspec
from aiohttp import web

from chatd.room_book import MAX_USERS
from chatd.session import GUEST_ROLE
from metaport.api.bodies import read_json, respond
from metaport.api.operations import SIGNED_IN, Operation, claims_of, query_of
from metaport.api.problems import Problem, away_as
from metaport.api.room_rights import check_host, room_of
from metaport.api.services import SERVICES, Services
from metaport.api.signing_in import named
from metaport.db.errors import DatabaseError
from metaport.db.invitations import Invitation, TooManyInvitations
from metaport.language import Say
from metaport.roles import Permission, may
from metaport.tokens import Claims

LIMIT = 200
SCOPE = "invitations"
CODE_BYTES = 16
# So many others may change the same room between reading and writing.
TRIES = 20

Uses = Annotated[int, msgspec.Meta(ge=1, le=MAX_USERS)]
Seconds = Annotated[int, msgspec.Meta(ge=60, le=90 * 86_400)]
Code = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_-]{22}$")]


class InvitationRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Make an invitation for so many people, good for so many seconds."""

    uses: Uses = 1
    expires_s: Seconds = 7 * 86_400


class Redemption(msgspec.Struct, forbid_unknown_fields=True):
    """Come by an invitation; in the body, as addresses are logged."""

    code: Code


class InvitationTold(msgspec.Struct):
    """An invitation, without its code; times are milliseconds since the Unix epoch."""

    id: str
    room: str
    max_uses: int
    uses: int
    made_by: str
    made_at: int
    expires_at: int
    revoked_by: str | None


class InvitationMade(InvitationTold):
    """An invitation with its code, which is told here only."""

    code: str


class InvitationPage(msgspec.Struct):
    """Invitations by their ids; `next` is `after` of the next page."""

    invitations: list[InvitationTold]
    next: str | None


class Redeemed(msgspec.Struct):
    """The room that one is invited to from now on."""

    room: str


class InvitationsQuery(msgspec.Struct):
    """Which page: invitations by their ids, on from `next` of the page before."""

    after: str = ""
    limit: Annotated[int, msgspec.Meta(ge=1, le=LIMIT)] = 50


async def create(request: web.Request) -> web.Response:
    """Make an invitation into a private room."""
    services, claims, room = _asked(request)
    wanted = await read_json(request, InvitationRequest)
    now, code = int(services.clock()), secrets.token_urlsafe(CODE_BYTES)
    made = Invitation(
        f"i_{secrets.token_hex(8)}", room, wanted.uses, 0, claims.user, now, now + wanted.expires_s
    )
    try:
        settings = await services.room_store.get(room)
        if settings is None:
            raise Problem("no-such-room", room=room)
        if settings.kind != "private":
            raise Problem("bad-request", "room: only private rooms invite people")
        await services.invitations.make(made, code)
    except TooManyInvitations:
        raise Problem("too-many-invitations", room=room) from None
    except DatabaseError:
        raise Problem("rooms-away", retry_after_s=2) from None
    told = msgspec.structs.asdict(_told(made))
    return respond(InvitationMade(**told, code=code), 201)


async def index(request: web.Request) -> web.Response:
    """Return a page of a room's invitations; to a host, those of their own."""
    services, claims, room = _asked(request)
    query = query_of(request, InvitationsQuery)
    scope = f"{SCOPE} {room}"
    after = services.cursors.read(scope, query.after, str) if query.after else ""
    with away_as("rooms-away"):
        found = await services.invitations.page(
            room, after, query.limit + 1, made_by=_whose(claims)
        )
    told = [_told(each) for each in found[: query.limit]]
    more = len(found) > query.limit
    return respond(
        InvitationPage(told, services.cursors.make(scope, told[-1].id) if more else None)
    )


async def revoke(request: web.Request) -> web.Response:
    """Take an invitation back; who has come by it stays invited."""
    services, claims, room = _asked(request)
    which = named(request, "invitation")
    with away_as("rooms-away"):
        done = await services.invitations.revoke(room, which, claims.user, made_by=_whose(claims))
    if not done:
        raise Problem("no-such-invitation")
    return web.Response(status=204)


async def redeem(request: web.Request) -> web.Response:
    """Be invited to the room of an invitation.

    1. The person is counted, once.
    2. The person is among the users of the room. A crash before is mended by redeeming again.
    """
    services, claims = request.app[SERVICES], claims_of(request)
    if GUEST_ROLE in claims.roles:
        raise Problem("needs-account")
    code = (await read_json(request, Redemption)).code
    if wait_s := services.wait_for_room(claims.user):
        raise Problem("rate-limited", retry_after_s=math.ceil(wait_s))
    with away_as("rooms-away"):
        room = await services.invitations.redeem(code, claims.user, int(services.clock()))
        if room is None:
            raise Problem("no-such-invitation")
        await _let_in(services, room, claims.user)
    return respond(Redeemed(room))


async def _let_in(services: Services, room: str, user: str) -> None:
    for _ in range(TRIES):
        before = await services.room_store.get(room)
        if before is None or before.kind != "private":
            raise Problem("no-such-invitation")
        if user in before.users:
            return
        if len(before.users) >= MAX_USERS:
            raise Problem("room-full", room=room)
        after = msgspec.structs.replace(before, users=(*before.users, user))
        if await services.room_store.change(before, after, user, services.clock()):
            await services.rooms_changed()
            return
    raise Problem("room-changed", room=room)


def _asked(request: web.Request) -> tuple[Services, Claims, str]:
    claims, room = claims_of(request), room_of(request)
    check_host(claims, Permission.ROOMS_INVITE, room)
    return request.app[SERVICES], claims, room


def _whose(claims: Claims) -> str | None:
    """Return whose invitations somebody sees and takes back; None is everybody's."""
    return None if may(claims.roles, Permission.ROOMS_MANAGE) else claims.user


def _told(each: Invitation) -> InvitationTold:
    return InvitationTold(
        each.id,
        each.room,
        each.max_uses,
        each.uses,
        each.made_by,
        each.made_at_s * 1000,
        each.expires_at_s * 1000,
        each.revoked_by,
    )


OPERATIONS = (
    Operation(
        "GET", "/api/v1/rooms/{room}/invitations", index,
        Say("방의 초대 목록", "Invitations into a room"),
        Permission.ROOMS_INVITE, answer=InvitationPage, query=InvitationsQuery, personal="names",
    ),
    Operation(
        "POST", "/api/v1/rooms/{room}/invitations", create,
        Say("방 초대 만들기", "Make an invitation into a room"),
        Permission.ROOMS_INVITE, InvitationRequest, InvitationMade, status=201, personal="names",
    ),
    Operation(
        "DELETE", "/api/v1/rooms/{room}/invitations/{invitation}", revoke,
        Say("초대 거두기", "Take an invitation back"), Permission.ROOMS_INVITE, status=204,
    ),
    Operation(
        "POST", "/api/v1/invitations/redeem", redeem,
        Say("초대 코드 쓰기", "Come by an invitation"), SIGNED_IN, Redemption, Redeemed,
    ),
)  # fmt: skip
