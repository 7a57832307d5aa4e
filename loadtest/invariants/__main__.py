"""`python -m loadtest.invariants [--seconds 20] [--seed 1] [--redis sentinel] [--clocks]`."""

import argparse
import asyncio
import random
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import uvloop

from loadtest import processes
from loadtest.idle import raise_file_limit
from loadtest.invariants.faults import Schedule
from loadtest.invariants.hubs import HubProcess, faketime_library, token
from loadtest.invariants.judge import Judge, Verdict
from loadtest.invariants.people import LATER, Person, read_whole
from loadtest.invariants.proxy import FaultyProxy
from loadtest.invariants.redis_servers import SETTINGS
from loadtest.websocket import ConnectionEndedError

HEAL_S = 30.0
# What a hub may keep after a crowd has come and gone, beside the messages it was told.
SLACK_BYTES = 8 << 20
CROWD = 100


class Run:
    """One check, from an empty hub to a verdict."""

    def __init__(
        self,
        folder: Path,
        seed: int,
        *,
        clocks: bool,
        tell: Callable[[str], None],
        redis: str | None = None,
    ) -> None:
        self._folder = folder
        self._seed = seed
        self._clocks = clocks
        self._tell = tell
        # None: the embedded bus of a single hub.
        self._redis = None if redis is None else SETTINGS[redis](folder)
        self.judge = Judge(keeps_epochs=self._redis is None or self._redis.keeps_epochs)
        self.counts: dict[str, int] = {}

    async def check(self, seconds: float, people: int, rooms: int) -> Verdict:
        """Run it all; the verdict's violations are what broke."""
        if self._redis is not None:
            await asyncio.to_thread(self._redis.start)
        hubs = self._hubs()
        for hub in hubs:
            await hub.start(fake_clock=self._clocks)
        proxies = [FaultyProxy(partial(getattr, hub, "port")) for hub in hubs]
        for proxy in proxies:
            await proxy.start()
        codes = []
        try:
            crowd = self._people([f"http://127.0.0.1:{p.port}" for p in proxies], people, rooms)
            await self._live(hubs, proxies, crowd, seconds)
            await self._compare(hubs[-1], [f"room-{n}" for n in range(rooms)])
            await self._leaks(hubs[0])
        finally:
            for proxy in proxies:
                await proxy.close()
            codes = [await hub.stop() for hub in hubs]
            if self._redis is not None:
                self._redis.close()
        for hub, code in zip(hubs, codes, strict=True):
            if code != 0:
                self._blame(f"a hub ended with {code}:\n{hub.last_lines()}")
        return self.judge.verdict

    def _hubs(self) -> list[HubProcess]:
        if self._redis is None:
            return [HubProcess(self._folder / "hub")]
        shared = {
            "METAPORT_REDIS_URL": self._redis.url,
            "METAPORT_DATABASE_URL": f"sqlite:///{self._folder / 'shared.db'}",
            **self._redis.environment,
        }
        return [
            HubProcess(self._folder / name, {"METAPORT_HUB_NAME": name, **shared})
            for name in ("hub-a", "hub-b")
        ]

    def _people(self, urls: list[str], people: int, rooms: int) -> list[Person]:
        made = []
        chance = random.Random(self._seed)
        for number in range(people):
            name = f"person-{number}"
            # Everybody in two rooms, so that rooms overlap; one in four only listens.
            own = sorted({f"room-{number % rooms}", f"room-{(number * 7 + 1) % rooms}"})
            made.append(
                Person(
                    name,
                    own,
                    token(name),
                    lambda: chance.choice(urls),
                    self.judge,
                    seed=self._seed * 1000 + number,
                    say_s=None if number % 4 == 3 else 0.15,
                )
            )
        return made

    async def _live(
        self,
        hubs: list[HubProcess],
        proxies: list[FaultyProxy],
        crowd: list[Person],
        seconds: float,
    ) -> None:
        schedule = Schedule(
            hubs, proxies, self._seed, clocks=self._clocks, tell=self._tell, redis=self._redis
        )
        self.counts = schedule.counts
        stop, peace = asyncio.Event(), asyncio.Event()
        async with asyncio.TaskGroup() as group:
            for person in crowd:
                group.create_task(person.live(stop), name=person.name)
            faults_task = group.create_task(schedule.run(peace), name="faults")
            await asyncio.sleep(seconds)
            peace.set()
            await faults_task
            for person in crowd:
                person.fall_silent()
            await self._heal(crowd)
            stop.set()

    async def _heal(self, crowd: list[Person]) -> None:
        """Wait until all is acknowledged, then have everyone told what they missed."""
        settled = await asyncio.gather(*(person.settled_within(HEAL_S) for person in crowd))
        if not all(settled):
            late = [person.name for person in crowd if not person.settled]
            self._blame(f"not settled {HEAL_S:.0f} s after the last fault: {late}")
            return
        for person in crowd:
            if not await person.sync(HEAL_S):
                self._blame(f"{person.name} could not join {HEAL_S:.0f} s after the last fault")

    async def _compare(self, hub: HubProcess, rooms: list[str]) -> None:
        url, newcomer = f"http://127.0.0.1:{hub.port}", token("newcomer")
        deadline = time.monotonic() + HEAL_S
        for room in rooms:
            # What is old is in the database, where it comes a little later.
            while True:
                try:
                    epochs = await read_whole(url, newcomer, room)
                except ConnectionEndedError as refused:
                    later = str(refused).partition(":")[0] in LATER
                    if not later or time.monotonic() > deadline:
                        raise
                    await asyncio.sleep(0.5)
                    continue
                if not self.judge.missing(room, epochs) or time.monotonic() > deadline:
                    break
                await asyncio.sleep(0.5)
            self.judge.read("newcomer", room, epochs)

    async def _leaks(self, hub: HubProcess) -> None:
        """Have a crowd come and go twice: what the second leaves behind leaks."""
        url = f"http://127.0.0.1:{hub.port}"
        await self._wait_empty(hub)
        await self._come_and_go(url)
        await self._wait_empty(hub)
        descriptors, memory = hub.descriptors(), processes.resident_bytes(hub.pid)
        for _ in range(3):
            await self._come_and_go(url)
            await self._wait_empty(hub)
        await self._settle_descriptors(hub, descriptors)
        grown = processes.resident_bytes(hub.pid) - memory
        self._tell(f"leaks: {CROWD * 3} came and went; memory grew by {grown >> 10} KiB")
        if grown > SLACK_BYTES:
            self._blame(f"memory grew by {grown >> 10} KiB over {CROWD * 3} who came and went")

    async def _come_and_go(self, url: str) -> None:
        async def visit(number: int) -> None:
            person = Person(
                f"guest-{number}",
                [f"room-{number % 3}"],
                token(f"guest-{number}"),
                lambda: url,
                Judge(),
                seed=number,
                say_s=None,
            )
            stop = asyncio.Event()
            task = asyncio.create_task(person.live(stop))
            await person.settled_within(HEAL_S)
            stop.set()
            await task

        await asyncio.gather(*(visit(number) for number in range(CROWD)))

    async def _wait_empty(self, hub: HubProcess) -> None:
        deadline = time.monotonic() + HEAL_S
        while True:
            here = {
                name: await hub.gauge(f"metaport_chat_{name}") for name in ("connections", "rooms")
            }
            if not any(here.values()):
                return
            if time.monotonic() > deadline:
                self._blame(f"left behind when everybody had gone: {here}")
                return
            await asyncio.sleep(0.1)

    async def _settle_descriptors(self, hub: HubProcess, before: int) -> None:
        deadline = time.monotonic() + HEAL_S
        # A few come and go with the database and whoever asks for figures.
        while (now := hub.descriptors()) > before + 4:
            if time.monotonic() > deadline:
                self._blame(f"{now} descriptors, {before} before a crowd came and went")
                return
            await asyncio.sleep(0.1)

    def _blame(self, what: str) -> None:
        self.judge.verdict.violations.append(what)


