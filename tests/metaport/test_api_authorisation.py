"""Every operation asked by every role: who gets through is what `authorisation.txt` says."""

import re
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from yarl import URL

from metaport.api import problems
from metaport.api.app import OPERATIONS
from metaport.api.forwarded import Proxies
from metaport.api.operations import enforce, lay
from metaport.api.services import SERVICES
from metaport.roles import Role
from metaport.tokens import Tokens
from tests.metaport import test_compose
from tests.metaport.test_compose import bearer, exactly

config = test_compose.config
hub = test_compose.hub

TABLE = Path(__file__).with_name("authorisation.txt")
TOKENS = Tokens("0123456789abcdef0123456789abcdef")
REACHED = 299
# The words of a token that are no roles, a role nobody has, and the roles themselves.
ASKING = [(), ("guest",), ("listener",), ("root",), *((role.value,) for role in Role)]


def told() -> dict[tuple[str, str], set[str]]:
    """Return who may ask what, as it is written out."""
    rows = {}
    for line in TABLE.read_text("utf-8").splitlines():
        if line and not line.startswith("#"):
            asked, _, who = line.rpartition(": ")
            method, path = asked.split(" ", 1)
            rows[method, path] = set(who.split())
    return rows


EXPECTED = told()


def status_of(who: set[str], roles: tuple[str, ...] | None) -> int:
    """Return what somebody is answered: None has no token."""
    if who == {"anyone"}:
        return REACHED
    if roles is None:
        return 401
    return REACHED if who == {"signed-in"} or who & set(roles) else 403


def address_of(path: str) -> str:
    """Fill in the parameters of a path."""
    return re.sub(r"{kind:[^}]*}", "whip", re.sub(r"{(?!kind)[^}]*}", "x", path))


async def say_reached(_: web.Request) -> web.Response:
    return web.Response(status=REACHED)


@pytest.fixture
async def client() -> Iterator[TestClient]:
    """All operations with their checks, and nothing behind them."""
    app = web.Application(middlewares=[problems.render, enforce])
    app[SERVICES] = SimpleNamespace(
        tokens=TOKENS, clock=time.time, trusted=Proxies(), wait_for_bad_token=lambda _: 0.0
    )
    lay(app, (replace(each, handler=say_reached, query=None) for each in OPERATIONS))
    async with TestClient(TestServer(app)) as client:
        yield client


def test_every_operation_has_a_line_and_every_line_an_operation():
    asked = {(operation.method, operation.path) for operation in OPERATIONS}
    assert asked - set(EXPECTED) == set(), "without a line in authorisation.txt"
    assert set(EXPECTED) - asked == set(), "lines of nothing"


def test_lines_name_roles_that_there_are():
    known = {"anyone", "signed-in", *(role.value for role in Role)}
    for asked, who in EXPECTED.items():
        assert who, asked
        assert who <= known, asked
        assert len(who) == 1 or not who & {"anyone", "signed-in"}, asked


async def test_each_role_gets_through_where_the_table_says_and_nowhere_else(client):
    headers = {
        roles: {"Authorization": f"Bearer {TOKENS.mint('u', 'U', roles=roles, ttl_s=600)}"}
        for roles in ASKING
    }
    wrong = []
    for (method, path), who in EXPECTED.items():
        for roles in (None, *ASKING):
            given = {} if roles is None else headers[roles]
            async with client.request(method, address_of(path), headers=given) as answer:
                if answer.status != status_of(who, roles):
                    wrong.append((method, path, roles, answer.status))
    assert wrong == []


async def test_a_token_that_is_none_of_ours_gets_through_nowhere(client):
    forged = Tokens("another-secret-another-secret-00").mint("u", "U", roles=["admin"], ttl_s=600)
    expired = TOKENS.mint("u", "U", roles=["admin"], ttl_s=-600)
    refresh = TOKENS.mint_refresh("u", "U", roles=["admin"], ttl_s=600, now=time.time())
    for (method, path), who in EXPECTED.items():
        for token in (forged, expired, refresh, "", "x.y.z"):
            headers = {"Authorization": f"Bearer {token}"}
            async with client.request(method, address_of(path), headers=headers) as answer:
                assert answer.status == (REACHED if who == {"anyone"} else 401), (method, path)


async def test_a_whole_hub_refuses_as_the_table_says(hub, config):
    """The same checks stand before the real handlers: nobody reaches them on another way."""
    for (method, path), who in EXPECTED.items():
        url: URL = exactly(config, address_of(path))
        for roles in (None, ("visitor",), ("content_manager",)):
            expected = status_of(who, roles)
            if expected == REACHED:
                continue
            given = {} if roles is None else bearer(roles=roles)
            async with hub.request(method, url, headers=given) as answer:
                assert answer.status == expected, (method, path, roles)
                assert answer.content_type == "application/problem+json"
