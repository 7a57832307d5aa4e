"""What the server itself says in a room: ordered, stored and counted like any message."""

from collections.abc import Callable

import msgspec

from chatd.body import body_bytes, body_fault
from chatd.bus import Bus, Draft, Page, Receipt
from chatd.caps import Caps
from chatd.door import Door
from chatd.errors import (
    BAD_BODY,
    BAD_REQUEST,
    BAD_ROOM,
    BODY_TOO_BIG,
    OVER_BUDGET,
    FactsRefused,
    Refused,
)
from chatd.limits import Limits
from chatd.room_name import is_room_name
from chatd.rooms import Room, Rooms

Settle = Callable[[Receipt | Refused | FactsRefused], None]


class Speech(msgspec.Struct, eq=False):
    """A message on its way; `settle` is called once, with its place or why it has none."""

    room: str
    user: str
    name: str
    body: object
    key: str | None
    settle: Settle


class Podium:
    """Brings speeches to the bus. `submit` takes drafts, `defer` what is to be done soon."""

    def __init__(
        self,
        bus: Bus,
        rooms: Rooms,  # type: ignore[type-arg]
        *,
        door: Door,
        limits: Limits,
        caps: Caps | None,
        submit: Callable[[Draft], None],
        defer: Callable[[Callable[[], None]], object],
    ) -> None:
        self._bus = bus
        self._rooms = rooms
        self._door = door
        self._limits = limits
        self._caps = caps
        self._submit = submit
        self._defer = defer

    def say(self, speech: Speech) -> None:
        """Say something in a room, which is open at least until it is settled.

        Raises:
            Refused: BAD_ROOM, BAD_BODY, BODY_TOO_BIG, BAD_REQUEST, OVER_BUDGET or ROOMS_AWAY.
        """
        self._check(speech)
        ephemeral = not self._door.settings(speech.room).persistent
        room = self._rooms.open(speech.room)
        room.ephemeral = ephemeral
        room.guests += 1  # so that its publications are heard

        def read() -> None:
            self._bus.read(speech.room, None, 0, answer)

        def answer(page: Page | Refused) -> None:
            if isinstance(page, Refused):
                self.settled(speech, page)
            else:
                self._submit(
                    Draft(
                        speech.room,
                        speech.user,
                        speech.name,
                        speech.body,
                        speech.key,
                        speech,
                        0,
                        room.ephemeral,
                    )
                )

        self._rooms.known(speech.room, read)

    def settled(self, speech: Speech, outcome: Receipt | Refused | FactsRefused) -> None:
        """Tell how it ended. The room is let go when what is under way is done."""
        room = self._rooms.get(speech.room)
        if room is not None:
            self._defer(lambda: self._release(room))
        speech.settle(outcome)

    def _release(self, room: Room) -> None:  # type: ignore[type-arg]
        room.guests -= 1
        self._rooms.close_if_empty(room)

    def _check(self, speech: Speech) -> None:
        if not is_room_name(speech.room):
            raise Refused(BAD_ROOM)
        if (fault := body_fault(speech.body)) is not None:
            raise Refused(BAD_BODY, fault)
        if body_bytes(speech.body) > self._limits.body_bytes:
            raise Refused(BODY_TOO_BIG)
        if speech.key is not None and not 1 <= len(speech.key) <= self._limits.key_chars:
            raise Refused(BAD_REQUEST, f"key has 1 to {self._limits.key_chars} characters")
        if self._caps is not None and self._caps.refuses_messages(speech.room):
            raise Refused(OVER_BUDGET)
