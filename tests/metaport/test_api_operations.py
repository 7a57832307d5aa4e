"""One definition of operations: routes, checks and the document cannot disagree."""

import re

import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from metaport.api import openapi, problems
from metaport.api.app import OPERATIONS
from metaport.api.groups import GROUPS
from metaport.api.operations import (
    ANYONE,
    SIGNED_IN,
    Audience,
    Operation,
    Unlaid,
    check_laid,
    enforce,
    lay,
    query_of,
)
from metaport.language import Say
from metaport.roles import PERMITTED, TITLES, Permission, Role, may

SAY = Say("하나", "One")


class Numbers(msgspec.Struct):
    """A query with a number that is needed and a word that is not."""

    number: int
    word: str = "none"


async def say_ok(_):
    return web.Response(text="ok")


async def count(request):
    query = query_of(request, Numbers)
    return web.json_response([query.number, query.word])


async def test_a_route_without_an_operation_is_refused_and_named():
    app = web.Application(middlewares=[problems.render, enforce])
    lay(app, [Operation("GET", "/known", say_ok, SAY, ANYONE)])
    app.router.add_get("/stray", say_ok)
    with pytest.raises(Unlaid) as unlaid:
        check_laid(app)
    assert unlaid.value.routes == ["GET /stray", "HEAD /stray"]
    async with TestClient(TestServer(app)) as client:
        assert (await client.get("/known")).status == 200
        assert (await client.head("/known")).status == 200
        assert (await client.get("/stray")).status == 403
        assert (await client.get("/nothing")).status == 404
        refused = await client.post("/known")
        assert (refused.status, refused.headers["Allow"]) == (405, "GET,HEAD")


@pytest.mark.parametrize(
    ("query", "answer"),
    [
        ("number=7", [7, "none"]),
        ("number=7&word=null&more=1", [7, "null"]),
        ("", None),
        ("number=", None),
        ("number=seven", None),
        ("number=7&number=8", None),
        ("word=x", None),
    ],
)
async def test_a_query_is_read_into_its_struct(query, answer):
    app = web.Application(middlewares=[problems.render, enforce])
    lay(app, [Operation("GET", "/", count, SAY, ANYONE, query=Numbers)])
    async with TestClient(TestServer(app)) as client:
        got = await client.get(f"/?{query}")
        if answer is None:
            assert got.status == 400
            assert "word" in await got.text() or "number" in await got.text()
        else:
            assert await got.json() == answer


def test_no_two_operations_answer_the_same_and_all_are_told_in_two_languages():
    asked = [(operation.method, operation.path) for operation in OPERATIONS]
    assert len(set(asked)) == len(asked)
    for operation in OPERATIONS:
        assert re.search("[가-힣]", operation.summary.ko), operation.path
        assert re.fullmatch(r"[A-Z][^가-힣]+", operation.summary.en), operation.path
        assert operation.handler.__doc__ or not operation.described, operation.path


def test_what_a_module_serves_under_the_api_is_described():
    hidden = [o.path for o in OPERATIONS if o.path.startswith("/api/v") and not o.described]
    assert hidden == []


def test_the_document_has_every_described_operation_with_its_check():
    document = openapi.build(OPERATIONS)
    told = {
        (method, path): described
        for path, methods in document["paths"].items()
        for method, described in methods.items()
    }
    for operation in OPERATIONS:
        path = re.sub(r":[^}]+}", "}", operation.path)
        described = told.pop((operation.method.lower(), path), None)
        assert (described is not None) == operation.described, operation.path
        if described is None:
            continue
        security = described.get("security")
        if operation.who is ANYONE:
            assert security is None
        elif operation.who is SIGNED_IN:
            assert security == [{"bearer": []}]
        else:
            assert security == [{"bearer": sorted(PERMITTED[operation.who])}]
            assert described["x-permission"] == operation.who
    assert told == {}
    names = [each["operationId"] for paths in document["paths"].values() for each in paths.values()]
    assert len(set(names)) == len(names)


def test_every_group_of_the_document_has_a_title():
    document = openapi.build(OPERATIONS)
    told = {tag["name"]: tag["x-title"] for tag in document["tags"]}
    used = {
        operation["tags"][0]
        for methods in document["paths"].values()
        for operation in methods.values()
    }
    assert set(told) == used <= set(GROUPS)
    assert told["rooms"] == {"ko": "방", "en": "Rooms"}


def test_structs_of_one_name_have_schemas_of_their_own():
    namesake = msgspec.defstruct("Numbers", [("other", str)], module="elsewhere")
    others = {"Numbers": namesake, "mine": Numbers}
    document = openapi.build(
        Operation("POST", f"/{name}", say_ok, SAY, ANYONE, body=kind)
        for name, kind in others.items()
    )
    schemas = document["components"]["schemas"]
    refs = {
        path: described["post"]["requestBody"]["content"]["application/json"]["schema"]["$ref"]
        for path, described in document["paths"].items()
    }
    fields = {
        path: set(schemas[ref.rpartition("/")[2]]["properties"]) for path, ref in refs.items()
    }
    assert fields == {"/Numbers": {"other"}, "/mine": {"number", "word"}}


def test_every_permission_is_somebodys_and_every_role_has_a_title():
    assert set(PERMITTED) == set(Permission)
    assert all(PERMITTED.values())
    assert set(TITLES) == set(Role)
    assert len(Role) == 12
    assert len({title for titles in TITLES.values() for title in titles}) == 24
    assert not any(isinstance(permission, Audience) for permission in Permission)


def test_words_that_are_no_roles_permit_nothing():
    for permission in Permission:
        assert not may({"guest", "listener", "root", ""}, permission)
        assert not may((), permission)
        assert may({"guest", *PERMITTED[permission]}, permission)


def test_every_problem_is_documented_in_both_languages():
    told = {each["type"]: each for each in openapi.build(OPERATIONS)["x-problems"]}
    assert set(told) == {f"/problems/{reason}" for reason in problems.TITLES}
    for each in told.values():
        assert re.search("[가-힣]", each["title"]["ko"]), each
        assert not re.search("[가-힣]", each["title"]["en"]), each
