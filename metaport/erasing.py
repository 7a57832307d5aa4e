"""Erase a person: out of rooms that name them, then out of every table, and again until it is done.

See `metaport.db.person` for what a crash in between comes to. Not reached from here: backups, the
local log and the streams of Redis, which hold what was said for as long as they are kept; and
closed months and the audit log, which are sealed records.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from chatd.room_book import RoomSettings
from metaport.db.person import Erasure, Persons
from metaport.db.rooms import SqlRooms

ROOMS_AT_A_TIME = 200
# What stands in the record for somebody who asked for it themself: not their id.
SELF = "self"


@dataclass(frozen=True)
class Eraser:
    """Finds and erases people. Everything raises `DatabaseError`.

    `name_of` is how the ledger calls a user, `rooms_changed` has hubs read what rooms are now.
    """

    persons: Persons
    rooms: SqlRooms
    rooms_changed: Callable[[], Awaitable[None]]
    name_of: Callable[[str], str]
    clock: Callable[[], float]

    def rows(self, user: str) -> AsyncIterator[tuple[str, dict[str, Any]]]:
        """Yield what is held of a user, table by table."""
        return self.persons.rows(self._names(user))

    async def erase(self, user: str, asked_by: str) -> Erasure:
        """Erase a user who is signed out everywhere; asked twice it goes on where it was."""
        now = self.clock()
        begun = Erasure(
            f"erased-{secrets.token_hex(8)}",
            user,
            SELF if asked_by == user else asked_by,
            int(now),
            None,
            {},
        )
        return await self._go_on(await self.persons.begin_erasure(begun))

    async def go_on_with_all(self) -> None:
        """Erase what has come late of everybody who is being erased."""
        for each in await self.persons.unfinished():
            await self._go_on(each)

    async def _go_on(self, begun: Erasure) -> Erasure:
        assert begun.user_id is not None
        await self._leave_rooms(begun.user_id)
        return await self.persons.erase(begun, self._names(begun.user_id), self.clock())

    def _names(self, user: str) -> list[str]:
        return sorted({user, self.name_of(user)})

    async def _leave_rooms(self, user: str) -> None:
        after, left, now = "", False, self.clock()
        while page := await self.rooms.page(after, ROOMS_AT_A_TIME):
            for settings in page:
                if user in settings.users:
                    await self._leave(settings, user, now)
                    left = True
            after = page[-1].room
        if left:
            await self.rooms_changed()

    async def _leave(self, settings: RoomSettings, user: str, now: float) -> None:
        others = tuple(each for each in settings.users if each != user)
        direct = settings.kind == "direct"
        # A direct room is of two people: it goes, and names nobody where it is remembered.
        without = msgspec.structs.replace(settings, users=() if direct else others)
        await self.rooms.change(settings, without, SELF, now)
        if direct:
            await self.rooms.remove(settings.room, SELF, now)
