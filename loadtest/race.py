"""Fan-out side by side: `python -m loadtest.race [scenario …] [--repeats n] [--peers name …]`.

The server has one core and the client the other. Repeats go round by round: in each every peer
runs once, in an order that turns, so that what else the machine does falls on all of them. What
was measured before and not now is kept in `race.json`; the table and the plots show everything.
"""

import argparse
import asyncio
import json
import os
import time
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import uvloop

from loadtest import audience, precedence, race_report
from loadtest.hall import fill, raise_file_limit, read_away
from loadtest.peers import Peer, available
from loadtest.results import machine
from loadtest.wire_count import Run, StalledError

CLIENT_CORE = 1
BODY_BYTES = 120
WARM_UP_S, SECONDS = 1.0, 3.0
OUT = Path("loadtest/results")
FOLDER = Path("build/peers")
# What says something for a room of any kind; `ws` and Socket.IO are an order of magnitude behind.
RIVALS = ("metaport", "nats-server", "uWebSockets.js")


class Scenario(NamedTuple):
    """Rooms of people, and how much is under way in each room."""

    rooms: int
    people: int
    window: int
    axis: str

    @property
    def speakers(self) -> int:
        """Return how many of a room talk in turn: in a small room everybody."""
        return self.people if self.window == 1 else 1


SCENARIOS = {
    "100x8": Scenario(1, 100, 8, "room of 100, 8 under way"),
    "100x64": Scenario(1, 100, 64, "room of 100, 64 under way"),
    "1000x8": Scenario(1, 1_000, 8, "room of 1,000, 8 under way"),
    "1000x64": Scenario(1, 1_000, 64, "room of 1,000, 64 under way"),
    "180": Scenario(180, 5, 1, "180 rooms of 5, 1 under way in each"),
    "2000": Scenario(2_000, 5, 1, "2,000 rooms of 5, 1 under way in each"),
}


async def run_once(peer: Peer, scenario: Scenario) -> dict[str, float]:
    """Start a fresh server, fill its rooms, and return the figures of one repeat."""
    rooms = [f"room-{number}" for number in range(scenario.rooms)]
    people = scenario.rooms * scenario.people
    async with peer.running(people) as stand:
        sockets = fill(stand.door, stand.port, rooms, scenario.people)
        try:
            await asyncio.sleep(0.3)  # what joins cause besides answers
            read_away(sockets)
            body = "x" * BODY_BYTES
            members = [
                list(range(start, start + scenario.people))
                for start in range(0, people, scenario.people)
            ]
            frames = [stand.door.say(room, body) for room in rooms for _ in range(scenario.people)]
            hall = audience.Audience(stand.door.wire, sockets, members, frames, scenario.speakers)
            cpu, busy = stand.cpu_seconds(), time.process_time()
            began = time.perf_counter()
            run = hall.closed(scenario.window, WARM_UP_S, SECONDS)
            wall = time.perf_counter() - began
            cpu, busy = stand.cpu_seconds() - cpu, time.process_time() - busy
            half = run.sent / run.seconds / 2
            paced = hall.paced(half, WARM_UP_S, SECONDS)
            hall.close()
        finally:
            for sock in sockets:
                sock.close()
    return _figures(run, paced, cpu / wall, busy / wall)


def _figures(run: Run, paced: Run, server_busy: float, client_busy: float) -> dict[str, float]:
    per_s = run.sent / run.seconds
    return {
        "deliveries/s": run.delivered / run.seconds,
        "messages/s": per_s,
        "server CPU a message, µs": server_busy / per_s * 1e6,
        "client busy, %": client_busy * 100,
        "half rate p50, ms": paced.delay_ms(50),
        "half rate p99, ms": paced.delay_ms(99),
    }


async def race(name: str, peers: Sequence[Peer], repeats: int) -> dict[str, Any]:
    """Measure one scenario on all peers, alternated."""
    scenario = SCENARIOS[name]
    before = machine()
    found: dict[str, list[dict[str, float]]] = {peer.name: [] for peer in peers}
    lost: dict[str, str] = {}
    for repeat in range(repeats):
        turned = [*peers[repeat % len(peers) :], *peers[: repeat % len(peers)]]
        for peer in turned:
            try:
                figures = await run_once(peer, scenario)
            except StalledError as error:
                lost[peer.name] = str(error)
                print(f"{name} {repeat + 1}/{repeats} {peer.name}: {error}", flush=True)
                continue
            found[peer.name].append(figures)
            told = ", ".join(f"{key} {value:,.5g}" for key, value in figures.items())
            print(f"{name} {repeat + 1}/{repeats} {peer.name}: {told}", flush=True)
    return {
        "axis": scenario.axis,
        "at": time.strftime("%Y-%m-%d %H:%M", time.gmtime()),
        "load before": before["load before"],
        "load after": f"{os.getloadavg()[0]:.2f}",
        "client": audience.TWIN,
        "repeats": found,
        "lost": lost,
    }


async def main_async(chosen: argparse.Namespace) -> None:
    """Set the peers up, measure, write the results."""
    peers, absent = available(FOLDER, metadata.version("metaport-chat"))
    wanted = [peer for peer in peers if peer.name in chosen.peers]
    path = chosen.out / "race.json"
    kept = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    scenarios = kept.get("scenarios", {})
    os.sched_setaffinity(0, {CLIENT_CORE})
    for name in chosen.scenario or SCENARIOS:
        scenarios[name] = await race(name, wanted, chosen.repeats)
    versions = {**kept.get("versions", {}), **{peer.name: peer.version for peer in wanted}}
    result = {
        "machine": machine(),
        "versions": versions,
        "absent": absent,
        "scenarios": {name: scenarios[name] for name in SCENARIOS if name in scenarios},
    }
    chosen.out.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    race_report.write(result, chosen.out)


def main() -> None:
    """Race the chosen scenarios."""
    parser = argparse.ArgumentParser(prog="loadtest.race", description=__doc__)
    parser.add_argument("scenario", nargs="*", help=f"of {', '.join(SCENARIOS)}; default: all")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--peers", nargs="+", default=list(RIVALS))
    parser.add_argument("--out", type=Path, default=OUT)
    chosen = parser.parse_args()
    if unknown := set(chosen.scenario) - set(SCENARIOS):
        parser.error(f"no scenario {', '.join(sorted(unknown))}")
    raise_file_limit(65_536)
    with precedence.taken():
        uvloop.run(main_async(chosen))


if __name__ == "__main__":
    main()
