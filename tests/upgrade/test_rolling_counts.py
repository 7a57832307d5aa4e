"""Hubs of the version before and of this one on one Redis: who counts what was sent, once.

`recorded/2026-11-28/ordering.lua` is the script of hubs that counted the bytes in themselves.
"""

import hashlib
import secrets
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from chatd.body import body_bytes
from chatd.bus import Draft
from chatd.redis_options import Kept, RedisOptions
from chatd.redis_script import (
    FRESH_CHARS,
    SHA,
    SOURCE,
    WINDOW_S,
    SentCount,
    decode_answer,
    parcel_of,
    partitions,
    place_of,
    publish_command,
    sent_bytes_key,
    sent_counts,
    sent_key,
)
from metaport.sent_counts import REDIS, SentShipper
from metering.events import Checkpoint, Subject, UsageRow
from metering.ledger import MemoryLedger
from metering.meters import MESSAGES_SENT, TEXT_BYTES_IN
from tests.chatd.redis_server import RedisServer

BEFORE = (Path(__file__).parent / "recorded/2026-11-28/ordering.lua").read_bytes()
BEFORE_SHA = hashlib.sha1(BEFORE, usedforsecurity=False).hexdigest()
[PARTITION] = partitions("metaport", False)
PLACE = place_of("lobby", [PARTITION])
ALWAYS = (0, 2**40)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path).start()
    server.ask("SCRIPT", "LOAD", SOURCE)
    server.ask("SCRIPT", "LOAD", BEFORE)
    yield server
    server.kill()


class NewHub:
    """A hub of this version: the script counts."""

    first = True

    def __init__(self, server: RedisServer, process: str) -> None:
        self._server = server
        self._process = process
        self._sequence = 0
        self.past_s = 0

    def say(self, *bodies: object) -> None:
        """Have messages ordered, and hear no answer: as one that is killed."""
        self._sequence += 1
        command = publish_command(
            options=RedisOptions(),
            partition=PARTITION,
            sharded=False,
            process=self._process,
            lane=0,
            sequence=self._sequence,
            known="",
            fresh=secrets.token_hex(6),
            peers="",
            utc_s=self._now_s(),
            parcels=[
                parcel_of(Draft("lobby", "visitor", "Visitor", body, None, None, 1), PLACE)
                for body in bodies
            ],
        )
        answer = decode_answer(self._server.ask(*self._as_sent(command, len(bodies))))
        assert not isinstance(answer.places, str)
        assert {place.outcome for place in answer.places} == {"accepted"}

    def _as_sent(self, command: tuple[Any, ...], drafts: int) -> Sequence[Any]:
        del drafts
        assert command[1] == SHA
        return command

    def utc_s(self) -> float:
        """Return the server's time, later by `past_s`."""
        return self._now_s() + self.past_s

    async def sent_counts(self, since_s: float, until_s: float) -> list[SentCount]:
        """Read as the bus does; only windows there are."""
        counts = []
        for start_s in self._windows(since_s, until_s):
            replies = [
                self._server.ask("HGETALL", key(PARTITION, start_s))
                for key in (sent_key, sent_bytes_key)
            ]
            counts += sent_counts(start_s, *replies)
        return counts

    def _windows(self, since_s: float, until_s: float) -> list[int]:
        found = [
            int(key.rpartition(b":")[2])
            for key in self._server.ask("KEYS", PARTITION.key(b"sent:*"))
        ]
        return [s for s in sorted(found) if since_s - WINDOW_S < s < until_s]

    def _now_s(self) -> int:
        return int(self._server.ask("TIME")[0])


