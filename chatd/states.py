"""Ephemeral state of all rooms: values that are shown, changes told once a tick.

Nothing here is stored, and nothing counts as a message. Who reads slowly misses changes and gets
everything at once as soon as there is room again.
"""

from collections.abc import Callable, Iterable

from chatd.board import Board, value_bytes
from chatd.client import Client
from chatd.counters import Counters
from chatd.delivery import Delivery
from chatd.errors import BAD_REQUEST, RATE_LIMITED, Refused
from chatd.limits import Limits
from chatd.neighbours import Neighbours
from chatd.rooms import Room
from chatd.wire import Codec, State, States, UserState


class StateBoards:
    """The boards of this process. `later` calls something after so many seconds."""

    def __init__(
        self,
        limits: Limits,
        counters: Counters,
        delivery: Delivery,
        later: Callable[[float, Callable[[], None]], object],
        neighbours: Neighbours | None = None,
    ) -> None:
        # None where there is no other process.
        self._neighbours = neighbours
        self._limits = limits
        self._counters = counters
        self._delivery = delivery
        self._later = later
        # Rooms with changes or late onlookers; not empty exactly while a tick is to come.
        self._due: dict[str, Room[Client]] = {}
        self._size_bytes = 0

    @property
    def size_bytes(self) -> int:
        """What all values of the process take."""
        return self._size_bytes

    def put(self, room: Room[Client], user: str, state: State) -> None:
        """Show a value of `user` in `room`.

        Raises:
            Refused: BAD_REQUEST for one kind too many, RATE_LIMITED where there is no room left.
        """
        board = _board(room)
        if state.value is not None:
            self._check(board, user, state)
        self._change(room, board, lambda: board.put(user, state.kind, state.value))
        self._counters.states_in += 1
        if self._neighbours is not None:
            self._neighbours.show(room.name, user, state.kind, state.value)

    def take(self, room: Room[Client], shown: UserState) -> None:
        """Show a value of somebody at another process; dropped where there is no room left."""
        board = _board(room)
        if shown.value is not None:
            more = value_bytes(shown.user, shown.kind, shown.value)
            more -= board.shown_bytes(shown.user, shown.kind)
            if self._over(board, more):
                self._counters.states_dropped += 1
                return
        self._change(room, board, lambda: board.put(shown.user, shown.kind, shown.value))

    def shown(self, room: Room[Client], users: Iterable[str]) -> list[UserState]:
        """Return what these people show in `room`."""
        of = set(users)
        everything = room.board.everything() if room.board is not None else ()
        return [value for value in everything if value.user in of]

    def forget(self, room: Room[Client], user: str) -> None:
        """Take away what `user` shows in `room`."""
        board = room.board
        if board is not None and board.kinds(user):
            self._change(room, board, lambda: board.forget(user))

    def look(self, room: Room[Client], client: Client) -> list[UserState]:
        """Tell `client` of changes from now on; return what there is."""
        board = _board(room)
        board.look_away(client)
        board.look(client, client.codec, client.outbox)
        return board.everything()

    def look_away(self, room: Room[Client], client: Client) -> None:
        """Stop telling `client`."""
        if room.board is not None:
            room.board.look_away(client)

    def tick(self) -> None:
        """Tell what changed: one frame for each room and codec."""
        due, self._due = self._due, {}
        for room in due.values():
            if room.board is not None:
                self._tell(room, room.board)
        if self._neighbours is not None:
            self._neighbours.tell_shown()

    def _check(self, board: Board[Client], user: str, state: State) -> None:
        kinds = board.kinds(user)
        if state.kind not in kinds and len(kinds) >= self._limits.state_kinds:
            detail = f"at most {self._limits.state_kinds} kinds"
            raise Refused(BAD_REQUEST, detail, id=state.id)
        # Only what it takes more than the one it replaces: people go on moving in a full room.
        more = value_bytes(user, state.kind, state.value) - board.shown_bytes(user, state.kind)
        if self._over(board, more):
            detail = "There is no room for more state."
            raise Refused(RATE_LIMITED, detail, id=state.id, retry_after_ms=1000)

    def _over(self, board: Board[Client], more: int) -> bool:
        return (
            board.size_bytes + more > self._limits.state_room_bytes
            or self._size_bytes + more > self._limits.state_total_bytes
        )

    def _change(self, room: Room[Client], board: Board[Client], change: Callable[[], None]) -> None:
        before = board.size_bytes
        change()
        self._size_bytes += board.size_bytes - before
        self._owe(room)

    def _owe(self, room: Room[Client]) -> None:
        if not self._due:
            self._later(self._limits.state_tick_s, self.tick)
        self._due[room.name] = room

    def _tell(self, room: Room[Client], board: Board[Client]) -> None:
        changes = board.take_changes()
        for codec, onlookers in board.onlookers():
            data = codec.frame(States(room.name, changes)) if changes else None
            for client, outbox in onlookers.items():
                if outbox.queue_bytes > self._limits.state_outbox_bytes:
                    board.late.add(client)
                    self._counters.states_dropped += 1
                elif client not in board.late and data is not None:
                    self._counters.states_out += 1
                    self._delivery.write(client, data)
            self._catch_up(room, board, codec)
        if board.late:
            self._owe(room)

    def _catch_up(self, room: Room[Client], board: Board[Client], codec: Codec) -> None:
        """Tell everything to those who were late and have read what they had."""
        caught_up = [
            client
            for client in board.late
            if client.codec is codec
            and client.outbox.queue_bytes <= self._limits.state_outbox_bytes
        ]
        if caught_up:
            data = codec.frame(States(room.name, board.everything(), all=True))
            for client in caught_up:
                client.outbox.excuse(len(data))
                self._counters.states_out += 1
                self._delivery.write(client, data)
            board.late.difference_update(caught_up)


def _board(room: Room[Client]) -> Board[Client]:
    if room.board is None:
        room.board = Board()
    return room.board
