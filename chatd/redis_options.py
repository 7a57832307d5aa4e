"""What an operator may choose about the bus on Redis."""

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True)
class Durability:
    """When a message counts as stored, and so may be acknowledged.

    `appendfsync` repeats what the server's configuration says (`none`: no append-only file); a
    server that says otherwise is reported by `RedisBus.state`. What each can lose:

    - `none`: on a crash of Redis everything since its last snapshot, acknowledged or not.
    - `everysec`: on a crash of the machine up to 2 s; on a crash of Redis alone at most what it
      could not write because a sync was under way (up to 2 s on a slow disk).
    - `always`: nothing on that machine. Replies and publications leave after the sync, so a
      restart keeps epochs and clients recover across it. Only with this setting do epochs stay.

    `replicas` is the number of replicas that must have a message (WAIT) before it is acknowledged,
    and `wait_ms` how long one look waits. What each can lose:

    - 0: on fail-over what the replica did not have yet, acknowledged or not.
    - n of n replicas: on fail-over nothing acknowledged. WAIT says the replicas received it, not
      that they synced it: power lost on all machines at once loses what `appendfsync` says.
    - n of more replicas: nothing acknowledged if Sentinel or Cluster promotes one that had it.
      They prefer the one that is furthest, but promise nothing.

    A message that waits for replicas is already delivered to those who are connected; after a
    fail-over that lost it, it is gone from the room. So every promotion changes the epochs, and
    `min-replicas-to-write 1` on the server keeps a primary that was cut off from taking more.
    """

    appendfsync: Literal["none", "everysec", "always"] = "everysec"
    replicas: int = 0
    # Less than `Times.reply_s`.
    wait_ms: int = 500


@dataclass(frozen=True, slots=True)
class Kept:
    """How much Redis keeps of a room, and this process of it. Times in seconds."""

    # XADD trims in whole nodes of the stream: up to 100 more are kept.
    room_messages: int = 1000
    # Looked at with every 64th message, or 64 KiB of a batch: that much more may be kept.
    room_bytes: int = 2 * 1024 * 1024
    # Since the message; a room quiet for this long keeps its place and no messages.
    message_s: float = 3600.0
    key_s: float = 300.0
    # A room quiet for this long begins again with a new epoch.
    room_s: int = 30 * 86400
    # Counts of sent messages are to be shipped before this.
    sent_s: int = 35 * 86400
    # All rooms of this process together; over it the rooms quiet longest are read from Redis
    # again when somebody recovers.
    process_bytes: int = 128 * 1024 * 1024
    # Drafts that wait for Redis to answer; over it they are refused.
    waiting_bytes: int = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Times:
    """How long the bus waits before it believes the worst, in seconds."""

    connect_s: float = 1.0
    # A server that does not answer for this long is tried once more, then away.
    reply_s: float = 2.0
    # Pause between attempts while Redis is away: doubles from the first to the second.
    retry_s: tuple[float, float] = (0.05, 1.0)
    # A subscription that heard nothing for this long is probed …
    idle_s: float = 1.0
    # … and is dead when its own probe, published without an error, did not come.
    probe_s: float = 1.5
    # A gap in a room is read from the stream after this; publications of other processes and
    # replies to our own race on two connections by a millisecond or so.
    gap_s: float = 0.1
    # Every room is compared with its stream this often: a publication that was lost by whatever
    # way, with nothing after it that would show the gap, is found then. A look takes Redis 30 µs.
    position_s: float = 30.0
    # A join that Redis did not answer by then is turned away.
    join_s: float = 10.0


@dataclass(frozen=True, slots=True)
class RedisOptions:
    """Everything that may be chosen. Processes on one Redis must agree on `prefix`."""

    # First word of every key and channel. Channels do not know database numbers: two
    # installations on one server need two prefixes.
    prefix: str = "metaport"
    durability: Durability = field(default_factory=Durability)
    kept: Kept = field(default_factory=Kept)
    times: Times = field(default_factory=Times)
