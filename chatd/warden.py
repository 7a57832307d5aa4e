"""Spaces at the hub: who may come in now, who has to go at closing time, what they show."""

from collections.abc import Callable, Iterable

from chatd.client import Client
from chatd.delivery import Delivery
from chatd.errors import ROOM_FULL, SPACE_CLOSED, Refused
from chatd.rooms import Rooms
from chatd.spaces import PREFIX, SpaceBook, SpaceSettings, space_of
from chatd.wire import Space

FULL_RETRY_MS = 5000


class Warden:
    """Minds the spaces somebody of this process is in. `utc_s` tells the time.

    Capacity counts the users known here: of the rooms that are open in this process.
    """

    def __init__(
        self,
        book: SpaceBook,
        rooms: Rooms[Client],
        delivery: Delivery,
        utc_s: Callable[[], float],
    ) -> None:
        self._book = book
        self._rooms = rooms
        self._delivery = delivery
        self._utc_s = utc_s
        # Those somebody is in and that were open at the last look.
        self._open: set[str] = set()
        # Looks again at everybody in a room.
        self.review: Callable[[str], None] = lambda room: None

    def check(self, room: str) -> None:
        """Refuse entry to a space that is closed.

        Raises:
            Refused: SPACE_CLOSED, with when it opens where that is known.
        """
        settings = self._settings_of(room)
        now_s = self._utc_s()
        if settings is None or settings.open_at(now_s):
            return
        opens_at = settings.opens_at_ms(now_s)
        wait_ms = None if opens_at is None else max(1, opens_at - int(now_s * 1000))
        raise Refused(SPACE_CLOSED, retry_after_ms=wait_ms, opens_at=opens_at)

    def check_seat(self, room: str, user: str) -> None:
        """Refuse one more user than fit in the space; who is in it needs no second seat.

        Raises:
            Refused: ROOM_FULL.
        """
        settings = self._settings_of(room)
        if settings is None or settings.capacity is None:
            return
        present: set[str] = set()
        for name in self._rooms_of(settings.space):
            place = self._rooms.get(name)
            if place is not None:
                present.update(place.roster.users())
        if len(present) >= settings.capacity and user not in present:
            raise Refused(ROOM_FULL, "The space has no free place.", retry_after_ms=FULL_RETRY_MS)

    def entered(self, client: Client, room: str, *, shows: bool) -> None:
        """Know of somebody in a room; where they asked for it, show the space's state."""
        space = space_of(room)
        if space is None:
            return
        self._open.add(space)
        if shows:
            client.spaces.add(space)
            settings = self._book.settings(space)
            if settings is not None:
                self._delivery.reply(client, _shown(settings))

    def changed(self, before: SpaceSettings | None, after: SpaceSettings | None) -> None:
        """Take up what is laid down now: send people out, or show them the new state."""
        settings = after or before
        assert settings is not None
        for room in self._rooms_of(settings.space):
            self.review(room)
        old = before.state_revision if before is not None else 0
        if after is not None and after.state_revision != old:
            self._show(after)

    def tick(self) -> None:
        """Send people out of spaces that have closed since the last look."""
        now_s = self._utc_s()
        for space in list(self._open):
            settings = self._book.settings(space)
            if not self._rooms_of(space):
                self._open.discard(space)
            elif settings is not None and not settings.open_at(now_s):
                self._open.discard(space)
                for room in self._rooms_of(space):
                    self.review(room)

    def _show(self, settings: SpaceSettings) -> None:
        shown: dict[Client, None] = {}
        for name in self._rooms_of(settings.space):
            place = self._rooms.get(name)
            for client in place.live() if place is not None else ():
                if settings.space in client.spaces:
                    shown[client] = None
        for client in shown:
            self._delivery.reply(client, _shown(settings))

    def _settings_of(self, room: str) -> SpaceSettings | None:
        space = space_of(room)
        return None if space is None else self._book.settings(space)

    def _rooms_of(self, space: str) -> list[str]:
        prefix = f"{PREFIX}{space}/"
        names: Iterable[str] = self._rooms.names()
        return [name for name in names if name.startswith(prefix)]


def _shown(settings: SpaceSettings) -> Space:
    return Space(settings.space, settings.state_revision, settings.state)
