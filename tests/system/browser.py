"""A person at the demo page: a real Chromium with fake microphone and camera, seen from outside.

The page's own surface is used as a person would use it. What is decoded is read from every
RTCPeerConnection the page makes, what is said from its WebSocket frames.
"""

import asyncio
import json
import os
import shutil
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import pytest
from playwright.async_api import Browser, BrowserContext, Page, async_playwright

from tests.system.deadline import until

Frame = dict[str, Any]

TEXT = 1  # opcode, RFC 6455

NAMES = ("chromium", "chromium-browser", "google-chrome")
MAC = (
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
)
FLAGS = [
    "--no-sandbox",  # Chromium refuses to run as root with it
    "--use-fake-device-for-media-stream=fps=15",
    "--use-fake-ui-for-media-stream",
    "--autoplay-policy=no-user-gesture-required",
    "--disable-background-networking",
    "--disable-dev-shm-usage",  # containers have 64 MB there
    "--disable-gpu",
    "--mute-audio",
]

# Remembers every connection the page makes; the page does not notice.
REMEMBER_CONNECTIONS = """
window.__connections = [];
window.RTCPeerConnection = new Proxy(window.RTCPeerConnection, {
  construct(target, args) {
    const connection = new target(...args);
    window.__connections.push(connection);
    return connection;
  },
});
"""

INBOUND = """
async () => {
  const found = [];
  for (const connection of window.__connections) {
    if (connection.connectionState === 'closed') continue;
    for (const report of (await connection.getStats()).values()) {
      if (report.type !== 'inbound-rtp') continue;
      found.push({
        mid: report.mid, kind: report.kind, ssrc: report.ssrc, packets: report.packetsReceived,
        frames: report.framesDecoded ?? 0, energy: report.totalAudioEnergy ?? 0,
        width: report.frameWidth ?? 0, height: report.frameHeight ?? 0,
      });
    }
  }
  return found;
}
"""


def chromium() -> str:
    """Return the path of the system's Chromium; without one the test fails, naming it."""
    named = os.environ.get("CHROMIUM")
    found = named or next(filter(None, map(shutil.which, NAMES)), None)
    found = found or next(filter(os.path.exists, MAC), None)
    if found is None:
        pytest.fail("Chromium is missing: run `make servers`, or set CHROMIUM to its path")
    return found


@asynccontextmanager
async def launched(*flags: str) -> AsyncIterator[Browser]:
    """Run a Chromium for the length of a block."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=chromium(), args=[*FLAGS, *flags], chromium_sandbox=False
        )
        try:
            yield browser
        finally:
            await browser.close()


@dataclass
class Stream:
    """One received media stream as the browser decodes it, and whose it is."""

    user: str
    source: str
    kind: str
    frames: int
    energy: float
    size: tuple[int, int]


@dataclass
class Heard:
    """A frame on the page's chat connection and when it passed (seconds since the epoch)."""

    at: float
    frame: Frame


