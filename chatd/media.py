"""The port to voice and video: chatd carries `media.*` frames without knowing their insides."""

from typing import TYPE_CHECKING, Any, Protocol

from chatd.errors import MediaRefused

if TYPE_CHECKING:
    from chatd.session import Identity

__all__ = ["Media", "MediaClient", "MediaRefused"]


class MediaClient(Protocol):
    """A chat connection, as media sees it."""

    @property
    def session(self) -> str:
        """The id told in `welcome`; unique to this connection."""

    @property
    def identity(self) -> "Identity":
        """Who is connected."""

    def push(self, frame: dict[str, Any]) -> None:
        """Send a frame that answers nothing; dropped when the connection has ended."""


class Media(Protocol):
    """An SFU, near or far."""

    async def request(self, client: MediaClient, frame: dict[str, Any]) -> dict[str, Any]:
        """Carry one `media.*` frame and return the reply map, without `id`.

        Requests of one connection come one after the other, in the order they were sent. The
        client has joined `frame["room"]`, except for `media.leave`. Cancelled when the
        connection ends.

        Raises:
            MediaRefused: answered with `error` of that code and reason.
        """

    def closed(self, client: MediaClient) -> None:
        """Learn that the connection ended; called once, for clients that made a request."""
