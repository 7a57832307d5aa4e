"""Ten thousand people: what they cost idle, what a way in costs, and how soon they are back.

`python -m loadtest.comeback [--people n] [--repeats n]`. The server has core 0, the client core 1.
1. Everyone shakes hands, says hello and joins a room of 50: CPU of the server for each, and what
   its resident memory grew by.
2. One message is said in each room, then the hub is killed.
3. Everyone comes back with `since`; the time runs from the kill until the last has recovered.
"""

import argparse
import asyncio
import os
import signal
import socket
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import uvloop

from loadtest import precedence
from loadtest.hall import ChatDoor, DoorError, Step, fill, packed, raise_file_limit
from loadtest.launch import Server, running
from loadtest.peers import SERVER_CORE, sign_in
from loadtest.processes import cpu_seconds, resident_bytes
from loadtest.race import CLIENT_CORE, OUT
from loadtest.results import Figures, Result, machine
from loadtest.websocket import Client

PEOPLE, EACH = 10_000, 50
BACK_DEADLINE_S = 120.0


class ReturningDoor(ChatDoor):
    """A way in for those who were there: they join with the place they had."""

    def __init__(self, port: int, tokens: Sequence[str], places: dict[str, dict[str, object]]):
        super().__init__(port, tokens)
        self._places = places

    def steps(self, person: int, room: str) -> Sequence[Step]:
        shake, hello, _ = super().steps(person, room)
        join = {"t": "join", "id": 1, "room": room, "since": self._places[room]}
        # Only a join that recovered is an answer.
        return shake, hello, Step(packed(join), b"\xa9recovered\xc3")


async def measure(figures: Figures, people: int) -> None:
    """Measure once, on a server of its own."""
    rooms = [f"hall-{number}" for number in range(people // EACH)]
    settings = {"METAPORT_PROFILE": "bench"}
    with tempfile.TemporaryDirectory(prefix="metaport-comeback-") as folder:
        async with running(Path(folder) / "data", settings, core=SERVER_CORE) as server:
            await _measure(server, figures, rooms, people)


async def _measure(server: Server, figures: Figures, rooms: list[str], people: int) -> None:
    tokens = await sign_in(server.url, people)
    hub = server.child("hub")
    assert hub is not None
    axis = f"{people:,} people in rooms of {EACH}"
    cpu, resident = cpu_seconds(hub), resident_bytes(hub)
    sockets = fill(ChatDoor(server.http_port, tokens), server.http_port, rooms, EACH)
    figures.add("CPU of a handshake with join", axis, "µs", (cpu_seconds(hub) - cpu) / people * 1e6)
    await asyncio.sleep(2.0)
    grown = (resident_bytes(hub) - resident) / people / 1024
    figures.add("memory of an idle connection", axis, "KiB", grown)
    places = {room: await _say(server.url, tokens[0], room) for room in rooms}
    began = time.perf_counter()
    os.kill(hub, signal.SIGKILL)
    for sock in sockets:
        sock.close()
    back = await _come_back(server, tokens, places, rooms)
    figures.add("from the kill until all recovered", axis, "s", time.perf_counter() - began)
    for sock in back:
        sock.close()


async def _say(url: str, token: str, room: str) -> dict[str, object]:
    """Say something in a room and return the place before it."""
    client = await Client.enter(url, token)
    joined = await client.request("join", room=room)
    await client.request("send", room=room, body="still there?")
    client.close()
    return {"epoch": joined["epoch"], "offset": joined["offset"]}


async def _come_back(
    server: Server,
    tokens: Sequence[str],
    places: dict[str, dict[str, object]],
    rooms: Sequence[str],
) -> list[socket.socket]:
    door = ReturningDoor(server.http_port, tokens, places)
    end = time.monotonic() + BACK_DEADLINE_S
    while True:
        try:
            return fill(door, server.http_port, rooms, EACH)
        except (DoorError, OSError) as error:
            # The first of them is the hub that is not up yet; any other costs all who were in.
            if not isinstance(error, ConnectionError):
                print(f"comeback: again, for {error}", flush=True)
            if time.monotonic() > end:
                raise
            await asyncio.sleep(0.05)  # the hub is not up yet


async def main_async(chosen: argparse.Namespace) -> None:
    """Measure and write the results."""
    figures, measured_on = Figures(), machine()
    os.sched_setaffinity(0, {CLIENT_CORE})
    for repeat in range(chosen.repeats):
        print(f"comeback: repeat {repeat + 1} of {chosen.repeats}", flush=True)
        await measure(figures, chosen.people)
    note = f"Server on core 0, client on core 1; load after {os.getloadavg()[0]:.2f}."
    command = f"python -m loadtest.comeback --people {chosen.people} --repeats {chosen.repeats}"
    result = Result("comeback", figures.all(), (note,), command, measured_on)
    result.write(chosen.out)
    print(result.as_markdown(), flush=True)


def main() -> None:
    """Measure what the arguments ask for."""
    parser = argparse.ArgumentParser(prog="loadtest.comeback", description=__doc__)
    parser.add_argument("--people", type=int, default=PEOPLE)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, default=OUT)
    raise_file_limit(65_536)
    with precedence.taken():
        uvloop.run(main_async(parser.parse_args()))


if __name__ == "__main__":
    main()
