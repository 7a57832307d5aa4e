"""Moderation over HTTP: mute, kick, ban, move, end somebody's media, remove a message; its record.

A room in the path may be a pattern of grants (`world/1/**`; `**` is everywhere) where an act lays
something down. Who is only a host moderates the rooms their token names, one by one.
"""

import asyncio
import unicodedata
from typing import Annotated, Any

import msgspec
from aiohttp import web

from chatd.archive import ArchiveAway
from chatd.grants import is_pattern
from chatd.moderation import What
from chatd.room_name import is_room_name
from chatd.wire import Since
from metaport.api.bodies import read_json, respond
from metaport.api.operations import Operation, claims_of, query_of
from metaport.api.problems import Problem, away_as
from metaport.api.room_rights import check_host, room_of
from metaport.api.services import SERVICES, Services
from metaport.db.errors import DatabaseError
from metaport.language import Say
from metaport.moderation_act import Act, ActName
from metaport.moderation_desk import Done
from metaport.roles import Permission
from metaport.tokens import Claims

LIMIT = 200
SCOPE = "moderation"
ARCHIVE_TIMEOUT_S = 5.0

Note = Annotated[str, msgspec.Meta(max_length=500)]
# Ten years; longer is without end.
Seconds = Annotated[int, msgspec.Meta(ge=0, le=315_360_000)]
Whats = Annotated[tuple[What, ...], msgspec.Meta(min_length=1, max_length=3)]


class NoteRequest(msgspec.Struct, forbid_unknown_fields=True):
    """`note` is told to the person, and kept."""

    note: Note = ""


class KickRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Send out, and let back in after `for_s` seconds."""

    for_s: Seconds = 60
    note: Note = ""


class BanRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Keep out, for `for_s` seconds or, without it, until it is lifted."""

    for_s: Seconds | None = None
    note: Note = ""


class MuteRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Mute text, voice or video, in place of what was muted here before."""

    what: Whats = ("text", "audio", "video")
    for_s: Seconds | None = None
    note: Note = ""


class MoveRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Bring somebody from the room to another one."""

    to: str
    note: Note = ""


class ActDone(msgspec.Struct, omit_defaults=True):
    """What came of an act.

    `connections` and `participants` (in media) were reached. Hubs that did not answer,
    `unanswered` of them, follow within a second of being well again; `sfus_away` did not mute or
    end media. Of a move, `refused` connections could not enter the other room, and why.
    """

    id: int
    act: ActName
    room: str
    connections: int
    participants: int
    unanswered: int
    sfus_away: list[str]
    user: str | None = None
    until: int | None = None
    refused: int = 0
    reason: str | None = None


class ActTold(msgspec.Struct, omit_defaults=True):
    """An act as it was kept."""

    id: int
    act: ActName
    room: str
    by: str
    at: int
    user: str | None = None
    note: str = ""
    what: tuple[What, ...] = ()
    until: int | None = None
    message: str | None = None
    to: str | None = None


class ActPage(msgspec.Struct):
    """Acts, the newest first; `next` is `after` of the next page."""

    acts: list[ActTold]
    next: str | None


class ActsQuery(msgspec.Struct):
    """Which acts: of a room, of a user, those after `after`."""

    room: str | None = None
    user: str | None = None
    after: str = ""
    limit: Annotated[int, msgspec.Meta(ge=1, le=LIMIT)] = 50


async def mute(request: web.Request) -> web.Response:
    """Mute somebody: they are told, and neither read nor heard nor seen until it is over."""
    body = await read_json(request, MuteRequest)
    what = tuple(sorted(set(body.what)))
    return await _lay_down(request, "mute", body.note, body.for_s, what=what)


async def unmute(request: web.Request) -> web.Response:
    """Lift a mute; voice and video they unmute themselves."""
    body = await read_json(request, NoteRequest)
    return await _lay_down(request, "unmute", body.note, None)


async def kick(request: web.Request) -> web.Response:
    """Send somebody out for a while."""
    body = await read_json(request, KickRequest)
    return await _lay_down(request, "kick", body.note, body.for_s)


