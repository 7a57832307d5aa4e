"""Measure what a participant with voice costs the SFU in memory: `make measure-media-memory`.

A real SFU process; participants in rooms of four, each with a publishing and a subscribing
transport (ICE, DTLS and SRTP done for real), who have all spoken. Not a test: it prints figures.
"""

import argparse
import asyncio
import os
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from loadtest.offer import AUDIO, Line, offer, read_answer
from loadtest.transport import Transport
from sfu.control import ControlClient, Map
from sfu.facts import MemoryFacts
from sfu.ice import Credentials
from sfu.sdp import Fingerprint
from sfu.server import SfuServer
from tests.sfu.offers import answer
from tests.sfu.packets import rtp

ROOM_PEOPLE = 4
PACKETS = 250
REPORT = bytes.fromhex("80c90001 00000001")


async def serve(path: str) -> None:
    """Be the measured process until standard input ends."""
    server = SfuServer("127.0.0.1", 0, [], path, MemoryFacts())
    await server.start()
    print(server.media_port, flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


class Person:
    """One chat participant."""

    def __init__(self, number: int, control: ControlClient) -> None:
        self.session = f"s-{number}"
        self.room = f"room-{number // ROOM_PEOPLE}"
        self.ssrc = 1000 + number
        self.offers: asyncio.Queue[Map] = asyncio.Queue()
        self.up, self.down = Transport(), Transport()
        self._connected = False
        self._control = control

    async def ask(self, kind: str, **fields: Any) -> Map:
        return await self._control.request(
            {
                "op": "frame",
                "session": self.session,
                "user": f"u-{self.session}",
                "name": "n",
                "room": self.room,
                "may_publish": True,
                "frame": {"t": f"media.{kind}", "room": self.room, **fields},
            }
        )

    async def publish(self) -> None:
        await self.ask("join")
        text = offer(self.up.local, [Line(AUDIO, "0", self.ssrc)])
        published = await self.ask("publish", sdp=text)
        await asyncio.to_thread(self.up.connect, read_answer(published["sdp"]))

    async def take_offers(self) -> None:
        """Answer offers until all others of the room are in one."""
        while True:
            frame = await self.offers.get()
            local = self.down.local
            peer: Any = SimpleNamespace(
                credentials=Credentials(local.ufrag, local.password),
                fingerprint=Fingerprint("sha-256", local.fingerprint),
            )
            await self.ask("answer", n=frame["n"], sdp=answer(peer, frame["sdp"]))
            if not self._connected:
                await asyncio.to_thread(self.down.connect, read_answer(frame["sdp"]))
                self._connected = True
            if len(frame["tracks"]) == ROOM_PEOPLE - 1:
                return

    def speak(self, number: int) -> None:
        assert self.up.outgoing is not None
        self.up.socket.send(
            self.up.outgoing.protect(rtp(number, ssrc=self.ssrc, payload=bytes(80)))
        )

    def consent(self) -> None:
        self.up.check()
        self.down.check()
        assert self.down.outgoing is not None
        # A browser reports each second what it received.
        self.down.socket.send(self.down.outgoing.protect_rtcp(REPORT))


def private_kib(pid: int) -> int:
    """Return the private memory of a process."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private"))


async def measure(participants: int) -> None:
    """Print the memory before and after, and the difference for each participant."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "sfu.sock")
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.sfu.participant_memory", "--serve", path),
            stdin=-1,
            stdout=-1,
        )
        try:
            await process.stdout.readline()
            people: dict[str, Person] = {}

            def hear(event: Map) -> None:
                if event["event"] == "frame" and event["frame"]["t"] == "media.offer":
                    people[event["session"]].offers.put_nowait(event["frame"])

            control = ControlClient(path, on_event=hear)
            await control.start()
            await control.wait_connected()
            # What the first one costs is not what one more costs.
            await gather(people, control, 0, ROOM_PEOPLE)
            before = private_kib(process.pid)
            await gather(people, control, ROOM_PEOPLE, ROOM_PEOPLE + participants)
            after = private_kib(process.pid)
            each = (after - before) / participants
            print(
                f"{participants} participants with voice: {before} KiB before, {after} KiB after, "
                f"{each:.1f} KiB each"
            )
            await control.close()
        finally:
            process.stdin.close()
            await process.wait()


async def gather(people: dict[str, Person], control: ControlClient, first: int, last: int) -> None:
    """Let people come room by room and speak at once; at the end everybody has spoken for long."""
    for room in range(first, last, ROOM_PEOPLE):
        new = [Person(number, control) for number in range(room, min(last, room + ROOM_PEOPLE))]
        people.update((person.session, person) for person in new)
        for person in new:
            await person.publish()
        await asyncio.gather(*(person.take_offers() for person in new))
        for person in new:
            person.speak(0)
            person.consent()
    for number in range(1, PACKETS):
        for person in people.values():
            person.speak(number)
            if number % 50 == 0:
                person.consent()
        await asyncio.sleep(0.01)
    await asyncio.sleep(1)


def main() -> None:
    options = argparse.ArgumentParser(description="Memory of a participant with voice.")
    options.add_argument("--participants", type=int, default=200)
    options.add_argument("--serve", metavar="SOCKET")
    asked = options.parse_args()
    asyncio.run(serve(asked.serve) if asked.serve else measure(asked.participants))


if __name__ == "__main__":
    main()
