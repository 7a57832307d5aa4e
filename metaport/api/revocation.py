"""Taking tokens back: one, or all of a user's."""

from typing import Annotated

import msgspec
from aiohttp import web

from metaport.api.access import refusal
from metaport.api.bodies import read_json, respond
from metaport.api.operations import Operation
from metaport.api.problems import Problem
from metaport.api.services import SERVICES
from metaport.language import Say
from metaport.revocation import ID_CHARACTERS, Revocation, of_token, of_token_id, of_user
from metaport.roles import Permission
from metaport.tokens import TokenError, Tokens

Id = Annotated[str, msgspec.Meta(min_length=1, max_length=ID_CHARACTERS)]


class RevokeRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Name one of `user`, `token_id` (its `jti`) and `token`.

    With `user` every token issued before `before` (seconds since the Unix epoch; now) is void.
    """

    user: Id | None = None
    token_id: Id | None = None
    token: Annotated[str, msgspec.Meta(min_length=1, max_length=16_384)] | None = None
    before: float | None = None


class Revoked(msgspec.Struct):
    """What is void now.

    `everywhere` is false while the database is away: other hubs may then hear of it late.
    """

    kind: str
    subject: str
    before: float
    until: float
    everywhere: bool


async def revoke(request: web.Request) -> web.Response:
    """Take back a token, or sign a user out everywhere."""
    services = request.app[SERVICES]
    now = services.clock()
    body = await read_json(request, RevokeRequest)
    revocation = _meant(body, services.tokens, now)
    everywhere = await services.revoke(revocation)
    return respond(
        Revoked(
            revocation.kind,
            revocation.subject,
            revocation.before_s,
            revocation.until_s,
            everywhere,
        )
    )


def _meant(body: RevokeRequest, tokens: Tokens, now: float) -> Revocation:
    named = [value for value in (body.user, body.token_id, body.token) if value is not None]
    if len(named) != 1 or (body.before is not None and body.user is None):
        raise Problem("bad-request", "name one of user (with before), token_id and token")
    if body.user is not None:
        before_s = now if body.before is None else body.before
        if not 0 < before_s <= now:
            raise Problem("bad-request", "before is a moment in the past")
        return of_user(body.user, before_s, now)
    if body.token_id is not None:
        return of_token_id(body.token_id, now)
    try:
        return of_token(tokens.inspect(body.token or "", now), now)
    except TokenError as error:
        raise refusal(error) from None
    except ValueError as error:
        raise Problem("bad-request", str(error)) from None


OPERATIONS = (
    Operation(
        "POST", "/api/v1/auth/revoke", revoke,
        Say("토큰 취소, 모든 곳에서 로그아웃", "Revoke tokens, sign out everywhere"),
        Permission.TOKENS_REVOKE, RevokeRequest, Revoked,
    ),
)  # fmt: skip
