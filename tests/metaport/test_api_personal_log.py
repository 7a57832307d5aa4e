"""Who tells or changes data about a person is in the log of personal data: no operation forgets."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from msgspec import inspect

from metaport.api import problems
from metaport.api.app import OPERATIONS
from metaport.api.audit import begins_to_tell, record, tells_of
from metaport.api.forwarded import Proxies
from metaport.api.operations import Audience, Operation, enforce, lay
from metaport.api.services import SERVICES
from metaport.db.schema import metadata
from metaport.language import Say
from metaport.roles import Permission
from tests.metaport import test_account_commands, test_compose, test_resource_commands
from tests.metaport.test_compose import bearer

config = test_compose.config
hub = test_compose.hub
run = test_resource_commands.run
typed = test_account_commands.typed
hong = test_account_commands.hong

# Of everything there is, not of people only.
OF_ALL = {"id"}
# Answers with a word that columns of people have too, and why they are no such data.
NOT_OF_PEOPLE = {
    "/api/v1/apps": "the name of an app",
    "/api/v1/apps/{app}": "the name of an app",
    "/api/v1/auth/revoke": "the id that was asked for",
    "/api/v1/rooms/{room}/participants": "the name they show to everybody in the room",
}


@pytest.fixture
async def broken_off():
    """Run an operation that tells data, and whose reader is gone while it does."""
    entries = []

    async def tell(request):
        tells_of(request, "u")
        await begins_to_tell(request)
        raise RuntimeError("the reader is gone")

    async def keep(entry):
        entries.append(entry)

    app = web.Application(middlewares=[problems.render, enforce, record])
    app[SERVICES] = SimpleNamespace(clock=lambda: 1.0, trusted=Proxies(), audit=keep)
    asked = Operation("GET", "/x", tell, Say("하나", "One"), Audience.ANYONE, personal="all")
    lay(app, [asked])
    async with TestClient(TestServer(app)) as client:
        yield SimpleNamespace(client=client, entries=entries)


def columns_of_people() -> set[str]:
    """Return the names of columns that tell something of a person."""
    found = {
        column.name
        for table in metadata.tables.values()
        for column in table.c
        if column.info.get("personal")
    }
    return found - OF_ALL


def members(kind: Any) -> Iterator[str]:
    """Yield the names of all members of an answer, however deep."""
    if isinstance(kind, inspect.StructType):
        for field in kind.fields:
            yield field.name
            yield from members(field.type)
    for inner in (
        *(getattr(kind, name) for name in ("item_type", "value_type") if hasattr(kind, name)),
        *getattr(kind, "item_types", ()),
        *getattr(kind, "types", ()),
    ):
        yield from members(inner)


def forgotten(operations: list[Operation]) -> list[tuple[str, str, list[str]]]:
    """Return the operations about others whose answers have members of people, and no word of it.

    Who needs no permission is told of themself, or what they are told in the room anyway.
    """
    people = columns_of_people()
    found = []
    for each in operations:
        if each.personal is not None or each.answer is None or isinstance(each.who, Audience):
            continue
        told = people & set(members(inspect.type_info(each.answer)))
        if told and each.path not in NOT_OF_PEOPLE:
            found.append((each.method, each.path, sorted(told)))
    return found


def test_no_operation_tells_of_people_without_a_word_in_the_log():
    assert {"name", "login", "email", "address"} <= columns_of_people()
    assert forgotten(list(OPERATIONS)) == []
    assert set(NOT_OF_PEOPLE) <= {each.path for each in OPERATIONS}, "lines of nothing"


def test_one_that_forgets_is_found_however_deep_the_member_is():
    person = msgspec.defstruct("Person", [("email", str | None)])
    page = msgspec.defstruct("Page", [("rows", dict[str, list[person]])])
    say = Say("하나", "One")
    asked = Operation("GET", "/x", run, say, Permission.USERS_READ, answer=page)
    assert forgotten([asked]) == [("GET", "/x", ["email"])]


def test_whatever_is_done_to_an_account_of_others_is_in_the_log():
    about = [each for each in OPERATIONS if each.path.startswith("/api/v1/users")]
    assert len(about) > 10
    assert [each.path for each in about if each.personal is None] == []
    logged = {each.path for each in OPERATIONS if each.personal is not None}
    assert {"/api/v1/me/export", "/api/v1/me/erase"} <= logged


async def test_the_log_names_whose_data_it_was(hub, run, hong):
    await run("user", "role", "grant", hong, "host")
    await run("user", "erase", hong, "--yes")
    answer = await hub.get("/api/v1/audit?personal=true", headers=bearer(roles=["auditor"]))
    entries = (await answer.json())["entries"]
    told = {each["action"]: (each["actor"], each["whose"], each["personal"]) for each in entries}
    users = "/api/v1/users"
    assert told == {
        f"POST {users}": ("admin", hong, "names, sign-in names"),
        f"POST {users}/{{user}}/approve": ("boss", hong, "names, sign-in names"),
        f"PUT {users}/{{user}}/roles/{{role}}": ("admin", hong, "roles"),
        f"POST {users}/{{user}}/erase": ("admin", hong, "everything"),
    }


async def test_who_breaks_off_has_been_told_all_the_same(broken_off):
    """It was written down at the end: who broke off before that had the data, unseen."""
    async with broken_off.client.get("/x") as answer:
        assert answer.status == 500
    assert [(e.whose, e.personal, e.result) for e in broken_off.entries] == [("u", "all", "200")]


async def test_who_takes_their_own_data_along_is_in_the_log(hub, hong):
    told = await test_account_commands.sign_in(hub)
    headers = {"Authorization": f"Bearer {told['token']}"}
    assert (await hub.get("/api/v1/me", headers=headers)).status == 200
    async with hub.get("/api/v1/me/export", headers=headers) as answer:
        assert (await answer.json())["user"] == hong
    answer = await hub.get(f"/api/v1/audit?actor={hong}", headers=bearer(roles=["auditor"]))
    seen = [(e["action"], e["whose"]) for e in (await answer.json())["entries"] if e["personal"]]
    assert seen == [("GET /api/v1/me/export", hong)]
