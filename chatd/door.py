"""The door of a room: who may come in, by their token and by what is laid down about the room."""

from collections.abc import Callable

from chatd.errors import (
    BANNED,
    FORBIDDEN,
    NO_GUESTS,
    NOT_INVITED,
    ROOM_FULL,
    ROOMS_AWAY,
    Refused,
)
from chatd.grants import Grants, Rights, rights_in
from chatd.moderation import ModerationBook, Sanction
from chatd.presence import Roster
from chatd.room_book import DIRECT_PREFIX, RoomBook, RoomsAway, RoomSettings
from chatd.session import Identity

# A seat that becomes free is found again within this time by those who were thrown out of it by
# a dead network.
FULL_RETRY_MS = 5000
AWAY_RETRY_MS = 2000


class Door:
    """Asked whenever somebody enters. `guest_rooms` are where guests may go; None is anywhere."""

    def __init__(
        self,
        book: RoomBook,
        guest_rooms: Grants = None,
        *,
        moderation: ModerationBook,
        utc_ms: Callable[[], int],
        spaces: Callable[[str], None] = lambda room: None,
    ) -> None:
        """`spaces` raises `Refused` for a room whose space is closed."""
        self._book = book
        self._guest_rooms = guest_rooms
        self._moderation = moderation
        self._utc_ms = utc_ms
        self._spaces = spaces

    def settings(self, room: str) -> RoomSettings:
        """Return what is laid down about `room`, or what goes without saying.

        Raises:
            Refused: ROOMS_AWAY.
        """
        try:
            return self._book.settings(room) or RoomSettings(room)
        except RoomsAway:
            raise Refused(ROOMS_AWAY, retry_after_ms=AWAY_RETRY_MS) from None

    def admit(self, identity: Identity, room: str, right: Rights = Rights.READ) -> RoomSettings:
        """Return the settings of a room that `identity` may use for what `right` says.

        Raises:
            Refused: FORBIDDEN, BANNED, SPACE_CLOSED, NO_GUESTS, NOT_INVITED or ROOMS_AWAY.
        """
        if not identity.may(right, room):
            raise Refused(FORBIDDEN)
        if (sanction := self.barred(identity.user_id, room)) is not None:
            raise Refused(BANNED, retry_after_ms=sanction.left_ms(self._utc_ms()))
        self._spaces(room)
        settings = self.settings(room)
        if identity.guest and not self._takes_guests(settings, right):
            raise Refused(NO_GUESTS)
        if not _invited(identity, settings):
            raise Refused(NOT_INVITED)
        return settings

    def barred(self, user: str, room: str) -> Sanction | None:
        """Return what moderation keeps `user` out of `room` with, None when nothing does."""
        return self._moderation.barred(user, room, self._utc_ms())

    def silence(self, user: str, room: str) -> Sanction | None:
        """Return what of `user` is muted in `room`, None when nothing is."""
        return self._moderation.silence(user, room, self._utc_ms())

    def _takes_guests(self, settings: RoomSettings, right: Rights) -> bool:
        return settings.guests and right in rights_in(settings.room, self._guest_rooms)


def check_seat(settings: RoomSettings, user: str, present: Roster) -> None:
    """Refuse one more user than fit in; who is `present` needs no second seat.

    Raises:
        Refused: ROOM_FULL.
    """
    if settings.capacity is not None and present.count >= settings.capacity and user not in present:
        raise Refused(ROOM_FULL, retry_after_ms=FULL_RETRY_MS)


def _invited(identity: Identity, settings: RoomSettings) -> bool:
    if settings.kind == "public":
        # A direct room that nobody opened yet must not be waited for in hiding.
        return not settings.room.startswith(DIRECT_PREFIX)
    if identity.user_id in settings.users:
        return True
    # A token that names its rooms comes from a platform that knows why.
    return settings.kind == "private" and identity.rooms is not None
