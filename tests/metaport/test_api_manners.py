"""What every operation has in common: names of requests, limits, tags, fields and cursors."""

import io
import logging
import re
import time
from dataclasses import replace
from types import SimpleNamespace

import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from metaport import logs, request_id
from metaport.api import problems, rooms
from metaport.api.cursors import Cursors
from metaport.api.etags import _matches, tag_of
from metaport.api.fields import narrowed, read_fields
from metaport.api.forwarded import Proxies
from metaport.api.headers import secure
from metaport.api.history import MessagePage
from metaport.api.operations import ANYONE, SIGNED_IN, Operation, enforce, lay
from metaport.api.problems import Problem
from metaport.api.rates import limit
from metaport.api.rest_limit import BURST, PER_S, RestLimit
from metaport.api.services import SERVICES
from metaport.language import Say
from metaport.tokens import Tokens
from tests.metaport import test_compose
from tests.metaport.test_compose import bearer, serving

config = test_compose.config
hub = test_compose.hub

KEY = "k" * 32
ADMIN = {"user": "ann", "roles": ["admin"]}


async def test_a_request_is_named_by_its_client_where_that_is_sane(hub):
    for named, kept in (
        ("a-1.B_2", True), ("x" * 64, True), ("x" * 65, False), ("a b", False), ("-a", False),
        ('"a"', False), ("\u00e9", False), ("", False),
    ):  # fmt: skip
        async with hub.get("/api/v1/nothing", headers={"X-Request-Id": named}) as answer:
            told = answer.headers["X-Request-Id"]
            assert (told == named) is kept
            assert (await answer.json(content_type=None))["request_id"] == told


def test_a_line_of_the_log_names_the_request_it_is_for():
    for style in ("json", "human"):
        stream = io.StringIO()
        root = logging.getLogger()
        handlers, level = root.handlers[:], root.level
        set_to = request_id.CURRENT.set("r-17")
        try:
            logs.setup("hub", style=style, stream=stream)
            logging.getLogger("metaport.test").warning("late")
        finally:
            request_id.CURRENT.reset(set_to)
            root.handlers[:], root.level = handlers, level
            logging.captureWarnings(False)
        assert "r-17" in stream.getvalue()


async def test_what_is_left_of_the_limit_is_told_and_who_has_none_left_waits():
    app = web.Application(middlewares=[secure((), (), False), problems.render, enforce, limit])
    tokens = Tokens(KEY)
    app[SERVICES] = SimpleNamespace(
        rest_limit=RestLimit(0.001, 2), trusted=Proxies(), tokens=tokens, clock=time.time
    )

    async def say_ok(_):
        return web.Response(text="ok")

    say = Say("하나", "One")
    lay(
        app,
        [
            Operation("GET", "/api/mine", say_ok, say, SIGNED_IN),
            Operation("GET", "/api/all", say_ok, say, ANYONE),
            Operation("GET", "/page", say_ok, say, ANYONE),
        ],
    )
    async with TestClient(TestServer(app)) as client:
        for left, full_in_s in ((1, 1000), (0, 2000)):
            answer = await client.get("/api/all")
            assert answer.headers["RateLimit-Policy"] == '"rest";q=2;w=2000'
            assert answer.headers["RateLimit"] == f'"rest";r={left};t={full_in_s}'
        answer = await client.get("/api/all")
        assert (answer.status, answer.content_type) == (429, "application/problem+json")
        assert int(answer.headers["Retry-After"]) > 900
        assert answer.headers["RateLimit"] == '"rest";r=0;t=2000'
        # Whoever has a token does not wait for strangers at the same address; pages are free.
        mine = {"Authorization": f"Bearer {tokens.mint('vic', 'Vic', ttl_s=60)}"}
        assert (await client.get("/api/mine", headers=mine)).status == 200
        page = await client.get("/page")
        assert page.status == 200
        assert "RateLimit" not in page.headers


async def test_a_hub_limits_what_is_asked_of_its_api_unless_it_is_measured(config):
    for profile, limited in (("default", True), ("bench", False)):
        asked = replace(config, profile=profile)
        async with serving(asked) as session, session.get("/api/v1/config") as answer:
            assert ("RateLimit" in answer.headers) is limited


def test_a_bucket_is_full_again_when_it_says():
    limit = RestLimit()
    for left in range(int(BURST) - 1, -1, -1):
        standing = limit.take("user u", 10.0)
        assert (standing.left, standing.wait_s) == (left, 0)
    waiting = limit.take("user u", 10.0)
    assert (waiting.left, waiting.full_in_s) == (0, BURST / PER_S)
    assert 0 < waiting.wait_s <= 1 / PER_S
    assert limit.take("user other", 10.0).wait_s == 0
    assert limit.take("user u", 10.0 + waiting.full_in_s).left == BURST - 1


async def test_who_has_a_resource_already_is_spared_it_and_changes_only_what_they_know(hub):
    path = "/api/v1/rooms/hall"
    async with hub.post("/api/v1/rooms", json={"room": "hall"}, headers=bearer(**ADMIN)) as answer:
        made = answer.headers["ETag"]
    for tags, status in (
        (made, 304), (f'W/{made}, "x"', 304), ("*", 304), ('"x"', 200), ("x", 200),
    ):  # fmt: skip
        async with hub.get(path, headers=bearer(**ADMIN) | {"If-None-Match": tags}) as answer:
            assert (answer.status, answer.headers["ETag"]) == (status, made)
            assert bool(await answer.read()) == (status == 200)
    for tags, status in (('"x"', 412), (f"W/{made}", 412), (made, 200), (made, 412), ("*", 200)):
        headers = bearer(**ADMIN) | {"If-Match": tags}
        capacity = 5 if status == 200 and tags == made else 6
        async with hub.patch(path, json={"capacity": capacity}, headers=headers) as answer:
            assert answer.status == status, tags
            changed = answer.headers.get("ETag", made)
    for tags, status in ((made, 412), (changed, 204), ("*", 404)):
        async with hub.delete(path, headers=bearer(**ADMIN) | {"If-Match": tags}) as answer:
            assert answer.status == status