async def ban(request: web.Request) -> web.Response:
    """Keep somebody out."""
    body = await read_json(request, BanRequest)
    return await _lay_down(request, "ban", body.note, body.for_s)


async def unban(request: web.Request) -> web.Response:
    """Let somebody in again, banned or kicked."""
    body = await read_json(request, NoteRequest)
    return await _lay_down(request, "unban", body.note, None)


async def move(request: web.Request) -> web.Response:
    """Bring somebody to another room, where they may enter it."""
    services, claims, room, user = _of_one_room(request)
    body = await read_json(request, MoveRequest)
    to = unicodedata.normalize("NFC", body.to)
    if not is_room_name(to):
        raise Problem("bad-request", "to: not a room name")
    check_host(claims, Permission.ROOMS_MODERATE, to)
    if not await services.moderation.present(user, room):
        raise Problem("not-there", room=room, user=user)
    act = _act(services, claims, "move", room, user, note=body.note, to=to)
    done = await _carry_out(services, act)
    if not done.connections and done.refused:
        raise Problem("not-moved", done.reason or "", room=room, user=user, to=to)
    return respond(_told(done))


async def end_media(request: web.Request) -> web.Response:
    """End somebody's voice and video in a room; they may join it again."""
    services, claims, room, user = _of_one_room(request)
    found = await services.sfu.diagnose(room)
    people = [
        each["user"] for rooms in found.values() for one in rooms for each in one["participants"]
    ]
    if user not in people:
        raise Problem("not-there", room=room, user=user)
    return respond(_told(await _carry_out(services, _act(services, claims, "expel", room, user))))


async def remove_message(request: web.Request) -> web.Response:
    """Have a message read no more: its place stays, who is there is told."""
    services, claims = request.app[SERVICES], claims_of(request)
    room = room_of(request)
    check_host(claims, Permission.ROOMS_MODERATE, room)
    body = await read_json(request, NoteRequest)
    raw = request.match_info["message"]
    epoch, _, digits = raw.rpartition("-")
    if not epoch or not digits.isascii() or not digits.isdigit() or len(digits) > 15:
        raise Problem("no-such-message", room=room, message=raw)
    user = await _sender_of(services, room, Since(epoch, int(digits)))
    if user is None:
        raise Problem("no-such-message", room=room, message=raw)
    act = _act(
        services, claims, "remove", room, user or None,
        note=body.note, epoch=epoch, offset=int(digits),
    )  # fmt: skip
    return respond(_told(await _carry_out(services, act)))


async def acts(request: web.Request) -> web.Response:
    """Return what moderators have done."""
    services, query = request.app[SERVICES], query_of(request, ActsQuery)
    before = services.cursors.read(SCOPE, query.after, int) if query.after else None
    with away_as("moderation-away"):
        found = await services.moderation.store.page(
            query.room, query.user, before, query.limit + 1
        )
    told = [
        ActTold(
            each.revision, each.act, each.room, each.by, each.at_ms, each.user, each.note,
            each.what, each.until_ms, each.as_map().get("message"), each.to,
        )
        for each in found[: query.limit]
    ]  # fmt: skip
    more = services.cursors.make(SCOPE, told[-1].id) if len(found) > query.limit else None
    return respond(ActPage(told, more))


async def _lay_down(
    request: web.Request, name: ActName, note: str, for_s: int | None, **fields: Any
) -> web.Response:
    services, claims = request.app[SERVICES], claims_of(request)
    pattern = unicodedata.normalize("NFC", request.match_info["room"])
    if not is_pattern(pattern):
        raise Problem("bad-request", "room: neither a name nor a pattern")
    check_host(claims, Permission.ROOMS_MODERATE, pattern)
    user = _user(request)
    if user == claims.user and name in ("ban", "kick"):
        raise Problem("bad-request", "user: nobody shuts themselves out")
    act = _act(services, claims, name, pattern, user, note=note, **fields)
    if for_s is not None:
        act = act._replace(until_ms=act.at_ms + for_s * 1000)
    return respond(_told(await _carry_out(services, act)))


