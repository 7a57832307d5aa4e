"""Who is in a room, by user: the first connection comes in, the last one goes out."""

from collections.abc import Iterable
from itertools import islice

from chatd.wire import Person, Presence

# A room that grew too big for names gets them back only when it is clearly smaller, so that
# people coming and going at the bound do not switch it to and fro.
_NAMES_AGAIN = 0.8
# Enough faces for a screen.
_SAMPLE = 20


class Roster:
    """The users of one room. Exact names up to `max_named` users, above that only a count."""

    __slots__ = ("_max_named", "_named", "_told_count", "_users")

    def __init__(self, max_named: int) -> None:
        self._max_named = max_named
        self._named = True
        self._told_count = 0
        # user id -> [name, connections]
        self._users: dict[str, tuple[str, int]] = {}

    @property
    def count(self) -> int:
        """Users present."""
        return len(self._users)

    @property
    def crowded(self) -> bool:
        """Whether there are too many to name."""
        return not self._named

    def users(self) -> Iterable[str]:
        """Return the ids of everybody present, however many they are."""
        return self._users

    def __contains__(self, user: str) -> bool:
        return user in self._users

    def enter(self, room: str, user: str, name: str) -> Presence | None:
        """Add a connection of `user`; return what the others are to be told."""
        known, connections = self._users.get(user, (name, 0))
        self._users[user] = (known, connections + 1)
        if connections:
            return None
        if self._named and len(self._users) > self._max_named:
            self._named = False
            return self._counted(room)
        return Presence(room, "joined", user, name) if self._named else None

    def exit(self, room: str, user: str) -> Presence | None:
        """Take a connection of `user` away; return what the others are to be told."""
        name, connections = self._users[user]
        if connections > 1:
            self._users[user] = (name, connections - 1)
            return None
        del self._users[user]
        return Presence(room, "left", user, name) if self._named else None

    def members(self) -> list[Person] | None:
        """Return everyone, None while there are too many to name."""
        if not self._named:
            return None
        return [Person(user, name) for user, (name, _) in self._users.items()]

    def sample(self) -> list[Person] | None:
        """Return some of a crowd, those who came last; None where everybody can be named."""
        if self._named:
            return None
        latest = islice(reversed(self._users.items()), _SAMPLE)
        return [Person(user, name) for user, (name, _) in latest]

    def settle(self, room: str) -> Presence | None:
        """Return what became of a big room since last told, about once a second."""
        if self._named:
            return None
        if len(self._users) <= self._max_named * _NAMES_AGAIN:
            self._named = True
            return Presence(room, "members", count=len(self._users), members=self.members())
        return self._counted(room) if self._told_count != len(self._users) else None

    def _counted(self, room: str) -> Presence:
        self._told_count = len(self._users)
        return Presence(room, "count", count=self._told_count)
