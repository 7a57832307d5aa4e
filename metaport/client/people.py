"""Accounts and apps, as an administrator sees them."""

from collections.abc import AsyncIterator
from typing import Any

from metaport.api.apps import AppAnswer, AppPage
from metaport.api.users import UserAccount, UserPage
from metaport.client.server import Server, path_of


class Users:
    """The accounts of a server."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def list(self) -> AsyncIterator[UserAccount]:
        """Yield all accounts."""
        return self._server.pages("/api/v1/users", answer=UserPage, items="users", after="cursor")

    async def show(self, user: str) -> UserAccount:
        """Return one account."""
        path = path_of("/api/v1/users/{user}", user=user)
        return await self._server.ask("GET", path, answer=UserAccount)

    async def approve(self, user: str) -> UserAccount:
        """Approve an account that somebody else made."""
        path = path_of("/api/v1/users/{user}/approve", user=user)
        return await self._server.ask("POST", path, answer=UserAccount)

    async def suspend(self, user: str, reason: str) -> UserAccount:
        """Suspend an account."""
        path = path_of("/api/v1/users/{user}/suspend", user=user)
        return await self._server.ask("POST", path, {"reason": reason}, answer=UserAccount)


class Apps:
    """The apps of a server."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def list(self) -> AsyncIterator[AppAnswer]:
        """Yield all apps."""
        return self._server.pages("/api/v1/apps", answer=AppPage, items="apps", after="cursor")

    async def create(self, app: str, name: str) -> AppAnswer:
        """Make an app."""
        body = {"id": app, "name": name}
        return await self._server.ask("POST", "/api/v1/apps", body, answer=AppAnswer)

    async def change(self, app: str, **fields: Any) -> AppAnswer:
        """Rename an app, or suspend it."""
        path = path_of("/api/v1/apps/{app}", app=app)
        return await self._server.ask("PATCH", path, fields, answer=AppAnswer)
