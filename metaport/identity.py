"""Everything about who people are that the API needs, in one record; filled by `compose`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from metaport.app_keys import AppKeySecrets
from metaport.db.accounts import SqlAccounts
from metaport.db.apps import SqlApps
from metaport.db.sessions import SqlSessions
from metaport.erasing import Eraser
from metaport.login_throttle import LoginThrottle
from metaport.passwords import Passwords

# Of a person; a browser that forgets its cookies is a new one each time.
MOST_DEVICES = 50
# Pictures that nobody shows any more, and sessions nobody can renew.
TIDY_S = 3_600.0
AVATAR_KEPT_S = 86_400.0


@dataclass(frozen=True)
class IdentityStores:
    """Accounts, apps and sessions. Times are seconds since the Unix epoch."""

    accounts: SqlAccounts
    apps: SqlApps
    sessions: SqlSessions
    passwords: Passwords
    throttle: LoginThrottle
    app_secrets: AppKeySecrets
    eraser: Eraser
    keys_changed: Callable[[], Awaitable[None]]
    """Take up the keys of apps as they are now, here and on the other hubs."""

    async def tidy(self, now: float) -> None:
        """Delete sessions and pictures that are over, and who is to be. Raises `DatabaseError`."""
        await self.eraser.go_on_with_all()
        await self.sessions.forget(now)
        await self.accounts.forget_avatars(now - AVATAR_KEPT_S)
