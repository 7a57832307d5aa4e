"""What a person sees and hears over a lossy link: Chromium to Chromium, ours and Janus beside it.

Both people are behind the same relay: it loses datagrams of every kind in each of the four
directions, and holds the rest for a quarter of the round trip in each.
"""

import asyncio
import re
import secrets
import tempfile
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from loadtest import janus
from loadtest.browser import Caller, chromium
from loadtest.launch import running
from loadtest.relay import Relay
from loadtest.results import Figures
from loadtest.target import Target

LOSSES = (0.02, 0.05, 0.10)
ROUND_TRIP_S = 0.020
SETTLE_S = 4.0
RUN_S = 30.0
CONNECT_DEADLINE_S = 30.0
SAMPLE_RATE = 48_000

Connect = Callable[[Caller, Caller], Awaitable[None]]

_CANDIDATE = re.compile(r"^(a=candidate:\S+ \d+ udp \d+ )(\S+) (\d+)( typ host.*)$", re.M | re.I)


async def through(relay: Relay, sdp: str) -> str:
    """Put the relay's ports in place of the server's, and leave no other way."""
    kept: list[str] = []
    for line in sdp.splitlines():
        found = _CANDIDATE.match(line)
        if found is not None and ":" not in found[2]:  # the relay speaks IPv4
            port = await relay.door((found[2], int(found[3])))
            kept.append(f"{found[1]}127.0.0.1 {port}{found[4]}")
        elif not line.startswith("a=candidate:"):
            kept.append(line)
    return "\r\n".join(kept) + "\r\n"


def hidden(sdp: str) -> str:
    """Name no way to the client but one that leads nowhere: what works must be found by checks."""
    nowhere = "a=candidate:1 1 udp 2130706431 127.0.0.1 9 typ host"
    return re.sub(r"^a=candidate:.*$", nowhere, sdp, flags=re.M)


def over_whip(target: Target, relay: Relay) -> Connect:
    """Connect by WHIP and WHEP."""

    async def connect(sender: Caller, receiver: Caller) -> None:
        room = f"loss-{secrets.token_hex(4)}"
        for caller, way in ((sender, "whip"), (receiver, "whep")):
            token, _ = await target.token(way)
            sdp = await caller.offer(sending=caller is sender)
            url = f"{target.url}/{way}/{room}"
            answer = await asyncio.to_thread(_post, url, token, sdp)
            await caller.accept(await through(relay, answer))
            if caller is sender:
                await _flowing(sender, "outbound-rtp", "packetsSent")

    return connect


def over_janus(server: janus.Janus, relay: Relay) -> Connect:
    """Connect by the videoroom plugin."""

    async def connect(sender: Caller, receiver: Caller) -> None:
        await asyncio.to_thread(server.open_room)
        offer = hidden(await sender.offer(sending=True))
        answer, feed = await asyncio.to_thread(server.negotiate_publishing, offer)
        await sender.accept(await through(relay, answer))
        await _flowing(sender, "outbound-rtp", "packetsSent")
        offer, handle = await asyncio.to_thread(server.offer_of, feed)
        answer = hidden(await receiver.answer(await through(relay, offer)))
        await asyncio.to_thread(server.accept, handle, answer)

    return connect


async def measure_call(
    sender: Caller, receiver: Caller, relay: Relay, *, loss: float, name: str, figures: Figures
) -> None:
    """Add one repeat of what half a minute with that loss is like."""
    relay.loss = loss
    await asyncio.sleep(SETTLE_S / 2)
    before = await receiver.reports("inbound-rtp")
    await receiver.watch("inbound-rtp", "framesDecoded")
    await sender.watch("outbound-rtp", "framesEncoded")
    await asyncio.sleep(RUN_S)
    after = await receiver.reports("inbound-rtp")
    gap_ms, encoder_gap_ms = await receiver.gap_ms(), await sender.gap_ms()
    sent = (await sender.reports("outbound-rtp"))["video"]
    relay.loss = 0.0

    def grown(kind: str, counter: str) -> float:
        return float(after[kind].get(counter, 0) - before[kind].get(counter, 0))

    axis = f"{loss:.0%} each way, {ROUND_TRIP_S * 1e3:.0f} ms, {name}"
    samples = grown("audio", "totalSamplesReceived")
    figures.add("longest time without a new picture", axis, "ms", gap_ms)
    figures.add("longest time without one encoded", axis, "ms", encoder_gap_ms)
    figures.add("pictures", axis, "a second", grown("video", "framesDecoded") / RUN_S)
    figures.add("frozen", axis, "s", grown("video", "totalFreezesDuration"))
    figures.add("audio concealed", axis, "%", grown("audio", "concealedSamples") / samples * 100)
    figures.add("key frames", axis, "", grown("video", "keyFramesDecoded"))
    figures.add("NACKs of the receiver", axis, "", grown("video", "nackCount"))
    figures.add("bitrate aimed at", axis, "kbit/s", float(sent.get("targetBitrate", 0)) / 1e3)


async def measure(repeats: int, losses: tuple[float, ...], figures: Figures) -> None:
    """Measure each loss, each server in turn."""
    async with _servers() as connections, chromium() as browser:
        for repeat in range(repeats):
            for loss in losses:
                for name, (url, connect, relay) in connections.items():
                    print(f"repeat {repeat + 1}: {loss:.0%}, {name}", flush=True)
                    sender = await Caller.arrive(browser, url)
                    receiver = await Caller.arrive(browser, url)
                    relay.loss = 0.0
                    await connect(sender, receiver)
                    await _flowing(receiver, "inbound-rtp", "framesDecoded")
                    await asyncio.sleep(SETTLE_S)
                    await measure_call(
                        sender, receiver, relay, loss=loss, name=name, figures=figures
                    )
                    await sender.leave()
                    await receiver.leave()


@asynccontextmanager
async def _servers() -> AsyncIterator[dict[str, tuple[str, Connect, Relay]]]:
    """Run ours, and Janus where it is installed, each behind a relay with the same seed."""
    with tempfile.TemporaryDirectory(prefix="metaport-load-") as folder:
        environment = {"METAPORT_PROFILE": "bench", "METAPORT_MEDIA_HOST": "127.0.0.1"}
        async with running(Path(folder) / "data", environment) as server:
            target = Target(server.url, server)
            page = f"{server.url}/healthz"
            ours = _relay()
            connections = {"Metaport": (page, over_whip(target, ours), ours)}
            try:
                if not janus.available():
                    yield connections
                    return
                with janus.running("127.0.0.1") as peer:
                    theirs = _relay()
                    connections[f"Janus {janus.version()}"] = (
                        page,
                        over_janus(peer, theirs),
                        theirs,
                    )
                    yield connections
                    theirs.close()
            finally:
                ours.close()


def _relay() -> Relay:
    relay = Relay(seed=1)
    relay.delay_s = ROUND_TRIP_S / 2
    return relay


async def _flowing(caller: Caller, kind: str, counter: str) -> None:
    """Wait until video flows."""
    async with asyncio.timeout(CONNECT_DEADLINE_S):
        while not (await caller.reports(kind)).get("video", {}).get(counter):  # noqa: ASYNC110
            await asyncio.sleep(0.1)


def _post(url: str, token: str, sdp: str) -> str:
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/sdp"}
    request = urllib.request.Request(url, data=sdp.encode(), headers=headers)
    with urllib.request.urlopen(request, timeout=15) as answer:
        return str(answer.read().decode())