def main() -> int:
    """Check, print, and return 1 when a promise was broken."""
    parser = argparse.ArgumentParser(prog="loadtest.invariants", description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--people", type=int, default=24)
    parser.add_argument("--rooms", type=int, default=6)
    parser.add_argument("--redis", choices=SETTINGS, help="two hubs on a Redis that breaks, too")
    parser.add_argument("--clocks", action="store_true", help="step the hubs' clocks (libfaketime)")
    parser.add_argument("--quiet", action="store_true", help="only the verdict")
    chosen = parser.parse_args()
    if chosen.clocks and faketime_library() is None:
        parser.error("--clocks needs libfaketime (Debian: apt-get install faketime)")
    raise_file_limit()
    began = time.monotonic()

    def tell(line: str) -> None:
        if not chosen.quiet:
            print(f"{time.monotonic() - began:7.2f} s  {line}", flush=True)

    with tempfile.TemporaryDirectory(prefix="metaport-invariants-") as folder:
        run = Run(Path(folder), chosen.seed, clocks=chosen.clocks, tell=tell, redis=chosen.redis)
        verdict = uvloop.run(run.check(chosen.seconds, chosen.people, chosen.rooms))
    for violation in verdict.violations[:40]:
        print(f"BROKEN  {violation}")
    faults = ", ".join(f"{name} {count}" for name, count in sorted(run.counts.items()))
    print(
        f"seed {chosen.seed}, {chosen.seconds:g} s, {chosen.people} people: "
        f"{len(verdict.violations)} broken; {verdict.acknowledged} acknowledged, "
        f"{verdict.heard} heard live, {verdict.joins} joins, {verdict.recovered} recovered, "
        f"{verdict.epochs_told} new epochs told, {verdict.twice} in two epochs, "
        f"{len(verdict.lost)} lost; {faults}"
    )
    return 1 if verdict.violations else 0


if __name__ == "__main__":
    sys.exit(main())
