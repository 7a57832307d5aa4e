"""One hub process's connection to one SFU: requests, how loaded it is, whether it serves."""

import asyncio
from collections.abc import Callable
from typing import Any

from sfu.control import ControlClient, ControlLost

# An SFU under load answers an offer in tens of milliseconds; its restart takes under 2 s.
REQUEST_TIMEOUT_S = 5.0
# An SFU that lives takes the connection back within 0.3 s; one that died needs a second to return.
RETURN_S = 1.0

# What one core forwards (`make bench-media`), and the participants an SFU admits: the nearer to
# either, the more loaded.
PACKETS_PER_S = 100_000
PARTICIPANTS = 2_000


class SfuAway(Exception):
    """No SFU answers at the moment."""


class SfuLink:
    """The connection to one SFU. `given_up` is called when it stays away for `RETURN_S`."""

    def __init__(self, name: str, client: ControlClient) -> None:
        self.name = name
        self.client = client
        self.draining = False
        # Whether it has answered since the connection was made: one that hangs takes connections.
        self.answering = False
        self.participants = 0
        self.rooms: frozenset[str] = frozenset()
        self.packets_per_s = 0.0
        self.given_up: Callable[[], None] = _stay
        # Set once it is known which rooms are there, or that it is away: only then can others be
        # placed.
        self.looked_at = asyncio.Event()
        self._packets: tuple[float, int] | None = None  # when last asked, and the count then
        # None while the SFU is there, and once it was given up.
        self._give_up_handle: asyncio.TimerHandle | None = None

    @property
    def connected(self) -> bool:
        """Tell whether the control connection is up, and somebody there."""
        return self.client.connected and self.answering

    @property
    def returning(self) -> bool:
        """Tell whether it was lost a moment ago and may come back as it was."""
        return self._give_up_handle is not None

    @property
    def admits(self) -> bool:
        """Tell whether rooms may be placed there."""
        return self.connected and not self.draining

    @property
    def load(self) -> tuple[float, int]:
        """Return what to compare when a room is placed; less is better."""
        busy = self.packets_per_s / PACKETS_PER_S + self.participants / PARTICIPANTS
        return busy, len(self.rooms)

    async def request(self, op: str, **fields: Any) -> dict[str, Any]:
        """Ask the SFU.

        Raises:
            ControlError: the SFU refused, with its own reason.
            SfuAway: no connection, or no answer within 5 s.
        """
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT_S):
                return await self.client.request({"op": op, **fields})
        except (ControlLost, TimeoutError, OSError):
            raise SfuAway(op) from None

    def expect(self, room: str) -> None:
        """Count somebody who was just sent there, until the SFU tells its load again."""
        self.participants += 1
        self.rooms |= {room}

    def learn(self, load: dict[str, Any], now: float) -> None:
        """Take what the SFU says of its load; `now` is monotonic seconds."""
        if self._packets is not None and now > self._packets[0]:
            before, count = self._packets
            self.packets_per_s = max(0, load["packets"] - count) / (now - before)
        self._packets = now, load["packets"]
        self.participants = load["participants"]
        self.rooms = frozenset(load["rooms"])
        self.draining = load["draining"]
        self.looked_at.set()

    def lost(self) -> None:
        """Wait for the SFU a moment: it may live, and people talk on."""
        self.answering = False
        if self._give_up_handle is None:
            loop = asyncio.get_running_loop()
            self._give_up_handle = loop.call_later(RETURN_S, self._give_up)

    def returned(self) -> None:
        """Note that the SFU is there."""
        self.answering = True
        if self._give_up_handle is not None:
            self._give_up_handle.cancel()
            self._give_up_handle = None

    def _give_up(self) -> None:
        self._give_up_handle = None
        self._packets = None
        self.participants, self.rooms, self.packets_per_s = 0, frozenset(), 0.0
        self.draining = False
        self.looked_at.set()
        self.given_up()


def _stay() -> None:
    """Tell nobody."""
