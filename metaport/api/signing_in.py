"""What signing in comes to: a session with its tokens, renewed turn by turn, and its end.

1. Somebody with an account begins a session in the database (`begin`). A guest, and the admin of
   the first start, do so when they renew for the first time: they come in while it is away.
2. `renew` takes a refresh token: see `metaport.session_turns`. Roles and name are read anew.
3. The end of a session takes back its tokens: all hubs close what is connected by them.
"""

import asyncio
import hashlib
import secrets
from collections.abc import Sequence

import msgspec
from aiohttp import web

from chatd.session import GUEST_ROLE
from metaport import admin
from metaport.accounts import ACTIVE, PENDING, Account, Device
from metaport.api.access import client_address, refusal
from metaport.api.problems import Problem, away_as
from metaport.api.services import SERVICES, Services
from metaport.db.errors import DatabaseError
from metaport.identity import MOST_DEVICES
from metaport.revocation import of_token_id, of_user
from metaport.session_turns import SESSION_PREFIX, Session, Verdict
from metaport.tokens import Claims, TokenError

# What an account has besides the roles it was given.
BASE_ROLES = frozenset({"visitor", "member"})
AGENT_CHARACTERS = 200
DEVICE_TTL_S = 400 * 86_400
# A guest does not wait longer for a database that is away.
DATABASE_S = 2.0


class User(msgspec.Struct):
    """Who the token speaks for."""

    id: str
    name: str


class Tokens(msgspec.Struct, omit_defaults=True):
    """An access token, its life in seconds, and what renews it.

    `device` proves at the next sign-in that this device is known; keep it.
    """

    token: str
    expires_in: int
    refresh_token: str
    user: User
    device: str | None = None


def new_session() -> str:
    """Return the id of a session."""
    return SESSION_PREFIX + secrets.token_hex(12)


def mint(services: Services, claims: Claims, turn: int) -> Tokens:
    """Return the tokens of a turn of a session."""
    now, life = services.clock(), services.config.token
    token = services.tokens.mint(
        claims.user, claims.name, roles=claims.roles, app=claims.app, session=claims.session,
        ttl_s=life.ttl_s, now=now,
    )  # fmt: skip
    renewing = services.tokens.mint_refresh(
        claims.user, claims.name, roles=claims.roles, app=claims.app, session=claims.session,
        turn=turn, ttl_s=life.refresh_ttl_s, now=now,
    )  # fmt: skip
    return Tokens(token, life.ttl_s, renewing, User(claims.user, claims.name))


def without_account(user: str, name: str, roles: frozenset[str]) -> Claims:
    """Return the claims of a guest, or of the admin of the first start."""
    return Claims(user, name, roles, None, 0.0, session=new_session())


def claims_of_account(found: Account, roles: frozenset[str], session: str) -> Claims:
    """Return what the tokens of an account claim now."""
    return Claims(
        found.id, found.name, roles | BASE_ROLES, None, 0.0, app=found.app, session=session
    )


def check_state(found: Account) -> None:
    """Refuse an account that is not in use. Raises `Problem`."""
    if found.state == PENDING:
        raise Problem("account-pending")
    if found.state != ACTIVE:
        raise Problem("account-suspended")


async def begin(request: web.Request, account_id: str, device: str | None, name: str) -> Claims:
    """Begin a session of an account, with a device it is signed in on.

    Raises:
        Problem: the account is not in use; `accounts-away`.
    """
    services = request.app[SERVICES]
    identity, now = services.identity, int(services.clock())
    address = client_address(request, services.trusted)
    with away_as("accounts-away"):
        found = await identity.accounts.with_roles(account_id)
        if found is None:
            raise Problem("bad-credentials")
        account, roles = found
        check_state(account)
        app = await identity.apps.get(account.app)
        if app is None or app.state != ACTIVE:
            raise Problem("account-suspended")
        if device is not None:
            agent = request.headers.get("User-Agent", "")[:AGENT_CHARACTERS]
            seen = Device(device, account_id, name, agent, now, now, address)
            await identity.accounts.see_device(seen, MOST_DEVICES)
        life_s = services.config.token.refresh_ttl_s
        session = Session(
            new_session(), account_id, account.app, device, 1, now, now, now + life_s, address
        )
        await identity.sessions.begin(session)
    return claims_of_account(account, roles, session.id)


