"""What is laid down about rooms, on SQL: changed one by one, read by every hub."""

import json
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import asyncpg
from sqlalchemy import Row, bindparam, func, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from chatd.room_book import RoomSettings
from metaport.db.group_commit import GroupCommit
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


class _Wish(NamedTuple):
    """What somebody wants laid down, None for nothing any more, where what is there `fits`."""

    room: str
    settings: RoomSettings | None
    fits: Callable[[RoomSettings | None], bool]
    by: str
    at_s: float


class SqlRooms(SqlStore):
    """The settings of all rooms; single ones are read by `reads` where it is given."""

    def __init__(self, engine: AsyncEngine, reads: ReadPool | None = None) -> None:
        super().__init__(engine)
        self._reads = reads
        self._changes = GroupCommit("commit rooms", self._commit, _is_of_one)

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
        wish = _Wish(settings.room, settings, lambda found: found is None, by, at_s)
        return await self._changes.do(wish)

    async def change(
        self, before: RoomSettings, settings: RoomSettings, by: str, at_s: float
    ) -> bool:
        """Lay something else down; False, and nothing done, where it is not `before` any more."""
        wish = _Wish(settings.room, settings, lambda found: found == before, by, at_s)
        return await self._changes.do(wish) == before

    async def remove(self, room: str, by: str, at_s: float) -> bool:
        """Lay nothing down any more; False where nothing was."""
        wish = _Wish(room, None, lambda found: found is not None, by, at_s)
        return await self._changes.do(wish) is not None

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
        return (await self._standing(connection, [room])).get(room)

    async def _standing(
        self, connection: AsyncConnection, rooms: Iterable[str]
    ) -> dict[str, RoomSettings]:
        table = room_settings.c
        query = select(room_settings).where(table.room.in_(rooms), ~table.removed)
        return {row.room: _settings(row) for row in (await connection.execute(query)).all()}

    async def _commit(self, wishes: Sequence[_Wish]) -> list[RoomSettings | None]:
        """Do what can be done of each wish in one transaction; return what each has found."""
        async with self._writing() as connection:
            standing = await self._standing(connection, sorted({wish.room for wish in wishes}))
            last = await connection.scalar(select(func.max(room_settings.c.revision))) or 0
            found, rows = _granted(wishes, standing, last)
            if rows:
                insert = self._insert(room_settings)
                update = {name: insert.excluded[name] for name in rows[0]}
                await connection.execute(
                    insert.on_conflict_do_update(index_elements=["room"], set_=update), rows
                )
        return found

    @asynccontextmanager
    async def _writing(self) -> AsyncIterator[AsyncConnection]:
        async with self._read_then_write() as connection:
            if connection.dialect.name == "postgresql":
                await connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))
            yield connection


def _granted(
    wishes: Sequence[_Wish], standing: dict[str, RoomSettings], last: int
) -> tuple[list[RoomSettings | None], list[dict[str, Any]]]:
    """Grant wishes one after the other; return what each found, and rows by their revision.

    Of a room that was changed more than once the last row is there: nobody sees those before it.
    """
    found: list[RoomSettings | None] = []
    rows: dict[str, dict[str, Any]] = {}
    for wish in wishes:
        was = standing.get(wish.room)
        found.append(was)
        settings = wish.settings or was
        if not wish.fits(was) or settings is None:
            continue
        last += 1
        rows.pop(wish.room, None)
        rows[wish.room] = {
            "room": wish.room,
            "kind": settings.kind,
            "persistent": settings.persistent,
            "capacity": settings.capacity,
            "users": json.dumps(settings.users, ensure_ascii=False),
            "guests": settings.guests,
            "subscribed": settings.subscribed,
            "removed": wish.settings is None,
            "revision": last,
            "changed_by": wish.by,
            "changed_at_s": int(wish.at_s),
        }
        if wish.settings is None:
            del standing[wish.room]
        else:
            standing[wish.room] = wish.settings
    return found, list(rows.values())


def _is_of_one(error: BaseException | None) -> bool:
    """Tell whether a value could not be kept, so that nothing was done, or something else."""
    while error is not None:
        if isinstance(error, asyncpg.DataError | ValueError | OverflowError):
            return True
        error = error.__cause__
    return False


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
