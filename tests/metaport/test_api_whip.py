"""WHIP and WHEP over HTTP: who may publish, and what an SFU that refuses is told as."""

import time
from types import SimpleNamespace

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from chatd.door import Door
from chatd.moderation import MemoryModeration
from chatd.room_book import MemoryRoomBook
from metaport.address_gate import AddressLimit
from metaport.api import problems, whip
from metaport.api.forwarded import Proxies
from metaport.api.operations import enforce, lay
from metaport.api.resources import MediaResources
from metaport.api.services import SERVICES
from metaport.compose import identity_of
from metaport.tokens import Tokens
from sfu.control import ControlError

TOKENS = Tokens("0123456789abcdef0123456789abcdef")


class Sfu:
    """An SFU that creates every session, or refuses."""

    def __init__(self):
        self.refusal = None

    async def request_http(self, op, **fields):
        if self.refusal is not None:
            raise self.refusal
        return {"participant": "p-1", "sdp": "v=0\r\n", "etag": "e"}


@pytest.fixture
def sfu():
    return Sfu()


def enter(claims, room, right, *, attends=False):
    door = Door(MemoryRoomBook(), moderation=MemoryModeration(), utc_ms=lambda: 0)
    door.admit(identity_of(claims), room, right)
    return room


@pytest.fixture
async def client(sfu):
    app = web.Application(middlewares=[problems.render, enforce])
    presence = SimpleNamespace(detach=lambda: None)
    app[SERVICES] = SimpleNamespace(
        sfu=sfu,
        tokens=TOKENS,
        clock=time.time,
        enter=enter,
        attach=lambda *_: presence,
        trusted=Proxies(),
        wait_for_media=AddressLimit(0.001, 5).wait_s,
    )
    app[whip.RESOURCES] = MediaResources()
    lay(app, whip.OPERATIONS)
    async with TestClient(TestServer(app)) as client:
        yield client


async def offer(client, kind, **claims):
    token = TOKENS.mint("visitor", "visitor", ttl_s=60, **claims)
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/sdp"}
    return await client.post(f"/{kind}/lobby", data="v=0\r\n", headers=headers)


async def test_a_listener_receives_but_does_not_publish(client):
    """The role was asked of chat clients only: by WHIP everybody could publish."""
    assert (await offer(client, "whip", roles=["listener"])).status == 403
    assert (await offer(client, "whep", roles=["listener"])).status == 201
    assert (await offer(client, "whip")).status == 201


async def test_a_full_sfu_says_when_to_come_back(client, sfu):
    """It was told as a mistake of the client, who then gives up."""
    sfu.refusal = ControlError(391, "too_many_participants", "the media server is full", 5000)
    answer = await offer(client, "whip")
    assert (answer.status, answer.headers["Retry-After"]) == (503, "5")


async def test_sessions_are_limited_by_address(client):
    statuses = [(await offer(client, "whep")).status for _ in range(6)]
    assert statuses == [201] * 5 + [429]
