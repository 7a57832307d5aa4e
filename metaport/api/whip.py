"""WHIP (RFC 9725) and WHEP: media by HTTP, for encoders, players and second kinds of client.

A session is a participant like any other: present in its room, metered, and gone when it is
deleted or its ICE consent expires.
"""

import logging
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from aiohttp import web

from chatd.errors import Refused
from chatd.grants import Rights
from metaport.api.access import client_address, throttle
from metaport.api.bodies import read_sdp
from metaport.api.operations import ANYONE, SIGNED_IN, Operation, claims_of, query_of
from metaport.api.problems import Problem, of_room
from metaport.api.resources import MediaResources
from metaport.api.services import SERVICES, Services
from metaport.language import Say
from metaport.media import SfuAway, may_publish
from sfu.control import ControlError

logger = logging.getLogger(__name__)

REASONS = {
    "bad_sdp": "bad-sdp",
    "unsupported_codecs": "unsupported-codecs",
    "no_such_publisher": "no-such-publisher",
    "no_such_participant": "no-such-session",
    "not_in_media": "no-such-session",
    "etag_mismatch": "etag-mismatch",
    "precondition_required": "precondition-required",
}


class SubscribeQuery(msgspec.Struct):
    """Whom to receive: one publisher, else the whole room."""

    publisher: str | None = msgspec.field(name="from", default=None)


RESOURCES = web.AppKey("resources", MediaResources)


async def ask(services: Services, op: str, **fields: Any) -> dict[str, Any]:
    """Ask the SFU and turn its refusals into problems."""
    try:
        return await services.sfu.request_http(op, **fields)
    except ControlError as refusal:
        if refusal.retry_after_ms is not None:
            # Full, draining, or a bug of ours: the same request may be served later.
            retry_after_s = -(-refusal.retry_after_ms // 1000)
            raise Problem(
                "media-unavailable", refusal.message, retry_after_s=retry_after_s
            ) from None
        reason = REASONS.get(refusal.reason, "bad-request")
        raise Problem(reason, refusal.message) from None
    except SfuAway:
        raise Problem("media-unavailable", retry_after_s=2) from None


def _created(kind: str, answer: dict[str, Any]) -> web.Response:
    response = web.Response(
        status=201,
        text=answer["sdp"],
        content_type="application/sdp",
        headers={
            "Location": f"/{kind}/sessions/{answer['participant']}",
            "ETag": f'"{answer["etag"]}"',
            "Accept-Patch": "application/trickle-ice-sdpfrag",
        },
    )
    for link in ice_links(answer.get("ice_servers", ())):
        response.headers.add("Link", link)
    return response


def ice_links(servers: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Yield a Link value for each STUN and TURN address (RFC 9725 §4.6)."""
    for server in servers:
        login = "".join(
            f'; {name}="{server[field]}"'
            for name, field in (("username", "username"), ("credential", "credential"))
            if field in server
        )
        kind = '; credential-type="password"' if login else ""
        for url in server["urls"]:
            yield f'<{url}>; rel="ice-server"{login}{kind}'


async def publish(request: web.Request) -> web.Response:
    """Create a publishing session from an SDP offer (RFC 9725 §4.2)."""
    if not may_publish(claims_of(request).roles):
        raise Problem("forbidden")
    return await _create(request, "whip", Rights.PUBLISH, {})


async def subscribe(request: web.Request) -> web.Response:
    """Create a receiving session; `from` names one publisher, else the whole room."""
    return await _create(
        request, "whep", Rights.READ, {"from": query_of(request, SubscribeQuery).publisher}
    )


async def _create(
    request: web.Request, kind: str, right: Rights, fields: dict[str, Any]
) -> web.Response:
    services = request.app[SERVICES]
    claims = claims_of(request)
    throttle(services.wait_for_media(client_address(request, services.trusted)))
    raw = request.match_info["room"]
    try:
        room = services.enter(claims, raw, right, attends=True)
    except Refused as refused:
        raise of_room(refused, raw) from None
    answer = await ask(
        services,
        kind,
        room=room,
        user=claims.user,
        name=claims.name,
        sdp=await read_sdp(request),
        **fields,
    )
    presence = services.attach(room, claims.user, claims.name)
    request.app[RESOURCES].add(answer["participant"], claims, room, right, presence)
    return _created(kind, answer)


async def patch(request: web.Request) -> web.Response:
    """Take trickled candidates (204) or restart ICE (200 with the new credentials).

    RFC 9725 §4.3: an ICE restart carries `If-Match: "*"` (without it the answer is 428), a trickle
    the current ETag.
    """
    services = request.app[SERVICES]
    participant = request.match_info["participant"]
    request.app[RESOURCES].owned(participant, claims_of(request))
    if_match = request.headers.get("If-Match")
    answer = await ask(
        services,
        "patch",
        participant=participant,
        sdp_fragment=await read_sdp(request, "application/trickle-ice-sdpfrag"),
        if_match=if_match.strip('"') if if_match else None,
    )
    if answer.get("sdp_fragment") is None:
        return web.Response(status=204)
    return web.Response(
        text=answer["sdp_fragment"],
        content_type="application/trickle-ice-sdpfrag",
        headers={"ETag": f'"{answer["etag"]}"'},
    )


async def delete(request: web.Request) -> web.Response:
    """End a session (RFC 9725 §4.2)."""
    services = request.app[SERVICES]
    resources = request.app[RESOURCES]
    participant = request.match_info["participant"]
    resources.owned(participant, claims_of(request))
    await ask(services, "delete", participant=participant)
    resources.end(participant)
    return web.Response()


async def options(request: web.Request) -> web.Response:
    """Say what is accepted (RFC 9725 §4.5)."""
    return web.Response(status=204, headers={"Accept-Post": "application/sdp"})


_SESSION = "/{kind:whip|whep}/sessions/{participant}"
_SDP, _FRAGMENT = "application/sdp", "application/trickle-ice-sdpfrag"

OPERATIONS = (
    Operation(
        "PATCH", _SESSION, patch, Say("ICE 후보 전달, ICE 재시작", "Trickle or restart ICE"),
        SIGNED_IN, takes=_FRAGMENT, media_types=(_FRAGMENT,),
    ),
    Operation("DELETE", _SESSION, delete, Say("미디어 세션 종료", "End a session"), SIGNED_IN),
    Operation(
        "POST", "/whip/{room:.+}", publish, Say("WHIP 송출", "Publish by WHIP"), SIGNED_IN,
        takes=_SDP, media_types=(_SDP,), status=201,
    ),
    Operation(
        "POST", "/whep/{room:.+}", subscribe, Say("WHEP 수신", "Receive by WHEP"), SIGNED_IN,
        query=SubscribeQuery, takes=_SDP, media_types=(_SDP,), status=201,
    ),
    Operation(
        "OPTIONS", "/{kind:whip|whep}/{room:.+}", options,
        Say("받는 형식 안내", "Say what is accepted"), ANYONE, status=204,
    ),
)  # fmt: skip
