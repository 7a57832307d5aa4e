"""Grants: which rooms a token opens, and what may be done in them.

A grant is a pattern of room names and some rights. In a pattern `*` stands for any characters but
`/`, none included; `**`, alone between slashes, for one or more whole segments. Everything else
stands for itself. What several grants of a token say of a room adds up; no grant at all says no.
"""

from collections.abc import Sequence
from enum import Flag, auto
from typing import NamedTuple

from chatd.room_name import ROOM_NAME_CHARS, is_room_name

# A token travels in one frame and is read at each join.
MAX_GRANTS = 256
MAX_SUBSCRIPTIONS = 100


class Rights(Flag):
    """What may be done in a room."""

    NONE = 0
    READ = auto()
    """Join it, page back, see who is there and what they show."""
    SEND = auto()
    """Say something, show a value."""
    PUBLISH = auto()
    """Be heard and seen: voice, video, WHIP."""
    ALL = READ | SEND | PUBLISH


# What a token calls them.
_NAMED = {"read": Rights.READ, "send": Rights.SEND, "publish": Rights.PUBLISH}


class Grant(NamedTuple):
    """The rights in every room whose name fits `pattern`."""

    pattern: str
    rights: Rights = Rights.ALL

    def covers(self, room: str) -> bool:
        """Say whether the name of `room` fits the pattern."""
        return self.pattern == room or _fits(self.pattern.split("/"), room.split("/"))


Grants = tuple[Grant, ...] | None
"""The grants of a token; None grants everything in any room."""


def rights_in(room: str, grants: Grants) -> Rights:
    """Return what `grants` allow in `room`."""
    if grants is None:
        return Rights.ALL
    rights = Rights.NONE
    for grant in grants:
        if grant.rights not in rights and grant.covers(room):
            rights |= grant.rights
    return rights


def to(*patterns: str, rights: Rights = Rights.ALL) -> tuple[Grant, ...]:
    """Return grants of the same rights."""
    return tuple(Grant(pattern, rights) for pattern in patterns)


def read_grants(claim: object) -> tuple[Grant, ...]:
    """Return what the claim `rooms` of a token grants.

    It is a list of patterns and of maps `{"room": pattern, "can": ["read", "send", "publish"]}`.
    A pattern alone, or a map without `can`, grants everything; rights of a later version that
    are not known here grant nothing.

    Raises:
        ValueError: it is something else.
    """
    if not isinstance(claim, list) or len(claim) > MAX_GRANTS:
        raise ValueError(f"rooms is not a list of at most {MAX_GRANTS} grants")
    return tuple(_read_grant(entry) for entry in claim)


def read_subscriptions(claim: object) -> tuple[str, ...]:
    """Return the rooms of the claim `subscribe`: a list of names, each once.

    Raises:
        ValueError: it is something else.
    """
    if not isinstance(claim, list) or len(claim) > MAX_SUBSCRIPTIONS:
        raise ValueError(f"subscribe is not a list of at most {MAX_SUBSCRIPTIONS} rooms")
    if not all(isinstance(room, str) and is_room_name(room) for room in claim):
        raise ValueError("subscribe has something that is not a room name")
    return tuple(dict.fromkeys(claim))


def is_pattern(text: str) -> bool:
    """Say whether `text` is a room name with wildcards."""
    if len(text) > ROOM_NAME_CHARS:
        return False
    if any("**" in segment and segment != "**" for segment in text.split("/")):
        return False
    # Any letter will do where a wildcard stands.
    return is_room_name(text.replace("*", "a"))


def _read_grant(entry: object) -> Grant:
    fields = entry if isinstance(entry, dict) else {"room": entry}
    pattern, can = fields.get("room"), fields.get("can")
    if not isinstance(pattern, str) or not is_pattern(pattern):
        raise ValueError("rooms has a grant without a good pattern")
    if can is None:
        return Grant(pattern)
    if not isinstance(can, list) or not all(isinstance(name, str) for name in can):
        raise ValueError("can is not a list of rights")
    rights = Rights.NONE
    for name in can:
        rights |= _NAMED.get(name, Rights.NONE)
    return Grant(pattern, rights)


def _fits(pattern: Sequence[str], room: Sequence[str]) -> bool:
    """Match segments; on a mismatch the last `**` takes one more. At most len² steps."""
    at, here = 0, 0
    retry: tuple[int, int] | None = None
    while here < len(room):
        if at < len(pattern) and pattern[at] == "**":
            # One segment is its own; more when what follows does not fit.
            at, here = at + 1, here + 1
            retry = at, here
        elif at < len(pattern) and _fits_segment(pattern[at], room[here]):
            at, here = at + 1, here + 1
        elif retry is not None:
            retry = retry[0], retry[1] + 1
            at, here = retry
        else:
            return False
    return at == len(pattern)


def _fits_segment(pattern: str, segment: str) -> bool:
    first, *rest = pattern.split("*")
    if not rest:
        return pattern == segment
    *middle, last = rest
    if not segment.startswith(first):
        return False
    place = len(first)
    for part in middle:
        found = segment.find(part, place)
        if found < 0:
            return False
        place = found + len(part)
    return segment.endswith(last) and len(segment) - len(last) >= place
