"""People of other hub processes: who is in a room over there, and what they show.

Every process tells all others who has come into which room and who has gone, as `signals`, and
answers when one that opens a room asks. Nothing of it is stored: a process that dies takes its
people with it, as soon as the registry says that it is gone.

1. `Neighbours.opened` asks who is in a room, once; a join waits for the answers, a second at most.
2. `entered` and `left` gather what happens here, and all of a loop iteration goes out as one piece
   with a number; whoever misses a number asks again for everything.
3. What others tell of rooms that are open here goes to the `Neighbourhood`, which tells its people.

Not supported: sums for rooms too big to name; every process knows every name of its open rooms.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

import msgspec

from chatd.signals import Signals
from chatd.wire import UserState

# All people, of all processes; and what is shown to the people of one.
PEOPLE = "people"
# A process that does not answer is dead or far behind; who joins does not wait for it.
ANSWER_S = 1.0
# Of one piece of news: about 30 KB.
_PEOPLE_AT_ONCE = 500
# One that speaks and that the registry has never seen: it died within its first seconds.
_STRANGER_S = 20.0

_encode = msgspec.msgpack.Encoder().encode

Person = tuple[str, str]


class News(msgspec.Struct, array_like=True):
    """What a process tells. `number` counts its news from 1; each part may be empty.

    `ask` are rooms; `here` is room and everybody of this process in it, instead of what was known;
    `come` is room, user, name; `go` room, user.
    """

    process: str
    number: int
    ask: Sequence[str] = ()
    here: Sequence[tuple[str, Sequence[Person]]] = ()
    come: Sequence[tuple[str, str, str]] = ()
    go: Sequence[tuple[str, str]] = ()


class Shown(msgspec.Struct, array_like=True):
    """Values of people of `process`, room by room."""

    process: str
    values: Sequence[tuple[str, Sequence[UserState]]]


_decode_news = msgspec.msgpack.Decoder(News).decode
_decode_shown = msgspec.msgpack.Decoder(Shown).decode


class Neighbourhood(Protocol):
    """This process, as far as people of others matter to it."""

    def come(self, room: str, user: str, name: str) -> None:
        """Count somebody of another process as present in an open room."""

    def go(self, room: str, user: str) -> None:
        """Count them as gone."""

    def see(self, room: str, values: Sequence[UserState]) -> None:
        """Take values that people of another process show in an open room."""

    def shown(self, room: str, users: Iterable[str]) -> Sequence[UserState]:
        """Return what these people show in a room."""


class _Opened:
    """A room that is open here."""

    __slots__ = ("people", "thens", "waiting")

    def __init__(self, waiting: set[str]) -> None:
        # process -> user -> name
        self.people: dict[str, dict[str, str]] = {}
        # Who has not answered yet, and what waits for it.
        self.waiting = waiting
        self.thens: list[Callable[[], None]] = []


class Neighbours:
    """What this process knows of the others' people, and tells of its own.

    `others` returns the ids of all other processes that live. Nothing here blocks or raises.
    """

    def __init__(
        self,
        signals: Signals,
        process: str,
        others: Callable[[], Sequence[str]],
        *,
        soon: Callable[[Callable[[], None]], object],
        later: Callable[[float, Callable[[], None]], object],
        now: Callable[[], float],
    ) -> None:
        self._signals = signals
        self._process = process
        self._others = others
        self._soon = soon
        self._later = later
        self._now = now
        self._hood: Neighbourhood | None = None
        # room -> user -> [name, connections here]
        self._own: dict[str, dict[str, list[Any]]] = {}
        self._open: dict[str, _Opened] = {}
        # The last number heard of each process, and when the first was.
        self._numbers: dict[str, int] = {}
        self._since: dict[str, float] = {}
        self._number = 0
        # Gathered within a loop iteration.
        self._ask: dict[str, None] = {}
        # … rooms to say who is in them, and who asked.
        self._here: dict[str, set[str]] = {}
        self._moves: list[tuple[bool, str, str, str]] = []
        self._shown: dict[str, dict[tuple[str, str], Any]] = {}
        self._gathering = False
        self._draining: Callable[[], bool] = lambda: False

    def begin(self, hood: Neighbourhood, draining: Callable[[], bool]) -> None:
        """Listen to the others on behalf of `hood`.

        While it is `draining`, nobody is told to have gone: they are at another process in a
        moment, and the rest goes with this one.
        """
        self._hood, self._draining = hood, draining
        self._signals.hear(PEOPLE, self._hear_news, self._regained)
        self._signals.hear(_topic_of(self._process), self._hear_shown)

    # What happens here.

    def opened(self, room: str) -> None:
        """Ask the others who is in `room`: somebody here wants to know now."""
        waiting = set(self._others())
        self._open[room] = _Opened(waiting)
        if waiting:
            self._ask[room] = None
            self._gather()
            self._later(ANSWER_S, lambda: self._stop_waiting(room))

    def closed(self, room: str) -> None:
        """Forget everybody elsewhere: nobody here wants to know any more."""
        opened = self._open.pop(room, None)
        self._ask.pop(room, None)
        if opened is not None:
            opened.waiting.clear()
            _let(opened)

    def known(self, room: str, then: Callable[[], None]) -> None:
        """Call `then` once the others have said who is in `room`, or have had their time."""
        opened = self._open.get(room)
        if opened is None or not opened.waiting:
            then()
        else:
            opened.thens.append(then)

    def entered(self, room: str, user: str, name: str) -> None:
        """Tell that somebody has come in here."""
        held = self._own.setdefault(room, {}).setdefault(user, [name, 0])
        held[1] += 1
        if held[1] == 1:
            self._move(True, room, user, name)

    def left(self, room: str, user: str) -> None:
        """Tell that somebody has gone from here."""
        people = self._own.get(room, {})
        held = people.get(user)
        if held is None:
            return
        held[1] -= 1
        if not held[1]:
            del people[user]
            if not people:
                del self._own[room]
            if not self._draining():
                self._move(False, room, user, "")

    def show(self, room: str, user: str, kind: str, value: Any) -> None:
        """Show a value to the people elsewhere in `room`; only the last one counts."""
        opened = self._open.get(room)
        if opened is not None and any(opened.people.values()):
            self._shown.setdefault(room, {})[user, kind] = value

    def tell_shown(self) -> None:
        """Send what was shown since the last call; called once a tick."""
        shown, self._shown = self._shown, {}
        by_process: dict[str, list[tuple[str, Sequence[UserState]]]] = {}
        for room, values in shown.items():
            opened = self._open.get(room)
            changes = [UserState(user, kind, value) for (user, kind), value in values.items()]
            for process, people in opened.people.items() if opened is not None else ():
                if people:
                    by_process.setdefault(process, []).append((room, changes))
        for process, told in by_process.items():
            self._signals.tell(_topic_of(process), _encode(Shown(self._process, told)))

    def gone(self, process: str) -> None:
        """Take everybody of a dead process out of every room."""
        self._numbers.pop(process, None)
        self._since.pop(process, None)
        for room, opened in list(self._open.items()):
            for user in opened.people.pop(process, {}):
                self._go(room, user)
            opened.waiting.discard(process)
            _let(opened)

    def sweep(self) -> None:
        """Take those for dead who spoke and are not in the registry; about once a second."""
        living = set(self._others())
        early = self._now() - _STRANGER_S
        for process, since in list(self._since.items()):
            if process not in living and since < early:
                self.gone(process)

    # What the others tell.

    def _hear_news(self, packed: bytes) -> None:
        news = _decode_news(packed)
        last = self._numbers.get(news.process, 0)
        self._numbers[news.process] = news.number
        self._since.setdefault(news.process, self._now())
        if news.number != last + 1 and self._open:
            self._ask_all()
        for room in news.ask:
            self._here.setdefault(room, set()).add(news.process)
            self._gather()
        for room, people in news.here:
            self._replace(news.process, room, dict(people))
        for room, user, name in news.come:
            opened = self._open.get(room)
            if opened is not None and user not in opened.people.setdefault(news.process, {}):
                opened.people[news.process][user] = name
                self._come(room, user, name)
        for room, user in news.go:
            opened = self._open.get(room)
            if opened is not None and user in opened.people.get(news.process, {}):
                del opened.people[news.process][user]
                self._go(room, user)

    def _hear_shown(self, packed: bytes) -> None:
        shown = _decode_shown(packed)
        for room, values in shown.values:
            if room in self._open and self._hood is not None:
                self._hood.see(room, values)

    def _regained(self) -> None:
        """Make up for what was missed on either side."""
        for room in self._own:
            self._here.setdefault(room, set())
        self._ask_all()
        self._gather()

    def _ask_all(self) -> None:
        self._ask.update(dict.fromkeys(self._open))
        self._gather()

    def _replace(self, process: str, room: str, people: dict[str, str]) -> None:
        opened = self._open.get(room)
        if opened is None:
            return
        before = opened.people.get(process, {})
        opened.people[process] = people
        for user, name in people.items():
            if user not in before:
                self._come(room, user, name)
        for user in before:
            if user not in people:
                self._go(room, user)
        opened.waiting.discard(process)
        _let(opened)

    def _stop_waiting(self, room: str) -> None:
        opened = self._open.get(room)
        if opened is not None:
            opened.waiting.clear()
            _let(opened)

    def _come(self, room: str, user: str, name: str) -> None:
        if self._hood is not None:
            self._hood.come(room, user, name)

    def _go(self, room: str, user: str) -> None:
        if self._hood is not None:
            self._hood.go(room, user)

    # Telling.

    def _move(self, comes: bool, room: str, user: str, name: str) -> None:
        self._moves.append((comes, room, user, name))
        self._gather()

    def _gather(self) -> None:
        if not self._gathering:
            self._gathering = True
            self._soon(self._tell)

    def _tell(self) -> None:
        """Send what was gathered: answers after what happened before them."""
        self._gathering = False
        moves, self._moves = self._moves, []
        ask, self._ask = list(self._ask), {}
        here, self._here = self._here, {}
        # In the order they happened: who goes and comes back is here.
        start = 0
        for end in range(1, len(moves) + 1):
            if end == len(moves) or moves[end][0] != moves[start][0] or end - start >= 500:
                self._tell_moves(moves[start:end])
                start = end
        if ask:
            self._send(News(self._process, 0, ask=ask))
        for room, askers in here.items():
            self._answer(room, askers)

    def _tell_moves(self, moves: Sequence[tuple[bool, str, str, str]]) -> None:
        if moves[0][0]:
            come = [(room, user, name) for _, room, user, name in moves]
            self._send(News(self._process, 0, come=come))
        else:
            self._send(News(self._process, 0, go=[(room, user) for _, room, user, _ in moves]))

    def _answer(self, room: str, askers: Iterable[str]) -> None:
        people = [(user, name) for user, (name, _) in self._own.get(room, {}).items()]
        self._send(News(self._process, 0, here=[(room, people[:_PEOPLE_AT_ONCE])]))
        for start in range(_PEOPLE_AT_ONCE, len(people), _PEOPLE_AT_ONCE):
            some = people[start : start + _PEOPLE_AT_ONCE]
            self._send(News(self._process, 0, come=[(room, *person) for person in some]))
        values = self._hood.shown(room, [user for user, _ in people]) if self._hood else ()
        for asker in askers if values else ():
            self._signals.tell(_topic_of(asker), _encode(Shown(self._process, [(room, values)])))

    def _send(self, news: News) -> None:
        self._number += 1
        news.number = self._number
        self._signals.tell(PEOPLE, _encode(news))


def _let(opened: _Opened) -> None:
    if not opened.waiting:
        thens, opened.thens = opened.thens, []
        for then in thens:
            then()


def _topic_of(process: str) -> str:
    return f"hub:{process}"