async def renew(request: web.Request, token: str) -> Tokens:
    """Exchange a refresh token.

    Raises:
        Problem: what `access.refusal` says, `session-over`, `session-reused`, `accounts-away`.
    """
    services = request.app[SERVICES]
    try:
        claims = services.tokens.verify_refresh(token, services.clock())
    except TokenError as error:
        raise refusal(error) from None
    try:
        async with asyncio.timeout(DATABASE_S):
            return await _turn(request, claims)
    except (DatabaseError, TimeoutError):
        if GUEST_ROLE not in claims.roles and claims.user != admin.USER:
            raise Problem("accounts-away", retry_after_s=2) from None
        # They have no account that could have been suspended meanwhile. The same refresh token
        # stays good: nobody can take a turn now.
        told = mint(services, claims, claims.turn)
        told.refresh_token = token
        return told


async def _turn(request: web.Request, claims: Claims) -> Tokens:
    services = request.app[SERVICES]
    identity, now = services.identity, services.clock()
    address = client_address(request, services.trusted)
    session_id = claims.session or _session_of_before(claims)
    expires_at_s = int(now) + services.config.token.refresh_ttl_s
    first = None
    if claims.turn == 0:
        first = Session(
            session_id, claims.user, claims.app, None, 0, int(now), int(now), expires_at_s, address
        )
    verdict, session = await identity.sessions.turn(
        session_id, claims.turn, now, expires_at_s=expires_at_s, address=address, first=first
    )
    if verdict is Verdict.REUSED:
        await services.revoke(of_token_id(session_id, now))
        raise Problem("session-reused")
    if verdict is Verdict.OVER or session is None or session.user_id != claims.user:
        raise Problem("session-over")
    found = await identity.accounts.with_roles(claims.user)
    if found is None:
        if claims.turn > 0 and first is None and claims.user.rpartition(":")[2].startswith("u_"):
            raise Problem("session-over")  # the account was erased
        return mint(services, _going_on(claims, session_id), session.turn)
    check_state(found[0])
    return mint(services, claims_of_account(found[0], found[1], session_id), session.turn)


def _going_on(claims: Claims, session_id: str) -> Claims:
    """Return the claims of somebody without an account for their session."""
    return Claims(
        claims.user, claims.name, claims.roles, claims.rooms, 0.0, app=claims.app,
        session=session_id,
    )  # fmt: skip


def _session_of_before(claims: Claims) -> str:
    """Name the session of a refresh token of a version that had none, by the token's own id."""
    named = claims.token_id or f"{claims.user}\0{claims.issued_at}"
    return SESSION_PREFIX + hashlib.sha256(named.encode()).hexdigest()[:24]


async def sign_out(
    services: Services,
    user: str,
    reason: str,
    *,
    session: str | None = None,
    device: str | None = None,
    but: str | None = None,
) -> Sequence[str]:
    """End sessions of a user and take back their tokens: see `SqlSessions.end`.

    Raises:
        Problem: `accounts-away`; nothing has ended.
    """
    now = services.clock()
    with away_as("accounts-away"):
        ended = await services.identity.sessions.end(
            user, reason, now, session=session, device=device, but=but
        )
    for session_id in ended:
        await services.revoke(of_token_id(session_id, now))
    return ended


async def sign_out_everywhere(services: Services, user: str, reason: str) -> bool:
    """End all of a user's sessions; False while not all hubs can be told.

    Raises:
        Problem: `accounts-away`: the tokens are void all the same, new ones are not made.
    """
    now = services.clock()
    everywhere = await services.revoke(of_user(user, now, now))
    with away_as("accounts-away"):
        await services.identity.sessions.end(user, reason, now)
    return everywhere


def named(request: web.Request, part: str) -> str:
    """Return a part of the path that names something; what no database could hold names nothing.

    Raises:
        Problem: `not-found`.
    """
    name = request.match_info[part]
    if "\0" in name:
        raise Problem("not-found")
    return name


def session_account(claims: Claims) -> str:
    """Return the account of somebody who signed in here.

    Raises:
        Problem: `needs-account`: the token was minted by somebody else.
    """
    if claims.session is None:
        raise Problem("needs-account")
    return claims.user
