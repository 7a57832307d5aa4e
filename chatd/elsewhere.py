"""What other processes tell of their people, as the rooms of this one take it."""

from collections.abc import Iterable, Sequence

from chatd.client import Client
from chatd.rooms import Rooms
from chatd.states import StateBoards
from chatd.wire import UserState


class Elsewhere:
    """The `neighbours.Neighbourhood` of a hub."""

    def __init__(self, rooms: Rooms[Client], states: StateBoards) -> None:
        self._rooms = rooms
        self._states = states

    def come(self, room: str, user: str, name: str) -> None:
        """Count somebody of another process as present in an open room."""
        place = self._rooms.get(room)
        if place is not None:
            self._rooms.come(place, user, name)

    def go(self, room: str, user: str) -> None:
        """Count them as gone; what they showed goes with them."""
        place = self._rooms.get(room)
        if place is not None:
            self._rooms.go(place, user)
            if user not in place.roster:
                self._states.forget(place, user)

    def see(self, room: str, values: Sequence[UserState]) -> None:
        """Take values that people of another process show in an open room."""
        place = self._rooms.get(room)
        if place is not None:
            for value in values:
                # Who has gone meanwhile shows nothing.
                if value.user in place.roster:
                    self._states.take(place, value)

    def shown(self, room: str, users: Iterable[str]) -> Sequence[UserState]:
        """Return what these people show in a room."""
        place = self._rooms.get(room)
        return () if place is None else self._states.shown(place, users)