@dataclass
class Visitor:
    """One page in a browser context of its own."""

    name: str
    context: BrowserContext
    page: Page
    received: list[Heard] = field(default_factory=list)
    sent: list[Heard] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    @classmethod
    async def arrive(
        cls,
        browser: Browser,
        url: str,
        name: str,
        room: str,
        *,
        media: bool = True,
        script: str = "",
        **options: Any,
    ) -> "Visitor":
        """Open the demo page and join a room by its query, with camera and microphone.

        `script` runs in the page before anything of its own.
        """
        context = await browser.new_context(**options)
        await context.add_init_script(REMEMBER_CONNECTIONS + script)
        page = await context.new_page()
        visitor = cls(name, context, page)
        await visitor._watch()
        page.on("pageerror", lambda error: visitor.complaints.append(f"exception: {error}"))
        page.on(
            "console",
            lambda message: (
                visitor.complaints.append(f"console: {message.text}")
                if message.type == "error"
                else None
            ),
        )
        query = {"name": name, "room": room, "join": 1}
        if media:
            query |= {"camera": 1, "microphone": 1}
        await page.goto(f"{url}/?{urlencode(query)}")
        return visitor

    @property
    def user(self) -> str:
        """Return the user id the server gave in its last welcome."""
        return str(self.last("welcome")["user"]["id"])

    def frames(self, t: str) -> list[Frame]:
        """Return the received frames of one type."""
        return [heard.frame for heard in self.received if heard.frame.get("t") == t]

    def last(self, t: str) -> Frame:
        """Return the newest received frame of one type."""
        return self.frames(t)[-1]

    @property
    def messages(self) -> list[Frame]:
        """Return the live messages received so far, over all connections."""
        return self.frames("message")

    async def joined(self, deadline_s: float = 15.0) -> Frame:
        """Wait until the room is joined and return the `joined` frame."""
        await until(lambda: self.frames("joined"), deadline_s, lambda: f"{self.name} joins: {self}")
        return self.last("joined")

    async def streams(self) -> list[Stream]:
        """Return what is being received, by whom it is sent."""
        tracks = self._tracks()
        reports = await self.page.evaluate(INBOUND)
        return [
            Stream(
                tracks[report["mid"]]["user"],
                tracks[report["mid"]]["source"],
                report["kind"],
                report["frames"],
                report["energy"],
                (report["width"], report["height"]),
            )
            for report in reports
            if report["mid"] in tracks
        ]

    async def decodes(self, users: set[str], deadline_s: float = 30.0) -> None:
        """Wait until more pictures are decoded and more sound is heard from each of these people.

        More than at the call: what was received before proves nothing.
        """
        before = {(s.user, s.kind): s for s in await self.streams()}
        progress: dict[tuple[str, str], tuple[int, float]] = {}

        async def all_grow() -> bool:
            growing = set()
            for stream in await self.streams():
                key = (stream.user, stream.kind)
                frames, energy = (
                    (before[key].frames, before[key].energy) if key in before else (0, 0.0)
                )
                if stream.frames < frames or stream.energy < energy:
                    frames, energy = 0, 0.0  # a new connection counts from zero again
                progress[key] = (stream.frames - frames, stream.energy - energy)
                if stream.kind == "video" and stream.frames >= frames + 5:
                    growing.add(key)
                if stream.kind == "audio" and stream.energy > energy:
                    growing.add(key)
            return growing >= {(user, kind) for user in users for kind in ("audio", "video")}

        await until(
            all_grow,
            deadline_s,
            lambda: f"{self.name} decodes {users}; grew {progress}; {self.complaints}",
        )

    async def say(self, text: str) -> None:
        """Type a text and send it with Enter."""
        await self.page.fill("#body", text)
        await self.page.press("#body", "Enter")

    async def shown(self) -> list[str]:
        """Return the texts of the conversation as the page shows them."""
        return await self.page.locator("#messages li .text").all_inner_texts()

    async def leave(self) -> None:
        """Press the button that leaves the room."""
        await self.page.click("#leave")

    async def close(self) -> None:
        """Close the page as a person closes a tab."""
        await self.context.close()

    def _tracks(self) -> dict[str, Frame]:
        """Return whose track each subscribed m-line carries, by the last offer."""
        offers = self.frames("media.offer")
        return {track["mid"]: track for track in offers[-1]["tracks"]} if offers else {}

    async def _watch(self) -> None:
        """Follow the page's WebSockets by the browser's own clock.

        Playwright's events tell no time, and arrive late when the machine is busy.
        """
        session = await self.context.new_cdp_session(self.page)
        session.on("Network.webSocketFrameReceived", lambda e: self._hear(self.received, e))
        session.on("Network.webSocketFrameSent", lambda e: self._hear(self.sent, e))
        await session.send("Network.enable")

    def _hear(self, heap: list[Heard], event: dict[str, Any]) -> None:
        if event["response"]["opcode"] == TEXT:
            # Chromium's timestamps are of the system's monotonic clock.
            at = event["timestamp"] - time.monotonic() + time.time()
            heap.append(Heard(at, json.loads(event["response"]["payloadData"])))


async def crash(visitor: Visitor) -> None:
    """Kill the process behind a page: no script of it runs any more, nothing says goodbye."""
    session = await visitor.context.new_cdp_session(visitor.page)
    crashed = asyncio.get_running_loop().create_future()
    visitor.page.once("crash", lambda _: crashed.set_result(None))
    command = asyncio.ensure_future(session.send("Page.crash"))
    async with asyncio.timeout(10):
        await crashed
    command.cancel()  # it has no answer: who should give it?
    await asyncio.gather(command, return_exceptions=True)
