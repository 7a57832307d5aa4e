"""Which SFU each room is on: the port, and its implementation for a single hub process."""

from collections.abc import Callable, Iterable
from typing import Protocol

# Longer than the 20 s for which an SFU keeps people whose hub is away, renewed each second.
LEASE_S = 30.0


class PlacementsAway(Exception):
    """Placements cannot be told at the moment: rooms stay where they are."""


class Placements(Protocol):
    """One SFU for each room, the same for every hub process.

    A placement is a lease: one that nobody renews for `LEASE_S` is forgotten, and the room is
    placed anew when somebody comes. All calls raise `PlacementsAway` when the store is away.
    """

    async def find(self, room: str) -> str | None:
        """Return the SFU a room is on, `None` when it is on none."""

    async def place(self, room: str, sfu: str, instead_of: str | None) -> str:
        """Put a room on `sfu` if it is still on `instead_of`; return where it is now.

        Of several callers that saw the same `instead_of`, one wins and all hear of the same SFU.
        """

    async def renew(self, sfu: str, rooms: Iterable[str]) -> dict[str, str]:
        """Keep these rooms on `sfu` for another `LEASE_S`; those on none are put there.

        Returns the rooms that are placed elsewhere, with their SFU; they stay there.
        """

    async def close(self) -> None:
        """Let go of the store."""


class LocalPlacements:
    """Placements of a single hub process. `clock()` is monotonic seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._placed: dict[str, tuple[str, float]] = {}  # room: SFU, end of the lease

    async def find(self, room: str) -> str | None:
        """Return the SFU a room is on, `None` when it is on none."""
        return self._find(room)

    async def place(self, room: str, sfu: str, instead_of: str | None) -> str:
        """Put a room on `sfu` if it is still on `instead_of`; return where it is now."""
        placed = self._find(room)
        if placed != instead_of and placed is not None:
            return placed
        self._forget_old()
        self._keep(room, sfu)
        return sfu

    async def renew(self, sfu: str, rooms: Iterable[str]) -> dict[str, str]:
        """Keep these rooms on `sfu`; returns those that are placed elsewhere."""
        elsewhere = {}
        for room in rooms:
            placed = self._find(room)
            if placed is None or placed == sfu:
                self._keep(room, sfu)
            else:
                elsewhere[room] = placed
        return elsewhere

    async def close(self) -> None:
        """Let go of nothing."""

    def _find(self, room: str) -> str | None:
        sfu, until = self._placed.get(room, (None, 0.0))
        return sfu if until > self._clock() else None

    def _keep(self, room: str, sfu: str) -> None:
        self._placed[room] = (sfu, self._clock() + LEASE_S)

    def _forget_old(self) -> None:
        now = self._clock()
        for room in [room for room, (_, until) in self._placed.items() if until <= now]:
            del self._placed[room]
