"""What makes something is done once under its key, over a socket and on both databases."""

import asyncio

import pytest
from aiohttp import web
from sqlalchemy import select, text

from metaport.api.once import Once
from metaport.api.problems import Problem
from metaport.db.engine import connect
from metaport.db.idempotency import KEPT_S, LEASE_S, Request, SqlIdempotency
from metaport.db.tables.idempotency import api_idempotency
from tests.metaport import test_compose
from tests.metaport.test_compose import bearer

config = test_compose.config
hub = test_compose.hub

NOW = 1_790_790_000.0
KEY = "k" * 32
ADMIN = {"user": "ann", "roles": ["admin"]}
HOOK = {"url": "https://example.kr/hook"}


class Clock:
    """A clock that is set."""

    def __init__(self):
        self.now = NOW

    def __call__(self):
        return self.now


@pytest.fixture(params=["sqlite", "postgres"])
async def store(request, tmp_path):
    url = (
        f"sqlite:///{tmp_path / 'once.db'}"
        if request.param == "sqlite"
        else request.getfixturevalue("postgres_url")
    )
    engine = connect(url)
    yield SqlIdempotency(engine)
    await engine.dispose()


def asking(body="one", *, caller="ann", key="key", number=1):
    return Request(caller, key, body, f"r{number}")


class Work:
    """Something to do, counted."""

    def __init__(self, status=201, body=b"made"):
        self.done = 0
        self.status, self.body = status, body
        self.gate = None

    async def __call__(self):
        self.done += 1
        if self.gate is not None:
            await self.gate.wait()
        headers = {"ETag": '"e"', "X-Other": "x"}
        return web.Response(status=self.status, body=self.body, headers=headers)


async def refused(awaitable):
    with pytest.raises(Problem) as problem:
        await awaitable
    return problem.value.reason


async def test_a_repeat_is_told_the_same_and_nothing_is_done_again(store):
    once, work = Once(store, KEY, Clock()), Work()
    first = await once.do(asking(), work)
    again = await once.do(asking(number=2), work)
    assert work.done == 1
    assert (again.status, again.body, again.headers["ETag"]) == (201, b"made", '"e"')
    assert again.headers["Idempotency-Replayed"] == "true"
    assert "X-Other" not in again.headers
    assert "Idempotency-Replayed" not in first.headers
    assert await refused(once.do(asking("other", number=3), work)) == "idempotency-key-reused"
    await once.do(asking(caller="ben", number=4), work)
    await once.do(asking(key="other", number=5), work)
    assert work.done == 3


async def test_of_many_at_once_one_is_done_and_the_others_are_told_to_wait(store):
    once, work = Once(store, KEY, Clock()), Work()
    work.gate = asyncio.Event()
    asked = [asyncio.create_task(once.do(asking(number=n), work)) for n in range(8)]
    done, waiting = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED, timeout=30)
    while len(waiting) > 1:
        more, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED, timeout=30)
        done |= more
    assert {str(task.exception()).partition(":")[0] for task in done} == {"idempotency-in-progress"}
    work.gate.set()
    assert (await waiting.pop()).status == 201
    assert work.done == 1


@pytest.mark.parametrize("status", [400, 409, 503])
async def test_what_is_refused_leaves_the_key_free(store, status):
    once = Once(store, KEY, Clock())
    assert (await once.do(asking(), Work(status))).status == status
    work = Work()
    assert (await once.do(asking("other", number=2), work)).status == 201
    assert work.done == 1


async def test_what_raises_leaves_the_key_free(store):
    once = Once(store, KEY, Clock())

    async def fail():
        raise Problem("room-exists")

    assert await refused(once.do(asking(), fail)) == "room-exists"
    assert (await once.do(asking(number=2), Work())).status == 201


async def test_a_claim_of_somebody_who_died_is_taken_over_and_their_late_answer_is_not_kept(store):
    clock = Clock()
    once, work = Once(store, KEY, clock), Work()
    dead = asking(number=1)
    assert await store.claim(dead, clock.now) is None
    clock.now += LEASE_S - 1
    assert await refused(once.do(asking(number=2), work)) == "idempotency-in-progress"
    clock.now += 1
    assert await refused(once.do(asking("other", number=3), work)) == "idempotency-key-reused"
    assert (await once.do(asking(number=4), work)).status == 201
    await store.keep(dead, 500, b"late")
    await store.release(dead)
    assert (await once.do(asking(number=5), work)).status == 201
    assert work.done == 1


async def test_after_a_day_a_key_is_as_new(store):
    clock = Clock()
    once, work = Once(store, KEY, clock), Work()
    await once.do(asking(), work)
    clock.now += KEPT_S - 1
    assert await store.forget(clock.now) == 0
    await once.do(asking(number=2), work)
    assert work.done == 1
    clock.now += 1
    await once.do(asking("other", number=3), work)
    assert work.done == 2
    assert await store.forget(clock.now + KEPT_S) == 1


async def test_no_secret_of_an_answer_is_in_the_database_and_another_key_opens_nothing(store):
    once = Once(store, KEY, Clock())
    await once.do(asking(), Work(body=b"whsec_very_secret"))
    async with store._engine.connect() as connection:
        rows = (await connection.execute(select(api_idempotency))).all()
    assert b"whsec" not in repr(rows).encode()
    assert await refused(Once(store, "other" * 8, Clock()).do(asking(number=2), Work())) == (
        "idempotency-in-progress"
    )


async def test_a_webhook_is_made_once_and_its_secret_told_again(hub):
    async def post(body, key, **claims):
        headers = bearer(**ADMIN | claims) | {"Idempotency-Key": key}
        async with hub.post("/api/v1/webhooks", json=body, headers=headers) as answer:
            return answer.status, await answer.json(content_type=None), answer.headers

    status, made, first = await post(HOOK, "k-1")
    assert status == 201
    status, again, headers = await post(HOOK, '"k-1"')
    assert (status, again, headers["Idempotency-Replayed"]) == (201, made, "true")
    assert headers["ETag"] == first["ETag"]
    status, problem, _ = await post(HOOK | {"events": ["x"]}, "k-1")
    assert (status, problem["type"]) == (422, "/problems/idempotency-key-reused")
    for key in ("", "a b", "x" * 256, "한"):
        assert (await post(HOOK, key))[0] == 400
    assert (await post({"url": "ftp://x"}, "k-2"))[0] == 400
    assert (await post(HOOK, "k-2"))[0] == 201
    async with hub.get("/api/v1/webhooks", headers=bearer(**ADMIN)) as answer:
        assert len((await answer.json())["webhooks"]) == 2


async def test_without_its_database_a_key_is_refused_before_anything_is_done(tmp_path):
    engine = connect(f"sqlite:///{tmp_path / 'gone' / 'x.db'}")
    (tmp_path / "gone").write_text("no directory")
    work = Work()
    try:
        once = Once(SqlIdempotency(engine), KEY, Clock())
        assert await refused(once.do(asking(), work)) == "idempotency-away"
    finally:
        await engine.dispose()
    assert work.done == 0


async def test_a_claim_is_one_row_whoever_asks(store):
    await asyncio.gather(*(store.claim(asking(number=n), NOW) for n in range(10)))
    async with store._engine.connect() as connection:
        counted = await connection.execute(text("SELECT count(*) FROM api_idempotency"))
        assert counted.scalar() == 1
