"""Facts: what happened. The only way out of chatd."""

from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

# The app of a token that names none.
DEFAULT_APP = "default"

# Fields are only ever appended, with a default: logs written yesterday are read tomorrow.


class MessageAccepted(
    msgspec.Struct, frozen=True, gc=False, array_like=True, tag_field="f", tag="message"
):
    """A message was given its place in a room.

    `at_ms` is UTC; `delivered` is the number of connections whose live `message` frame is
    written right after the commit, the sender's own included. What is `ephemeral` is kept for
    recovery only. It is not `counted` when another process may have counted it.
    """

    room: str
    epoch: str
    offset: int
    id: str
    user: str
    name: str
    at_ms: int
    body: Any
    key: str | None = None
    delivered: int = 0
    ephemeral: bool = False
    counted: bool = True


class RoomOpened(msgspec.Struct, frozen=True, gc=False, array_like=True, tag_field="f", tag="room"):
    """A room goes on from here: new with offset 0, or the head of a room at a log rotation."""

    room: str
    epoch: str
    offset: int = 0


class MonotonicTime(
    msgspec.Struct, frozen=True, gc=False, array_like=True, tag_field="f", tag="clock"
):
    """What the monotonic clock of a run of the machine said when the next message was accepted.

    Told by who keeps facts, with a message, at most once a second: how old a message is stays
    known when the wall clock is set. `boot` names the run of the machine; the clocks of two of
    them cannot be compared.
    """

    boot: str
    at_ms: int


class MessagesDelivered(
    msgspec.Struct, frozen=True, gc=False, array_like=True, tag_field="f", tag="delivered"
):
    """`count` live `message` frames are written for what `user` said at another process.

    `body_bytes` is the size of its body, see `chatd.body.body_bytes`.
    """

    room: str
    user: str
    count: int
    at_ms: int = 0
    body_bytes: int = 0


class MessagesRecovered(
    msgspec.Struct, frozen=True, gc=False, array_like=True, tag_field="f", tag="recovered"
):
    """`count` old messages were put into a `joined` frame for `user`."""

    room: str
    user: str
    count: int
    at_ms: int = 0


class ConnectionTime(
    msgspec.Struct, frozen=True, gc=False, array_like=True, tag_field="f", tag="connection"
):
    """`user` of `app` held `connections` connections from `start_ms` to `end_ms` (UTC, half-open).

    Intervals of a user follow each other without gap while the user is connected, so seconds
    counted as floor(end) - floor(start), times `connections`, do not depend on the splitting.
    """

    user: str
    start_ms: int
    end_ms: int
    connections: int = 1
    app: str = DEFAULT_APP


class Attended(
    msgspec.Struct, frozen=True, gc=False, array_like=True, tag_field="f", tag="attended"
):
    """`user` came to this process, or went: into a room, or online where `room` is empty.

    One with the `id` of an earlier one repeats it.
    """

    room: str
    user: str
    name: str
    at_ms: int
    here: bool
    id: str


Fact = (
    MessageAccepted | RoomOpened | MessagesDelivered | MessagesRecovered | ConnectionTime | Attended
)


class Facts(Protocol):
    """Where facts go: a log that outlives the process.

    Guarantee asked of an implementation: when `commit` returns, every fact of the call is
    written where `kill -9` of this process cannot undo it; when it raises `FactsRefused`,
    none of them is. It is called at most once per loop iteration, before anything it records
    is acknowledged, and it may block (one `write`), so it is quick.
    """

    def commit(self, facts: Sequence[Fact]) -> None:
        """Keep all of `facts`, in order.

        Raises:
            FactsRefused: nothing was kept; the hub takes the batch back.
        """


class MemoryFacts:
    """Facts in a list: the test double, and enough for a hub that need not survive itself.

    Assign `refusal` to have every commit refused until it is None again.
    """

    def __init__(self) -> None:
        self.kept: list[Fact] = []
        self.commits = 0
        self.refusal: Exception | None = None

    def commit(self, facts: Sequence[Fact]) -> None:
        if self.refusal is not None:
            raise self.refusal
        self.commits += 1
        self.kept.extend(facts)
