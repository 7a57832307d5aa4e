"""`make crash-loop`: hub (with it its shipper) and SFU killed at moments drawn by lot, for long.

Writers send as fast as they are answered and speakers talk by WHIP, while processes are killed by
SIGKILL, PostgreSQL is away for stretches, and the disk of the data directory is full for others.
At the end the people's own count is held against database and ledger:

- every message that was sent is there once, at the offset it was acknowledged with, and offsets
  are dense; messages and bytes counted are those of the people, to each user
- seconds in media are those of each call, within one checkpoint where the SFU was killed
- the ledger agrees with offsets, attendance and its own sums (`metaport usage reconcile`)
"""

import argparse
import asyncio
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import text

from metaport.db.engine import connect
from tests.bench.postgres import PostgresServer
from tests.crash.people import Speaker, Writer
from tests.crash.processes import Processes
from tests.system.chat import guest

ROOMS = ("plaza", "hall/1")
# `sfu.usage` writes down intervals this often at the latest.
CHECKPOINT_S = 5
DISK_BYTES = 128 << 20
SERVES_AGAIN = 0.4
# Of a busy machine: nothing here is about how long it takes.
DEADLINE_S = 120.0
Rows = list[tuple[Any, ...]]


@contextmanager
def small_disk(folder: Path) -> Iterator[Path | None]:
    """Mount a small disk in memory; None where that is not allowed."""
    where = folder / "disk"
    where.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(where)]
    if sys.platform != "linux" or subprocess.run(mount, check=False).returncode:
        yield None
        return
    try:
        yield where
    finally:
        subprocess.run(["umount", "-l", str(where)], check=True)


class Weather:
    """What befalls the processes: kills, a database that is away, a disk that is full."""

    def __init__(
        self,
        processes: Processes,
        speakers: list[Speaker],
        lot: random.Random,
        database: PostgresServer,
        disk: Path | None,
        *,
        worse_every: int,
    ) -> None:
        self._worse_every = worse_every
        self.away = self.full = 0
        self._processes = processes
        self._speakers = speakers
        self._lot = lot
        self._database = database
        self._filler = None if disk is None else disk / "filler"

    async def kill(self, kills: int) -> None:
        """Kill so many processes; every so often something else is wrong besides."""
        for number in range(1, kills + 1):
            role = self._lot.choice(("hub", "hub", "sfu"))
            await asyncio.sleep(self._lot.uniform(0.05, 1.2))
            worse = number % self._worse_every == 0
            if worse:
                await self._worse(number)
            while not self._kill(role):  # noqa: ASYNC110 - a process is no event
                await asyncio.sleep(0.05)
            if worse:
                await self._better()
            # Often the next one comes before this one serves again: starts are killed as well.
            if self._lot.random() < SERVES_AGAIN:
                await self._processes.serving(DEADLINE_S)
            if number % 20 == 0:
                print(f"{number} of {kills} kills", flush=True)

    def _kill(self, role: str) -> bool:
        if not self._processes.kill(role):
            return False
        if role == "sfu":
            for speaker in self._speakers:
                speaker.sfu_killed.set()
        return True

    async def _worse(self, number: int) -> None:
        if number // self._worse_every % 2:
            await asyncio.to_thread(self._database.stop)
            self.away += 1
        elif self._filler is not None:
            await asyncio.to_thread(_fill, self._filler)
            self.full += 1
        await asyncio.sleep(self._lot.uniform(0.5, 2.0))

    async def _better(self) -> None:
        await asyncio.sleep(self._lot.uniform(0.5, 2.0))
        if not self._database.running:
            await asyncio.to_thread(self._database.start)
        if self._filler is not None:
            self._filler.unlink(missing_ok=True)


def _fill(path: Path) -> None:
    """Take all room there is."""
    with path.open("wb", buffering=0) as file:
        for size in (1 << 20, 4096, 1):
            try:
                while file.write(b"\0" * size):
                    pass
            except OSError:
                continue


@asynccontextmanager
async def _stage() -> AsyncIterator[tuple[Processes, PostgresServer, Path | None, str]]:
    with tempfile.TemporaryDirectory(prefix="metaport-crash-", dir="/tmp") as name:
        folder = Path(name)
        with small_disk(folder) as disk:
            data = (disk or folder) / "data"
            data.mkdir()
            database = PostgresServer()
            environment = {
                "METAPORT_LOG_SEGMENT_BYTES": str(1 << 20),
                "METAPORT_DATABASE_URL": database.url,
            }
            processes = Processes(data, environment)
            try:
                await processes.start()
                yield processes, database, disk, database.url
            except BaseException:
                print(processes.said())
                raise
            finally:
                await processes.stop()
                database.remove()


