"""Webhooks: signed, told once, tried again, given up, replayed; against a real receiver."""

import asyncio
import base64
import hashlib
import hmac
import json

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from metaport.db.engine import connect, open_engine, sqlite_url
from metaport.db.errors import DatabaseUnavailable
from metaport.db.webhooks import DEAD, DELIVERED, PENDING, Endpoint, Event, SqlWebhooks
from metaport.webhooks import BOTH_S, LEASE_S, RETRIES_S, Secrets, Sender, fault_of, sign

KEY = "k" * 48
NOW = 1_795_000_000


class Receiver:
    """An endpoint that answers what it is told to and keeps what it got."""

    def __init__(self):
        self.answers = []
        self.got = []

    async def take(self, request):
        self.got.append((dict(request.headers), await request.read()))
        status = self.answers.pop(0) if self.answers else 204
        if status == 302:
            raise web.HTTPFound("/elsewhere")
        return web.Response(status=status)


@pytest.fixture(params=["sqlite", "postgresql"])
async def store(request, tmp_path):
    if request.param == "sqlite":
        url = sqlite_url(tmp_path / "webhooks.db")
    else:
        url = request.getfixturevalue("postgres_url")
    engine = await open_engine(url)
    yield SqlWebhooks(engine)
    await engine.dispose()


@pytest.fixture
async def receiver():
    found = Receiver()
    app = web.Application()
    app.router.add_post("/hook", found.take)
    async with TestServer(app) as server:
        found.url = str(server.make_url("/hook"))
        yield found


@pytest.fixture
async def session():
    async with aiohttp.ClientSession() as opened:
        yield opened


class Clock:
    def __init__(self):
        self.now = float(NOW)

    def __call__(self):
        return self.now


def endpoint(url, name="we_1", events=("*",), **changed):
    return Endpoint(name, url, events, True, 1, NOW)._replace(**changed)


def event(number=1, kind="budget.reached"):
    return Event(f"{kind}/{number}", kind, NOW * 1000, {"percent": 50, "제목": "예산"})


async def test_an_event_is_posted_whole_and_signed(store, receiver, session):
    await store.add(endpoint(receiver.url), "admin", NOW)
    assert await store.put([event()]) == 1
    clock = Clock()
    secrets = Secrets(KEY)
    sender = Sender(store, secrets, clock)
    assert await sender.send_due(session) == 1
    assert await sender.send_due(session) == 0
    ((headers, body),) = receiver.got
    assert json.loads(body) == {
        "id": "budget.reached/1", "type": "budget.reached", "at": NOW * 1000,
        "data": {"percent": 50, "제목": "예산"},
    }  # fmt: skip
    assert headers["webhook-id"] == "budget.reached/1"
    # As a receiver would check it, with nothing of ours.
    key = base64.b64decode(secrets.of("we_1", 1).removeprefix("whsec_"))
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    digest = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{digest}"
    (delivery,) = await store.deliveries("we_1", None, 10)
    assert (delivery.state, delivery.attempts, delivery.last_status) == (DELIVERED, 1, 204)


async def test_the_same_event_is_there_once(store, receiver, session):
    await store.add(endpoint(receiver.url), "admin", NOW)
    assert await store.put([event(), event(2)]) == 2
    assert await store.put([event(), event(3)]) == 1
    await Sender(store, Secrets(KEY), Clock()).send_due(session)
    assert sorted(json.loads(body)["id"] for _, body in receiver.got) == [
        "budget.reached/1", "budget.reached/2", "budget.reached/3",
    ]  # fmt: skip


async def test_only_who_asked_is_told(store, receiver):
    await store.add(endpoint(receiver.url, "we_1", ("budget.*",)), "admin", NOW)
    await store.add(endpoint(receiver.url, "we_2", ("media.joined",)), "admin", NOW + 1)
    await store.add(endpoint(receiver.url, "we_3", ("*",), enabled=False), "admin", NOW + 2)
    await store.put([event()])
    counts = [len(await store.deliveries(name, None, 10)) for name in ("we_1", "we_2", "we_3")]
    assert counts == [1, 0, 0]


async def test_deliveries_are_told_page_by_page_also_where_events_are_of_one_moment(store):
    await store.add(endpoint("https://a.example/"), "admin", 1)
    await store.put([event(number) for number in range(7)])
    whole = await store.deliveries("we_1", None, 10)
    assert len(whole) == 7
    found, after = [], None
    while page := await store.deliveries("we_1", None, 3, after):
        found += page
        after = (page[-1].at_ms, page[-1].event_id)
    assert found == whole


async def test_what_fails_is_tried_again_later_each_time_and_then_given_up(
    store, receiver, session
):
    await store.add(endpoint(receiver.url), "admin", NOW)
    await store.put([event()])
    receiver.answers = [500, 404, 302, *[503] * len(RETRIES_S)]
    clock = Clock()
    sender = Sender(store, Secrets(KEY), clock)
    for attempt, wait_s in enumerate(RETRIES_S, 1):
        assert await sender.send_due(session) == 1
        (delivery,) = await store.deliveries("we_1", PENDING, 10)
        assert (delivery.attempts, delivery.next_at_s) == (attempt, int(clock.now) + wait_s)
        clock.now += wait_s - 1
        assert await sender.send_due(session) == 0
        clock.now += 1
    assert await sender.send_due(session) == 1
    (delivery,) = await store.deliveries("we_1", DEAD, 10)
    assert (delivery.attempts, delivery.last_status) == (len(RETRIES_S) + 1, 503)
    assert sender.dead == 1
    # What is dead is not tried, until somebody asks for it.
    assert await sender.send_due(session) == 0
    assert await store.replay("we_1", "budget.reached/none", clock.now) == 0
    assert await store.replay("we_1", None, clock.now) == 1
    receiver.answers = []
    assert await sender.send_due(session) == 1
    assert len(await store.deliveries("we_1", DELIVERED, 10)) == 1


