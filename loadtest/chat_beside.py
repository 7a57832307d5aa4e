"""A room that chats while its server does something else: `python -m loadtest.chat_beside URL`.

In a process of its own, so that what is measured beside it does not hold it up: it says `ready`
when everybody is in, chats for so long, and prints what became of the messages as JSON.
"""

import argparse
import asyncio
import json
import secrets
import subprocess
import sys
import time
from dataclasses import asdict, dataclass

from loadtest import precedence
from loadtest.results import Figures
from loadtest.statistics import percentile
from loadtest.target import Target
from loadtest.websocket import Client, Frame

PEOPLE = 30
MESSAGES_PER_S = 4.0  # of each
BODY_BYTES = 120
# What is still under way then is lost.
SETTLE_S = 3.0


@dataclass
class Chat:
    """What became of a chat's messages; times in ms."""

    sent: int
    acknowledged: int
    delivered: int
    p50_ms: float
    p99_ms: float
    slowest_ms: float


class Talker:
    """One member of the room: says something now and then, and counts what it hears."""

    def __init__(self, client: Client, room: str) -> None:
        self.heard = 0
        self.sent = 0
        self.round_trips: list[float] = []
        self._client = client
        self._room = room
        client.on_frame = self._take

    def _take(self, frame: Frame) -> None:
        self.heard += frame["t"] == "message"

    async def talk(self, offset_s: float, seconds: float) -> None:
        """Say something at even distances, whether or not the one before was acknowledged."""
        asked = []
        end = time.monotonic() + seconds
        due = time.monotonic() + offset_s
        while due < end:
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            asked.append(asyncio.create_task(self._say()))
            due += 1 / MESSAGES_PER_S
        await asyncio.wait(asked, timeout=SETTLE_S)

    async def _say(self) -> None:
        self.sent += 1
        began = time.perf_counter()
        await self._client.request("send", room=self._room, body="x" * BODY_BYTES)
        self.round_trips.append((time.perf_counter() - began) * 1e3)


async def chat(url: str, seconds: float) -> Chat:
    """Let the room chat for so long."""
    target, room = Target(url), f"beside-{secrets.token_hex(4)}"
    talkers = []
    for number in range(PEOPLE):
        token, _ = await target.token(f"talker-{number}")
        client = await Client.enter(url, token)
        await client.request("join", room=room)
        talkers.append(Talker(client, room))
    print("ready", flush=True)
    distance = 1 / MESSAGES_PER_S / PEOPLE
    await asyncio.gather(*(t.talk(n * distance, seconds) for n, t in enumerate(talkers)))
    sent = sum(talker.sent for talker in talkers)
    deadline = time.monotonic() + SETTLE_S
    while sum(t.heard for t in talkers) < sent * PEOPLE and time.monotonic() < deadline:  # noqa: ASYNC110 - counters have no event
        await asyncio.sleep(0.02)
    trips = [trip for talker in talkers for trip in talker.round_trips]
    return Chat(
        sent,
        len(trips),
        sum(talker.heard for talker in talkers),
        percentile(trips, 50),
        percentile(trips, 99),
        max(trips),
    )


class Beside:
    """A chat that goes on in another process from here on; `finish` waits for its end."""

    def __init__(self, url: str, seconds: float) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "loadtest.chat_beside", url, "--seconds", str(seconds)],
            stdout=subprocess.PIPE,
            text=True,
        )
        precedence.share(self._process.pid)
        assert self._process.stdout is not None
        if self._process.stdout.readline() != "ready\n":
            raise RuntimeError("the chat beside did not begin")

    def finish(self) -> Chat:
        """Return what became of it."""
        out, _ = self._process.communicate()
        return Chat(**json.loads(out))


def add(figures: Figures, axis: str, told: Chat) -> None:
    """Add one repeat of a chat's figures."""
    figures.add("chat: send → sent p50", axis, "ms", told.p50_ms)
    figures.add("chat: send → sent p99", axis, "ms", told.p99_ms)
    figures.add("chat: slowest", axis, "ms", told.slowest_ms)
    figures.add("chat: messages", axis, "", told.sent)
    figures.add("chat: not acknowledged", axis, "", told.sent - told.acknowledged)
    figures.add("chat: not delivered", axis, "", told.sent * PEOPLE - told.delivered)


def main() -> None:
    """Chat, and tell of it."""
    parser = argparse.ArgumentParser(prog="loadtest.chat_beside", description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--seconds", type=float, default=10.0)
    chosen = parser.parse_args()
    print(json.dumps(asdict(asyncio.run(chat(chosen.url, chosen.seconds)))))


if __name__ == "__main__":
    main()
