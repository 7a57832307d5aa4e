"""Connections that want to know who is online: asked once, or told from then on."""

from collections.abc import Callable, Iterable

from chatd.client import Client
from chatd.delivery import Delivery
from chatd.errors import BAD_REQUEST, Refused
from chatd.limits import Limits
from chatd.online import Online
from chatd.wire import AskOnline, WhoIsOnline

USER_CHARS = 128
# What changes within this time is told in one frame.
_TELL_AFTER_S = 0.25


class Lookout:
    """Who watches whom. `later` calls something after so many seconds."""

    def __init__(
        self,
        online: Online,
        limits: Limits,
        delivery: Delivery,
        later: Callable[[float, Callable[[], None]], object],
        draining: Callable[[], bool],
    ) -> None:
        self._online = online
        self._limits = limits
        self._delivery = delivery
        self._later = later
        self._draining = draining
        self._watchers: dict[str, dict[Client, None]] = {}
        self._watched: dict[Client, tuple[str, ...]] = {}
        # Not empty exactly while a timer is set.
        self._changes: dict[str, bool] = {}
        online.listen(self._note)

    def ask(self, client: Client, wish: AskOnline) -> None:
        """Answer who is online and, with `watch`, tell what changes from now on.

        Raises:
            Refused: BAD_REQUEST, too many users or something that is no user id.
        """
        users = tuple(dict.fromkeys(wish.users))
        if len(wish.users) > self._limits.watched_users:
            raise Refused(BAD_REQUEST, f"at most {self._limits.watched_users} users", id=wish.id)
        if not all(1 <= len(user) <= USER_CHARS for user in users):
            raise Refused(BAD_REQUEST, "users are ids", id=wish.id)
        if wish.watch:
            # Before the answer: what changes after it is not missed.
            self._watch(client, users)

        def answer(found: dict[str, bool]) -> None:
            self._delivery.reply(client, WhoIsOnline(found, wish.id))

        self._online.ask(users, answer)

    def forget(self, client: Client) -> None:
        """Forget a connection that is gone."""
        for user in self._watched.pop(client, ()):
            watchers = self._watchers[user]
            del watchers[client]
            if not watchers:
                del self._watchers[user]
                self._online.unwatch(user)

    def _watch(self, client: Client, users: Iterable[str]) -> None:
        before = self._watched.pop(client, ())
        users = tuple(users)
        for user in users:
            if user not in self._watchers:
                self._online.watch(user)
            self._watchers.setdefault(user, {})[client] = None
        for user in set(before).difference(users):
            watchers = self._watchers[user]
            del watchers[client]
            if not watchers:
                del self._watchers[user]
                self._online.unwatch(user)
        if users:
            self._watched[client] = users

    def _note(self, user: str, online: bool) -> None:
        # When everyone is sent away they are at another process in a moment.
        if user in self._watchers and not self._draining():
            if not self._changes:
                self._later(_TELL_AFTER_S, self._tell)
            self._changes[user] = online

    def _tell(self) -> None:
        changes, self._changes = self._changes, {}
        told: dict[Client, dict[str, bool]] = {}
        for user, online in changes.items():
            for client in self._watchers.get(user, ()):
                told.setdefault(client, {})[user] = online
        for client, users in told.items():
            self._delivery.reply(client, WhoIsOnline(users))
