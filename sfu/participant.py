"""One person's part in a room's media: connections, chat session, what they cost."""

from collections.abc import Iterator
from typing import Literal

from sfu.control import Link
from sfu.publishing import Publishing
from sfu.room import Member, PublishedTrack, Room
from sfu.subscribing import Subscribing
from sfu.transport import PeerTransport
from sfu.usage import Stay
from sfu.viewing import Viewing

Role = Literal["chat", "whip", "whep"]


class Participant(Member):
    """A participant and what belongs to them here."""

    def __init__(
        self,
        identifier: str,
        user: str,
        name: str,
        *,
        role: Role,
        room: "Room[Participant]",
        link: Link,
        stay: Stay,
    ) -> None:
        super().__init__(identifier, user, name)
        self.role: Role = role
        self.room = room
        # The control connection that hears of them; None while it is away.
        self.link: Link | None = link
        self.stay = stay
        # Chat participants only: the session that speaks for them, and the secret to claim them.
        self.session: str | None = None
        self.resume = ""
        self.auto = True
        self.chosen: set[str] = set()
        # Kinds of tracks that moderation does not let be forwarded.
        self.silenced: frozenset[str] = frozenset()
        self.publishing: Publishing | None = None
        self.subscribing: Subscribing | None = None
        self.viewing: Viewing | None = None
        # When they leave unless a session claims them; None while one speaks for them.
        self.grace_until: float | None = None
        # When they leave because nothing connects them; None while something does or may.
        self.dead_until: float | None = None
        self._ended_ingress_bytes = 0
        self._ended_egress_bytes = 0

    def transports(self) -> Iterator[PeerTransport]:
        """Yield the transports they have."""
        for connection in (self.publishing, self.subscribing, self.viewing):
            if connection is not None:
                yield connection.transport

    def wants(self) -> list[PublishedTrack]:
        """Return the tracks they should receive."""
        tracks = self.room.tracks_for(self)
        return tracks if self.auto else [t for t in tracks if t.id in self.chosen]

    def pixels(self, now: float) -> int:
        """Sum the pixels of the video streams forwarded to them now."""
        connection = self.subscribing or self.viewing
        if connection is None or not connection.transport.connected:
            return 0
        return sum(
            subscription.track.width * subscription.track.height
            for subscription in connection.subscriptions
            if subscription.track.kind == "video" and subscription.forwarding(now)
        )

    @property
    def ingress_bytes(self) -> int:
        """Return the RTP bytes received from them so far."""
        present = self.publishing.publisher.ingress_bytes if self.publishing else 0
        return self._ended_ingress_bytes + present

    @property
    def egress_bytes(self) -> int:
        """Return the RTP bytes sent to them so far."""
        connection = self.subscribing or self.viewing
        present = connection.subscriber.egress_bytes if connection else 0
        return self._ended_egress_bytes + present

    def close_publishing(self) -> None:
        """End the publishing connection and with it their tracks."""
        if self.publishing is not None:
            self.publishing.close()
            self._ended_ingress_bytes += self.publishing.publisher.ingress_bytes
        self.publishing = None

    def close_receiving(self) -> None:
        """End the receiving connection."""
        connection = self.subscribing or self.viewing
        if connection is not None:
            connection.close()
            self._ended_egress_bytes += connection.subscriber.egress_bytes
        self.subscribing = self.viewing = None
