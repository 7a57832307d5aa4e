"""How fast a user sends on all connections together, and everybody in a room.

Where several processes serve a room, each charges its buckets with what it hears of the others: so
a room takes no more than its rate from all of them together, but for what is said within the time
a message needs from one to another. A user is charged likewise, in rooms this process serves, and
may send up to the rate at each process in rooms that only that one serves: no call to anybody else
stands between a message and its place for that.
"""

from math import isinf

from chatd.buckets import Buckets
from chatd.client import Client
from chatd.errors import RATE_LIMITED, Refused
from chatd.limits import Limits, TokenBucket
from chatd.rooms import Room

# Far more than are connected, so that nobody gets a full bucket by coming back.
_USERS = 100_000


class Paces:
    """The rates beyond a connection's own. Lifted ones cost a look."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        lifted = isinf(limits.user_send_burst)
        users = Buckets(limits.user_send_per_s, limits.user_send_burst, _USERS)
        self._users = None if lifted else users
        self._rooms_lifted = isinf(limits.room_send_burst)

    def begin(self, client: Client, now: float) -> None:
        """Give a new connection its user's bucket."""
        if self._users is not None:
            client.user_sends = self._users.of(client.identity.user_id, now)

    def refuse(self, client: Client, room: Room[Client], now: float) -> Refused | None:
        """Count a message; return why it comes too soon, None when it does not."""
        if client.user_sends is not None and (wait_s := client.user_sends.take(now)):
            return _refused("Too fast on all connections together.", wait_s, "user_send")
        if self._rooms_lifted:
            return None
        if room.sends is None:
            room.sends = TokenBucket(
                self._limits.room_send_per_s, self._limits.room_send_burst, now
            )
        if wait_s := room.sends.take(now):
            if client.user_sends is not None:
                client.user_sends.give_back()
            return _refused("Too much is said in this room at once.", wait_s, "room_send")
        return None

    def heard(self, room: Room[Client], user: str, now: float) -> None:
        """Charge what another process has let through."""
        if self._users is not None and (bucket := self._users.known(user)) is not None:
            bucket.charge(now)
        if self._rooms_lifted:
            return
        if room.sends is None:
            room.sends = TokenBucket(
                self._limits.room_send_per_s, self._limits.room_send_burst, now
            )
        room.sends.charge(now)


def _refused(message: str, wait_s: float, limit: str) -> Refused:
    retry_after_ms = min(int(wait_s * 1000) + 1, 60_000)
    return Refused(RATE_LIMITED, message, retry_after_ms=retry_after_ms, limit=limit)
