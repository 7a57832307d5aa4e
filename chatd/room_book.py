"""What is laid down about rooms: of which kind one is, who is invited, how many fit in.

`RoomBook` is the port, `MemoryRoomBook` the one that lives as long as its process. A room that
nothing is laid down about is public, persistent and of any size.
"""

import hashlib
from collections.abc import Callable, Iterable
from typing import Literal, Protocol

import msgspec

from chatd.errors import ChatError
from chatd.room_name import is_room_name

Kind = Literal["public", "private", "direct"]

# Direct rooms are found by their two users, so their names are not to be had otherwise.
DIRECT_PREFIX = "direct/"
USER_CHARS = 128
# Everybody's list is looked through at each change of the room.
MAX_USERS = 1000


class RoomsAway(ChatError):
    """What is laid down about rooms is not known now; ask again later."""


class RoomSettings(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is laid down about one room.

    `users` are those invited to a private room, or the two of a direct one. An ephemeral room
    (not `persistent`) has no past once everybody has gone. `capacity` counts users, None is no
    bound. `guests` says whether those without an account may enter, `subscribed` whether the
    users are in the room without asking.
    """

    room: str
    kind: Kind = "public"
    persistent: bool = True
    capacity: int | None = None
    users: tuple[str, ...] = ()
    guests: bool = True
    subscribed: bool = False


def fault_of(settings: RoomSettings) -> str | None:
    """Return what is wrong with `settings`, None when nothing is."""
    users = settings.users
    if not is_room_name(settings.room):
        return "room: not a room name"
    if settings.capacity is not None and settings.capacity < 1:
        return "capacity: at least 1"
    if len(users) > MAX_USERS:
        return f"users: at most {MAX_USERS}"
    if not all(1 <= len(user) <= USER_CHARS and user.isprintable() for user in users):
        return f"users: ids of 1–{USER_CHARS} printable characters"
    if len(set(users)) != len(users):
        return "users: each once"
    direct = settings.kind == "direct"
    if direct and (len(users) != 2 or settings.room != direct_room(*users)):
        return "a direct room has two users and their room's name"
    if not direct and settings.room.startswith(DIRECT_PREFIX):
        return f"room: names with {DIRECT_PREFIX} are those of direct rooms"
    if settings.kind == "public" and users:
        return "users: a public room invites nobody"
    return None


def direct_room(one: str, other: str) -> str:
    """Return the name of the direct room of two users, the same for both."""
    both = msgspec.msgpack.encode(sorted((one, other)))
    return DIRECT_PREFIX + hashlib.sha256(both).hexdigest()[:32]


class RoomBook(Protocol):
    """What is laid down about every room; asked at each join, so it answers from memory.

    Guarantee asked of an implementation: `changed` is called with the name of each room about
    which something else is laid down than before, after `settings` tells it.
    """

    def settings(self, room: str) -> RoomSettings | None:
        """Return what is laid down about `room`, None when nothing is.

        Raises:
            RoomsAway
        """

    def subscriptions(self, user: str) -> Iterable[str]:
        """Return the rooms in which `user` is without asking.

        Raises:
            RoomsAway
        """

    def listen(self, changed: Callable[[str], None]) -> None:
        """Name who is told of changes; once."""


class MemoryRoomBook:
    """A book that lives as long as its process. Set `away` and it cannot answer."""

    def __init__(self, *settings: RoomSettings) -> None:
        self._settings: dict[str, RoomSettings] = {}
        # user -> rooms they are in without asking
        self._subscriptions: dict[str, dict[str, None]] = {}
        self._changed: Callable[[str], None] = lambda room: None
        self.away = False
        for each in settings:
            self.put(each)

    def settings(self, room: str) -> RoomSettings | None:
        self._check()
        return self._settings.get(room)

    def subscriptions(self, user: str) -> Iterable[str]:
        self._check()
        return tuple(self._subscriptions.get(user, ()))

    def listen(self, changed: Callable[[str], None]) -> None:
        self._changed = changed

    def everything(self) -> list[RoomSettings]:
        """Return what is laid down, in no order."""
        return list(self._settings.values())

    def put(self, settings: RoomSettings) -> None:
        """Lay something down, in place of what was."""
        before = self._settings.get(settings.room)
        if settings != before:
            self._unsubscribe(before)
            self._settings[settings.room] = settings
            for user in settings.users if settings.subscribed else ():
                self._subscriptions.setdefault(user, {})[settings.room] = None
            self._changed(settings.room)

    def remove(self, room: str) -> None:
        """Lay nothing down about `room` any more."""
        before = self._settings.pop(room, None)
        if before is not None:
            self._unsubscribe(before)
            self._changed(room)

    def _unsubscribe(self, settings: RoomSettings | None) -> None:
        for user in settings.users if settings is not None and settings.subscribed else ():
            del self._subscriptions[user][settings.room]  # type: ignore[union-attr]
            if not self._subscriptions[user]:
                del self._subscriptions[user]

    def _check(self) -> None:
        if self.away:
            raise RoomsAway("the book of rooms is away")
