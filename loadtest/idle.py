"""Memory an idle connection costs the hub: the slope of its resident memory over connections."""

import asyncio
import resource
import secrets
import time

from loadtest.results import Figures
from loadtest.statistics import slope
from loadtest.target import Target
from loadtest.websocket import Client

STEPS = (500, 1_000, 2_000, 3_000)
ROOM_MEMBERS = 10
OPENING_AT_ONCE = 50
SETTLE_DEADLINE_S = 5.0
FILES_WANTED = 8_192


def raise_file_limit() -> None:
    """Allow as many open files as thousands of connections need, here and in children to come."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES_WANTED if hard == resource.RLIM_INFINITY else min(FILES_WANTED, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


async def measure(target: Target, figures: Figures) -> None:
    """Open more and more connections that say hello, join a small room, and then nothing."""
    token, _ = await target.token("idle")
    crowd = secrets.token_hex(4)
    clients: list[Client] = []
    points = []
    for step in STEPS:
        while len(clients) < step:
            number = min(OPENING_AT_ONCE, step - len(clients))
            rooms = [f"idle-{crowd}-{(len(clients) + n) // ROOM_MEMBERS}" for n in range(number)]
            clients += await asyncio.gather(*(_enter(target, token, room) for room in rooms))
        resident = await settled(target)
        if resident is None:
            break
        points.append((float(step), float(resident)))
    for client in clients:
        client.close()
    if points:
        axis = f"{STEPS[0]:,} to {STEPS[-1]:,} connections, rooms of {ROOM_MEMBERS}"
        figures.add("hub memory an idle connection", axis, "KiB", slope(points) / 1024)
        figures.add("hub memory", f"{STEPS[-1]:,} connections", "MiB", points[-1][1] / 2**20)


async def settled(target: Target) -> int | None:
    """Return the hub's resident bytes once two looks in a row agree within 64 KiB."""
    end = time.monotonic() + SETTLE_DEADLINE_S
    before = target.resident_bytes("hub")
    while time.monotonic() < end:
        await asyncio.sleep(0.5)
        now = target.resident_bytes("hub")
        if before is None or now is None or abs(now - before) < 1 << 16:
            return now
        before = now
    return before


async def _enter(target: Target, token: str, room: str) -> Client:
    client = await Client.enter(target.url, token)
    await client.request("join", room=room)
    return client
