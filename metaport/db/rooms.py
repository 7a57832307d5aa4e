"""What is laid down about rooms, on SQL: changed one by one, read by every hub."""

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import asyncpg
from sqlalchemy import Row, bindparam, func, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from chatd.room_book import RoomSettings
from metaport.db.direct import TIMEOUT_S, DirectPool, Read
from metaport.db.group_commit import GroupCommit
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
    """The settings of all rooms; what is asked often goes by `direct` where it is given."""

    def __init__(self, engine: AsyncEngine, direct: DirectPool | None = None) -> None:
        super().__init__(engine)
        self._direct = direct
        self._changes = GroupCommit("commit rooms", self._commit, _is_of_one)

    async def get(self, room: str) -> RoomSettings | None:
        """Return what is laid down about a room."""
        if self._direct is not None and self._prepared:
            row = await self._direct.first(_BY_NAME, wanted=room)
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
        if self._direct is not None and self._prepared:
            found = await self._direct.all(_SINCE, after=revision, most=limit)
            return [
                RoomChange(kept[0], None if removed else _settings_of(kept), at)
                for *kept, removed, at in found
            ]
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
        if self._direct is not None and self._prepared:
            row = await self._direct.first(_LAST)
            return (row and row[0]) or 0
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
        if self._direct is not None and self._prepared:
            return await self._commit_directly(self._direct, wishes)
        async with self._read_then_write(_LOCK) as connection:
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

    async def _commit_directly(
        self, direct: DirectPool, wishes: Sequence[_Wish]
    ) -> list[RoomSettings | None]:
        async with direct.transaction(_LOCK) as connection:
            kept = await connection.fetch(
                _BEFORE, list({wish.room for wish in wishes}), timeout=TIMEOUT_S
            )
            standing = {row[0]: _settings_of(row[:-1]) for row in kept if row[0] is not None}
            found, rows = _granted(wishes, standing, kept[0][-1])
            if rows:
                columns = [[row[name] for row in rows] for name in rows[0]]
                await connection.execute(_PUT, *columns, timeout=TIMEOUT_S)
        return found


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


# The columns of `_granted`, as PostgreSQL calls their types.
_TYPES = {
    "room": "text",
    "kind": "text",
    "persistent": "boolean",
    "capacity": "integer",
    "users": "text",
    "guests": "boolean",
    "subscribed": "boolean",
    "removed": "boolean",
    "revision": "bigint",
    "changed_by": "text",
    "changed_at_s": "bigint",
}
_KEPT = [
    room_settings.c[name]
    for name in ("room", "kind", "persistent", "capacity", "users", "guests", "subscribed")
]
_BY_NAME = Read(
    select(*_KEPT).where(room_settings.c.room == bindparam("wanted"), ~room_settings.c.removed)
)
_SINCE = Read(
    select(*_KEPT, room_settings.c.removed, room_settings.c.revision)
    .where(room_settings.c.revision > bindparam("after"))
    .order_by(room_settings.c.revision)
    .limit(bindparam("most"))
)
_LAST = Read(select(func.max(room_settings.c.revision)))
# With the last revision beside each; one row where none of the rooms is there.
_BEFORE = (
    f"SELECT {', '.join('standing.' + column.name for column in _KEPT)}, last"
    " FROM (SELECT coalesce(max(revision), 0) AS last FROM room_settings) AS revisions"
    " LEFT JOIN room_settings AS standing ON room = ANY($1::text[]) AND NOT removed"
)
_PUT = (
    f"INSERT INTO room_settings ({', '.join(_TYPES)}) SELECT * FROM unnest("
    + ", ".join(f"${place}::{kind}[]" for place, kind in enumerate(_TYPES.values(), 1))
    + ") ON CONFLICT (room) DO UPDATE SET "
    + ", ".join(f"{name} = excluded.{name}" for name in _TYPES)
)


def _settings(row: Row[Any]) -> RoomSettings:
    return _settings_of([getattr(row, column.name) for column in _KEPT])


def _settings_of(kept: Iterable[Any]) -> RoomSettings:
    room, kind, persistent, capacity, users, guests, subscribed = kept
    invited = tuple(json.loads(users))
    return RoomSettings(room, kind, persistent, capacity, invited, guests, subscribed)
