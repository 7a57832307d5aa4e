"""The operator's commands on SFUs: what they say when they cannot be carried out, and wait for."""

import asyncio
from dataclasses import replace

import pytest

from metaport import sfu_commands
from metaport.cli import main
from metaport.config import Config
from metaport.sfu_commands import Operator, SfuCommandError
from metaport.sfu_process import sfu_process
from sfu.control import ControlServer


class Sfu:
    """An SFU with people who leave one by one, whenever somebody looks."""

    def __init__(self, people):
        self.people = people
        self.asked = []
        self.patient = False

    def receive_request(self, link, request):
        self.asked.append((request["op"], request.get("stop", False)))
        if request["op"] == "load":
            left = self.people
            self.people = left if self.patient else max(0, left - 1)
            return {"participants": left, "hubs": 1, "rooms": [], "packets": 0, "draining": True}
        return {}

    def link_lost(self, link):
        pass


@pytest.fixture
def config(tmp_path):
    base = Config()
    return replace(
        base,
        data=replace(base.data, dir=tmp_path),
        media=replace(base.media, processes=2),
    )


@pytest.fixture
async def served(config):
    sfu = Sfu(2)
    server = ControlServer(sfu_process(config, 1).control_path, sfu)
    await server.start()
    yield sfu
    await server.close()


async def test_draining_waits_until_everybody_has_moved(config, served, monkeypatch, capsys):
    monkeypatch.setattr(sfu_commands, "LOOK_S", 0.001)
    await Operator(config, "en", 10).drain(sfu_process(config, 1))
    assert served.asked == [("drain", False), *[("load", False)] * 3]
    assert capsys.readouterr().out.splitlines() == [
        "sfu-1 has 2 people to move",
        "sfu-1 has 1 people to move",
        "sfu-1 is empty and admits nobody",
    ]


async def test_people_who_do_not_move_in_time_are_told(config, served):
    served.patient = True
    with pytest.raises(SfuCommandError) as refusal:
        await Operator(config, "ko", 0.05).restart(sfu_process(config, 1))
    assert refusal.value.say.ko == "sfu-1: 0.05초 안에 2명이 남았습니다"
    assert ("drain", True) not in served.asked


async def test_a_restart_waits_for_the_next_life(config, served, monkeypatch):
    monkeypatch.setattr(sfu_commands, "RETURN_S", 0.1)
    with pytest.raises(SfuCommandError, match=r"did not answer for 0\.1 s"):
        await Operator(config, "en", 10).restart(sfu_process(config, 1))
    assert ("drain", True) in served.asked


async def test_an_sfu_that_is_away_is_told(config, monkeypatch, capsys):
    monkeypatch.setattr(sfu_commands, "CONNECT_S", 0.05)
    code = await asyncio.to_thread(sfu_commands.run, config, "ko", "drain", [0], 1.0)
    assert code == 1
    assert capsys.readouterr().err == "metaport: sfu: 0.05초 동안 응답이 없습니다\n"


def test_an_unknown_number_is_told(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("METAPORT_DATA_DIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert main(["sfu", "drain", "7", "--lang", "en"]) == 2
    assert capsys.readouterr().err == "metaport: 7 is no SFU of this machine (0–0)\n"
