"""Two SFU processes: rooms move from one to the other, by the operator's word or by `kill -9`."""

import asyncio
import itertools
import os
import re
import signal
import time

import aiohttp
import pytest

from loadtest import processes
from loadtest.launch import running
from tests.system.attendance import stays
from tests.system.browser import Visitor
from tests.system.deadline import BACK_S, contention, until
from tests.system.statement import by_user, participation, settled_report

pytestmark = pytest.mark.system

# What a person may miss while their room moves for an upgrade.
GAP_S = 2.0
# What a hung SFU may cost: it is asked each second, has 2 s to answer and one to come back; then
# people connect anew.
HUNG_S = 8.0

# When packets of a voice that the page plays, and pictures that it shows, came: in seconds.
LISTEN = """
() => {
  const heard = (window.__heard = {audio: [], video: []});
  const last = new WeakMap();
  const grew = (key, count) => {
    const before = last.get(key);
    last.set(key, count);
    return before === undefined ? count > 0 : count > before;
  };
  const receivers = () => window.__connections.flatMap((each) => each.getReceivers());
  const look = async () => {
    for (const voice of document.querySelectorAll('#voices audio')) {
      const track = voice.srcObject?.getAudioTracks()[0];
      const receiver = track && receivers().find((each) => each.track === track);
      if (!receiver) continue;
      for (const report of (await receiver.getStats()).values()) {
        if (report.type !== 'inbound-rtp') continue;
        if (grew(track, report.packetsReceived)) heard.audio.push(performance.now() / 1000);
      }
    }
    for (const picture of document.querySelectorAll('#tiles video')) {
      const frames = picture.getVideoPlaybackQuality().totalVideoFrames;
      if (grew(picture, frames)) heard.video.push(performance.now() / 1000);
    }
    setTimeout(look, 20);
  };
  look();
}
"""


async def sfu_of(server, people):
    """Return the number of the SFU process on which all the people are."""
    async with aiohttp.ClientSession() as http, http.get(f"{server.url}/metrics") as answer:
        text = await answer.text()
    found = re.findall(r'metaport_sfu_participants\{sfu="sfu-?(\d*)"\} (\S+)', text)
    here = [int(number or 0) for number, count in found if float(count) == people]
    return here[0] if len(here) == 1 and sum(float(c) for _, c in found) == people else None


async def settled_on(server, people, others=()):
    """Wait until all the people are on one SFU that is none of the others; return its number."""

    async def number():
        found = await sfu_of(server, people)
        return None if found in {None, *others} else [found]

    [found] = await until(number, 15, "everybody is on one SFU")
    return found


async def answering(server, count):
    """Tell whether so many SFUs answer the hub."""
    async with aiohttp.ClientSession() as http, http.get(f"{server.url}/metrics") as answer:
        text = await answer.text()
    return len(re.findall(r'^metaport_sfu_up\{sfu="[^"]*"\} 1\.0$', text, re.M)) == count


def pid_of(server, number):
    for pid, command in processes.children(server.pid).items():
        if " sfu" in command and (f"--process {number}" in command) is (number > 0):
            return pid
    return None


def longest_gap_s(moments):
    return max(b - a for a, b in itertools.pairwise(moments))


@pytest.mark.timeout(180)
async def test_a_room_goes_on_elsewhere_when_its_sfu_drains_and_when_it_dies(folder, browser):
    environment = {"METAPORT_MEDIA_PROCESSES": "2"}
    async with running(folder / "data", environment) as server:
        slowed = contention()
        people = [await Visitor.arrive(browser, server.url, f"visitor-{n}", "plaza") for n in "ab"]
        users = {(await v.joined())["t"] and v.user for v in people}
        first = await settled_on(server, 2)

        async def all_decode(deadline_s):
            await asyncio.gather(*(v.decodes(users - {v.user}, deadline_s) for v in people))

        # The operator empties it: everybody goes on elsewhere, and misses next to nothing.
        await all_decode(30)
        for visitor in people:
            await visitor.page.evaluate(LISTEN)
        await all_decode(30)
        told = await server.command("sfu", "drain", str(first), "--lang", "en")
        assert "is empty and admits nobody" in told
        second = await settled_on(server, 2, {first})
        await all_decode(30)
        gaps = []
        for visitor in people:
            assert not visitor.frames("media.closed")
            assert visitor.frames("media.released")
            heard = await visitor.page.evaluate("window.__heard")
            gaps += [longest_gap_s(heard["audio"]), longest_gap_s(heard["video"])]
        print("gaps of audio and video:", [f"{gap:.2f}" for gap in gaps])
        assert max(gaps) < GAP_S * slowed, gaps

        # It is restarted, and the other one hangs: the room goes on without it. What it would
        # have counted meanwhile, and when it wakes up, is counted where the people are.
        await server.command("sfu", "restart", str(first))
        assert await settled_on(server, 2) == second
        hung = pid_of(server, second)
        os.kill(hung, signal.SIGSTOP)
        try:
            hung_at = time.monotonic()
            assert await settled_on(server, 2, {second}) == first
            await all_decode(30)
            hung_s = time.monotonic() - hung_at
            print(f"a hung one was left after {hung_s:.2f} s")
            assert hung_s < HUNG_S * slowed
            # As long as it may be in which it would count twice: twice what is allowed below.
            await until(lambda: time.monotonic() > hung_at + 12, 30, "it hung for a while")
        finally:
            os.kill(hung, signal.SIGCONT)
        await until(lambda: answering(server, 2), 15, "it is awake")
        assert await settled_on(server, 2) == first

        # And the one they are on dies: the room is back on the other in time.
        os.kill(pid_of(server, first), signal.SIGKILL)
        killed_at = time.monotonic()
        await all_decode(30)
        away_s = time.monotonic() - killed_at
        print(f"away for {away_s:.2f} s")
        assert away_s < BACK_S * slowed
        away_s += hung_s
        for visitor in people:
            assert visitor.last("media.closed")["reason"] == "media_unavailable"
            assert not visitor.complaints, visitor.complaints
            await visitor.leave()
            await until(lambda v=visitor: v.frames("media.left"), 5, "the call is left")

        # Seconds are those of the people, over all their places; lost is what was since the last
        # checkpoint of the one that died, and the time away.
        await settled_report(server)
        ledger = by_user(server)
        for user in users:
            mine = [stay for stay in stays(people).values() if stay.user == user]
            spent = max(s.ended for s in mine if s.ended) - min(s.began for s in mine)
            assert spent - 5 - away_s - 1 <= participation(ledger[user]) <= spent + 2