async def run(
    kills: int, seed: int, *, writers: int = 6, speakers: int = 2, worse_every: int = 25
) -> None:
    """Kill, let everybody finish, and hold what is kept against what they know.

    Every `worse_every` kills the database is away besides, or the disk is full.
    """
    lot = random.Random(seed)
    async with _stage() as (processes, database, disk, url):
        began = time.time()
        people = [
            Writer(processes.url, await guest(processes.url, f"writer {n}"), ROOMS[n % 2])
            for n in range(writers)
        ]
        talking = [Speaker(processes.url, "call") for _ in range(speakers)]
        talk_tasks = [asyncio.create_task(speaker.run()) for speaker in talking]
        weather = Weather(processes, talking, lot, database, disk, worse_every=worse_every)
        await weather.kill(kills)
        await processes.serving(DEADLINE_S)
        for person in people:
            person.stop()
        for speaker in talking:
            speaker.stopping.set()
        async with asyncio.timeout(DEADLINE_S):
            await asyncio.gather(*(person.task for person in people), *talk_tasks)
        await _caught_up(url, int(time.time()) + 1)
        await check(url, people, talking, kills)
        code, said = await processes.command(
            "usage", "reconcile", "--day", _today(), "--lang", "en"
        )
        assert code == 0, said
        print(said)
        sent = sum(len(person.acknowledged) for person in people)
        calls = sum(len(speaker.calls) for speaker in talking)
        print(
            f"{processes.kills} kills in {time.time() - began:.0f} s, database away "
            f"{weather.away} times, disk full {weather.full} times: {sent:,} messages and "
            f"{calls} calls, nothing lost, nothing twice"
        )


def _today() -> str:
    from metering.windows import day_of, open_zone

    return day_of(int(time.time()), open_zone("Asia/Seoul")).isoformat()


async def _query(url: str, statement: str) -> Rows:
    engine = connect(url)
    try:
        async with engine.connect() as connection:
            return [tuple(row) for row in await connection.execute(text(statement))]
    finally:
        await engine.dispose()


async def _caught_up(url: str, at_s: int) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while True:
            [(known_s,)] = await _query(url, "SELECT min(at_s) FROM reader_checkpoint")
            if known_s is not None and known_s >= at_s:
                return
            await asyncio.sleep(0.5)


async def check(url: str, people: list[Writer], speakers: list[Speaker], kills: int) -> None:
    """Hold the database against what the people know."""
    sent = {body: (p.room, *p.acknowledged[body]) for p in people for body in p.acknowledged}
    kept = await _query(url, "SELECT body, room, epoch, message_offset FROM message")
    # A writer's body is a JSON string of plain characters.
    found = {body[1:-1]: (room, epoch, offset) for body, room, epoch, offset in kept}
    assert len(kept) == len(found), "a message is there twice"
    assert found == sent, _differing(found, sent)
    places = Counter((room, epoch) for room, epoch, _ in found.values())
    for place, count in places.items():
        offsets = {o for room, epoch, o in found.values() if (room, epoch) == place}
        assert offsets == set(range(1, count + 1)), f"{place} is not dense"
    counted: dict[tuple[str, str], int] = {
        (meter, user): int(total)
        for meter, user, total in await _query(
            url, "SELECT meter, user_id, sum(quantity) FROM usage_window GROUP BY meter, user_id"
        )
    }
    for person in people:
        user = person.account.user
        assert counted["chat.messages_sent", user] == len(person.acknowledged), user
        size = sum(len(body) for body in person.acknowledged)
        assert counted["chat.text_bytes_in", user] == size, user
        held = counted.get(("chat.connection_seconds", user), 0)
        # Each kill takes a checkpoint (4 s and what was late) of one connection at most.
        assert held <= person.connected_s + 2 * person.connections + 2, user
        assert held >= person.connected_s - 8 * person.connections, user
    for call in (call for speaker in speakers for call in speaker.calls):
        seconds = counted.get(("voice.participant_seconds", call.user), 0)
        lost = CHECKPOINT_S + 1 if call.killed else 1
        assert seconds <= call.ended_at - call.asked_at + 2, call
        assert seconds >= call.ended_at - call.connected_at - lost - 1, (call, seconds)


def _differing(found: dict[str, Any], sent: dict[str, Any]) -> str:
    keys = [key for key in found.keys() | sent.keys() if found.get(key) != sent.get(key)]
    some = [(key, found.get(key), sent.get(key)) for key in sorted(keys)[:10]]
    return f"{len(keys)} differ, such as (kept, known): {some}"


def main() -> None:
    """Run the loop."""
    parser = argparse.ArgumentParser(prog="crash-loop", description=__doc__)
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4), "big"))
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}", flush=True)
    asyncio.run(run(arguments.kills, arguments.seed))


if __name__ == "__main__":
    main()
