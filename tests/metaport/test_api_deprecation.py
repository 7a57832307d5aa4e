"""An operation that will go says since when and until when, also where it refuses."""

from types import SimpleNamespace

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from metaport.api import headers, openapi, problems
from metaport.api.deprecation import Deprecation
from metaport.api.operations import ANYONE, Operation, enforce, lay
from metaport.api.problems import Problem
from metaport.api.services import SERVICES
from metaport.language import Say

GOES = Deprecation.of("2026-11-11", "2027-06-01")


async def answer(request):
    """Answer, or refuse what is asked for."""
    if "refused" in request.query:
        raise Problem("not-found")
    return web.Response(text="ok")


OPERATIONS = [
    Operation("GET", "/api/v1/old", answer, Say("옛", "Old"), ANYONE, deprecated=GOES),
    Operation("GET", "/api/v1/new", answer, Say("새", "New"), ANYONE),
]


@pytest.mark.parametrize(("query", "status"), [("", 200), ("?refused=1", 404)])
async def test_its_answers_carry_both_headers_and_those_of_others_none(query, status):
    app = web.Application(middlewares=[headers.secure((), (), False), problems.render, enforce])
    app[SERVICES] = SimpleNamespace(rest_limit=None)
    lay(app, OPERATIONS)
    async with TestClient(TestServer(app)) as client:
        old = await client.get(f"/api/v1/old{query}")
        new = await client.get(f"/api/v1/new{query}")
    assert (old.status, new.status) == (status, status)
    assert old.headers["Deprecation"] == "@1794355200"
    assert old.headers["Sunset"] == "Tue, 01 Jun 2027 00:00:00 GMT"
    assert "Deprecation" not in new.headers
    assert "Sunset" not in new.headers


def test_the_document_marks_it():
    paths = openapi.build(OPERATIONS)["paths"]
    assert paths["/api/v1/old"]["get"]["deprecated"] is True
    assert paths["/api/v1/old"]["get"]["x-sunset"] == "2027-06-01"
    assert "deprecated" not in paths["/api/v1/new"]["get"]


def test_less_than_six_months_are_refused():
    with pytest.raises(ValueError, match="six months"):
        Deprecation.of("2026-11-11", "2027-05-01")
