"""One's own friends, requests to be, and blocks."""

from collections.abc import AsyncIterator
from typing import Literal

from metaport.api.friends import Asked, Person, PersonPage
from metaport.client.server import Server, path_of

_ME = "/api/v1/me"


class Friends:
    """What people are to the person who asks."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def list(self) -> AsyncIterator[Person]:
        """Yield friends, by their ids."""
        return self._server.pages(f"{_ME}/friends", answer=PersonPage, items="people")

    def requests(self, way: Literal["in", "out"] = "in") -> AsyncIterator[Person]:
        """Yield who asks, or who was asked."""
        path = f"{_ME}/friend-requests"
        return self._server.pages(path, answer=PersonPage, items="people", way=way)

    def blocks(self) -> AsyncIterator[Person]:
        """Yield whom one blocks."""
        return self._server.pages(f"{_ME}/blocks", answer=PersonPage, items="people")

    async def ask(self, user: str) -> Asked:
        """Ask somebody to be a friend, or accept what they asked."""
        path = path_of(f"{_ME}/friend-requests/{{user}}", user=user)
        return await self._server.ask("PUT", path, answer=Asked)

    async def accept(self, user: str) -> Asked:
        """Accept what somebody asked."""
        path = path_of(f"{_ME}/friends/{{user}}", user=user)
        return await self._server.ask("PUT", path, answer=Asked)

    async def decline(self, user: str) -> None:
        """Decline what somebody asked, or take back what one asked."""
        await self._delete("friend-requests", user)

    async def remove(self, user: str) -> None:
        """Be friends no more."""
        await self._delete("friends", user)

    async def block(self, user: str) -> None:
        """Want nothing from somebody any more."""
        path = path_of(f"{_ME}/blocks/{{user}}", user=user)
        await self._server.ask("PUT", path, answer=type(None))

    async def unblock(self, user: str) -> None:
        """Take a block back."""
        await self._delete("blocks", user)

    async def _delete(self, kind: str, user: str) -> None:
        path = path_of(f"{_ME}/{kind}/{{user}}", user=user)
        await self._server.ask("DELETE", path, answer=type(None))
