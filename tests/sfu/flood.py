"""A million malformed packets on the port of a live room: `make flood-media`. Prints figures.

A real SFU process; two people talk, a third one of their room sends broken packets under good
keys, and a crowd of strangers floods the port from many addresses, as fast as `--rate` says.
"""

import argparse
import asyncio
import random
import resource
import selectors
import socket
import sys
import tempfile
import time
from pathlib import Path
from statistics import quantiles
from struct import pack, unpack_from

import pylibsrtp

from loadtest.transport import arrival_ns
from sfu.control import ControlClient, Map
from tests.sfu.packets import anything, rtp, sequence_of
from tests.sfu.participant_memory import Person, private_kib

SPEAK_S = 0.02
STRANGERS = 64
BROKEN_EACH_TICK = 4
VOICE = b"voice of the one who is listened to".ljust(80, b".")


def malformed(seed: random.Random) -> bytes:
    """Make a datagram that is nothing the port serves, or only looks like it."""
    body = seed.randbytes(seed.choice((0, 1, 7, 20, 60, 200, 1200)))
    match seed.randrange(6):
        case 0:
            return body
        case 1:  # a check for nobody, or with attributes that lie about their length
            username = pack(">HH", 6, seed.choice((9, 4, 60_000))) + b"abcd:efgh\0\0\0"
            attributes = username + body[: len(body) & ~3]
            head = pack(">HHI", 1, seed.choice((len(attributes), 0, 65_532)), 0x2112A442)
            return head + seed.randbytes(12) + attributes
        case 2:  # the first flight of a handshake, cut
            return b"\x16\xfe\xfd" + bytes(8) + pack(">H", len(body)) + b"\x01" + body
        case 3:
            return anything(seed)
        case 4:
            return b"\x80" + bytes((seed.randrange(192, 224),)) + body
        case _:
            return bytes((seed.randrange(256),)) * seed.choice((1, 40, 1500, 9000))


def attack(port: int, count: int, rate: int, seed_number: int) -> None:
    """Send `count` malformed datagrams from many addresses; fail if any is answered."""
    seed = random.Random(seed_number)
    sockets = []
    for stranger in range(STRANGERS):
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind((f"127.0.1.{stranger + 1}" if sys.platform == "linux" else "127.0.0.1", 0))
        sock.setblocking(False)
        sockets.append(sock)
    # Made before, so that the rate is the network's: 20,000 kinds, each from any address.
    kinds = [malformed(seed) for _ in range(min(count, 20_000))]
    began = time.monotonic()
    for number in range(count):
        seed.choice(sockets).sendto(seed.choice(kinds), ("127.0.0.1", port))
        if number % 100 == 0:
            ahead = began + number / rate - time.monotonic()
            if ahead > 0:
                time.sleep(ahead)
    took = time.monotonic() - began
    with selectors.DefaultSelector() as answered:
        for sock in sockets:
            answered.register(sock, selectors.EVENT_READ)
        answers = len(answered.select(1.0))
    print(f"{count:,} malformed datagrams in {took:.0f} s, {answers} strangers answered")
    sys.exit(1 if answers else 0)


class Listening:
    """What a listener got of one speaker: which packets, how late."""

    def __init__(self, person: Person) -> None:
        self.person = person
        self.sequences: set[int] = set()
        self.delays_ms: list[float] = []

    def read(self) -> None:
        incoming = self.person.down.incoming
        assert incoming is not None
        while True:
            try:
                datagram, ancillary, _, _ = self.person.down.socket.recvmsg(2048, 64)
            except BlockingIOError:
                return
            if datagram[0] >> 6 != 2 or 192 <= datagram[1] <= 223:
                continue
            packet = incoming.unprotect(datagram)
            if VOICE not in packet:
                continue  # something of the hostile one's that looked good enough
            self.sequences.add(sequence_of(packet))
            (sent_ns,) = unpack_from(">Q", packet, len(packet) - 8)
            self.delays_ms.append((arrival_ns(ancillary) - sent_ns) / 1e6)


