"""SFUs that come and go: configured ones, and those of other machines by Redis."""

import asyncio
from dataclasses import replace

import pytest

from metaport import sfu_directory, sfu_link
from metaport.config import Config
from metaport.config_values import Endpoint, SfuAddress
from metaport.media import MediaRelay
from metaport.placements import LocalPlacements
from metaport.sfu_directory import SfuDirectory, keep_registered
from metaport.sfu_process import sfu_process
from sfu.control import ControlAddress, ControlServer
from tests.chatd.redis_server import RedisServer, wait_for

TOKEN = "0123456789abcdef0123456789abcdef"


class Sfu:
    def receive_request(self, link, request):
        if request["op"] == "sessions":
            return {"known": [], "participants": []}
        return {"participants": 0, "rooms": [], "packets": 0, "draining": False, "hubs": 1}

    def link_lost(self, link):
        pass


@pytest.fixture
def config(tmp_path):
    base = Config()
    return replace(
        base,
        data=replace(base.data, dir=tmp_path),
        media=replace(base.media, processes=0, control_token=TOKEN),
    )


@pytest.fixture
async def elsewhere(tmp_path):
    """An SFU of another machine."""
    address = ControlAddress("127.0.0.1", 0, TOKEN)
    server = ControlServer(tmp_path / "other.sock", Sfu(), address)
    await server.start()
    yield server
    await server.close()


def relay():
    return MediaRelay(LocalPlacements(asyncio.get_running_loop().time), print, print)


async def until(condition):
    async with asyncio.timeout(15):
        while not condition():  # noqa: ASYNC110 - what others do sets no event
            await asyncio.sleep(0.01)


async def test_an_sfu_of_another_machine_is_used_by_configuration(config, elsewhere):
    where = SfuAddress("m2/sfu", Endpoint("127.0.0.1", elsewhere.tcp_port))
    config = replace(config, media=replace(config.media, sfus=(where,)))
    media = relay()
    directory = SfuDirectory(config, media)
    await directory.start()
    await until(lambda: media.links["m2/sfu"].connected)
    assert (await media.place("lobby")).name == "m2/sfu"
    await directory.follow()  # there is no registry
    await media.close()


async def test_sfus_register_themselves_and_are_given_up_when_they_are_gone(
    config, elsewhere, tmp_path, monkeypatch
):
    monkeypatch.setattr(sfu_directory, "LOOK_S", 0.02)
    monkeypatch.setattr(sfu_directory, "REGISTER_S", 0.05)
    monkeypatch.setattr(sfu_link, "RETURN_S", 0.1)
    monkeypatch.setattr("metaport.redis_placements.RedisRegistry.__init__.__kwdefaults__",
                        {"lease_s": 0.5, "times": None})  # fmt: skip
    redis = RedisServer(tmp_path / "redis")
    redis.launch()
    wait_for(redis.answers, "redis")
    config = replace(config, redis=replace(config.redis, url=redis.url))
    there = replace(
        config,
        hub=replace(config.hub, name="m2"),
        media=replace(config.media, control=Endpoint("127.0.0.1", elsewhere.tcp_port)),
    )
    register_task = asyncio.create_task(keep_registered(there, sfu_process(there, 0)))
    media = relay()
    directory = SfuDirectory(config, media)
    await directory.start()
    follow_task = asyncio.create_task(directory.follow())
    await until(lambda: "m2/sfu" in media.links and media.links["m2/sfu"].connected)
    register_task.cancel()
    await asyncio.wait([register_task])
    await elsewhere.close()
    await until(lambda: "m2/sfu" not in media.links)
    redis.kill()
    follow_task.cancel()
    await asyncio.wait([follow_task])
    await media.close()
