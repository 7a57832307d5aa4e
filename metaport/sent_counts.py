"""What was sent where Redis orders: from the counts of the ordering call into the ledger.

1. One hub, the first in the registry, reads the totals of every window not surely final;
2. what has changed is upserted together with the checkpoint `redis`.

A total is identified by the generation of the data in Redis, room, user and window, and the ledger
keeps the greatest seen: any hub may read it again at any time. So each message that was given a
place is counted once, also when its hub dies before it hears of it: `chat.messages_sent` and, in
the same call, the bytes of its body, `chat.text_bytes_in`.

Hubs of the version before counted the bytes themselves, and their script does not: the script that
orders a message decides who counts it, once, while both kinds of hubs run. A hub of theirs that is
the first carries no bytes; where the checkpoint is one of theirs, all that Redis keeps is read for
its bytes before anything else.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from chatd.errors import ChatError
from chatd.redis_options import Kept
from chatd.redis_script import WINDOW_S, SentCount
from metering import meters
from metering.errors import LedgerUnavailable
from metering.events import Checkpoint, Subject, UsageRow
from metering.ledger import Ledger

logger = logging.getLogger(__name__)

REDIS = "redis"
SHIP_EVERY_S = 2.0
LONGEST_RETRY_S = 10.0
# A server that is promoted may have a clock that is behind: earlier windows are read twice more.
OPEN_WINDOWS = 3
# Read at once: a day. After a long absence of the database there are many.
READ_S = 86_400
# Begins a position up to which bytes were carried as well; to hubs of the version before it is the
# number that follows, and what they write has no sign.
WITH_BYTES = "+"

# Generation, room, user, first second of the window, meter.
Identity = tuple[str, str, str, int, str]


class Counting(Protocol):
    """What is asked of the bus."""

    def utc_s(self) -> float:
        """Return the server's time."""

    async def sent_counts(self, since_s: float, until_s: float) -> Sequence[SentCount]:
        """Return the totals of the windows that begin in [since_s, until_s)."""


class Registered(Protocol):
    """The hubs on this Redis."""

    @property
    def first(self) -> bool:
        """Say whether this one does what one of all must do."""


class SentShipper:
    """Carry the counts of one Redis into the ledger, while this hub is the first of all."""

    def __init__(
        self,
        counting: Counting,
        ledger: Ledger,
        hubs: Registered,
        name_of: Callable[[str], str] = str,
        *,
        said: Callable[[Mapping[str, int]], None] = lambda rooms: None,
    ) -> None:
        """`said` is told in which rooms how many messages were given a place."""
        self._said = said
        self._name_of = name_of
        self._hubs = hubs
        self._counting = counting
        self._ledger = ledger
        self._announced = False
        # What the ledger has of windows that are still read.
        self._kept: dict[Identity, int] = {}
        # First second of the windows to read; None: as the checkpoint says.
        self._since_s: int | None = None
        self.as_of_s: int | None = None
        self.failing: str | None = None

    async def announce(self) -> None:
        """Have the ledger know that there is something to be carried, before anything is complete.

        Raises:
            LedgerUnavailable: the ledger is away.
        """
        if not self._announced and await self._ledger.checkpoint(REDIS) is None:
            first_s = int(self._counting.utc_s()) - Kept().sent_s
            await self._ledger.upsert([], Checkpoint(REDIS, f"{WITH_BYTES}{first_s}", first_s))
        self._announced = True

    async def ship(self) -> int:
        """Bring the ledger up to date; return the number of rows that changed.

        Raises:
            ChatError: Redis does not answer.
            LedgerUnavailable: the ledger does not. Ship again later in either case.
        """
        # Before anything is read: all that was accepted until then is in what is read.
        now_s = int(self._counting.utc_s())
        open_from_s = now_s // WINDOW_S * WINDOW_S - (OPEN_WINDOWS - 1) * WINDOW_S
        if self._since_s is None:
            kept = await self._ledger.checkpoint(REDIS)
            first_s = now_s - Kept().sent_s
            since_s = first_s if kept is None else max(int(kept), first_s)
            if kept is not None and not kept.startswith(WITH_BYTES):
                await self._carry_bytes(first_s, since_s)
            self._since_s = since_s
        changed = 0
        start_s = min(self._since_s, open_from_s)
        while start_s <= now_s:
            end_s = min(start_s + READ_S, now_s + WINDOW_S)
            counts = await self._counting.sent_counts(start_s, end_s)
            last = end_s > now_s
            position_s, at_s = (open_from_s, now_s - 1) if last else (end_s, end_s - WINDOW_S)
            changed += await self._keep(counts, min(position_s, open_from_s), at_s)
            start_s = end_s
        return changed

    async def _carry_bytes(self, since_s: int, until_s: int) -> None:
        """Bring the ledger the bytes in windows whose messages it has; no checkpoint moves."""
        for start_s in range(since_s, until_s, READ_S):
            end_s = min(start_s + READ_S, until_s)
            totals = _totals(await self._counting.sent_counts(start_s, end_s))
            of_bytes = {key: n for key, n in totals.items() if n and key[4] == meters.TEXT_BYTES_IN}
            await self._ledger.upsert(self._rows(of_bytes))

    async def _keep(self, counts: Sequence[SentCount], position_s: int, at_s: int) -> int:
        totals = _totals(counts)
        changed = {key: n for key, n in totals.items() if self._kept.get(key, 0) < n}
        said: Counter[str] = Counter()
        for key, n in changed.items():
            if key[4] == meters.MESSAGES_SENT:
                said[key[1]] += n - self._kept.get(key, 0)
        rows = self._rows(changed)
        position = f"{WITH_BYTES}{position_s}"
        await self._ledger.upsert(rows, Checkpoint(REDIS, position, at_s))
        self._said(said)
        self._kept |= changed
        self._kept = {key: n for key, n in self._kept.items() if key[3] >= position_s}
        self._since_s, self.as_of_s = position_s, at_s
        return len(rows)

    def _rows(self, totals: Mapping[Identity, int]) -> list[UsageRow]:
        return [
            UsageRow(REDIS, generation, meter, Subject(room, self._name_of(user)), start_s, n)
            for (generation, room, user, start_s, meter), n in totals.items()
        ]

    def rest(self) -> None:
        """Forget how far this process came: another one goes on."""
        self._since_s = self.as_of_s = None
        self._kept.clear()

    async def run(self) -> None:
        """Ship until cancelled; slower while it fails."""
        retry_s = SHIP_EVERY_S
        while True:
            try:
                await self.announce()
                if self._hubs.first:
                    await self.ship()
                else:
                    self.rest()
            except (ChatError, LedgerUnavailable) as error:
                retry_s = min(retry_s * 2, LONGEST_RETRY_S)
                if self.failing is None:
                    logger.error("counts of sent messages wait in Redis: %s", error)
                self.failing = str(error) or type(error).__name__
            else:
                retry_s, self.failing = SHIP_EVERY_S, None
            await asyncio.sleep(retry_s)


def _totals(counts: Sequence[SentCount]) -> dict[Identity, int]:
    return {
        (c.generation, c.room, c.user, c.window_start_s, meter): total
        for c in counts
        for meter, total in (
            (meters.MESSAGES_SENT, c.count),
            (meters.TEXT_BYTES_IN, c.body_bytes),
        )
    }
