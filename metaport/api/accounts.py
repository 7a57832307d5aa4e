"""Ways in and out: guests, sign-in with a password, registration, renewal, sign-out."""

import asyncio
import secrets
import unicodedata
from typing import Annotated

import msgspec
from aiohttp import web

from chatd.session import GUEST_ROLE
from metaport import admin
from metaport.accounts import PENDING, Account, login_of, user_id
from metaport.api.access import client_address, throttle
from metaport.api.audit import acts_as
from metaport.api.bodies import NO_NUL, read_json, respond
from metaport.api.cookies import check_site, clear_cookie, set_cookie
from metaport.api.operations import ANYONE, SIGNED_IN, Operation, claims_of
from metaport.api.problems import Problem, away_as
from metaport.api.services import SERVICES, Services
from metaport.api.signing_in import (
    DEVICE_TTL_S,
    Tokens,
    begin,
    mint,
    renew,
    sign_out,
    without_account,
)
from metaport.app_keys import DEFAULT_APP
from metaport.language import Say
from metaport.passwords import fault_of
from metaport.revocation import of_token_id
from metaport.tokens import Claims, TokenError

NAME_CHARACTERS = 40
ADMIN_ROLES = frozenset({"admin", "operator"})
DEVICE = "device"

AppId = Annotated[str, msgspec.Meta(max_length=32, pattern=NO_NUL)]
Password = Annotated[str, msgspec.Meta(max_length=1024)]


class GuestRequest(msgspec.Struct):
    """Enter as a guest under a name."""

    name: str


class RefreshRequest(msgspec.Struct):
    """Exchange a refresh token."""

    refresh_token: str


class LoginRequest(msgspec.Struct):
    """Sign in with user and password.

    `device` is what an earlier sign-in told; `device_name` what its owner calls it. With `cookie`
    the session is kept in a cookie, and no refresh token is told.
    """

    user: Annotated[str, msgspec.Meta(max_length=128)]
    password: Password
    app: AppId = DEFAULT_APP
    device: Annotated[str, msgspec.Meta(max_length=2048)] | None = None
    device_name: Annotated[str, msgspec.Meta(max_length=100, pattern=NO_NUL)] = ""
    cookie: bool = False


class RegisterRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Ask for an account."""

    user: Annotated[str, msgspec.Meta(max_length=128)]
    password: Password
    name: str
    email: Annotated[str, msgspec.Meta(max_length=254, pattern=NO_NUL)] | None = None
    app: AppId = DEFAULT_APP


class Registered(msgspec.Struct):
    """The account that was asked for; somebody else approves it."""

    id: str
    state: str


class SignedOut(msgspec.Struct):
    """Whether all hubs know already."""

    everywhere: bool


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


async def guest(request: web.Request) -> web.Response:
    """Admit a guest under the name they chose; their id is new each time."""
    services = request.app[SERVICES]
    if not services.config.chat.guests:
        raise Problem("guests-not-allowed")
    throttle(services.wait_for_guest(client_address(request, services.trusted)))
    name = display_name((await read_json(request, GuestRequest)).name)
    user = f"guest-{secrets.token_hex(8)}"
    claims = without_account(user, name, frozenset({"visitor", GUEST_ROLE}))
    return respond(mint(services, claims, 0))


async def refresh(request: web.Request) -> web.Response:
    """Renew both tokens; the user id stays. A token that was used before ends its session."""
    token = (await read_json(request, RefreshRequest)).refresh_token
    return respond(await renew(request, token))


async def login(request: web.Request) -> web.Response:
    """Sign in; tries are limited by address, and by account for devices it does not know."""
    services = request.app[SERVICES]
    address = client_address(request, services.trusted)
    throttle(services.wait_for_login(address))
    body = await read_json(request, LoginRequest)
    acts_as(request, body.user)
    if body.cookie:
        check_site(request)
    name = login_of(body.user) or ""
    acts_as(request, f"{body.app}:{name}")
    key = f"{body.app}\0{name}"
    known = _known_device(services, body, key)
    throttling = services.identity.throttle
    throttle(throttling.wait_s(key, address, known))
    device = known or f"d_{secrets.token_hex(12)}"
    if name == admin.USER and body.app == DEFAULT_APP:
        claims = await _admin(services, body)
    else:
        account = await _right(services, body, name)
        claims = await begin(request, account.id, device, body.device_name)
    throttling.right(key, address, known)
    told = mint(services, claims, 0 if claims.user == admin.USER else 1)
    sealed = {"key": key, "device": device}
    told.device = services.tokens.seal(DEVICE, sealed, ttl_s=DEVICE_TTL_S, now=services.clock())
    if body.cookie:
        told.refresh_token = ""
    response = respond(told)
    if body.cookie:
        set_cookie(request, response, claims)
    return response


def _known_device(services: Services, body: LoginRequest, key: str) -> str | None:
    """Return the device that was signed in to this account before, if it proves to be."""
    if body.device is None:
        return None
    try:
        sealed = services.tokens.unseal(DEVICE, body.device, services.clock())
    except TokenError:
        return None
    return str(sealed["device"]) if sealed.get("key") == key else None


async def _admin(services: Services, body: LoginRequest) -> Claims:
    check = services.check_admin
    # A hash takes a tenth of a second by design: not on the loop that carries the chat.
    if not await asyncio.to_thread(check, admin.USER, body.password):
        raise Problem("bad-credentials")
    return without_account(admin.USER, admin.USER, ADMIN_ROLES)


async def _right(services: Services, body: LoginRequest, name: str) -> Account:
    identity = services.identity
    with away_as("accounts-away"):
        found = await identity.accounts.by_login(body.app, name)
        known = None if found is None else found.password_hash
        # As long for nobody as for somebody.
        if not await identity.passwords.check(body.password, known) or found is None:
            raise Problem("bad-credentials")
        if known is not None and identity.passwords.outdated(known):
            renewed = await identity.passwords.hash(body.password)
            await identity.accounts.change(found, found._replace(password_hash=renewed))
    return found


async def new_account(
    services: Services, body: RegisterRequest, *, asked_by: str | None
) -> Account:
    """Keep an account that waits to be approved; `asked_by` None is the person themself.

    Raises:
        Problem: `bad-login`, `bad-password`, `bad-name`, `login-taken`, `no-such-app`,
            `accounts-away`.
    """
    login = login_of(body.user)
    if login is None or login == admin.USER:
        raise Problem("bad-login")
    if (fault := fault_of(body.password, login)) is not None:
        raise Problem("bad-password", fault, field="password")
    name = display_name(body.name)
    identity, now = services.identity, int(services.clock())
    account_id = user_id(body.app, secrets.token_hex(8))
    with away_as("accounts-away"):
        if await identity.apps.get(body.app) is None:
            raise Problem("no-such-app", app=body.app)
        account = Account(
            account_id,
            body.app,
            login,
            name,
            PENDING,
            asked_by or account_id,
            now,
            email=body.email,
            password_hash=await identity.passwords.hash(body.password),
            password_at_s=now,
        )
        if not await identity.accounts.add(account):
            raise Problem("login-taken")
    return account


async def register(request: web.Request) -> web.Response:
    """Ask for an account of one's own; it waits until somebody else has approved it."""
    services = request.app[SERVICES]
    if not services.config.accounts.register:
        raise Problem("no-registration")
    throttle(services.wait_for_login(client_address(request, services.trusted)))
    body = await read_json(request, RegisterRequest)
    account = await new_account(services, body, asked_by=None)
    return respond(Registered(account.id, account.state), 201)


async def logout(request: web.Request) -> web.Response:
    """End the session of the token or cookie; whoever is connected by it is closed."""
    services = request.app[SERVICES]
    claims = claims_of(request)
    named = claims.session or claims.token_id
    everywhere = False
    if named is not None:
        everywhere = await services.revoke(of_token_id(named, services.clock()))
    if claims.session is not None:
        await sign_out(services, claims.user, "signed_out", session=claims.session)
    response = respond(SignedOut(everywhere))
    clear_cookie(request, response)
    return response


async def token(request: web.Request) -> web.Response:
    """Return an access token for the session of a cookie: what the chat connection needs."""
    services = request.app[SERVICES]
    claims = claims_of(request)
    if claims.session is None:
        raise Problem("needs-account")
    told = mint(services, claims, 0)
    told.refresh_token = ""
    return respond(told)


OPERATIONS = (
    Operation(
        "POST", "/api/v1/auth/guest", guest, Say("손님으로 입장", "Enter as a guest"),
        ANYONE, GuestRequest, Tokens,
    ),
    Operation(
        "POST", "/api/v1/auth/refresh", refresh, Say("토큰 갱신", "Renew tokens"),
        ANYONE, RefreshRequest, Tokens,
    ),
    Operation(
        "POST", "/api/v1/auth/login", login, Say("비밀번호로 로그인", "Sign in with a password"),
        ANYONE, LoginRequest, Tokens, noted=True,
    ),
    Operation(
        "POST", "/api/v1/auth/register", register, Say("계정 신청", "Ask for an account"),
        ANYONE, RegisterRequest, Registered, status=201, noted=True,
    ),
    Operation(
        "POST", "/api/v1/auth/logout", logout, Say("로그아웃", "Sign out"),
        SIGNED_IN, answer=SignedOut,
    ),
    Operation(
        "POST", "/api/v1/auth/token", token,
        Say("쿠키 세션의 접속 토큰", "Access token of a session in a cookie"),
        SIGNED_IN, answer=Tokens,
    ),
)  # fmt: skip
