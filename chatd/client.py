"""One chat connection, as the hub knows it."""

from collections.abc import Callable
from typing import Any

from chatd.limits import TokenBucket
from chatd.moderation import Sanction
from chatd.outbox import Outbox
from chatd.relay import Relay
from chatd.rooms import Room
from chatd.session import Identity, Session
from chatd.wire import Codec


class Client:
    """One chat connection. To media it is a `chatd.media.MediaClient`."""

    __slots__ = (
        "__weakref__",
        "_push",
        "codec",
        "greeted",
        "joining",
        "muted",
        "open",
        "outbox",
        "read_only",
        "relay",
        "rooms",
        "spaces",
        "state",
        "subscribing",
        "user_sends",
        "waiting",
    )

    def __init__(
        self, state: Session, outbox: Outbox, push: Callable[["Client", dict[str, Any]], None]
    ) -> None:
        self._push = push
        self.state = state
        self.codec: Codec = state.codec
        self.outbox = outbox
        self.open = True
        self.rooms: dict[str, Room[Client]] = {}
        # Rooms whose bus has not answered yet; empty with a `LocalBus`.
        self.joining: dict[str, Room[Client]] = {}
        # Those of `joining` that nobody asked for.
        self.subscribing: set[str] = set()
        # Rooms whose join waits for its turn.
        self.waiting: set[str] = set()
        # Shared by all connections of the user; None where the rate is lifted.
        self.user_sends: TokenBucket | None = None
        # Told once whether the hello was good.
        self.greeted: Callable[[bool], None] | None = None
        # Those of `rooms` in which it may say and show nothing.
        self.read_only: set[str] = set()
        # Spaces whose state it asked for.
        self.spaces: set[str] = set()
        # Those of `rooms` in which moderation has muted something of it.
        self.muted: dict[str, Sanction] = {}
        # None until the first media frame; ended when the connection ends.
        self.relay: Relay | None = None

    @property
    def session(self) -> str:
        """The id told in `welcome`."""
        return self.state.id

    @property
    def identity(self) -> Identity:
        """Who is connected."""
        assert self.state.identity is not None, "nobody has said hello"
        return self.state.identity

    def push(self, frame: dict[str, Any]) -> None:
        """Send a frame that answers nothing."""
        self._push(self, frame)
