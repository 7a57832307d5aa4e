"""What one connection may do, and the token bucket that says how fast."""

import math
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Limits:
    """Every bound of the hub, with its reason."""

    # 16 KiB of Korean is about 5,400 syllables. A frame holds such a body even when a JSON
    # client escapes every character (6 bytes for each 3), and an SDP with many m-lines.
    body_bytes: int = 16 * 1024
    frame_bytes: int = 128 * 1024
    key_chars: int = 128
    # A person types a few messages a second; a game client may post several events in one.
    send_per_s: float = 20.0
    send_burst: float = 40.0
    # All connections of a user together: whoever has two tabs writes in one of them.
    user_send_per_s: float = 40.0
    user_send_burst: float = 80.0
    # A room: nobody reads this fast, and with 1,000 members it is half of what a core delivers.
    room_send_per_s: float = 500.0
    room_send_burst: float = 1000.0
    # A client that comes back joins all its rooms at once.
    join_per_s: float = 10.0
    join_burst: float = 100.0
    # Everybody's joins: about 0.1 ms each, so a storm takes a fifth of the loop; who comes over
    # the pace waits, a full hall for 5 s.
    joins_per_s: float = 2000.0
    joins_burst: float = 500.0
    joins_waiting: int = 20_000
    # Ephemeral state. A position, a status or the parts of an avatar are far below 1 KiB; two
    # kinds changing with every tick are within the rate.
    state_bytes: int = 1024
    state_kinds: int = 16
    state_per_s: float = 20.0
    state_burst: float = 40.0
    # Changes are told together this often: people see 10 a second as movement once smoothed.
    state_tick_s: float = 0.1
    # All values of a room (20,000 positions), and of the process.
    state_room_bytes: int = 1024 * 1024
    state_total_bytes: int = 64 * 1024 * 1024
    # Who has this much unread is told no changes; everything, once it is read.
    state_outbox_bytes: int = 64 * 1024
    # All frames together: sends, joins, media negotiation, pings.
    frame_per_s: float = 100.0
    frame_burst: float = 300.0
    # Rooms one connection may be in.
    rooms: int = 100
    # Users whose coming and going one connection may watch: a list of friends.
    watched_users: int = 200
    # Connections of one process: about 5 KiB each, so 100 MB when full.
    connections: int = 20_000
    # What may lie unsent for one connection before it is closed as a slow reader.
    outbox_bytes: int = 1024 * 1024
    # Up to here presence names every member; above, each join would cost a frame for everyone.
    presence_members: int = 200
    # `history` asked for beyond this is cut to it.
    history: int = 1000
    # Media frames of one connection waiting for the SFU.
    media_pending: int = 32
    hello_timeout_s: float = 10.0
    # Proxies commonly cut what is silent for 60 s or less: 25 s leaves room for a lost ping.
    ping_s: float = 25.0
    # Hidden tabs and locked phones answer late; only this much silence ends a connection.
    dead_s: float = 90.0

    # Compress what is sent to those who offer permessage-deflate, and take it from them. Off: a
    # broadcast costs 7 µs more, and a message of 250 bytes gets but 15 % shorter.
    deflate: bool = False

    def lifted(self) -> "Limits":
        """Return the same limits without rates, for benchmarks."""
        return replace(
            self,
            send_per_s=math.inf,
            send_burst=math.inf,
            user_send_per_s=math.inf,
            user_send_burst=math.inf,
            room_send_per_s=math.inf,
            room_send_burst=math.inf,
            join_per_s=math.inf,
            join_burst=math.inf,
            joins_per_s=math.inf,
            joins_burst=math.inf,
            state_per_s=math.inf,
            state_burst=math.inf,
            frame_per_s=math.inf,
            frame_burst=math.inf,
        )

    def told(self) -> dict[str, int | float]:
        """Return what `welcome.limits` tells; a lifted rate is told as 0."""
        told: dict[str, int | float] = {
            "body_bytes": self.body_bytes,
            "frame_bytes": self.frame_bytes,
            "key_chars": self.key_chars,
            "rooms": self.rooms,
            "history": self.history,
            "watched_users": self.watched_users,
            "send_per_s": self.send_per_s,
            "send_burst": self.send_burst,
            "user_send_per_s": self.user_send_per_s,
            "user_send_burst": self.user_send_burst,
            "room_send_per_s": self.room_send_per_s,
            "room_send_burst": self.room_send_burst,
            "join_per_s": self.join_per_s,
            "join_burst": self.join_burst,
            "state_bytes": self.state_bytes,
            "state_kinds": self.state_kinds,
            "state_per_s": self.state_per_s,
            "state_burst": self.state_burst,
            "state_tick_s": self.state_tick_s,
            "frame_per_s": self.frame_per_s,
            "frame_burst": self.frame_burst,
        }
        return {name: 0 if math.isinf(value) else value for name, value in told.items()}


# Who waits exactly as long as told must not find 0.9999 of a token.
_ROUNDING = 1e-9


class TokenBucket:
    """A rate with a burst: full at first, refilled `per_s` up to `burst`."""

    __slots__ = ("_burst", "_filled_at", "_per_s", "_tokens")

    def __init__(self, per_s: float, burst: float, now: float) -> None:
        self._per_s = per_s
        self._burst = burst
        self._tokens = burst
        self._filled_at = now

    @property
    def left(self) -> float:
        """How many tokens there were after the last `take`."""
        return self._tokens

    def give_back(self) -> None:
        """Undo a `take`."""
        self._tokens = min(self._burst, self._tokens + 1.0)

    def charge(self, now: float) -> None:
        """Take a token that was spent elsewhere, whether there is one or not.

        What is owed is paid back before anybody takes one, a burst at most.
        """
        self._fill(now)
        self._tokens = max(-self._burst, self._tokens - 1.0)

    def take(self, now: float) -> float:
        """Take one token; return 0.0, or the seconds until there is one (then none is taken)."""
        if self._burst == math.inf:
            return 0.0
        self._fill(now)
        if self._tokens >= 1.0 - _ROUNDING:
            self._tokens -= 1.0
            return 0.0
        return (1.0 - self._tokens) / self._per_s if self._per_s else math.inf

    def _fill(self, now: float) -> None:
        # A clock that goes back gives nothing and takes nothing.
        if now > self._filled_at:
            refilled = self._tokens + (now - self._filled_at) * self._per_s
            self._tokens = min(self._burst, refilled)
            self._filled_at = now
