"""How everybody's media is doing; role operator.

Addresses of people are in it: like everything else an operator may look at, it stays on the server.
"""

import unicodedata

from aiohttp import web

from metaport.api.bodies import respond
from metaport.api.operations import Operation
from metaport.api.problems import Problem
from metaport.api.services import SERVICES
from metaport.language import Say
from metaport.roles import Permission


async def sfus(request: web.Request) -> web.Response:
    """Return the SFUs: whether each answers, drains, and how much there is to do."""
    services = request.app[SERVICES]
    return respond({"sfus": services.sfu.overview()})


async def rooms(request: web.Request) -> web.Response:
    """Return all rooms with media: participants, connections, tracks and subscriptions."""
    return await _diagnosed(request, None)


async def room(request: web.Request) -> web.Response:
    """Return one room with media. 404 when nobody takes part in it."""
    return await _diagnosed(request, unicodedata.normalize("NFC", request.match_info["room"]))


async def _diagnosed(request: web.Request, name: str | None) -> web.Response:
    services = request.app[SERVICES]
    found = await services.sfu.diagnose(name)
    listed = [{"sfu": sfu, **each} for sfu, rooms in found.items() for each in rooms]
    if name is None:
        return respond({"rooms": listed})
    if not listed:
        raise Problem("not-found", room=name)
    return respond({"rooms": listed})


OPERATIONS = (
    Operation(
        "GET", "/api/v1/media/sfus", sfus, Say("미디어 프로세스 현황", "State of the SFUs"),
        Permission.MEDIA_READ,
    ),
    Operation(
        "GET", "/api/v1/media/rooms", rooms,
        Say("음성·영상 진단", "How everybody's media is doing"), Permission.MEDIA_READ,
        personal="network addresses",
    ),
    Operation(
        "GET", "/api/v1/media/rooms/{room}", room, Say("방 하나의 진단", "The same of one room"),
        Permission.MEDIA_READ, personal="network addresses",
    ),
)  # fmt: skip
