"""Chromium to Chromium in each of four video codecs, chosen by the publisher."""

import asyncio
from pathlib import Path

from playwright.async_api import Browser

from loadtest.launch import running
from tests.system.browser import Visitor
from tests.system.statement import by_user, settled_report

# Seconds are metered: somebody must stay for some.
STAY_S = 4.0

CODECS = ("VP8", "H264", "VP9", "AV1")

# What a page that wants one codec does: offer only that.
ONLY = """
{
  const create = RTCPeerConnection.prototype.createOffer;
  RTCPeerConnection.prototype.createOffer = function (...args) {
    const wanted = RTCRtpSender.getCapabilities('video').codecs.filter(
      ({mimeType}) => ['video/CODEC', 'video/rtx'].includes(mimeType));
    for (const transceiver of this.getTransceivers()) {
      if (transceiver.sender.track?.kind === 'video') transceiver.setCodecPreferences(wanted);
    }
    return create.apply(this, args);
  };
}
"""

DECODED = """
async () => {
  const found = [];
  for (const connection of window.__connections) {
    const reports = await connection.getStats();
    for (const report of reports.values()) {
      if (report.type === 'inbound-rtp' && report.kind === 'video' && report.framesDecoded > 0) {
        found.push([reports.get(report.codecId).mimeType, report.frameWidth, report.frameHeight]);
      }
    }
  }
  return found;
}
"""


async def speak(browser: Browser, folder: Path, codec: str) -> str:
    """Let two people see each other in one codec; say what was seen and metered."""
    async with running(folder / f"data-{codec}") as server:
        script = ONLY.replace("CODEC", codec)
        people = [
            await Visitor.arrive(browser, server.url, name, codec, script=script)
            for name in ("one", "other")
        ]
        for person in people:
            await person.joined()
        await asyncio.gather(
            people[0].decodes({people[1].user}, 60), people[1].decodes({people[0].user}, 60)
        )
        await asyncio.sleep(STAY_S)
        seen = [await person.page.evaluate(DECODED) for person in people]
        assert [[mime for mime, *_ in each] for each in seen] == [[f"video/{codec}"]] * 2, seen
        sizes = {f"{width}x{height}" for each in seen for _, width, height in each}
        assert not any(person.complaints for person in people), people
        for person in people:
            await person.close()
        await settled_report(server)
        # Pictures are metered as video only where their size was read from a key frame.
        metered = [by_user(server)[person.user] for person in people]
        video = {m for each in metered for m, n in each.items() if m.startswith("video.") and n > 0}
        assert len(video) == 1, metered
        return f"decoded by both at {', '.join(sorted(sizes))}, metered as {', '.join(video)}"
