"""Media over IPv6 on the chat connection, through a change of network: nobody is missed."""

import asyncio
import json

import pytest

from loadtest.launch import running
from tests.system.browser import Visitor, launched
from tests.system.deadline import until

pytestmark = pytest.mark.system

# Of each connection: the address of the server, and our name for this ICE session.
WAYS = """
() => Promise.all(window.__connections.map(async (connection) => {
  const reports = await connection.getStats();
  const ufrag = connection.localDescription?.sdp.match(/^a=ice-ufrag:(.*)$/m)?.[1];
  for (const report of reports.values()) {
    if (report.type !== 'transport' || !report.selectedCandidatePairId) continue;
    const remote = reports.get(reports.get(report.selectedCandidatePairId).remoteCandidateId);
    return {address: remote.address, protocol: remote.protocol, ufrag,
            state: connection.connectionState};
  }
  return {ufrag};
}))
"""


async def test_ice_restarts_over_ipv6_and_nobody_is_missed(folder):
    environment = {"METAPORT_MEDIA_HOST": "::1", "METAPORT_MEDIA_ADVERTISE": "::1"}
    async with (
        # Where a machine has no other IPv6 than this.
        launched("--allow-loopback-in-peer-connection") as browser,
        running(folder / "data", environment=environment) as server,
    ):
        people = [await Visitor.arrive(browser, server.url, name, "plaza") for name in "ab"]
        for visitor in people:
            await visitor.joined()
        users = {visitor.user for visitor in people}

        async def all_decode():
            await asyncio.gather(*(v.decodes(users - {v.user}) for v in people))

        await all_decode()
        before = {visitor.name: await visitor.page.evaluate(WAYS) for visitor in people}
        for ways in before.values():
            assert [(way["address"], way["protocol"]) for way in ways] == [("::1", "udp")] * 2

        # What they receive is numbered by transport, and they tell of it.
        top = json.loads(await server.command("sfu", "top", "--once", "--json"))
        losses = [
            participant["receiving"]["path_loss"]
            for sfu in top
            for room in sfu["rooms"]
            for participant in room["participants"]
        ]
        assert len(losses) == 2
        assert all(0 <= loss < 0.5 for loss in losses), losses

        for visitor in people:
            await visitor.page.evaluate("window.dispatchEvent(new Event('online'))")

            async def restarted(visitor=visitor):
                ways = await visitor.page.evaluate(WAYS)
                old = {way["ufrag"] for way in before[visitor.name]}
                return all(w["ufrag"] not in old and w.get("state") == "connected" for w in ways)

            await until(restarted, 20, f"both connections of {visitor.name} have restarted")
        await all_decode()
        for visitor in people:
            ways = await visitor.page.evaluate(WAYS)
            assert [way["address"] for way in ways] == ["::1"] * 2
            # The same place in the room, and the same two connections.
            assert len(visitor.frames("media.joined")) == 1
            assert not visitor.frames("media.closed")
            assert not visitor.complaints