class OldHub(NewHub):
    """A hub of the version before: its log counts the bytes, and it ships messages only."""

    def __init__(self, server: RedisServer, process: str, ledger: MemoryLedger) -> None:
        super().__init__(server, process)
        self._ledger = ledger
        self._began_s = self._now_s() // WINDOW_S * WINDOW_S
        self._bytes = 0

    def hear(self, *bodies: object) -> None:
        """Have messages ordered, hear it and write down their bytes."""
        self.say(*bodies)
        self._bytes += sum(body_bytes(body) for body in bodies)

    def _as_sent(self, command: tuple[Any, ...], drafts: int) -> Sequence[Any]:
        # The size is the fourth of the six of each draft.
        sizes = {len(command) - 3 - 6 * number for number in range(drafts)}
        kept = [part for at, part in enumerate(command) if at not in sizes]
        # Behind command, hash, number of keys, seed, lane and three windows.
        del kept[8:11]
        return ["EVALSHA", BEFORE_SHA, kept[2] - 3, *kept[3:]]

    async def ship(self) -> None:
        """Ship as it did, log and counts."""
        now_s = int(self.utc_s())
        mine = UsageRow(
            "old", "1", TEXT_BYTES_IN, Subject("lobby", "visitor"), self._began_s, self._bytes
        )
        await self._ledger.upsert([mine])
        kept = await self._ledger.checkpoint(REDIS)
        since_s = now_s - Kept().sent_s if kept is None else int(kept)
        rows = []
        for window_s in self._windows(since_s, now_s + WINDOW_S):
            reply = self._server.ask("HGETALL", sent_key(PARTITION, window_s))
            for name, count in zip(reply[::2], reply[1::2], strict=True):
                room, user = msgspec.msgpack.decode(name[FRESH_CHARS:], type=tuple[str, str])
                subject = Subject(room, user)
                generation = name[:FRESH_CHARS].decode()
                rows.append(
                    UsageRow(REDIS, generation, MESSAGES_SENT, subject, window_s, int(count))
                )
        open_from_s = now_s // WINDOW_S * WINDOW_S - 2 * WINDOW_S
        await self._ledger.upsert(rows, Checkpoint(REDIS, str(open_from_s), now_s - 1))


async def test_the_script_that_orders_a_message_decides_who_counts_its_bytes(
    server: RedisServer,
) -> None:
    ledger = MemoryLedger()
    old, new = OldHub(server, "old", ledger), NewHub(server, "new")
    old.hear("before", {"text": "안녕"})
    new.say("beside it", "나란히", {"n": 1})
    old.hear("and on")
    new.say("")
    bodies = ["before", {"text": "안녕"}, "beside it", "나란히", {"n": 1}, "and on", ""]
    expected = {
        MESSAGES_SENT: len(bodies),
        TEXT_BYTES_IN: sum(body_bytes(body) for body in bodies),
    }

    # The old one is the first, for so long that the windows are final to it.
    await old.ship()
    old.past_s = new.past_s = 4 * WINDOW_S
    await old.ship()
    assert (await ledger.totals(*ALWAYS))[MESSAGES_SENT] == len(bodies)
    as_of = await ledger.as_of()
    # Then it goes, and the new one is.
    await SentShipper(new, ledger, new).ship()
    assert await ledger.totals(*ALWAYS) == expected
    # What was complete to the old one did not become incomplete.
    assert as_of is not None
    assert (await ledger.as_of() or 0) >= as_of
    # It is taken back, and put in again: nothing is counted twice.
    await old.ship()
    assert await ledger.totals(*ALWAYS) == expected
    await SentShipper(new, ledger, new).ship()
    await SentShipper(new, ledger, new).ship()
    assert await ledger.totals(*ALWAYS) == expected


def test_counts_and_their_bytes_are_kept_equally_long(server: RedisServer) -> None:
    OldHub(server, "old", MemoryLedger()).say("first, by the script before")
    NewHub(server, "new").say("second")
    keys = [key for key in server.ask("KEYS", "*") if b"sent" in key]
    assert len({key.rpartition(b":")[0] for key in keys}) == 2
    for key in keys:
        assert abs(int(server.ask("TTL", key)) - Kept().sent_s) < 60
