"""Who is online over several processes: each tells all others, and nothing is stored.

Every piece of news has a number; whoever misses one asks, and everybody tells of all their users
again. A process that the registry takes for dead takes its users with it.
"""

from collections.abc import Callable, Iterable, Sequence

import msgspec

from chatd.online import OFFLINE_AFTER_S
from chatd.signals import Signals

ONLINE = "online"
# Of one piece of news: about 20 KB.
_USERS_AT_ONCE = 500

_encode = msgspec.msgpack.Encoder().encode


class OnlineNews(msgspec.Struct, array_like=True):
    """What a process tells. With `anew` it has only the users of this and of what follows."""

    process: str
    number: int
    ask: bool = False
    anew: bool = False
    came: Sequence[str] = ()
    went: Sequence[str] = ()


_decode = msgspec.msgpack.Decoder(OnlineNews).decode


class SignalledOnline:
    """A `chatd.online.Online` of several processes. `soon` calls something in the next iteration.

    Every process knows the users of all: about 100 bytes for each.
    """

    def __init__(
        self, signals: Signals, process: str, *, soon: Callable[[Callable[[], None]], object]
    ) -> None:
        self._signals = signals
        self._process = process
        self._soon = soon
        self._changed: Callable[[str, bool], None] = lambda user, online: None
        self._here: set[str] = set()
        # user -> when they count as gone, oldest first; they are in `_here` until then.
        self._going: dict[str, float] = {}
        self._elsewhere: dict[str, set[str]] = {}
        self._numbers: dict[str, int] = {}
        self._watched: set[str] = set()
        self._number = 0
        # Since the last turn, in order: who came (True) or went.
        self._moves: list[tuple[bool, str]] = []
        self._gathering = False

    def listen(self, changed: Callable[[str, bool], None]) -> None:
        self._changed = changed
        self._signals.hear(ONLINE, self._hear, self._regained)

    def came(self, user: str) -> None:
        if self._going.pop(user, None) is None and user not in self._here:
            self._here.add(user)
            self._note(user, True, not self._is_elsewhere(user))

    def went(self, user: str, now: float) -> None:
        self._going[user] = now + OFFLINE_AFTER_S

    def watch(self, user: str) -> None:
        self._watched.add(user)

    def unwatch(self, user: str) -> None:
        self._watched.discard(user)

    def ask(self, users: Iterable[str], answer: Callable[[dict[str, bool]], None]) -> None:
        answer({user: user in self._here or self._is_elsewhere(user) for user in users})

    def sweep(self, now: float) -> None:
        for user, at in list(self._going.items()):
            if at > now:
                return
            del self._going[user]
            self._here.discard(user)
            self._note(user, False, not self._is_elsewhere(user))

    def gone(self, process: str) -> None:
        """Take all users of a dead process for gone, unless they are somewhere else as well."""
        self._numbers.pop(process, None)
        for user in self._elsewhere.pop(process, ()):
            self._tell_change(user, False)

    def _note(self, user: str, came: bool, changes: bool) -> None:
        self._moves.append((came, user))
        if not self._gathering:
            self._gathering = True
            self._soon(self._tell)
        if changes and user in self._watched:
            self._changed(user, came)

    def _is_elsewhere(self, user: str) -> bool:
        return any(user in users for users in self._elsewhere.values())

    def _hear(self, packed: bytes) -> None:
        news = _decode(packed)
        last = self._numbers.get(news.process, 0)
        self._numbers[news.process] = news.number
        if news.number != last + 1 and not news.anew:
            self._send(OnlineNews(self._process, 0, ask=True))
        if news.ask:
            self._tell_all()
        known = self._elsewhere.setdefault(news.process, set())
        before: set[str] = set()
        if news.anew:
            before, known = known, set()
            self._elsewhere[news.process] = known
        for user in news.came:
            if user not in known:
                fresh = user not in before and user not in self._here
                fresh = fresh and not self._is_elsewhere(user)
                known.add(user)
                if fresh:
                    self._tell_change(user, True)
        for user in news.went:
            if user in known:
                known.discard(user)
                self._tell_change(user, False)
        for user in before - known:
            self._tell_change(user, False)

    def _tell_change(self, user: str, online: bool) -> None:
        if not online and (user in self._here or self._is_elsewhere(user)):
            return
        if user in self._watched:
            self._changed(user, online)

    def _regained(self) -> None:
        self._tell_all()
        self._send(OnlineNews(self._process, 0, ask=True))

    def _tell_all(self) -> None:
        users = list(self._here)
        self._send(OnlineNews(self._process, 0, anew=True, came=users[:_USERS_AT_ONCE]))
        for start in range(_USERS_AT_ONCE, len(users), _USERS_AT_ONCE):
            some = users[start : start + _USERS_AT_ONCE]
            self._send(OnlineNews(self._process, 0, came=some))

    def _tell(self) -> None:
        """Send what changed; of each user only the last."""
        self._gathering = False
        moves, self._moves = self._moves, []
        last = {user: came for came, user in moves}
        for came in (True, False):
            users = [user for user, is_here in last.items() if is_here is came]
            for start in range(0, len(users), _USERS_AT_ONCE):
                some = users[start : start + _USERS_AT_ONCE]
                news = OnlineNews(self._process, 0)
                if came:
                    news.came = some
                else:
                    news.went = some
                self._send(news)

    def _send(self, news: OnlineNews) -> None:
        self._number += 1
        news.number = self._number
        self._signals.tell(ONLINE, _encode(news))
