"""The SFU process: what its log says it knows."""

import asyncio
import time
from dataclasses import replace

from metaport.config import Config
from metaport.log import read
from metaport.media_process import run_sfu
from metaport.usage_log import usage_of
from sfu.control import ControlClient


def configured(directory):
    base = Config()
    return replace(
        base,
        media=replace(base.media, host="127.0.0.1", port=0),
        data=replace(base.data, dir=directory),
        drain_s=1.0,
    )


async def join(control, name):
    relay = {"session": f"s-{name}", "user": name, "name": name, "room": "lobby"}
    frame = {"t": "media.join", "room": "lobby"}
    await control.request({"op": "frame", **relay, "may_publish": True, "frame": frame})


async def test_figures_are_known_up_to_the_last_second_once_everybody_left(tmp_path):
    """A record of an SFU always said 5 s less than the present, whatever was told."""
    config = configured(tmp_path)
    stop = asyncio.Event()
    control = ControlClient(config.control_path)
    await control.start()
    async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        tasks.create_task(run_sfu(config, stop))
        await control.wait_connected()
        await join(control, "visitor")
        before_s = int(time.time())
        stop.set()
    await control.close()
    records = [record for _, record in read(config.sfu_log)]
    at_s, _ = usage_of(records[-1])
    assert at_s >= before_s
