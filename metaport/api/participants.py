"""Who is in a room, what the server says there, and live figures."""

from typing import Annotated, Any

import msgspec
from aiohttp import web

from chatd.errors import FactsRefused, Refused
from metaport.api.bodies import read_json, respond
from metaport.api.operations import Operation, claims_of, query_of
from metaport.api.problems import Problem, of_room
from metaport.api.room_rights import check_host, room_of
from metaport.api.services import SERVICES
from metaport.language import Say
from metaport.moderation_desk import PEOPLE_AT_A_TIME, SayUnknown
from metaport.roles import Permission

SCOPE = "participants"

User = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]


class SayRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Say something as `user`, who need not be there; repeating it with its `key` is safe."""

    body: Any
    key: Annotated[str, msgspec.Meta(min_length=1, max_length=128)] | None = None
    user: User = "server"
    name: User = "안내"


class Said(msgspec.Struct):
    """Where the message is; with a `key` that was used, where the first one is."""

    room: str
    offset: int
    message_id: str
    at: int


class MediaTrack(msgspec.Struct):
    """A track somebody publishes."""

    track: str
    kind: str
    source: str
    muted: bool


class MediaPart(msgspec.Struct):
    """Somebody's part in a room's media: by chat, WHIP or WHEP."""

    participant: str
    sfu: str
    role: str
    tracks: list[MediaTrack]


class Participant(msgspec.Struct):
    """Somebody in a room. `muted` is what moderation has muted."""

    user: str
    name: str
    connections: int
    muted: list[str]
    media: list[MediaPart]


class ParticipantPage(msgspec.Struct):
    """People by user id; `next` is `after` of the next page. `unanswered` hubs are missing."""

    participants: list[Participant]
    next: str | None
    unanswered: int


class ParticipantsQuery(msgspec.Struct):
    """Which page: people by user id, those after `after`."""

    after: str = ""
    limit: Annotated[int, msgspec.Meta(ge=1, le=PEOPLE_AT_A_TIME)] = 50


class HubFigures(msgspec.Struct, omit_defaults=True):
    """Live figures of one hub: of a room, or of all it does; counts are since it started."""

    hub: str
    connections: int
    users: int
    rooms: int | None = None
    messages_in: int | None = None
    messages_out: int | None = None
    uptime_s: int | None = None


class Figures(msgspec.Struct):
    """Live figures: of each hub, and in media; `unanswered` hubs are missing."""

    hubs: list[HubFigures]
    connections: int
    media_participants: int
    unanswered: int


async def say(request: web.Request) -> web.Response:
    """Say something in a room: ordered, stored and counted like any message."""
    services, claims, room = request.app[SERVICES], claims_of(request), room_of(request)
    check_host(claims, Permission.ROOMS_SPEAK, room)
    wanted = await read_json(request, SayRequest)
    key = wanted.key or request.headers.get("Idempotency-Key")
    try:
        receipt = await services.moderation.say(room, wanted.user, wanted.name, wanted.body, key)
    except Refused as refused:
        if refused.refusal.reason in ("over_budget", "rooms_away"):
            raise of_room(refused, room) from None
        raise Problem("bad-request", refused.message, room=room) from None
    except FactsRefused as refusal:
        raise Problem("not-stored", str(refusal), room=room, retry_after_s=1) from None
    except SayUnknown:
        raise Problem("not-stored", "unknown: repeat it with its key", retry_after_s=2) from None
    return respond(Said(room, receipt.offset, receipt.message_id, receipt.at_ms), 201)


async def index(request: web.Request) -> web.Response:
    """Return who is in a room, over all hubs, with what they publish."""
    services, room = request.app[SERVICES], room_of(request)
    check_host(claims_of(request), Permission.ROOMS_MODERATE, room)
    query = query_of(request, ParticipantsQuery)
    after = services.cursors.read(SCOPE, query.after, str) if query.after else ""
    people, unanswered = await services.moderation.people(room, after, query.limit + 1)
    found = {
        each.user: Participant(each.user, each.name, each.connections, each.muted, [])
        for each in people
    }
    for sfu, rooms in (await services.sfu.diagnose(room)).items():
        for told in (one for each in rooms for one in each["participants"]):
            user = told["user"]
            if user > after:
                muted = services.moderation.muted(user, room)
                person = found.setdefault(user, Participant(user, told["name"], 0, muted, []))
                person.media.append(_media(sfu, told))
    users = sorted(found)
    page = [found[user] for user in users[: query.limit]]
    more = services.cursors.make(SCOPE, page[-1].user) if len(users) > query.limit else None
    return respond(ParticipantPage(page, more, unanswered))


async def of_room_figures(request: web.Request) -> web.Response:
    """Return the live figures of a room."""
    room = room_of(request)
    check_host(claims_of(request), Permission.ROOMS_MODERATE, room)
    return await _figures(request, room)


async def of_server_figures(request: web.Request) -> web.Response:
    """Return the live figures of all hubs and SFUs."""
    return await _figures(request, None)


async def _figures(request: web.Request, room: str | None) -> web.Response:
    services = request.app[SERVICES]
    answers = await services.moderation.figures(room)
    hubs = [msgspec.convert(each, HubFigures) for each in answers.results]
    if room is None:
        media = sum(each["participants"] for each in services.sfu.overview())
    else:
        found = (await services.sfu.diagnose(room)).values()
        media = sum(len(one["participants"]) for rooms in found for one in rooms)
    connections = sum(each.connections for each in hubs)
    return respond(Figures(hubs, connections, media, answers.unanswered))


def _media(sfu: str, told: dict[str, Any]) -> MediaPart:
    tracks = [
        MediaTrack(each["track"], each["kind"], each["source"], each["muted"])
        for each in told["tracks"]
    ]
    return MediaPart(told["participant"], sfu, told["role"], tracks)


OPERATIONS = (
    Operation(
        "POST", "/api/v1/rooms/{room}/messages", say,
        Say("서버로서 말하기", "Say something as the server"),
        Permission.ROOMS_SPEAK, SayRequest, Said, status=201,
    ),
    Operation(
        "GET", "/api/v1/rooms/{room}/participants", index,
        Say("방에 있는 사람", "Who is in a room"),
        Permission.ROOMS_MODERATE, answer=ParticipantPage, query=ParticipantsQuery,
    ),
    Operation(
        "GET", "/api/v1/rooms/{room}/figures", of_room_figures,
        Say("방의 현재 수치", "Live figures of a room"),
        Permission.ROOMS_MODERATE, answer=Figures,
    ),
    Operation(
        "GET", "/api/v1/figures", of_server_figures,
        Say("서버의 현재 수치", "Live figures of the server"),
        Permission.STATUS_READ, answer=Figures,
    ),
)  # fmt: skip
