"""What is laid down about spaces, on SQL: changed one by one, read by every hub."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Row, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from chatd.opening_hours import Stretch
from chatd.spaces import SpaceSettings
from metaport.db.store import SqlStore
from metaport.db.tables.space import space as table

# Any number that nothing else here locks: revisions are given in the order they are committed in.
_LOCK = 0x737061636573

_encode = msgspec.json.Encoder().encode
_decode_hours = msgspec.json.Decoder(tuple[Stretch, ...]).decode
_decode_state = msgspec.json.Decoder(dict[str, Any]).decode


class SpaceChange(NamedTuple):
    """What is laid down about a space since a revision; None is nothing any more."""

    space: str
    settings: SpaceSettings | None
    revision: int


class SqlSpaces(SqlStore):
    """The settings of all spaces."""

    async def get(self, space: str) -> SpaceSettings | None:
        """Return what is laid down about a space."""
        async with self._transaction() as connection:
            return await _get(connection, space)

    async def page(self, after: str, limit: int) -> list[SpaceSettings]:
        """Return settings in the order of names, those after `after`."""
        query = select(table).where(table.c.space > after, ~table.c.removed)
        async with self._transaction() as connection:
            rows = await connection.execute(query.order_by(table.c.space).limit(limit))
            return [_settings(row) for row in rows]

    async def create(self, settings: SpaceSettings, by: str, at_s: float) -> SpaceSettings | None:
        """Lay something down about a space; where something is, change nothing and return it."""
        async with self._read_then_write(_LOCK) as connection:
            found = await _get(connection, settings.space)
            if found is None:
                await self._write(connection, settings, by, at_s)
            return found

    async def change(
        self, before: SpaceSettings, settings: SpaceSettings, by: str, at_s: float
    ) -> bool:
        """Lay something else down; False, and nothing done, where it is not `before` any more."""
        async with self._read_then_write(_LOCK) as connection:
            if await _get(connection, settings.space) != before:
                return False
            await self._write(connection, settings, by, at_s)
            return True

    async def remove(self, space: str, by: str, at_s: float) -> bool:
        """Lay nothing down any more; False where nothing was."""
        async with self._read_then_write(_LOCK) as connection:
            found = await _get(connection, space)
            if found is not None:
                await self._write(connection, found, by, at_s, removed=True)
            return found is not None

    async def since(self, revision: int, limit: int) -> Sequence[SpaceChange]:
        """Return the first changes after a revision, in their order."""
        query = select(table).where(table.c.revision > revision)
        async with self._transaction() as connection:
            rows = await connection.execute(query.order_by(table.c.revision).limit(limit))
            return [
                SpaceChange(row.space, None if row.removed else _settings(row), row.revision)
                for row in rows
            ]

    async def revision(self) -> int:
        """Return the last revision, 0 where there is none."""
        async with self._transaction() as connection:
            return await connection.scalar(select(func.max(table.c.revision))) or 0

    async def _write(
        self,
        connection: AsyncConnection,
        settings: SpaceSettings,
        by: str,
        at_s: float,
        *,
        removed: bool = False,
    ) -> None:
        last = await connection.scalar(select(func.max(table.c.revision))) or 0
        values = {
            "space": settings.space,
            "title_ko": settings.title_ko,
            "title_en": settings.title_en,
            "capacity": settings.capacity,
            "zone": settings.zone,
            "hours": _encode(settings.hours).decode(),
            "closed": settings.closed,
            "state": _encode(settings.state).decode(),
            "state_revision": settings.state_revision,
            "removed": removed,
            "revision": last + 1,
            "changed_by": by,
            "changed_at_s": int(at_s),
        }
        statement = self._insert(table).values(values)
        await connection.execute(
            statement.on_conflict_do_update(index_elements=["space"], set_=values)
        )


async def _get(connection: AsyncConnection, space: str) -> SpaceSettings | None:
    query = select(table).where(table.c.space == space, ~table.c.removed)
    row = (await connection.execute(query)).first()
    return None if row is None else _settings(row)


def _settings(row: Row[Any]) -> SpaceSettings:
    return SpaceSettings(
        row.space,
        row.title_ko,
        row.title_en,
        row.capacity,
        row.zone,
        _decode_hours(row.hours),
        row.closed,
        _decode_state(row.state),
        row.state_revision,
    )