async def test_webhooks_have_tags_and_tell_their_secret_once(hub):
    body = {"url": "https://example.kr/hook"}
    async with hub.post("/api/v1/webhooks", json=body, headers=bearer(**ADMIN)) as answer:
        made = await answer.json()
        tag = answer.headers["ETag"]
    path = f"/api/v1/webhooks/{made['id']}"
    async with hub.get(path, headers=bearer(**ADMIN)) as answer:
        assert answer.headers["ETag"] == tag
        assert "secret" not in await answer.json()
    stale = bearer(**ADMIN) | {"If-Match": '"stale"'}
    async with hub.patch(path, json={"rotate": True}, headers=stale) as answer:
        assert answer.status == 412
    async with hub.delete(path, headers=stale) as answer:
        assert answer.status == 412


def test_tags_are_compared_as_rfc_9110_says():
    tag = tag_of("a", 1)
    assert tag != tag_of("a", 2) != tag_of("a1")
    for header, strong, weak in (
        (tag, True, True), (f"W/{tag}", False, True), (f'"a,b", {tag}', True, True),
        (f"{tag} x", False, False), ("", False, False), ('"', False, False), ("*", True, True),
    ):  # fmt: skip
        assert _matches(header, tag, weak=False) is strong, header
        assert _matches(header, tag, weak=True) is weak, header
    assert not _matches("*", None, weak=False)


async def test_only_the_fields_asked_for_are_told(hub):
    async with hub.post("/api/v1/rooms", json={"room": "hall"}, headers=bearer(**ADMIN)) as answer:
        assert answer.status == 201
    for query, expected in (
        ("fields=rooms.room,next", {"rooms": [{"room": "hall"}], "next": None}),
        ("fields=next", {"next": None}),
        ("fields=rooms.room,rooms.present", {"rooms": [{"room": "hall", "present": 0}]}),
        ("fields=rooms.colour", None), ("fields=", None), ("fields=rooms.room.x", None),
        (f"fields={'next,' * 300}next", None),
    ):  # fmt: skip
        async with hub.get(f"/api/v1/rooms?{query}", headers=bearer(**ADMIN)) as answer:
            if expected is None:
                assert answer.status == 400
                assert "fields" in (await answer.json(content_type=None))["detail"]
            else:
                assert await answer.json() == expected


def test_a_field_wanted_whole_is_whole_whatever_else_is_wanted_of_it():
    page = {"rooms": [{"room": "r", "users": ["a"]}], "next": None}
    for raw in ("rooms,rooms.room", "rooms.room,rooms"):
        assert narrowed(page, read_fields(raw, rooms.RoomPage)) == {"rooms": page["rooms"]}
    assert read_fields("messages.body,prev", MessagePage) == {
        "messages": {"body": None}, "prev": None,
    }  # fmt: skip


def test_a_cursor_is_taken_back_only_where_it_is_from():
    cursors = Cursors(KEY)
    cursor = cursors.make("rooms", "가/1")
    assert cursors.read("rooms", cursor, str) == "가/1"
    for scope, given, kind in (
        ("messages", cursor, str), ("rooms", cursor, int), ("rooms", cursor[:-1], str),
        ("rooms", cursor + "A", str), ("rooms", cursor + "==", str), ("rooms", "", str),
        ("rooms", "한", str), ("rooms", "A" * 2_000, str), ("rooms", "가/1", str),
        ("rooms", Cursors("another" * 8).make("rooms", "가/1"), str),
    ):  # fmt: skip
        with pytest.raises(Problem) as refused:
            cursors.read(scope, given, kind)
        assert refused.value.reason == "bad-cursor"
    changed = cursor[:-2] + ("A" if cursor[-2] != "A" else "B") + cursor[-1]
    with pytest.raises(Problem):
        cursors.read("rooms", changed, str)


async def test_a_cursor_that_nobody_told_is_a_problem(hub):
    for after in ("b", "AAAA", "%00"):
        async with hub.get(f"/api/v1/rooms?after={after}", headers=bearer(**ADMIN)) as answer:
            assert answer.status == 400
            assert (await answer.json(content_type=None))["type"] == "/problems/bad-cursor"


def test_the_structs_of_answers_are_known_to_the_fields_filter():
    class Odd(msgspec.Struct):
        pairs: dict[str, int]

    with pytest.raises(Problem):
        read_fields("pairs.a", Odd)


async def test_the_page_of_the_api_needs_nothing_from_outside_and_no_inline_script(hub):
    async with hub.get("/api/docs") as answer:
        assert "unsafe" not in answer.headers["Content-Security-Policy"]
        page = await answer.text()
    assert re.findall(r"<script(?![^>]* src=)", page) == []
    assert re.findall(r"(?:src|href)=\"(?!/|#)[^\"]*\"", page) == []
    assert " on" not in "".join(re.findall(r"<[^>]+>", page))
    for part in re.findall(r"(?:src|href)=\"(/[^\"#]*)", page):
        async with hub.get(part) as answer:
            assert answer.status == 200, part


async def test_the_type_of_a_problem_leads_to_what_is_told_of_it(hub):
    async with hub.get("/problems/room-exists", allow_redirects=False) as answer:
        assert (answer.status, answer.headers["Location"]) == (303, "/api/docs#room-exists")
    async with hub.get("/problems/..%2fx", allow_redirects=False) as answer:
        assert answer.status == 404