async def flood(count: int, rate: int, seed_number: int) -> int:
    """Hold the room, let the attack run, and judge."""
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "sfu.sock")
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.sfu.participant_memory", "--serve", path),
            stdin=-1,
            stdout=-1,
        )
        assert process.stdout is not None
        assert process.stdin is not None
        try:
            port = int(await process.stdout.readline())
            people: dict[str, Person] = {}

            def hear(event: Map) -> None:
                if event["event"] == "frame" and event["frame"]["t"] == "media.offer":
                    people[event["session"]].offers.put_nowait(event["frame"])

            control = ControlClient(path, on_event=hear)
            await control.start()
            await control.wait_connected()
            for number in range(4):
                person = Person(number, control)
                people[person.session] = person
                await person.publish()
            await asyncio.gather(*(person.take_offers() for person in people.values()))
            failed = await _talk_under(
                list(people.values()), process.pid, port, count, rate, seed_number
            )
            stats = await control.request({"op": "stats"})
            dropped = stats["dropped"]
            print(
                f"datagrams in {stats['datagrams_in']:,}; dropped {dict(sorted(dropped.items()))}"
            )
            await control.close()
            return 1 if failed or "internal_error" in dropped else 0
        finally:
            process.stdin.close()
            await process.wait()


async def _talk_under(  # noqa: PLR0917 - the options of the command
    people: list[Person], pid: int, port: int, count: int, rate: int, seed_number: int
) -> bool:
    speaker, other, hostile, _ = people
    seed = random.Random(seed_number)
    heard = Listening(other)
    before_kib, sent, number = private_kib(pid), 0, 0
    attacker = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.sfu.flood", "--attack", str(port)),
        *("--count", str(count), "--rate", str(rate), "--seed", str(seed_number)),
    )
    over = asyncio.create_task(attacker.wait())
    due, last = time.monotonic(), 0
    while last < 50:  # a second more, for what is under way
        if over.done():
            last += 1
        number += 1
        assert speaker.up.outgoing is not None
        payload = VOICE + time.time_ns().to_bytes(8, "big")
        speaker.up.socket.send(
            speaker.up.outgoing.protect(rtp(number, ssrc=speaker.ssrc, payload=payload))
        )
        sent += 1
        _break(hostile, seed)
        if number % 100 == 0:
            for person in people:
                person.consent()
        heard.read()
        due += SPEAK_S
        await asyncio.sleep(max(0.0, due - time.monotonic()))
    heard.read()
    lost = sent - len(heard.sequences)
    grown = private_kib(pid) - before_kib
    cuts = quantiles(heard.delays_ms, n=100)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    print(
        f"voice under it: {sent:,} packets sent, {lost} lost; delay p50 {cuts[49]:.1f} ms, "
        f"p99 {cuts[98]:.1f} ms, worst {max(heard.delays_ms):.1f} ms; "
        f"memory of the SFU grew by {grown} KiB (driver: {usage.ru_utime:.0f} s of CPU)"
    )
    return lost > 0 or over.result() != 0


def _break(hostile: Person, seed: random.Random) -> None:
    """Send broken packets from a participant's own address, half of them under good keys."""
    session = hostile.up.outgoing
    assert session is not None
    for _ in range(BROKEN_EACH_TICK):
        packet = malformed(seed)
        if seed.random() < 0.5 and len(packet) >= 12 and packet[0] >> 6 == 2:
            try:
                if 192 <= packet[1] <= 223:
                    packet = session.protect_rtcp(packet)
                else:
                    packet = session.protect(packet)
            except (pylibsrtp.Error, ValueError):  # too long, in the words of its buffer
                continue
        elif packet[:1] == b"\x15":
            continue  # an alert would be this participant's own goodbye
        hostile.up.socket.send(packet)


def main() -> int:
    options = argparse.ArgumentParser(description="Flood the port of a live room.")
    options.add_argument("--count", type=int, default=1_000_000)
    options.add_argument("--rate", type=int, default=20_000, help="datagrams a second")
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--attack", type=int, metavar="PORT")
    asked = options.parse_args()
    if asked.attack:
        attack(asked.attack, asked.count, asked.rate, asked.seed)
    return asyncio.run(flood(asked.count, asked.rate, asked.seed))


if __name__ == "__main__":
    sys.exit(main())
