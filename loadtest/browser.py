"""A Chromium that publishes or receives one microphone and one camera, and tells how it went."""

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from playwright.async_api import Browser, Page, async_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = [
    "--no-sandbox",  # Chromium refuses to run as root with it
    "--use-fake-device-for-media-stream=fps=30",
    "--use-fake-ui-for-media-stream",
    "--autoplay-policy=no-user-gesture-required",
    "--disable-background-networking",
    "--disable-background-timer-throttling",
    "--disable-renderer-backgrounding",
    "--disable-dev-shm-usage",  # containers have 64 MB there
    "--disable-gpu",
    "--mute-audio",
]

CALLER = r"""
const gathered = (pc) => new Promise((resolve) => {
  if (pc.iceGatheringState === 'complete') return resolve();
  pc.addEventListener('icegatheringstatechange', () => {
    if (pc.iceGatheringState === 'complete') resolve();
  });
});
const make = () => {
  window.pc = new RTCPeerConnection({bundlePolicy: 'max-bundle'});
  pc.ontrack = ({track}) => {
    const player = document.createElement(track.kind);
    player.autoplay = true;
    player.srcObject = new MediaStream([track]);
    document.body.append(player);
  };
};
// As our SDK does: sound is asked for again where a description says so.
const repaired = (sdp) => sdp.replace(
  /^a=rtpmap:(\d+) opus\/48000\/2\r\n/gim, (line, type) => `${line}a=rtcp-fb:${type} nack\r\n`);
const described = async () => {
  const made = pc.remoteDescription ? await pc.createAnswer() : await pc.createOffer();
  await pc.setLocalDescription({type: made.type, sdp: repaired(made.sdp)});
  await gathered(pc);
  return pc.localDescription.sdp;
};
window.offerToSend = async () => {
  make();
  const stream = await navigator.mediaDevices.getUserMedia({
    audio: true, video: {width: 640, height: 480, frameRate: 30},
  });
  for (const track of stream.getTracks()) pc.addTrack(track, stream);
  return described();
};
window.offerToReceive = async () => {
  make();
  for (const kind of ['audio', 'video']) pc.addTransceiver(kind, {direction: 'recvonly'});
  return described();
};
window.accept = (sdp) => pc.setRemoteDescription({type: 'answer', sdp});
window.answer = async (sdp) => {
  make();
  await pc.setRemoteDescription({type: 'offer', sdp});
  return described();
};
window.reports = async (type) => {
  const found = {};
  for (const report of (await pc.getStats()).values()) {
    if (report.type === type) found[report.kind] = report;
  }
  return found;
};
// How long the frame counter stood still at most, looking every 20 ms.
window.watch = (type, counter) => {
  window.gap = 0;
  let last = -1, since = performance.now();
  const look = async () => {
    const now = performance.now();
    const frames = (await reports(type)).video?.[counter] ?? 0;
    if (frames !== last) { last = frames; since = now; }
    window.gap = Math.max(window.gap, now - since);
    window.watching = setTimeout(look, 20);
  };
  clearTimeout(window.watching);
  look();
};
"""


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """Run the system's Chromium for the length of a block.

    Raises:
        FileNotFoundError: there is none.
    """
    path = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        raise FileNotFoundError("no Chromium on PATH; CHROMIUM may name one")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=path, args=FLAGS, chromium_sandbox=False
        )
        try:
            yield browser
        finally:
            await browser.close()


class Caller:
    """One page with one connection."""

    def __init__(self, page: Page) -> None:
        self._page = page

    @classmethod
    async def arrive(cls, browser: Browser, url: str) -> "Caller":
        """Open a page of a secure origin, which has a microphone and a camera."""
        context = await browser.new_context(permissions=["microphone", "camera"])
        page = await context.new_page()
        await page.goto(url)
        await page.evaluate(CALLER)
        return cls(page)

    async def leave(self) -> None:
        """Close the page and all it had."""
        await self._page.context.close()

    async def offer(self, *, sending: bool) -> str:
        """Return an offer with candidates."""
        name = "offerToSend" if sending else "offerToReceive"
        return str(await self._page.evaluate(f"{name}()"))

    async def accept(self, sdp: str) -> None:
        """Take the answer."""
        await self._page.evaluate("sdp => accept(sdp)", sdp)

    async def answer(self, sdp: str) -> str:
        """Return an answer with candidates."""
        return str(await self._page.evaluate("sdp => answer(sdp)", sdp))

    async def reports(self, kind: str) -> dict[str, dict[str, Any]]:
        """Return the statistics of a type, by `audio` and `video`."""
        found: dict[str, dict[str, Any]] = await self._page.evaluate("k => reports(k)", kind)
        return found

    async def watch(self, kind: str, counter: str) -> None:
        """Begin to measure how long a counter of video frames stands still."""
        await self._page.evaluate("([k, c]) => watch(k, c)", [kind, counter])

    async def gap_ms(self) -> float:
        """Return the longest standstill since `watch`."""
        return float(await self._page.evaluate("gap"))