async def _carry_out(services: Services, act: Act) -> Done:
    with away_as("moderation-away"):
        return await services.moderation.carry_out(act)


async def _sender_of(services: Services, room: str, place: Since) -> str | None:
    """Return who said the message at a place, "" where that is kept nowhere, None for nobody."""
    try:
        settings = await services.room_store.get(room)
        if settings is not None and not settings.persistent:
            return ""
        before = Since(place.epoch, place.offset - 1)
        async with asyncio.timeout(ARCHIVE_TIMEOUT_S):
            found = await services.archive.after(room, before, 1)
    except DatabaseError:
        raise Problem("rooms-away", retry_after_s=2) from None
    except (ArchiveAway, TimeoutError):
        raise Problem("history-away", retry_after_s=1) from None
    message = next(iter(found.messages), None)
    there = found.epoch == place.epoch and message is not None and message.offset == place.offset
    return message.from_ if there and message is not None else None


def _of_one_room(request: web.Request) -> tuple[Services, Claims, str, str]:
    claims, room = claims_of(request), room_of(request)
    check_host(claims, Permission.ROOMS_MODERATE, room)
    return request.app[SERVICES], claims, room, _user(request)


def _user(request: web.Request) -> str:
    user = request.match_info["user"]
    if not 1 <= len(user) <= 128 or not user.isprintable():
        raise Problem("bad-request", "user: 1–128 printable characters")
    return user


def _act(
    services: Services, claims: Claims, name: ActName, room: str, user: str | None, **fields: Any
) -> Act:
    return Act(name, room, user, claims.user, int(services.clock() * 1000), **fields)


def _told(done: Done) -> ActDone:
    act = done.act
    return ActDone(
        act.revision, act.act, act.room, done.connections, done.participants, done.unanswered,
        done.away, act.user, act.until_ms, done.refused, done.reason,
    )  # fmt: skip


_PERSON = "/api/v1/rooms/{room}/participants/{user}"
_MODERATE = Permission.ROOMS_MODERATE

OPERATIONS = (
    Operation(
        "POST", f"{_PERSON}/mute", mute, Say("음소거", "Mute text, voice or video"),
        _MODERATE, MuteRequest, ActDone, bodiless=True,
    ),
    Operation(
        "POST", f"{_PERSON}/unmute", unmute, Say("음소거 해제", "Lift a mute"),
        _MODERATE, NoteRequest, ActDone, bodiless=True,
    ),
    Operation(
        "POST", f"{_PERSON}/kick", kick, Say("내보내기", "Send somebody out for a while"),
        _MODERATE, KickRequest, ActDone, bodiless=True,
    ),
    Operation(
        "POST", f"{_PERSON}/ban", ban, Say("출입 금지", "Keep somebody out"),
        _MODERATE, BanRequest, ActDone, bodiless=True,
    ),
    Operation(
        "POST", f"{_PERSON}/unban", unban, Say("출입 금지 해제", "Let somebody in again"),
        _MODERATE, NoteRequest, ActDone, bodiless=True,
    ),
    Operation(
        "POST", f"{_PERSON}/move", move, Say("방 옮기기", "Bring somebody to another room"),
        _MODERATE, MoveRequest, ActDone,
    ),
    Operation(
        "DELETE", f"{_PERSON}/media", end_media,
        Say("음성·영상 끝내기", "End somebody's voice and video"), _MODERATE, answer=ActDone,
    ),
    Operation(
        "DELETE", "/api/v1/rooms/{room}/messages/{message}", remove_message,
        Say("메시지 지우기", "Remove a message"), _MODERATE, NoteRequest, ActDone,
        bodiless=True,
    ),
    Operation(
        "GET", "/api/v1/moderation/acts", acts, Say("조치 기록", "What moderators have done"),
        Permission.MODERATION_READ, answer=ActPage, query=ActsQuery,
    ),
)  # fmt: skip
