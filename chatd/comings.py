"""Who comes to this process and goes, told as facts: into a room, or online at all.

The first connection of a user comes, the last one goes; each process tells of its own. Told only
while somebody `wanted` it: a coming that was not told has no going either.
"""

import itertools
import secrets
from collections.abc import Callable

from chatd.facts import Attended

# What stands for a room in the facts of who is online.
ONLINE = ""


class Comings:
    """Counts connections by room and user. `utc_ms` tells the time, `owe` takes the facts."""

    def __init__(
        self,
        wanted: Callable[[], bool],
        owe: Callable[[Attended], None],
        utc_ms: Callable[[], int],
    ) -> None:
        self._wanted = wanted
        self._owe = owe
        self._utc_ms = utc_ms
        # (room, user) -> connections, and what was told of their coming, if it was.
        self._here: dict[tuple[str, str], int] = {}
        self._told: dict[tuple[str, str], Attended] = {}
        # A fact that is read twice is known by its id.
        self._boot = secrets.token_hex(6)
        self._numbers = itertools.count(1)

    def came(self, room: str, user: str, name: str) -> None:
        """Count a connection."""
        count = self._here.get((room, user), 0)
        self._here[room, user] = count + 1
        if not count and self._wanted():
            self._told[room, user] = self._tell(room, user, name, here=True)

    def went(self, room: str, user: str) -> None:
        """Count a connection no more."""
        count = self._here.pop((room, user))
        if count > 1:
            self._here[room, user] = count - 1
        elif (told := self._told.pop((room, user), None)) is not None:
            self._tell(room, user, told.name, here=False)

    def present(self) -> list[Attended]:
        """Return who was told to have come and not to have gone: first records of a new segment."""
        return list(self._told.values())

    def _tell(self, room: str, user: str, name: str, *, here: bool) -> Attended:
        id = f"{self._boot}-{next(self._numbers)}"
        fact = Attended(room, user, name, self._utc_ms(), here, id)
        self._owe(fact)
        return fact
