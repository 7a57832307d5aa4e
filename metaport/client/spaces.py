"""Spaces: what is laid down about them, and what they show."""

from collections.abc import AsyncIterator
from typing import Any

from metaport.api.spaces import SpacePage, SpaceState, SpaceTold
from metaport.client.server import Server, path_of

_SPACE = "/api/v1/spaces/{space}"


class Spaces:
    """The spaces of a server."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def list(self) -> AsyncIterator[SpaceTold]:
        """Yield the spaces something is laid down about, by name."""
        return self._server.pages("/api/v1/spaces", answer=SpacePage, items="spaces")

    async def create(self, space: str, **settings: Any) -> SpaceTold:
        """Lay something down about a space."""
        body = {"space": space, **settings}
        return await self._server.ask("POST", "/api/v1/spaces", body, answer=SpaceTold)

    async def show(self, space: str) -> SpaceTold:
        """Return what is laid down about a space."""
        return await self._server.ask("GET", path_of(_SPACE, space=space), answer=SpaceTold)

    async def change(self, space: str, **settings: Any) -> SpaceTold:
        """Lay some of it down anew."""
        path = path_of(_SPACE, space=space)
        return await self._server.ask("PATCH", path, settings, answer=SpaceTold)

    async def remove(self, space: str) -> None:
        """Lay nothing down any more."""
        await self._server.ask("DELETE", path_of(_SPACE, space=space), answer=type(None))

    async def state(self, space: str) -> SpaceState:
        """Return what a space shows."""
        path = path_of(f"{_SPACE}/state", space=space)
        return await self._server.ask("GET", path, answer=SpaceState)

    async def change_state(self, space: str, patch: dict[str, Any]) -> SpaceState:
        """Change what a space shows by a merge patch."""
        path = path_of(f"{_SPACE}/state", space=space)
        return await self._server.ask("PATCH", path, {"state": patch}, answer=SpaceState)
