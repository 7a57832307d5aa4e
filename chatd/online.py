"""Who is online: users with a connection somewhere, whatever rooms they are in.

`Online` is the port, `LocalOnline` the one of a single process. Whoever has lost the last
connection counts as online for `OFFLINE_AFTER_S` more: a page that is loaded again, or a network
that changes, is no news.
"""

from collections.abc import Callable, Iterable
from typing import Protocol

OFFLINE_AFTER_S = 5.0


class Online(Protocol):
    """Who is connected to any process.

    Guarantee asked of an implementation: `changed` is called for every user that is watched here
    and comes online or goes offline, at least once after the last change; people of a process
    that died are offline within 30 s. Nothing here blocks or raises.
    """

    def listen(self, changed: Callable[[str, bool], None]) -> None:
        """Name who is told of changes; once."""

    def came(self, user: str) -> None:
        """Learn that the first connection of `user` to this process is there."""

    def went(self, user: str, now: float) -> None:
        """Learn that the last connection of `user` to this process is gone."""

    def watch(self, user: str) -> None:
        """Want changes of `user`; somebody here watches now."""

    def unwatch(self, user: str) -> None:
        """Stop wanting them; nobody here does any more."""

    def ask(self, users: Iterable[str], answer: Callable[[dict[str, bool]], None]) -> None:
        """Answer who of `users` is online, at once or later."""

    def sweep(self, now: float) -> None:
        """Do what is due by time; called about twice a second."""


class LocalOnline:
    """Who is connected to this process, which is the only one."""

    def __init__(self) -> None:
        self._here: set[str] = set()
        # user -> when they count as gone, oldest first; they are in `_here` until then.
        self._going: dict[str, float] = {}
        self._changed: Callable[[str, bool], None] = lambda user, online: None

    def listen(self, changed: Callable[[str, bool], None]) -> None:
        self._changed = changed

    def came(self, user: str) -> None:
        if self._going.pop(user, None) is None and user not in self._here:
            self._here.add(user)
            self._changed(user, True)

    def went(self, user: str, now: float) -> None:
        self._going[user] = now + OFFLINE_AFTER_S

    def watch(self, user: str) -> None:
        pass

    def unwatch(self, user: str) -> None:
        pass

    def ask(self, users: Iterable[str], answer: Callable[[dict[str, bool]], None]) -> None:
        answer({user: user in self._here for user in users})

    def sweep(self, now: float) -> None:
        for user, at in list(self._going.items()):
            if at > now:
                return
            del self._going[user]
            self._here.discard(user)
            self._changed(user, False)
