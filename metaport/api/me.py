"""What people do with their own account: profile, password, sessions, devices, sign-out."""

from typing import Annotated, Any, Literal

import msgspec
from aiohttp import web

from metaport.accounts import Account
from metaport.api.accounts import Password, display_name
from metaport.api.bodies import NO_NUL, read_json, respond
from metaport.api.etags import check_match, respond_tagged, tag_of
from metaport.api.operations import SIGNED_IN, Operation, claims_of
from metaport.api.problems import Problem, away_as
from metaport.api.services import SERVICES, Services
from metaport.api.signing_in import named, session_account, sign_out, sign_out_everywhere
from metaport.language import Say
from metaport.passwords import fault_of

About = Annotated[str, msgspec.Meta(max_length=500, pattern=NO_NUL)]
Email = Annotated[str, msgspec.Meta(max_length=254, pattern=NO_NUL)]


class Profile(msgspec.Struct):
    """Who one is: `account` false is a guest, or somebody another signer vouches for."""

    id: str
    name: str
    app: str
    roles: list[str]
    account: bool
    login: str | None = None
    about: str = ""
    email: str | None = None
    locale: str | None = None
    avatar: str | None = None
    state: str = "active"


class ProfilePatch(msgspec.Struct, forbid_unknown_fields=True):
    """Change some of one's profile; what is left out stays (RFC 7396)."""

    name: str | msgspec.UnsetType = msgspec.UNSET
    about: About | msgspec.UnsetType = msgspec.UNSET
    email: Email | msgspec.UnsetType | None = msgspec.UNSET
    locale: Literal["ko", "en"] | msgspec.UnsetType | None = msgspec.UNSET


class PasswordChange(msgspec.Struct, forbid_unknown_fields=True):
    """Choose another password; all other sessions end."""

    current: Password
    new: Password


class MySession(msgspec.Struct):
    """A session that goes on; times are milliseconds since the Unix epoch."""

    id: str
    device: str | None
    began_at: int
    renewed_at: int
    expires_at: int
    address: str
    current: bool


class SessionList(msgspec.Struct):
    """One's sessions, the newest first."""

    sessions: list[MySession]


class MyDevice(msgspec.Struct):
    """What one was signed in with."""

    id: str
    name: str
    agent: str
    first_seen_at: int
    seen_at: int
    address: str


class DeviceList(msgspec.Struct):
    """One's devices, the one used last first."""

    devices: list[MyDevice]


class Everywhere(msgspec.Struct):
    """Whether all hubs know already."""

    everywhere: bool


async def account_of(services: Services, user: str) -> tuple[Account, frozenset[str]]:
    """Return the account of somebody who signed in here, and its roles.

    Raises:
        Problem: `needs-account`, `accounts-away`.
    """
    with away_as("accounts-away"):
        found = await services.identity.accounts.with_roles(user)
    if found is None:
        raise Problem("needs-account")
    return found


async def read(request: web.Request) -> web.Response:
    """Return one's profile."""
    services = request.app[SERVICES]
    claims = claims_of(request)
    roles = sorted(claims.roles)
    if claims.session is None:
        return respond(Profile(claims.user, claims.name, claims.app, roles, False))
    try:
        account, _ = await account_of(services, claims.user)
    except Problem as problem:
        if problem.reason != "needs-account":
            raise
        return respond(Profile(claims.user, claims.name, claims.app, roles, False))
    return respond_tagged(request, profile_of(account, roles), tag_of(account))


def profile_of(account: Account, roles: list[str]) -> Profile:
    """Return the profile of an account."""
    return Profile(
        account.id,
        account.name,
        account.app,
        roles,
        True,
        account.login,
        account.about,
        account.email,
        account.locale,
        account.avatar,
        account.state,
    )


async def change(request: web.Request) -> web.Response:
    """Change one's profile; a new name is told from the next token on."""
    services = request.app[SERVICES]
    claims = claims_of(request)
    patch = await read_json(request, ProfilePatch)
    account, _ = await account_of(services, session_account(claims))
    check_match(request, tag_of(account))
    given: dict[str, Any] = {
        key: value
        for key, value in msgspec.structs.asdict(patch).items()
        if value is not msgspec.UNSET
    }
    if "name" in given:
        given["name"] = display_name(given["name"])
    changed = await store(services, account, account._replace(**given))
    return respond_tagged(request, profile_of(changed, sorted(claims.roles)), tag_of(changed))


async def store(services: Services, before: Account, after: Account) -> Account:
    """Keep a change of an account. Raises `Problem`: `precondition-failed`, `accounts-away`."""
    with away_as("accounts-away"):
        changed = await services.identity.accounts.change(before, after)
    if changed is None:
        raise Problem("precondition-failed")
    return changed


