"""People's accounts, for those who run the service: approval, suspension, roles.

Who asks for a thing does not confirm it (`metaport.duties`): an account is approved, and a role of
staff confirmed, by somebody else.
"""

import secrets
from typing import Annotated, Literal

import msgspec
from aiohttp import web

from metaport.accounts import SUSPENDED, Account, Grant
from metaport.api.accounts import Registered, RegisterRequest, new_account
from metaport.api.audit import tells_of
from metaport.api.bodies import NO_NUL, read_json, respond
from metaport.api.etags import respond_tagged, tag_of
from metaport.api.me import Everywhere, account_of, store
from metaport.api.operations import Operation, claims_of, query_of
from metaport.api.problems import Problem, away_as, wants_korean
from metaport.api.services import SERVICES, Services
from metaport.api.signing_in import named, sign_out_everywhere
from metaport.db.errors import DatabaseError
from metaport.duties import DutyRefused
from metaport.language import Say
from metaport.roles import Permission, Role

LIMIT = 200


class UserAccount(msgspec.Struct):
    """An account; times are milliseconds since the Unix epoch."""

    id: str
    app: str
    login: str | None
    name: str
    email: str | None
    state: str
    state_reason: str
    created_by: str
    created_at: int
    approved_by: str | None
    approved_at: int | None
    avatar: str | None


class UserPage(msgspec.Struct):
    """Accounts in the order of ids."""

    users: list[UserAccount]
    next: str | None


class UsersQuery(msgspec.Struct):
    """Which accounts, and from where on."""

    after: str | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=LIMIT)] = 50
    app: Annotated[str, msgspec.Meta(pattern=NO_NUL)] | None = None
    state: Literal["pending", "active", "suspended", "erased"] | None = None


class Suspension(msgspec.Struct, forbid_unknown_fields=True):
    """Why an account is suspended."""

    reason: Annotated[str, msgspec.Meta(min_length=1, max_length=500, pattern=NO_NUL)]


class RoleGrant(msgspec.Struct):
    """A role that was asked for; `holds` says whether the account has it by this."""

    id: str
    role: str
    holds: bool
    asked_by: str
    asked_at: int
    confirmed_by: str | None
    confirmed_at: int | None
    ended_by: str | None
    ended_at: int | None


class GrantList(msgspec.Struct):
    """The roles of an account, the oldest first, those taken back too."""

    grants: list[RoleGrant]


async def create(request: web.Request) -> web.Response:
    """Make an account for somebody; it waits until another person has approved it."""
    services = request.app[SERVICES]
    body = await read_json(request, RegisterRequest)
    account = await new_account(services, body, asked_by=claims_of(request).user)
    tells_of(request, account.id)
    return respond(Registered(account.id, account.state), 201)


async def index(request: web.Request) -> web.Response:
    """Return a page of accounts."""
    services = request.app[SERVICES]
    query = query_of(request, UsersQuery)
    after = services.cursors.read("users", query.after, str) if query.after else ""
    with away_as("accounts-away"):
        found = await services.identity.accounts.page(
            after, query.limit + 1, app=query.app, state=query.state
        )
    more = len(found) > query.limit
    tells_of(request, ", ".join(each.id for each in found[: query.limit]))
    users = [_told(each) for each in found[: query.limit]]
    return respond(UserPage(users, services.cursors.make("users", users[-1].id) if more else None))


async def read(request: web.Request) -> web.Response:
    """Return one account."""
    services = request.app[SERVICES]
    account = await _found(request, services)
    return respond_tagged(request, _told(account), tag_of(account))


async def approve(request: web.Request) -> web.Response:
    """Let an account that waits, or was suspended, be used."""
    services = request.app[SERVICES]
    user, by = named(request, "user"), claims_of(request).user
    try:
        account = await services.identity.accounts.approve(user, by, int(services.clock()))
    except DutyRefused as refused:
        raise duty(request, refused) from None
    except DatabaseError:
        raise Problem("accounts-away", retry_after_s=2) from None
    if account is None:
        raise Problem("no-such-user", user=user)
    return respond(_told(account))


async def suspend(request: web.Request) -> web.Response:
    """Keep an account from being used, or refuse one that waits; it is signed out everywhere."""
    services = request.app[SERVICES]
    body = await read_json(request, Suspension)
    account = await _found(request, services)
    if account.id == claims_of(request).user:
        raise Problem("duty")
    after = account._replace(state=SUSPENDED, state_reason=body.reason)
    changed = await store(services, account, after)
    await sign_out_everywhere(services, account.id, "suspended")
    return respond(_told(changed))


async def sign_out_user(request: web.Request) -> web.Response:
    """Sign somebody out everywhere."""
    services = request.app[SERVICES]
    account = await _found(request, services)
    everywhere = await sign_out_everywhere(services, account.id, "signed_out")
    return respond(Everywhere(everywhere))


async def grants(request: web.Request) -> web.Response:
    """Return the roles of an account, and who gave them."""
    services = request.app[SERVICES]
    account = await _found(request, services)
    with away_as("accounts-away"):
        found = await services.identity.accounts.grants(account.id)
    return respond(GrantList([_grant(each) for each in found]))


async def ask_role(request: web.Request) -> web.Response:
    """Give a plain role, or ask for one of staff, which another person then confirms."""
    services = request.app[SERVICES]
    account = await _found(request, services)
    wanted = Grant(
        f"g_{secrets.token_hex(8)}",
        account.id,
        _role(request),
        claims_of(request).user,
        int(services.clock()),
    )
    try:
        grant = await services.identity.accounts.ask_role(wanted)
    except DutyRefused as refused:
        raise duty(request, refused) from None
    except DatabaseError:
        raise Problem("accounts-away", retry_after_s=2) from None
    return respond(_grant(grant))


