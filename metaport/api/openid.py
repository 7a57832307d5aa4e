"""Sign-in with OpenID Connect, for pages served here: out to the provider and back to a cookie."""

import hmac
import logging
import secrets

import msgspec
from aiohttp import web

from metaport.accounts import ACTIVE, PENDING, Account, user_id
from metaport.api.access import client_address, throttle
from metaport.api.accounts import NAME_CHARACTERS, display_name
from metaport.api.cookies import is_secure, set_cookie
from metaport.api.operations import ANYONE, Operation, query_of
from metaport.api.problems import Problem, away_as
from metaport.api.services import SERVICES, Services
from metaport.api.signing_in import begin
from metaport.app_keys import DEFAULT_APP
from metaport.language import Say
from metaport.openid import (
    Attempt,
    OpenIdClient,
    OpenIdError,
    Subject,
    authorization_url,
    local_path,
    new_attempt,
)
from metaport.tokens import TokenError

logger = logging.getLogger(__name__)

PATH = "/api/v1/auth/oidc"
COOKIE = "metaport-openid"
USE = "openid"
# Long enough to find one's password and a second factor.
ATTEMPT_S = 600


class StartQuery(msgspec.Struct):
    """Where on this server one comes back to."""

    return_to: str = "/"


class CallbackQuery(msgspec.Struct):
    """What the provider sends the browser back with."""

    code: str | None = None
    state: str | None = None
    iss: str | None = None
    error: str | None = None


def _client(services: Services) -> OpenIdClient:
    if services.openid is None:
        raise Problem("no-openid")
    return services.openid


async def start(request: web.Request) -> web.Response:
    """Send the browser to the provider."""
    services = request.app[SERVICES]
    client = _client(services)
    throttle(services.wait_for_guest(client_address(request, services.trusted)))
    attempt = new_attempt(secrets.token_bytes(96), query_of(request, StartQuery).return_to)
    try:
        where = authorization_url(await client.provider(), services.config.oidc, attempt)
    except OpenIdError as error:
        logger.warning("sign-in with OpenID Connect: %s", error)
        raise Problem("openid-failed") from None
    response = web.Response(status=302, headers={"Location": where})
    sealed = services.tokens.seal(USE, attempt._asdict(), ttl_s=ATTEMPT_S, now=services.clock())
    response.set_cookie(
        COOKIE, sealed, max_age=ATTEMPT_S, path=PATH, httponly=True, samesite="Lax",
        secure=is_secure(request),
    )  # fmt: skip
    return response


async def callback(request: web.Request) -> web.Response:
    """Take who comes back from the provider, and keep their session in a cookie."""
    services = request.app[SERVICES]
    client = _client(services)
    query = query_of(request, CallbackQuery)
    attempt = _attempt(request, services, query.state)
    if query.iss not in (None, services.config.oidc.issuer):
        raise Problem("openid-failed", "iss")
    if query.error is not None or query.code is None:
        raise Problem("openid-failed", (query.error or "code")[:100])
    try:
        subject = await client.exchange(query.code, attempt, services.clock())
    except OpenIdError as error:
        logger.warning("sign-in with OpenID Connect: %s", error)
        raise Problem("openid-failed") from None
    account = await _account_of(services, subject)
    claims = await begin(request, account.id, None, "")
    response = web.Response(status=302, headers={"Location": local_path(attempt.return_to)})
    set_cookie(request, response, claims)
    response.del_cookie(COOKIE, path=PATH, httponly=True, secure=is_secure(request))
    return response


def _attempt(request: web.Request, services: Services, state: str | None) -> Attempt:
    """Return the attempt that this browser began; another's answer is not taken."""
    try:
        sealed = services.tokens.unseal(USE, request.cookies.get(COOKIE, ""), services.clock())
        attempt = Attempt(**{name: str(sealed[name]) for name in Attempt._fields})
    except (TokenError, KeyError):
        raise Problem("openid-failed", "state") from None
    if not hmac.compare_digest((state or "").encode(), attempt.state.encode()):
        raise Problem("openid-failed", "state")
    return attempt


async def _account_of(services: Services, subject: Subject) -> Account:
    """Return the account of a subject, a new one where there is none.

    It waits to be approved, unless the provider is one that approves whom it signs in.
    """
    accounts, now = services.identity.accounts, int(services.clock())
    with away_as("accounts-away"):
        found = await accounts.by_subject(subject.issuer, subject.subject)
        if found is not None:
            return found
        new_id = user_id(DEFAULT_APP, secrets.token_hex(8))
        trusted = services.config.oidc.trusted
        new = Account(
            new_id,
            DEFAULT_APP,
            None,
            _name(subject),
            ACTIVE if trusted else PENDING,
            new_id,
            now,
            email=subject.email,
            approved_by=f"oidc:{subject.issuer}" if trusted else None,
            approved_at_s=now if trusted else None,
        )
        if await accounts.add_of_subject(new, subject.issuer, subject.subject):
            return new
        found = await accounts.by_subject(subject.issuer, subject.subject)
    assert found is not None
    return found


def _name(subject: Subject) -> str:
    try:
        return display_name((subject.name or "")[:NAME_CHARACTERS])
    except Problem:
        return "사용자"


OPERATIONS = (
    Operation(
        "GET", PATH, start, Say("OpenID Connect로 로그인", "Sign in with OpenID Connect"),
        ANYONE, query=StartQuery, status=302, head=False,
    ),
    Operation(
        "GET", f"{PATH}/callback", callback,
        Say("OpenID 제공자에서 돌아옴", "Come back from the OpenID provider"),
        ANYONE, query=CallbackQuery, status=302, head=False,
    ),
)  # fmt: skip