async def change_password(request: web.Request) -> web.Response:
    """Choose another password; all other sessions end."""
    services = request.app[SERVICES]
    claims = claims_of(request)
    body = await read_json(request, PasswordChange)
    account, _ = await account_of(services, session_account(claims))
    key = f"{account.app}\0{account.login or ''}"
    throttle = services.identity.throttle
    # By session: who holds a stolen token guesses no faster than a stranger.
    if (wait_s := throttle.wait_s(key, claims.session or "", claims.session)) > 0:
        raise Problem("rate-limited", retry_after_s=int(wait_s) + 1)
    passwords = services.identity.passwords
    if not await passwords.check(body.current, account.password_hash):
        raise Problem("bad-credentials")
    throttle.right(key, claims.session or "", claims.session)
    if (fault := fault_of(body.new, account.login or "")) is not None:
        raise Problem("bad-password", fault, field="new")
    hashed = await passwords.hash(body.new)
    after = account._replace(password_hash=hashed, password_at_s=int(services.clock()))
    await store(services, account, after)
    await sign_out(services, account.id, "password", but=claims.session)
    return web.Response(status=204)


async def sessions(request: web.Request) -> web.Response:
    """Return one's sessions that go on."""
    services = request.app[SERVICES]
    claims = claims_of(request)
    with away_as("accounts-away"):
        found = await services.identity.sessions.of_user(session_account(claims), services.clock())
    told = [
        MySession(
            each.id,
            each.device,
            each.created_at_s * 1000,
            each.turned_at_s * 1000,
            each.expires_at_s * 1000,
            each.address,
            each.id == claims.session,
        )
        for each in found
    ]
    return respond(SessionList(told))


async def end_session(request: web.Request) -> web.Response:
    """End one of one's sessions; whoever is connected by it is closed on every hub."""
    services = request.app[SERVICES]
    user = session_account(claims_of(request))
    ended = await sign_out(services, user, "signed_out", session=named(request, "session"))
    if not ended:
        raise Problem("not-found")
    return web.Response(status=204)


async def sign_out_of_all(request: web.Request) -> web.Response:
    """Sign out everywhere, here too."""
    services = request.app[SERVICES]
    user = session_account(claims_of(request))
    return respond(Everywhere(await sign_out_everywhere(services, user, "signed_out")))


async def devices(request: web.Request) -> web.Response:
    """Return one's devices."""
    services = request.app[SERVICES]
    with away_as("accounts-away"):
        found = await services.identity.accounts.devices(session_account(claims_of(request)))
    told = [
        MyDevice(
            each.id,
            each.name,
            each.agent,
            each.created_at_s * 1000,
            each.seen_at_s * 1000,
            each.address,
        )
        for each in found
    ]
    return respond(DeviceList(told))


async def forget_device(request: web.Request) -> web.Response:
    """Forget a device and end its sessions."""
    services = request.app[SERVICES]
    user, device = session_account(claims_of(request)), named(request, "device")
    await sign_out(services, user, "signed_out", device=device)
    with away_as("accounts-away"):
        if not await services.identity.accounts.forget_device(user, device):
            raise Problem("not-found")
    return web.Response(status=204)


OPERATIONS = (
    Operation(
        "GET", "/api/v1/me", read, Say("내 정보", "Who I am"),
        SIGNED_IN, answer=Profile, tagged=True,
    ),
    Operation(
        "PATCH", "/api/v1/me", change, Say("내 정보 변경", "Change my profile"),
        SIGNED_IN, ProfilePatch, Profile, tagged=True,
    ),
    Operation(
        "POST", "/api/v1/me/password", change_password,
        Say("비밀번호 변경, 다른 곳에서 로그아웃", "Change my password, end other sessions"),
        SIGNED_IN, PasswordChange, status=204,
    ),
    Operation(
        "GET", "/api/v1/me/sessions", sessions, Say("내 로그인 세션", "My sessions"),
        SIGNED_IN, answer=SessionList,
    ),
    Operation(
        "DELETE", "/api/v1/me/sessions/{session}", end_session,
        Say("세션 하나 끝내기", "End one of my sessions"), SIGNED_IN, status=204,
    ),
    Operation(
        "POST", "/api/v1/me/sign-out", sign_out_of_all,
        Say("모든 곳에서 로그아웃", "Sign out everywhere"), SIGNED_IN, answer=Everywhere,
    ),
    Operation(
        "GET", "/api/v1/me/devices", devices, Say("내 기기", "My devices"),
        SIGNED_IN, answer=DeviceList,
    ),
    Operation(
        "DELETE", "/api/v1/me/devices/{device}", forget_device,
        Say("기기 삭제, 그 기기에서 로그아웃", "Forget a device, end its sessions"),
        SIGNED_IN, status=204,
    ),
)  # fmt: skip
