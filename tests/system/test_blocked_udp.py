"""An office whose network swallows UDP: voice and video over the one TCP port."""

import asyncio
import contextlib
import re
import socket

import aiohttp
import pytest

from loadtest.launch import free_port, running
from tests.system.browser import Visitor

pytestmark = pytest.mark.system

SELECTED = """
async () => {
  const protocols = [];
  for (const connection of window.__connections) {
    const reports = await connection.getStats();
    for (const report of reports.values()) {
      if (report.type !== 'transport' || !report.selectedCandidatePairId) continue;
      const pair = reports.get(report.selectedCandidatePairId);
      protocols.push(reports.get(pair.remoteCandidateId).protocol);
    }
  }
  return protocols;
}
"""


@contextlib.asynccontextmanager
async def firewall(port, target):
    """Let TCP through to another port of this machine, and swallow UDP, as a router may."""

    async def carry(reader, writer):
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def accept(reader, writer):
        there, back = await asyncio.open_connection("127.0.0.1", target)
        await asyncio.gather(carry(reader, back), carry(there, writer))

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as black_hole:
        black_hole.bind(("127.0.0.1", port))
        server = await asyncio.start_server(accept, "127.0.0.1", port)
        try:
            yield
        finally:
            server.close()


async def test_people_see_and_hear_each_other_without_udp(folder, browser):
    port = free_port()
    advertised = {"METAPORT_MEDIA_ADVERTISE": f"127.0.0.1:{port}"}
    async with (
        running(folder / "data", environment=advertised) as server,
        firewall(port, server.media_port),
    ):
        visitors = [
            await Visitor.arrive(browser, server.url, name, "plaza") for name in ("one", "other")
        ]
        for visitor in visitors:
            await visitor.joined()
        await visitors[0].decodes({visitors[1].user})
        await visitors[1].decodes({visitors[0].user})
        for visitor in visitors:
            assert await visitor.page.evaluate(SELECTED) == ["tcp", "tcp"]
            assert not visitor.complaints
            await visitor.close()
        async with aiohttp.ClientSession() as http, http.get(f"{server.url}/metrics") as answer:
            [accepted] = re.findall(
                r'^metaport_sfu_tcp_accepted_total\{sfu="\S+"\} (\S+)$', await answer.text(), re.M
            )
        assert float(accepted) >= 4  # two connections of each
