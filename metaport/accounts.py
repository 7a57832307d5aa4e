"""What is known of people with an account, and of apps. Times are seconds since the Unix epoch."""

from __future__ import annotations

import unicodedata
from typing import NamedTuple

from metaport.app_keys import DEFAULT_APP
from metaport.duties import needs_another

PENDING, ACTIVE, SUSPENDED, ERASED = "pending", "active", "suspended", "erased"
LOGIN_CHARACTERS = 64


class Account(NamedTuple):
    """A person's account. `version` counts changes; a change names the one it is made from."""

    id: str
    app: str
    login: str | None
    name: str
    state: str
    created_by: str
    created_at_s: int
    about: str = ""
    email: str | None = None
    locale: str | None = None
    avatar: str | None = None
    state_reason: str = ""
    password_hash: str | None = None
    password_at_s: int | None = None
    approved_by: str | None = None
    approved_at_s: int | None = None
    version: int = 1


class Grant(NamedTuple):
    """A role that somebody asked to be given; it holds as `holds` says."""

    id: str
    account: str
    role: str
    asked_by: str
    asked_at_s: int
    confirmed_by: str | None = None
    confirmed_at_s: int | None = None
    ended_by: str | None = None
    ended_at_s: int | None = None

    @property
    def open(self) -> bool:
        """Whether it was not taken back or refused."""
        return self.ended_at_s is None

    @property
    def holds(self) -> bool:
        """Whether the account has the role by it."""
        return self.open and (self.confirmed_by is not None or not needs_another(self.role))


class Device(NamedTuple):
    """What an account was signed in with."""

    id: str
    account: str
    name: str
    agent: str
    created_at_s: int
    seen_at_s: int
    address: str


class App(NamedTuple):
    """A tenant."""

    id: str
    name: str
    state: str
    created_by: str
    created_at_s: int


def login_of(raw: str) -> str | None:
    """Return a name to sign in with as it is compared, None when it cannot be one.

    Case and width do not matter (NFKC, folded), nor how Hangul was typed.
    """
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", raw).casefold())
    if not 2 <= len(folded) <= LOGIN_CHARACTERS or not folded.isprintable():
        return None
    return None if any(c.isspace() for c in folded) else folded


def user_id(app: str, random_hex: str) -> str:
    """Return the id of a new user of an app."""
    own = f"u_{random_hex}"
    return own if app == DEFAULT_APP else f"{app}:{own}"
