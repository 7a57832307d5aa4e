"""Round trip of a message, and deliveries per second of a big room."""

import asyncio
import secrets
import time

from loadtest.results import Figures
from loadtest.statistics import percentile
from loadtest.target import Target
from loadtest.websocket import Client, Frame, Member

ROUND_TRIPS = 2_000
WARM_UP = 200
MEMBERS = 1_000
WINDOWS = (8, 64)
BODY_BYTES = 120
FAN_OUT_S = 5.0
STALL_S = 20.0


async def measure(target: Target, figures: Figures) -> None:
    """Measure once: one repeat of every figure."""
    await round_trip(target, figures)
    for window in WINDOWS:
        await fan_out(target, figures, MEMBERS, window)


async def round_trip(target: Target, figures: Figures) -> None:
    """Send one message at a time; time its acknowledgement and its delivery to another person."""
    room = f"round-trip-{secrets.token_hex(4)}"
    sender = await Client.enter(target.url, (await target.token("sender"))[0])
    listener = await Client.enter(target.url, (await target.token("listener"))[0])
    arrived: asyncio.Queue[float] = asyncio.Queue()

    def heard(frame: Frame) -> None:
        if frame["t"] == "message":
            arrived.put_nowait(time.perf_counter())

    listener.on_frame = heard
    for client in (sender, listener):
        await client.request("join", room=room)
    acknowledged, delivered = [], []
    body = "x" * BODY_BYTES
    for _ in range(WARM_UP + ROUND_TRIPS):
        began = time.perf_counter()
        await sender.request("send", room=room, body=body)
        acknowledged.append((time.perf_counter() - began) * 1e3)
        delivered.append((await arrived.get() - began) * 1e3)
    for client in (sender, listener):
        client.close()
    axis = f"{BODY_BYTES} bytes, 2 members, one under way"
    for percent in (50, 99):
        figures.add(
            f"send → sent p{percent}", axis, "ms", percentile(acknowledged[WARM_UP:], percent)
        )
        figures.add(
            f"send → delivered p{percent}", axis, "ms", percentile(delivered[WARM_UP:], percent)
        )


class FanOut:
    """Keep a window of messages under way: the next leaves when all members got an older one."""

    def __init__(self, sender: Client, room: str, body: str, members: int, window: int) -> None:
        self._frame = {"t": "send", "room": room, "body": body}
        self._sender = sender
        self._members = members
        self._window = window
        self._sending = True
        self._finished = asyncio.Event()
        self.sent = 0
        self.delivered = 0

    def begin(self) -> None:
        """Send the first window."""
        self._fill()

    def took(self, count: int) -> None:
        """Count deliveries and let the next messages go."""
        self.delivered += count
        self._fill()
        if not self._sending and self.delivered >= self.sent * self._members:
            self._finished.set()

    async def finish(self) -> None:
        """Stop sending and wait until everything sent has reached everybody."""
        self._sending = False
        self.took(0)
        async with asyncio.timeout(STALL_S):
            await self._finished.wait()

    def _fill(self) -> None:
        while self._sending and self.sent - self.delivered // self._members < self._window:
            self.sent += 1
            self._sender.send({**self._frame, "id": self.sent})


async def fan_out(target: Target, figures: Figures, members: int, window: int) -> None:
    """Count how many deliveries per second one room of that many members takes."""
    room = f"fan-out-{secrets.token_hex(4)}"
    token, _ = await target.token("crowd")
    marker = secrets.token_hex(8)
    body = marker + "x" * (BODY_BYTES - len(marker))
    crowd = [await Member.enter(target.url, token) for _ in range(members)]
    sender = await Client.enter(target.url, token)
    await sender.request("join", room=room)  # a sender must be in the room; it is a member too
    fan = FanOut(sender, room, body, members, window)
    for member in crowd:
        await member.request("join", room=room)
        member.listen(marker.encode(), fan.took)
    cpu_before = target.cpu_seconds("hub")
    began = time.perf_counter()
    fan.begin()
    await asyncio.sleep(FAN_OUT_S)
    await fan.finish()
    seconds = time.perf_counter() - began
    cpu_after = target.cpu_seconds("hub")
    for client in (sender, *crowd):
        client.close()
    axis = f"{members} members, {BODY_BYTES} bytes, window {window}"
    figures.add("deliveries", axis, "1/s", fan.delivered / seconds)
    if cpu_before is not None and cpu_after is not None:
        used = cpu_after - cpu_before
        figures.add("hub CPU a delivery", axis, "µs", used / fan.delivered * 1e6)
