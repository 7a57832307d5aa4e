"""Which room a request names, and whether somebody with a role may act in it."""

import unicodedata

from aiohttp import web

from chatd.grants import Rights, rights_in
from chatd.room_name import is_room_name
from metaport.api.problems import Problem
from metaport.roles import PERMITTED, Permission, Role
from metaport.tokens import Claims


def room_of(request: web.Request) -> str:
    """Return the room in the path, normalised. Raises `Problem`: `bad-request`."""
    room = unicodedata.normalize("NFC", request.match_info["room"])
    if not is_room_name(room):
        raise Problem("bad-request", "room: not a room name")
    return room


def check_host(claims: Claims, permission: Permission, room: str) -> None:
    """Let somebody who is only a host act where their token names the room, not by a pattern.

    Raises:
        Problem: `forbidden`.
    """
    if claims.roles & (PERMITTED[permission] - {Role.HOST}):
        return
    named = claims.rooms is not None and is_room_name(room)
    if not named or rights_in(room, claims.rooms) != Rights.ALL:
        raise Problem("forbidden", room=room)
