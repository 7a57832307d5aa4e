"""Rooms: who is in them, and which connections a message goes to, grouped by subprotocol."""

from collections.abc import Callable, Iterator, Sequence
from typing import Generic, TypeVar

from chatd.board import Board
from chatd.bus import Bus, Publication
from chatd.comings import Comings
from chatd.counters import Counters
from chatd.limits import TokenBucket
from chatd.neighbours import Neighbours
from chatd.outbox import Outbox
from chatd.presence import Roster
from chatd.wire import VARIANTS, Codec, Presence

Member = TypeVar("Member")


class Room(Generic[Member]):
    """The members of one room in this process."""

    __slots__ = (
        "_audiences",
        "_joining",
        "_live",
        "_watchers",
        "board",
        "ephemeral",
        "guests",
        "name",
        "roster",
        "sends",
    )

    def __init__(self, name: str, max_named: int) -> None:
        self.name = name
        self.roster = Roster(max_named)
        # Present without a chat connection (WHIP, WHEP).
        self.guests = 0
        # Everybody's messages here; None until the first one, and where the rate is lifted.
        self.sends: TokenBucket | None = None
        # Whether its past ends when everybody has gone.
        self.ephemeral = False
        # None until somebody shows a value or looks at them.
        self.board: Board[Member] | None = None
        self._live: tuple[dict[Member, Outbox], ...] = tuple({} for _ in VARIANTS)
        self._audiences = tuple(zip(VARIANTS, self._live, strict=True))
        # Members the bus has not answered yet, with what was published meanwhile.
        self._joining: dict[Member, list[Publication]] = {}
        self._watchers: tuple[dict[Member, Outbox], ...] = tuple({} for _ in VARIANTS)

    @property
    def empty(self) -> bool:
        """Nobody is here, or about to be."""
        return not (self.guests or self._joining or any(self._live))

    @property
    def listeners(self) -> int:
        """Connections a live message is written for now."""
        a, b, c, d = self._live  # asked for with each message, and `sum(map(…))` costs 0.3 µs
        return len(a) + len(b) + len(c) + len(d)

    def members(self) -> list[Member]:
        """Return the connections that are in, or about to be."""
        return [*self._joining, *(member for live in self._live for member in live)]

    def is_live(self, member: Member) -> bool:
        """Say whether `member` gets live messages."""
        return any(member in live for live in self._live)

    def live(self) -> list[Member]:
        """Return everyone who gets live messages."""
        return [member for live in self._live for member in live]

    def is_joining(self, member: Member) -> bool:
        """Say whether `member` waits for the bus."""
        return member in self._joining

    def prepare(self, member: Member) -> list[Publication]:
        """Hold what is published for `member` until `admit`; return where it is held."""
        for live in self._live:
            live.pop(member, None)
        held: list[Publication] = []
        self._joining[member] = held
        return held

    def holds(self, member: Member, held: list[Publication]) -> bool:
        """Say whether it is still this that `member` waits with, and not with a later join."""
        return self._joining.get(member) is held

    def hold(self, publications: Sequence[Publication]) -> None:
        """Keep `publications` for those who are joining."""
        if self._joining:
            for held in self._joining.values():
                held.extend(publications)

    def admit(self, member: Member, codec: Codec, outbox: Outbox) -> list[Publication]:
        """Send live messages to `member` from now on; return what was held meanwhile."""
        held = self._joining.pop(member, [])
        self._live[codec.index][member] = outbox
        return held

    def watch(self, member: Member, codec: Codec, outbox: Outbox) -> None:
        """Tell `member` who comes and goes."""
        self._watchers[codec.index][member] = outbox

    def unwatch(self, member: Member) -> None:
        """Stop telling `member`."""
        for watchers in self._watchers:
            watchers.pop(member, None)

    def dismiss(self, member: Member) -> None:
        """Forget `member`; harmless when it is not here."""
        self._joining.pop(member, None)
        self.unwatch(member)
        if self.board is not None:
            self.board.look_away(member)
        for live in self._live:
            live.pop(member, None)

    def audiences(self) -> list[tuple[Codec, dict[Member, Outbox]]]:
        """Return the members for live messages, by codec, without empty groups."""
        return [each for each in self._audiences if each[1]]

    def watchers(self) -> Iterator[tuple[Codec, dict[Member, Outbox]]]:
        """Return those who watch presence, by codec, without empty groups."""
        return (
            (codec, self._watchers[codec.index])
            for codec in VARIANTS
            if self._watchers[codec.index]
        )


