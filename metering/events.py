"""What is counted about whom, and how it is written down."""

from functools import lru_cache
from typing import NamedTuple

DEFAULT_APP = "default"


class Subject(NamedTuple):
    """Whom a count is about: a user in a room. Either is empty where there is none."""

    room: str
    user: str


class Place(NamedTuple):
    """Where usage belongs: a room, in a space of an app."""

    app: str
    space: str
    room: str


def no_room_of(app: str) -> str:
    """Return what stands for the room where usage of an app is in none: its name and a colon."""
    return "" if app == DEFAULT_APP else f"{app}:"


# Busy rooms are asked for with every row; the name of one takes up to 500 bytes.
@lru_cache(maxsize=65_536)
def place_of(room: str) -> Place:
    """Read app and space out of the name of a room: `app:space/room`, either may be missing.

    A colon after the first slash is part of the name; without one before it the app is "default".
    """
    head, slash, _ = room.partition("/")
    app, colon, rest = head.partition(":")
    if not (colon and app):
        app, rest = DEFAULT_APP, head
    return Place(app, rest if slash else "", room)


class UsageRow(NamedTuple):
    """A cumulative count: the total so far of one meter, subject and window in one boot of a node.

    Everything but `quantity` is the row's identity. A later row of the same identity has the same
    or a greater quantity, so the greatest one is the truth and repeating any of them is harmless.
    """

    node: str
    boot: str
    meter: str
    subject: Subject
    window_start_s: int
    quantity: int


class Session(NamedTuple):
    """One participation in a room's media from joining to leaving, on whatever nodes it was."""

    began_s: int
    name: str


class SessionRow(NamedTuple):
    """A cumulative count like `UsageRow`, of one session: what a price that rounds sessions needs.

    The seconds of a session stand in usage rows as well; these say which of them belong together.
    """

    node: str
    boot: str
    meter: str
    session: Session
    window_start_s: int
    quantity: int


class Checkpoint(NamedTuple):
    """How far a reader has come.

    Everything that happened on its node before `at_s` and is to be counted stands in the ledger
    once this checkpoint does. `position` belongs to the reader and is opaque here.
    """

    reader: str
    position: str
    at_s: int
