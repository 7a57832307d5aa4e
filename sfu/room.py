"""Who is in a room's media and what they publish; no transports, no signalling."""

from collections.abc import Iterator
from typing import Any, Generic, TypeVar

from sfu.codec import Codec
from sfu.forwarding import Track


class PublishedTrack:
    """A track as others see it: whose it is, where it comes from, how it is coded."""

    __slots__ = ("codec", "media", "mid", "owner")

    def __init__(self, media: Track, owner: "Member", mid: str, codec: Codec) -> None:
        self.media = media
        self.owner = owner
        self.mid = mid
        # The one codec the publisher's negotiation settled.
        self.codec = codec

    @property
    def id(self) -> str:
        """Return the track's id, the same for all who see it."""
        return self.media.id

    @property
    def kind(self) -> str:
        """Return `audio` or `video`."""
        return self.media.kind

    def as_map(self) -> dict[str, Any]:
        """Return the `Track` of the media frames."""
        return {
            "track": self.id,
            "participant": self.owner.id,
            "user": self.owner.user,
            "name": self.owner.name,
            "kind": self.kind,
            "source": self.media.source,
            "muted": self.media.muted,
        }


class Member:
    """A participant as others see them."""

    def __init__(self, identifier: str, user: str, name: str) -> None:
        self.id = identifier
        self.user = user
        self.name = name

    def as_map(self) -> dict[str, Any]:
        """Return the participant entry of the media frames."""
        return {"participant": self.id, "user": self.user, "name": self.name}


M = TypeVar("M", bound=Member)


class Room(Generic[M]):
    """The members of one room in the order they came, and their tracks in publishing order."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.members: dict[str, M] = {}
        self.tracks: dict[str, PublishedTrack] = {}

    def others(self, member: M) -> Iterator[M]:
        """Yield everybody but `member`."""
        return (other for other in self.members.values() if other is not member)

    def tracks_for(self, member: M) -> list[PublishedTrack]:
        """Return what the others publish."""
        return [track for track in self.tracks.values() if track.owner is not member]

    def tracks_of_user(self, user: str) -> list[PublishedTrack]:
        """Return what a user publishes, through whichever participants."""
        return [track for track in self.tracks.values() if track.owner.user == user]
