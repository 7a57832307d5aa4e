"""Looking again and again at what all hubs share: each second, and at once when one signals."""

import asyncio
import logging
from abc import ABC, abstractmethod

from chatd.signals import Signals
from metaport.db.errors import DatabaseError

logger = logging.getLogger(__name__)

# Whoever missed the signal goes by what was before for this long.
LOOK_S = 1.0
DEADLINE_S = 5.0


class Looking(ABC):
    """Keeps something up to date by looking.

    `what` names what is looked at, also as the topic of signals; `failing` says in a sentence what
    keeps it from that.
    """

    def __init__(self, what: str, signals: Signals) -> None:
        self._what = what
        self._signals = signals
        self._wanted = asyncio.Event()
        self.failing: str | None = None

    @abstractmethod
    async def look(self) -> None:
        """Read what is new. Raises `DatabaseError`, `OSError` when it cannot."""

    def tell(self) -> None:
        """Have the other hubs look at once."""
        self._signals.tell(self._what, b"")

    async def run(self) -> None:
        """Look until cancelled."""
        self._signals.hear(self._what, lambda _: self._wanted.set(), self._wanted.set)
        while True:
            await self.try_to_look(DEADLINE_S)
            self._wanted.clear()
            try:
                async with asyncio.timeout(LOOK_S):
                    await self._wanted.wait()
            except TimeoutError:
                continue

    async def try_to_look(self, deadline_s: float) -> None:
        """Look, and note in `failing` what keeps it from that."""
        try:
            async with asyncio.timeout(deadline_s):
                await self.look()
        except (DatabaseError, TimeoutError, OSError) as error:
            said = str(error) or "no answer"
            if self.failing is None:
                logger.error("%s cannot be read: %s", self._what, said)
            self.failing = said
        else:
            if self.failing is not None:
                logger.info("%s can be read again", self._what)
            self.failing = None