async def confirm_role(request: web.Request) -> web.Response:
    """Confirm a role that somebody else asked for; it holds from the next token on."""
    services = request.app[SERVICES]
    account, role = await _found(request, services), _role(request)
    by, now = claims_of(request).user, int(services.clock())
    try:
        grant = await services.identity.accounts.confirm_role(account.id, role, by, now)
    except DutyRefused as refused:
        raise duty(request, refused) from None
    except DatabaseError:
        raise Problem("accounts-away", retry_after_s=2) from None
    if grant is None:
        raise Problem("no-such-role", role=role)
    return respond(_grant(grant))


async def end_role(request: web.Request) -> web.Response:
    """Take a role back, or refuse what was asked for; who had it is signed out everywhere."""
    services = request.app[SERVICES]
    account, role = await _found(request, services), _role(request)
    by, now = claims_of(request).user, int(services.clock())
    with away_as("accounts-away"):
        grant = await services.identity.accounts.end_role(account.id, role, by, now)
    if grant is None:
        raise Problem("no-such-role", role=role)
    if grant._replace(ended_at_s=None).holds:
        # Tokens say what roles one has: those at large must not outlive this.
        await sign_out_everywhere(services, account.id, "signed_out")
    return respond(_grant(grant))


def duty(request: web.Request, refused: DutyRefused) -> Problem:
    """Return the problem of a duty that is not this person's."""
    return Problem("duty", refused.say.ko if wants_korean(request) else refused.say.en)


def _role(request: web.Request) -> str:
    role = named(request, "role")
    if role not in set(Role):
        raise Problem("no-such-role", role=role)
    return role


async def _found(request: web.Request, services: Services) -> Account:
    user = named(request, "user")
    try:
        return (await account_of(services, user))[0]
    except Problem as problem:
        if problem.reason == "needs-account":
            raise Problem("no-such-user", user=user) from None
        raise


def _told(account: Account) -> UserAccount:
    approved_at_s = account.approved_at_s
    return UserAccount(
        account.id,
        account.app,
        account.login,
        account.name,
        account.email,
        account.state,
        account.state_reason,
        account.created_by,
        account.created_at_s * 1000,
        account.approved_by,
        None if approved_at_s is None else approved_at_s * 1000,
        account.avatar,
    )


def _grant(grant: Grant) -> RoleGrant:
    confirmed_at_s, ended_at_s = grant.confirmed_at_s, grant.ended_at_s
    return RoleGrant(
        grant.id,
        grant.role,
        grant.holds,
        grant.asked_by,
        grant.asked_at_s * 1000,
        grant.confirmed_by,
        None if confirmed_at_s is None else confirmed_at_s * 1000,
        grant.ended_by,
        None if ended_at_s is None else ended_at_s * 1000,
    )


OPERATIONS = (
    Operation(
        "GET", "/api/v1/users", index, Say("계정 목록", "Accounts"),
        Permission.USERS_READ, answer=UserPage, query=UsersQuery,
        personal="names, sign-in names",
    ),
    Operation(
        "POST", "/api/v1/users", create, Say("계정 만들기, 승인은 다른 사람이", "Make an account"),
        Permission.USERS_MANAGE, RegisterRequest, Registered, status=201,
        personal="names, sign-in names",
    ),
    Operation(
        "GET", "/api/v1/users/{user}", read, Say("계정 하나", "One account"),
        Permission.USERS_READ, answer=UserAccount, tagged=True,
        personal="names, sign-in names",
    ),
    Operation(
        "POST", "/api/v1/users/{user}/approve", approve, Say("계정 승인", "Approve an account"),
        Permission.USERS_APPROVE, answer=UserAccount, personal="names, sign-in names",
    ),
    Operation(
        "POST", "/api/v1/users/{user}/suspend", suspend, Say("계정 정지", "Suspend an account"),
        Permission.USERS_MANAGE, Suspension, UserAccount, personal="names, sign-in names",
    ),
    Operation(
        "POST", "/api/v1/users/{user}/sign-out", sign_out_user,
        Say("사용자를 모든 곳에서 로그아웃", "Sign a user out everywhere"),
        Permission.TOKENS_REVOKE, answer=Everywhere, personal="sessions",
    ),
    Operation(
        "GET", "/api/v1/users/{user}/roles", grants, Say("역할과 부여 기록", "Roles of an account"),
        Permission.USERS_READ, answer=GrantList, personal="roles",
    ),
    Operation(
        "PUT", "/api/v1/users/{user}/roles/{role}", ask_role,
        Say("역할 신청 또는 부여", "Ask for a role, or give a plain one"),
        Permission.USERS_MANAGE, answer=RoleGrant, personal="roles",
    ),
    Operation(
        "POST", "/api/v1/users/{user}/roles/{role}/confirm", confirm_role,
        Say("역할 확인, 신청한 사람이 아닌 사람이", "Confirm a role somebody else asked for"),
        Permission.ROLES_CONFIRM, answer=RoleGrant, personal="roles",
    ),
    Operation(
        "DELETE", "/api/v1/users/{user}/roles/{role}", end_role,
        Say("역할 거두기", "Take a role back"), Permission.USERS_MANAGE, answer=RoleGrant,
        personal="roles",
    ),
)  # fmt: skip
