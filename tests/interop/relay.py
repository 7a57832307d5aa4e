"""Chromium with `iceTransportPolicy: relay`: all media through a real coturn."""

import asyncio
from pathlib import Path

from loadtest.launch import running
from tests.system.browser import Visitor, launched
from tests.system.turn_server import SECRET, turn_server

TRANSPORTS = ("udp", "tcp", "tls")

RELAY = """
{
  const Original = window.RTCPeerConnection;
  window.RTCPeerConnection = new Proxy(Original, {
    construct: (target, [configuration, ...rest]) => new target(
      {...configuration, iceTransportPolicy: 'relay'}, ...rest),
  });
}
"""

SELECTED = """
async () => {
  const found = [];
  for (const connection of window.__connections) {
    const reports = await connection.getStats();
    for (const report of reports.values()) {
      if (report.type !== 'transport' || !report.selectedCandidatePairId) continue;
      const pair = reports.get(report.selectedCandidatePairId);
      const local = reports.get(pair.localCandidateId);
      found.push([local.candidateType, local.relayProtocol]);
    }
  }
  return found;
}
"""


async def speak(folder: Path, over: str) -> str:
    """Let two people talk whose only way is the relay; say which way it was."""
    with turn_server(folder / "turn") as relay:
        environment = {
            "METAPORT_TURN_URLS": relay.urls[over],
            "METAPORT_TURN_SECRET": SECRET,
        }
        # The relay's certificate is nobody's.
        async with (
            running(folder / "data", environment=environment) as server,
            launched("--ignore-certificate-errors") as browser,
        ):
            people = [
                await Visitor.arrive(browser, server.url, name, "plaza", script=RELAY)
                for name in ("one", "other")
            ]
            for person in people:
                await person.joined()
            await asyncio.gather(
                people[0].decodes({people[1].user}, 60), people[1].decodes({people[0].user}, 60)
            )
            ways = [tuple(way) for p in people for way in await p.page.evaluate(SELECTED)]
            assert ways == [("relay", over)] * 4, ways
            assert not any(person.complaints for person in people), people
            for person in people:
                await person.close()
    return f"all four connections over a relay reached by {over}"
