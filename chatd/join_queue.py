"""Joins of everybody, in the order they came, no faster than the process bears.

A hall that reconnects would hold the loop with nothing but joins, and messages would wait behind
them; so joins over the pace wait instead.
"""

from collections.abc import Callable
from itertools import count

from chatd.client import Client
from chatd.errors import BAD_REQUEST, RATE_LIMITED, Refused
from chatd.limits import Limits, TokenBucket
from chatd.wire import UNASKED, Join

# Those whose wait would be longer come back spread over a few seconds.
_FULL_RETRY_MS = 2000
_FULL_SPREAD_MS = 3000
# Released together: a turn of the loop of about 2 ms.
_TICK_S = 0.01


class JoinQueue:
    """Calls `begin` for each join, at once or when its turn comes.

    `later` calls something after so many seconds. What `begin` refuses late is given to `refuse`.
    """

    def __init__(
        self,
        limits: Limits,
        monotonic: Callable[[], float],
        later: Callable[[float, Callable[[], None]], object],
        *,
        begin: Callable[[Client, Join], None],
        refuse: Callable[[Client, Join, Refused], None],
    ) -> None:
        self._most = limits.joins_waiting
        self._monotonic = monotonic
        self._later = later
        self._begin = begin
        self._refuse = refuse
        self._pace = TokenBucket(limits.joins_per_s, limits.joins_burst, monotonic())
        # Whether a timer is set.
        self._ticking = False
        self._waiting: dict[tuple[Client, str], Join] = {}
        self._turns = count()

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, client: Client, join: Join) -> None:
        """Begin `join`, now or later.

        Raises:
            Refused: RATE_LIMITED, too many wait; BAD_REQUEST, this one waits already; and what
                `begin` refuses now.
        """
        before = self._waiting.get((client, join.room))
        if before is not None and before.id == UNASKED:
            self._waiting[client, join.room] = join
            return
        if before is not None:
            raise Refused(BAD_REQUEST, "a join of this room is under way")
        if not self._waiting and not self._pace.take(self._monotonic()):
            self._begin(client, join)
            return
        if len(self._waiting) >= self._most:
            retry_ms = _FULL_RETRY_MS + next(self._turns) * 37 % _FULL_SPREAD_MS
            raise Refused(
                RATE_LIMITED, "Too many come at once.", retry_after_ms=retry_ms, limit="joins"
            )
        self._waiting[client, join.room] = join
        client.waiting.add(join.room)
        self._tick()

    def drop(self, client: Client, room: str) -> None:
        """Forget a join; harmless where none waits."""
        if room in client.waiting:
            client.waiting.discard(room)
            del self._waiting[client, room]

    def drop_all(self, client: Client) -> None:
        """Forget every join of a connection that is gone."""
        for room in tuple(client.waiting):
            self.drop(client, room)

    def _tick(self) -> None:
        if not self._ticking:
            self._ticking = True
            self._later(_TICK_S, self._release)

    def _release(self) -> None:
        self._ticking = False
        now = self._monotonic()
        while self._waiting and not self._pace.take(now):
            client, room = next(iter(self._waiting))
            join = self._waiting.pop((client, room))
            client.waiting.discard(room)
            try:
                self._begin(client, join)
            except Refused as refused:
                self._refuse(client, join, refused)
        if self._waiting:
            self._tick()
