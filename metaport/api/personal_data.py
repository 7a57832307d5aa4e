"""What is held about a person: told as one JSON document, and erased."""

import base64
import json
from typing import Any

import msgspec
from aiohttp import web

from metaport.api.audit import begins_to_tell, tells_of
from metaport.api.bodies import read_json, respond
from metaport.api.me import account_of
from metaport.api.operations import SIGNED_IN, Operation, claims_of
from metaport.api.problems import Problem, away_as
from metaport.api.services import SERVICES, Services
from metaport.api.signing_in import named, session_account, sign_out_everywhere
from metaport.language import Say
from metaport.roles import Permission

FLUSH_BYTES = 65_536


class EraseRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Say it on purpose: `user` is the id of whom it is about."""

    user: str


class Erased(msgspec.Struct):
    """What stands for the person from now on, and rows erased so far, by table.

    Totals that are still counted follow within a day; `done` then.
    """

    pseudonym: str
    counts: dict[str, int]
    done: bool


async def export_mine(request: web.Request) -> web.StreamResponse:
    """Return everything that is held about oneself."""
    user = session_account(claims_of(request))
    tells_of(request, user)
    return await _export(request, user)


async def export_user(request: web.Request) -> web.StreamResponse:
    """Return everything that is held about a user, who need not have an account."""
    return await _export(request, named(request, "user"))


async def _export(request: web.Request, user: str) -> web.StreamResponse:
    services = request.app[SERVICES]
    rows = services.identity.eraser.rows(user)
    with away_as("accounts-away"):
        first = await anext(rows, None)
    await begins_to_tell(request)
    response = web.StreamResponse()
    response.content_type = "application/json"
    response.headers["Content-Disposition"] = 'attachment; filename="personal-data.json"'
    await response.prepare(request)
    head = {"user": user, "at": int(services.clock() * 1000)}
    # Line by line: a person may have said very much. A document that was cut off is no JSON.
    out = bytearray(_encode(head)[:-1] + b',"rows":[')
    if first is not None:
        out += _row(*first)
        async for table, row in rows:
            out += b",\n" + _row(table, row)
            if len(out) >= FLUSH_BYTES:
                await response.write(bytes(out))
                out.clear()
    await response.write(bytes(out) + b"]}\n")
    await response.write_eof()
    return response


def _row(table: str, row: dict[str, Any]) -> bytes:
    return _encode({"table": table, **row})


def _encode(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, default=_plain).encode()


def _plain(value: object) -> object:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return str(value)


async def erase_me(request: web.Request) -> web.Response:
    """Erase one's account and all personal data; what was used is kept under a pseudonym."""
    services = request.app[SERVICES]
    user = session_account(claims_of(request))
    tells_of(request, user)
    if (await read_json(request, EraseRequest)).user != user:
        raise Problem("bad-request", "user: not the one who asks")
    await account_of(services, user)
    return respond(await _erase(services, user, user))


async def erase_user(request: web.Request) -> web.Response:
    """Erase all personal data of a user, who need not have an account."""
    services = request.app[SERVICES]
    user = named(request, "user")
    if (await read_json(request, EraseRequest)).user != user:
        raise Problem("bad-request", "user: not the one of the path")
    return respond(await _erase(services, user, claims_of(request).user))


async def _erase(services: Services, user: str, asked_by: str) -> Erased:
    await sign_out_everywhere(services, user, "erased")
    with away_as("accounts-away"):
        after = await services.identity.eraser.erase(user, asked_by)
    return Erased(after.pseudonym, after.counts, after.done_at_s is not None)


OPERATIONS = (
    Operation(
        "GET", "/api/v1/me/export", export_mine,
        Say("내 개인정보 전부", "Everything held about me"), SIGNED_IN, head=False,
        personal="everything",
    ),
    Operation(
        "POST", "/api/v1/me/erase", erase_me,
        Say("탈퇴, 개인정보 삭제", "Erase my account and personal data"),
        SIGNED_IN, EraseRequest, Erased, personal="everything",
    ),
    Operation(
        "GET", "/api/v1/users/{user}/export", export_user,
        Say("사용자의 개인정보 전부", "Everything held about a user"),
        Permission.PERSONAL_DATA, head=False, personal="everything",
    ),
    Operation(
        "POST", "/api/v1/users/{user}/erase", erase_user,
        Say("사용자의 개인정보 삭제", "Erase a user's personal data"),
        Permission.PERSONAL_DATA, EraseRequest, Erased, personal="everything",
    ),
)  # fmt: skip