class Rooms(Generic[Member]):
    """The rooms somebody in this process is in; the bus is asked for their publications.

    `announce` is given what the watchers of a room are to be told.
    """

    def __init__(
        self,
        bus: Bus,
        counters: Counters,
        max_named: int,
        announce: Callable[[Room[Member], Presence], None],
        *,
        neighbours: Neighbours | None = None,
        comings: Comings | None = None,
    ) -> None:
        # None where there is no other process.
        self._neighbours = neighbours
        self._comings = comings
        self._bus = bus
        self._counters = counters
        self._max_named = max_named
        self._announce = announce
        self._rooms: dict[str, Room[Member]] = {}
        # Rooms with too many people to name; their counts are told by `settle_crowds`.
        self._crowded: dict[str, None] = {}

    def __len__(self) -> int:
        return len(self._rooms)

    def get(self, name: str) -> Room[Member] | None:
        """Return the room, None when nobody here is in it."""
        return self._rooms.get(name)

    def names(self) -> list[str]:
        """Return the names of all of them."""
        return list(self._rooms)

    def open(self, name: str) -> Room[Member]:
        """Return the room, new when nobody here is in it."""
        room = self._rooms.get(name)
        if room is None:
            self._bus.subscribe(name)
            room = self._rooms[name] = Room(name, self._max_named)
            self._counters.rooms = len(self._rooms)
            if self._neighbours is not None:
                self._neighbours.opened(name)
        return room

    def known(self, name: str, then: Callable[[], None]) -> None:
        """Call `then` once it is known who of other processes is in the room."""
        if self._neighbours is None:
            then()
        else:
            self._neighbours.known(name, then)

    def close_if_empty(self, room: Room[Member]) -> None:
        """Forget `room` when nobody here is in it any more."""
        if room.empty and self._rooms.get(room.name) is room:
            del self._rooms[room.name]
            self._crowded.pop(room.name, None)
            self._counters.rooms = len(self._rooms)
            self._bus.unsubscribe(room.name)
            if self._neighbours is not None:
                self._neighbours.closed(room.name)

    def enter(self, room: Room[Member], user: str, name: str) -> None:
        """Count a connection of `user` as present."""
        self.come(room, user, name)
        if self._comings is not None:
            self._comings.came(room.name, user, name)
        if self._neighbours is not None:
            self._neighbours.entered(room.name, user, name)

    def exit(self, room: Room[Member], user: str) -> None:
        """Count a connection of `user` as gone."""
        self.go(room, user)
        if self._comings is not None:
            self._comings.went(room.name, user)
        if self._neighbours is not None:
            self._neighbours.left(room.name, user)
        self.close_if_empty(room)

    def come(self, room: Room[Member], user: str, name: str) -> None:
        """Count `user` as present once more, also when it is at another process."""
        self._tell(room, room.roster.enter(room.name, user, name))

    def go(self, room: Room[Member], user: str) -> None:
        """Count `user` as present once less."""
        self._tell(room, room.roster.exit(room.name, user))

    def settle_crowds(self) -> None:
        """Tell what became of rooms with too many people to name."""
        for name in list(self._crowded):
            room = self._rooms[name]
            self._tell(room, room.roster.settle(name))
            if not room.roster.crowded:
                del self._crowded[name]

    def _tell(self, room: Room[Member], presence: Presence | None) -> None:
        if room.roster.crowded:
            self._crowded[room.name] = None
        if presence is not None:
            self._announce(room, presence)
