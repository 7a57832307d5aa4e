"""Accounts and apps, as an administrator sees them."""

import builtins
from collections.abc import AsyncIterator
from typing import Any

from metaport.api.accounts import Registered
from metaport.api.apps import AppAnswer, AppPage, KeyAnswer, KeyList
from metaport.api.me import Everywhere
from metaport.api.personal_data import Erased
from metaport.api.user_sessions import UserSession, UserSessions
from metaport.api.users import GrantList, RoleGrant, UserAccount, UserPage
from metaport.client.server import Server, path_of

_USER = "/api/v1/users/{user}"
_ROLE = "/api/v1/users/{user}/roles/{role}"
_KEYS = "/api/v1/apps/{app}/keys"


class Users:
    """The accounts of a server."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def list(self) -> AsyncIterator[UserAccount]:
        """Yield all accounts."""
        return self._server.pages("/api/v1/users", answer=UserPage, items="users")

    async def show(self, user: str) -> UserAccount:
        """Return one account."""
        return await self._server.ask("GET", path_of(_USER, user=user), answer=UserAccount)

    async def create(self, login: str, password: str, name: str, **fields: Any) -> Registered:
        """Make an account, which waits until somebody else approves it."""
        body = {"user": login, "password": password, "name": name, **fields}
        return await self._server.ask("POST", "/api/v1/users", body, answer=Registered)

    async def approve(self, user: str) -> UserAccount:
        """Approve an account that somebody else made."""
        path = path_of(f"{_USER}/approve", user=user)
        return await self._server.ask("POST", path, answer=UserAccount)

    async def suspend(self, user: str, reason: str) -> UserAccount:
        """Suspend an account."""
        path = path_of(f"{_USER}/suspend", user=user)
        return await self._server.ask("POST", path, {"reason": reason}, answer=UserAccount)

    async def roles(self, user: str) -> builtins.list[RoleGrant]:
        """Return the roles of an account, those taken back too."""
        path = path_of(f"{_USER}/roles", user=user)
        return (await self._server.ask("GET", path, answer=GrantList)).grants

    async def grant(self, user: str, role: str) -> RoleGrant:
        """Give a plain role, or ask for one of staff."""
        path = path_of(_ROLE, user=user, role=role)
        return await self._server.ask("PUT", path, answer=RoleGrant)

    async def confirm(self, user: str, role: str) -> RoleGrant:
        """Confirm a role that somebody else asked for."""
        path = path_of(f"{_ROLE}/confirm", user=user, role=role)
        return await self._server.ask("POST", path, answer=RoleGrant)

    async def revoke(self, user: str, role: str) -> RoleGrant:
        """Take a role back."""
        path = path_of(_ROLE, user=user, role=role)
        return await self._server.ask("DELETE", path, answer=RoleGrant)

    async def sessions(self, user: str) -> builtins.list[UserSession]:
        """Return the sessions of a user that go on, the newest first."""
        path = path_of(f"{_USER}/sessions", user=user)
        return (await self._server.ask("GET", path, answer=UserSessions)).sessions

    async def sign_out(self, user: str) -> Everywhere:
        """Sign a user out everywhere."""
        path = path_of(f"{_USER}/sign-out", user=user)
        return await self._server.ask("POST", path, answer=Everywhere)

    def export(self, user: str) -> AsyncIterator[bytes]:
        """Yield the JSON document of everything held about a user, piece by piece."""
        return self._server.stream(path_of(f"{_USER}/export", user=user))

    async def erase(self, user: str) -> Erased:
        """Erase all personal data of a user."""
        path = path_of(f"{_USER}/erase", user=user)
        return await self._server.ask("POST", path, {"user": user}, answer=Erased)


class Apps:
    """The apps of a server."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def list(self) -> AsyncIterator[AppAnswer]:
        """Yield all apps."""
        return self._server.pages("/api/v1/apps", answer=AppPage, items="apps")

    async def create(self, app: str, name: str) -> AppAnswer:
        """Make an app."""
        body = {"id": app, "name": name}
        return await self._server.ask("POST", "/api/v1/apps", body, answer=AppAnswer)

    async def change(self, app: str, **fields: Any) -> AppAnswer:
        """Rename an app, or suspend it."""
        path = path_of("/api/v1/apps/{app}", app=app)
        return await self._server.ask("PATCH", path, fields, answer=AppAnswer)

    async def keys(self, app: str) -> builtins.list[KeyAnswer]:
        """Return the keys of an app, without their secrets."""
        return (await self._server.ask("GET", path_of(_KEYS, app=app), answer=KeyList)).keys

    async def create_key(self, app: str, **fields: Any) -> KeyAnswer:
        """Make a key; the `secret` of the answer is told this once."""
        return await self._server.ask("POST", path_of(_KEYS, app=app), fields, answer=KeyAnswer)

    async def revoke_key(self, app: str, key: str) -> None:
        """Make a key void now."""
        path = path_of(f"{_KEYS}/{{key}}", app=app, key=key)
        await self._server.ask("DELETE", path, answer=type(None))
