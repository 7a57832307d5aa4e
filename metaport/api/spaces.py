"""Spaces over HTTP: what is laid down about them, what they show, and what time it is here."""

import re
from datetime import UTC, datetime
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import msgspec
from aiohttp import web

from chatd.body import body_fault
from chatd.opening_hours import Stretch, fault_of
from chatd.spaces import ZONE, SpaceSettings, with_state
from metaport.api.bodies import read_json, respond
from metaport.api.etags import check_match, respond_tagged, tag_of
from metaport.api.operations import ANYONE, SIGNED_IN, Operation, claims_of, query_of
from metaport.api.problems import Problem, away_as
from metaport.api.services import SERVICES, Services
from metaport.language import Say
from metaport.roles import Permission

LIMIT = 200
SCOPE = "spaces"
# What every client in it is sent whole with each change.
STATE_BYTES = 16 * 1024
# One segment of a room's name, short enough for rooms in it.
_NAME = re.compile(r"[A-Za-z0-9가-힣_.:-]{1,64}")

Title = Annotated[str, msgspec.Meta(max_length=200)]
Capacity = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
Hours = Annotated[tuple[Stretch, ...], msgspec.Meta(max_length=32)]


class SpaceRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Lay something down about a space; its rooms are `world/<space>/…`."""

    space: str
    title_ko: Title = ""
    title_en: Title = ""
    capacity: Capacity | None = None
    zone: str = ZONE
    hours: Hours = ()
    closed: bool = False


class SpacePatch(msgspec.Struct, forbid_unknown_fields=True):
    """Lay some of it down anew; what is left out stays (RFC 7396)."""

    title_ko: Title | msgspec.UnsetType = msgspec.UNSET
    title_en: Title | msgspec.UnsetType = msgspec.UNSET
    capacity: Capacity | msgspec.UnsetType | None = msgspec.UNSET
    zone: str | msgspec.UnsetType = msgspec.UNSET
    hours: Hours | msgspec.UnsetType = msgspec.UNSET
    closed: bool | msgspec.UnsetType = msgspec.UNSET


class StatePatch(msgspec.Struct, forbid_unknown_fields=True):
    """Change what a space shows: `state` is a merge patch (RFC 7396), null takes a member away."""

    state: dict[str, Any]


class SpaceTold(msgspec.Struct):
    """A space as it is laid down, whether it is open now, and when it opens next if known."""

    space: str
    title_ko: str
    title_en: str
    capacity: int | None
    zone: str
    hours: tuple[Stretch, ...]
    closed: bool
    open: bool
    opens_at: int | None


class SpacePage(msgspec.Struct):
    """Spaces by name; `next` is `after` of the next page."""

    spaces: list[SpaceTold]
    next: str | None


class SpaceState(msgspec.Struct):
    """What a space shows; `revision` counts its changes."""

    space: str
    revision: int
    state: dict[str, Any]


class ServerTime(msgspec.Struct):
    """What time it is here: milliseconds since the Unix epoch, and local time in a zone."""

    at: int
    zone: str
    local: str


class SpacesQuery(msgspec.Struct):
    """Which page: spaces by name, those after `after`."""

    after: str = ""
    limit: Annotated[int, msgspec.Meta(ge=1, le=LIMIT)] = 50


async def index(request: web.Request) -> web.Response:
    """Return a page of spaces."""
    services, query = request.app[SERVICES], query_of(request, SpacesQuery)
    after = services.cursors.read(SCOPE, query.after, str) if query.after else ""
    with away_as("spaces-away"):
        found = await services.space_store.page(after, query.limit + 1)
    told = [_told(services, settings) for settings in found[: query.limit]]
    more = len(found) > query.limit
    return respond(SpacePage(told, services.cursors.make(SCOPE, told[-1].space) if more else None))


async def create(request: web.Request) -> web.Response:
    """Lay something down about a space."""
    services, claims = request.app[SERVICES], claims_of(request)
    body = await read_json(request, SpaceRequest)
    if not _NAME.fullmatch(body.space):
        raise Problem("bad-request", "space: 1–64 letters, digits or -_.:")
    wanted = _fit(SpaceSettings(**msgspec.structs.asdict(body)))
    with away_as("spaces-away"):
        found = await services.space_store.create(wanted, claims.user, services.clock())
        await services.spaces_changed()
    if found is not None:
        raise Problem("space-exists", space=wanted.space)
    return respond_tagged(request, _told(services, wanted), _tag_of(wanted), 201)


async def read(request: web.Request) -> web.Response:
    """Return one space."""
    services = request.app[SERVICES]
    settings = await _laid_down(request)
    return respond_tagged(request, _told(services, settings), _tag_of(settings))


async def change(request: web.Request) -> web.Response:
    """Change some of what is laid down; it holds at once, also for those who are in."""
    services = request.app[SERVICES]
    patch = await read_json(request, SpacePatch)
    before = await _laid_down(request)
    check_match(request, _tag_of(before))
    fields = msgspec.structs.asdict(patch)
    given = {name: value for name, value in fields.items() if value is not msgspec.UNSET}
    after = _fit(msgspec.structs.replace(before, **given))
    await _change(request, before, after)
    return respond_tagged(request, _told(services, after), _tag_of(after))


async def remove(request: web.Request) -> web.Response:
    """Lay nothing down about a space any more; its rooms stay."""
    services, name = request.app[SERVICES], request.match_info["space"]
    with away_as("spaces-away"):
        done = await services.space_store.remove(name, claims_of(request).user, services.clock())
        await services.spaces_changed()
    if not done:
        raise Problem("no-such-space", space=name)
    return web.Response(status=204)


async def read_state(request: web.Request) -> web.Response:
    """Return what a space shows."""
    settings = await _laid_down(request)
    return respond_tagged(request, _state(settings), _tag(settings))


async def change_state(request: web.Request) -> web.Response:
    """Change what a space shows, for all who look at it now."""
    patch = (await read_json(request, StatePatch)).state
    before = await _laid_down(request)
    check_match(request, _tag(before))
    after = with_state(before, patch)
    if (fault := body_fault(after.state)) is not None:
        raise Problem("bad-request", f"state: {fault}")
    if len(msgspec.json.encode(after.state)) > STATE_BYTES:
        raise Problem("bad-request", f"state: at most {STATE_BYTES} bytes")
    await _change(request, before, after)
    return respond_tagged(request, _state(after), _tag(after))


async def tell_time(request: web.Request) -> web.Response:
    """Tell what time it is here."""
    now = request.app[SERVICES].clock()
    zone = request.app[SERVICES].config.usage.zone
    local = datetime.fromtimestamp(now, UTC).astimezone(ZoneInfo(zone))
    return respond(ServerTime(int(now * 1000), zone, local.isoformat(timespec="milliseconds")))


async def _change(request: web.Request, before: SpaceSettings, after: SpaceSettings) -> None:
    services = request.app[SERVICES]
    by = claims_of(request).user
    with away_as("spaces-away"):
        done = await services.space_store.change(before, after, by, services.clock())
        await services.spaces_changed()
    if not done:
        raise Problem("space-changed", space=before.space)


async def _laid_down(request: web.Request) -> SpaceSettings:
    name = request.match_info["space"]
    with away_as("spaces-away"):
        found = await request.app[SERVICES].space_store.get(name)
    if found is None:
        raise Problem("no-such-space", space=name)
    return found


def _fit(settings: SpaceSettings) -> SpaceSettings:
    fault = fault_of(settings.hours, settings.zone)
    if fault is not None:
        raise Problem("bad-request", fault)
    return settings


def _told(services: Services, settings: SpaceSettings) -> SpaceTold:
    now = services.clock()
    return SpaceTold(
        settings.space,
        settings.title_ko,
        settings.title_en,
        settings.capacity,
        settings.zone,
        settings.hours,
        settings.closed,
        settings.open_at(now),
        settings.opens_at_ms(now),
    )


def _state(settings: SpaceSettings) -> SpaceState:
    return SpaceState(settings.space, settings.state_revision, settings.state)


def _tag_of(settings: SpaceSettings) -> str:
    """Return the tag of what is laid down, whatever the space shows."""
    return tag_of(msgspec.structs.replace(settings, state={}, state_revision=0))


def _tag(settings: SpaceSettings) -> str:
    return f'"{settings.state_revision}"'


OPERATIONS = (
    Operation(
        "GET", "/api/v1/spaces", index, Say("공간 목록", "Spaces"),
        SIGNED_IN, answer=SpacePage, query=SpacesQuery,
    ),
    Operation(
        "POST", "/api/v1/spaces", create, Say("공간 만들기", "Lay something down about a space"),
        Permission.SPACES_MANAGE, SpaceRequest, SpaceTold, status=201,
    ),
    Operation(
        "GET", "/api/v1/spaces/{space}", read, Say("공간 설정", "Settings of a space"),
        SIGNED_IN, answer=SpaceTold,
    ),
    Operation(
        "PATCH", "/api/v1/spaces/{space}", change,
        Say("공간 설정 변경", "Change settings of a space"),
        Permission.SPACES_MANAGE, SpacePatch, SpaceTold,
    ),
    Operation(
        "DELETE", "/api/v1/spaces/{space}", remove,
        Say("공간 설정 삭제", "Remove settings of a space"), Permission.SPACES_MANAGE, status=204,
    ),
    Operation(
        "GET", "/api/v1/spaces/{space}/state", read_state,
        Say("공간 상태", "What a space shows"), SIGNED_IN, answer=SpaceState,
    ),
    Operation(
        "PATCH", "/api/v1/spaces/{space}/state", change_state,
        Say("공간 상태 변경", "Change what a space shows"),
        Permission.SPACES_SHOW, StatePatch, SpaceState,
    ),
    Operation(
        "GET", "/api/v1/time", tell_time, Say("서버 시각", "What time it is here"),
        ANYONE, answer=ServerTime,
    ),
)  # fmt: skip
