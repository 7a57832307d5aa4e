"""Guests, sign-in of the first admin, and refresh of tokens."""

import asyncio
import secrets
import unicodedata
from typing import Annotated

import msgspec
from aiohttp import web

from chatd.session import GUEST_ROLE
from metaport.api.access import client_address, refusal, throttle
from metaport.api.bodies import read_json, respond
from metaport.api.operations import ANYONE, Operation
from metaport.api.problems import Problem
from metaport.api.services import SERVICES, Services
from metaport.language import Say
from metaport.tokens import TokenError

NAME_CHARACTERS = 40


class GuestRequest(msgspec.Struct):
    """Enter as a guest under a name."""

    name: str


class RefreshRequest(msgspec.Struct):
    """Exchange a refresh token."""

    refresh_token: str


class LoginRequest(msgspec.Struct):
    """Sign in with user and password."""

    user: Annotated[str, msgspec.Meta(max_length=128)]
    password: Annotated[str, msgspec.Meta(max_length=1024)]


class User(msgspec.Struct):
    """Who the token speaks for."""

    id: str
    name: str


class Session(msgspec.Struct):
    """An access token, its life in seconds, and what renews it."""

    token: str
    expires_in: int
    refresh_token: str
    user: User


def display_name(raw: str) -> str:
    """Return a name fit to be shown: NFC, trimmed, without control or invisible characters.

    Raises:
        Problem: `bad-name` when nothing is left or it is longer than 40 characters.
    """
    kept = (c for c in unicodedata.normalize("NFC", raw) if unicodedata.category(c)[0] != "C")
    name = " ".join("".join(kept).split())
    if not name or len(name) > NAME_CHARACTERS:
        raise Problem("bad-name", f"1–{NAME_CHARACTERS}", field="name")
    return name


def open_session(services: Services, user: str, name: str, roles: frozenset[str]) -> Session:
    """Mint the pair of tokens of one user."""
    now = services.clock()
    life = services.config.token
    return Session(
        token=services.tokens.mint(user, name, roles=roles, ttl_s=life.ttl_s, now=now),
        expires_in=life.ttl_s,
        refresh_token=services.tokens.mint_refresh(
            user, name, roles=roles, ttl_s=life.refresh_ttl_s, now=now
        ),
        user=User(user, name),
    )


async def guest(request: web.Request) -> web.Response:
    """Admit a guest under the name they chose; their id is new each time."""
    services = request.app[SERVICES]
    if not services.config.chat.guests:
        raise Problem("guests-not-allowed")
    throttle(services.wait_for_guest(client_address(request, services.trusted)))
    name = display_name((await read_json(request, GuestRequest)).name)
    user = f"guest-{secrets.token_hex(8)}"
    return respond(open_session(services, user, name, frozenset({"visitor", GUEST_ROLE})))


async def refresh(request: web.Request) -> web.Response:
    """Renew both tokens; the user id stays."""
    services = request.app[SERVICES]
    token = (await read_json(request, RefreshRequest)).refresh_token
    try:
        claims = services.tokens.verify_refresh(token, services.clock())
    except TokenError as error:
        raise refusal(error) from None
    return respond(open_session(services, claims.user, claims.name, claims.roles))


async def login(request: web.Request) -> web.Response:
    """Sign the admin in; tries are limited by address."""
    services = request.app[SERVICES]
    throttle(services.wait_for_login(client_address(request, services.trusted)))
    body = await read_json(request, LoginRequest)
    # scrypt takes tens of milliseconds by design: not on the loop that carries the chat.
    if not await asyncio.to_thread(services.check_admin, body.user, body.password):
        raise Problem("bad-credentials")
    return respond(open_session(services, body.user, body.user, frozenset({"admin", "operator"})))


OPERATIONS = (
    Operation(
        "POST", "/api/v1/auth/guest", guest, Say("손님으로 입장", "Enter as a guest"),
        ANYONE, GuestRequest, Session,
    ),
    Operation(
        "POST", "/api/v1/auth/refresh", refresh, Say("토큰 갱신", "Renew tokens"),
        ANYONE, RefreshRequest, Session,
    ),
    Operation(
        "POST", "/api/v1/auth/login", login, Say("관리자 로그인", "Sign the admin in"),
        ANYONE, LoginRequest, Session,
    ),
)  # fmt: skip
