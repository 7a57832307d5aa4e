"""One room of Chromium, Firefox, aiortc (WHIP and WHEP) and GStreamer: all decode all others."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlencode

from loadtest.launch import running
from tests.interop.firefox import firefox
from tests.system.browser import Visitor, launched
from tests.system.chat import guest
from tests.system.deadline import until
from tests.system.peer import Peer, Picture, Tone

ROOM = "plaza"
CLIENT = Path(__file__).with_name("gstreamer_whip.py")
# GStreamer's bindings are of the system's Python, not of this environment.
PYTHON = "/usr/bin/python3"


@asynccontextmanager
async def gstreamer(url: str, token: str, said: Path) -> AsyncIterator[None]:
    """Publish a tone and a ball by GStreamer's webrtcbin for the length of a block."""
    with said.open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *(PYTHON, CLIENT, f"{url}/whip/{ROOM}", token), stdout=log, stderr=log
        )
    try:
        yield
    finally:
        if process.returncode is not None:
            raise RuntimeError(f"GStreamer ended: {_end_of(said)}")
        process.kill()
        await process.wait()


def _end_of(log: Path) -> str:
    return log.read_text(errors="replace")[-2000:]


async def meet(folder: Path) -> str:
    """Hold the meeting; say what each saw and heard."""
    # Firefox takes no loopback candidates: all of the machine's addresses, as by default.
    everywhere = {"METAPORT_MEDIA_ADVERTISE": ""}
    async with (
        running(folder / "data", environment=everywhere) as server,
        launched() as browser,
    ):
        accounts = {name: await guest(server.url, name) for name in ("aiortc", "gst", "viewer")}
        query = {"name": "firefox", "room": ROOM, "join": 1, "camera": 1, "microphone": 1}
        async with (
            Peer(server.url, accounts["aiortc"].token) as encoder,
            Peer(server.url, accounts["viewer"].token) as viewer,
            gstreamer(server.url, accounts["gst"].token, folder / "gstreamer.log"),
            firefox(f"{server.url}/?{urlencode(query)}") as fox,
        ):
            await encoder.publish(f"/whip/{ROOM}", Tone(), Picture())
            chromium = await Visitor.arrive(browser, server.url, "chromium", ROOM)
            await chromium.joined()
            tracks: list[tuple[str, str]] = []

            def everybody() -> bool:
                offers = chromium.frames("media.offer")
                tracks[:] = [(t["name"], t["user"]) for t in offers[-1]["tracks"]] if offers else []
                return len(tracks) == 6

            await until(everybody, 60, lambda: f"three others publish: {tracks}")
            await asyncio.gather(
                chromium.decodes({user for _, user in tracks}, 60),
                fox.decodes({"audio": 3, "video": 3}),
            )
            # A player that asks last finds all four of them.
            await viewer.subscribe(f"/whep/{ROOM}", *["audio", "video"] * 4)
            before = [(r.frames, r.energy) for r in viewer.received]
            await until(
                lambda: all(
                    r.frames >= frames + 5 and (r.kind == "video" or r.energy > energy)
                    for r, (frames, energy) in zip(viewer.received, before, strict=True)
                ),
                60,
                lambda: f"aiortc decodes all: {viewer.received}",
            )
            sizes = sorted(size for r in viewer.received for size in r.sizes)
            assert not chromium.complaints, chromium.complaints
            await chromium.close()
            await viewer.close()
            await encoder.close()
    names = ", ".join(sorted({name for name, _ in tracks} | {"chromium"}))
    return f"{names} publish; Chromium and Firefox decode 3 others, aiortc all 4 ({sizes})"
