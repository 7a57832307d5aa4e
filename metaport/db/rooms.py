"""What is laid down about rooms, on SQL: changed one by one, read by every hub."""

import json
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from sqlalchemy import Row, bindparam, func, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from chatd.room_book import RoomSettings
from metaport.db.reads import Read, ReadPool
from metaport.db.store import SqlStore
from metaport.db.tables.room import room_settings

# Any number that nothing else here locks: revisions are given in the order they are committed in,
# so that a reader never sees a later one first.
_LOCK = 0x726F6F6D73


class RoomChange(NamedTuple):
    """What is laid down about a room since a revision; None is nothing any more."""

    room: str
    settings: RoomSettings | None
    revision: int


class SqlRooms(SqlStore):
    """The settings of all rooms; single ones are read by `reads` where it is given."""

    def __init__(self, engine: AsyncEngine, reads: ReadPool | None = None) -> None:
        super().__init__(engine)
        self._reads = reads

    async def get(self, room: str) -> RoomSettings | None:
        """Return what is laid down about a room."""
        if self._reads is not None and self._prepared:
            row = await self._reads.first(_BY_NAME, wanted=room)
            return None if row is None else _settings_of(row)
        async with self._transaction() as connection:
            return await self._get(connection, room)

    async def page(self, after: str, limit: int) -> list[RoomSettings]:
        """Return settings in the order of names, those after `after`."""
        table = room_settings.c
        query = select(room_settings).where(table.room > after, ~table.removed)
        async with self._transaction() as connection:
            rows = (await connection.execute(query.order_by(table.room).limit(limit))).all()
        return [_settings(row) for row in rows]

    async def create(self, settings: RoomSettings, by: str, at_s: float) -> RoomSettings | None:
        """Lay something down about a room; where something is, change nothing and return it."""
        async with self._writing() as connection:
            found = await self._get(connection, settings.room)
            if found is None:
                await self._write(connection, settings, by, at_s)
            return found

    async def change(
        self, before: RoomSettings, settings: RoomSettings, by: str, at_s: float
    ) -> bool:
        """Lay something else down; False, and nothing done, where it is not `before` any more."""
        async with self._writing() as connection:
            if await self._get(connection, settings.room) != before:
                return False
            await self._write(connection, settings, by, at_s)
            return True

    async def remove(self, room: str, by: str, at_s: float) -> bool:
        """Lay nothing down any more; False where nothing was."""
        async with self._writing() as connection:
            found = await self._get(connection, room)
            if found is not None:
                await self._write(connection, found, by, at_s, removed=True)
            return found is not None

    async def since(self, revision: int, limit: int) -> Sequence[RoomChange]:
        """Return the first changes after a revision, in their order."""
        table = room_settings.c
        query = select(room_settings).where(table.revision > revision)
        async with self._transaction() as connection:
            rows = (await connection.execute(query.order_by(table.revision).limit(limit))).all()
        return [
            RoomChange(row.room, None if row.removed else _settings(row), row.revision)
            for row in rows
        ]

    async def revision(self) -> int:
        """Return the last revision, 0 where there is none."""
        async with self._transaction() as connection:
            return await connection.scalar(select(func.max(room_settings.c.revision))) or 0

    async def _get(self, connection: AsyncConnection, room: str) -> RoomSettings | None:
        table = room_settings.c
        query = select(room_settings).where(table.room == room, ~table.removed)
        row = (await connection.execute(query)).first()
        return None if row is None else _settings(row)

    async def _write(
        self,
        connection: AsyncConnection,
        settings: RoomSettings,
        by: str,
        at_s: float,
        *,
        removed: bool = False,
    ) -> None:
        last = await connection.scalar(select(func.max(room_settings.c.revision))) or 0
        values = {
            "room": settings.room,
            "kind": settings.kind,
            "persistent": settings.persistent,
            "capacity": settings.capacity,
            "users": json.dumps(settings.users, ensure_ascii=False),
            "guests": settings.guests,
            "subscribed": settings.subscribed,
            "removed": removed,
            "revision": last + 1,
            "changed_by": by,
            "changed_at_s": int(at_s),
        }
        statement = self._insert(room_settings).values(values)
        await connection.execute(
            statement.on_conflict_do_update(index_elements=["room"], set_=values)
        )

    @asynccontextmanager
    async def _writing(self) -> AsyncIterator[AsyncConnection]:
        async with self._read_then_write() as connection:
            if connection.dialect.name == "postgresql":
                await connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))
            yield connection


_KEPT = [
    room_settings.c[name]
    for name in ("room", "kind", "persistent", "capacity", "users", "guests", "subscribed")
]
_BY_NAME = Read(
    select(*_KEPT).where(room_settings.c.room == bindparam("wanted"), ~room_settings.c.removed)
)


def _settings(row: Row[Any]) -> RoomSettings:
    return _settings_of([getattr(row, column.name) for column in _KEPT])


def _settings_of(kept: Iterable[Any]) -> RoomSettings:
    room, kind, persistent, capacity, users, guests, subscribed = kept
    invited = tuple(json.loads(users))
    return RoomSettings(room, kind, persistent, capacity, invited, guests, subscribed)