async def test_who_is_gone_for_good_is_not_asked_again(store, receiver, session):
    await store.add(endpoint(receiver.url), "admin", NOW)
    await store.put([event()])
    receiver.answers = [410]
    await Sender(store, Secrets(KEY), Clock()).send_due(session)
    assert len(await store.deliveries("we_1", DEAD, 10)) == 1


async def test_nobody_listening_is_a_failure_like_any_other(store, session, unused_tcp_port):
    await store.add(endpoint(f"http://127.0.0.1:{unused_tcp_port}/hook"), "admin", NOW)
    await store.put([event()])
    await Sender(store, Secrets(KEY), Clock()).send_due(session)
    (delivery,) = await store.deliveries("we_1", PENDING, 10)
    assert delivery.last_status is None
    assert "Cannot connect" in delivery.last_error


async def test_two_senders_do_not_tell_the_same_and_a_dead_ones_claim_is_taken_over(store):
    await store.add(endpoint("http://127.0.0.1:1/"), "admin", NOW)
    await store.put([event(number) for number in range(30)])
    first, second = await asyncio.gather(
        store.claim(NOW, 20, LEASE_S), store.claim(NOW, 20, LEASE_S)
    )
    claimed = [due.event_id for due in (*first, *second)]
    assert len(claimed) == len(set(claimed))
    left = await store.claim(NOW, 100, LEASE_S)
    assert len(claimed) + len(left) == 30
    assert await store.claim(NOW + LEASE_S - 1, 100, LEASE_S) == []
    assert len(await store.claim(NOW + LEASE_S, 100, LEASE_S)) == 30


async def test_for_a_day_after_a_rotation_both_secrets_sign(store):
    secrets = Secrets(KEY)
    rotated = endpoint("http://127.0.0.1/", secret_version=2, rotated_at_s=NOW)
    assert secrets.signing(rotated, NOW + BOTH_S - 1) == [
        secrets.of("we_1", 2), secrets.of("we_1", 1),
    ]  # fmt: skip
    assert secrets.signing(rotated, NOW + BOTH_S) == [secrets.of("we_1", 2)]
    assert secrets.of("we_1", 1) != secrets.of("we_2", 1) != secrets.of("we_1", 2)


async def test_removing_an_endpoint_forgets_what_it_was_to_be_told(store):
    await store.add(endpoint("http://127.0.0.1:1/"), "admin", NOW)
    await store.put([event()])
    assert await store.remove("we_1")
    assert not await store.remove("we_1")
    assert await store.claim(NOW, 10, LEASE_S) == []
    gone = endpoint("http://127.0.0.1:1/")
    assert not await store.change(gone, gone._replace(enabled=False))


async def test_of_two_changes_to_the_same_the_second_is_told_that_it_came_late(store):
    before = endpoint("http://127.0.0.1:1/")
    await store.add(before, "admin", NOW)
    assert await store.change(before, before._replace(enabled=False))
    assert not await store.change(before, before._replace(events=("budget.*",)))
    assert await store.endpoints() == [before._replace(enabled=False)]


async def test_old_events_go_but_not_those_still_to_be_told(store):
    await store.add(endpoint("http://127.0.0.1:1/"), "admin", NOW)
    await store.put([event(1), event(2)])
    first = (await store.claim(NOW, 1, LEASE_S))[0]
    await store.settle(first, DELIVERED, next_at_s=NOW, status=200)
    assert await store.forget(NOW) == 0
    assert await store.forget(NOW + 1) == 1
    (left,) = await store.deliveries("we_1", None, 10)
    assert left.state == PENDING


def test_the_signature_is_that_of_the_standards_example():
    """Standard Webhooks' own test vector."""
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    body = b'{"test": 2432232314}'
    signature = sign(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body)
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize(
    "url",
    ["", "ftp://example.kr/", "https:///hook", "https://user@example.kr/", "http://a:0/",
     "https://example.kr/#a", "http://[::1", "https://example.kr/\n", "https://a/" + "x" * 2_000],
)  # fmt: skip
def test_an_address_that_cannot_be_posted_to_is_refused(url):
    assert fault_of(url) is not None
    assert fault_of("https://example.kr:8443/hook?a=1") is None


async def test_without_a_database_it_waits_and_says_so(tmp_path):
    (tmp_path / "dir.db").mkdir()
    engine = connect(sqlite_url(tmp_path / "dir.db"))
    sender = Sender(SqlWebhooks(engine), Secrets(KEY), Clock(), wait_s=0.001)
    with pytest.raises(DatabaseUnavailable):
        await SqlWebhooks(engine).endpoints()
    running = asyncio.create_task(sender.run())
    async with asyncio.timeout(30):
        await sender.failed.wait()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert sender.failing
    await engine.dispose()
