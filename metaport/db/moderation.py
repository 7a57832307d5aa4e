"""Acts of moderators on SQL: each with its webhook event in one transaction, read by every hub."""

import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, func, insert, select
from sqlalchemy.ext.asyncio import AsyncEngine

from metaport.db.store import SqlStore
from metaport.db.tables.moderation import moderation_act
from metaport.db.webhooks import Event, SqlWebhooks
from metaport.moderation_act import Act

# Any number that nothing else here locks: revisions are given in the order they are committed in.
_LOCK = 0x6D6F64657261


class SqlModeration(SqlStore):
    """The acts of moderators, in order."""

    def __init__(self, engine: AsyncEngine, webhooks: SqlWebhooks) -> None:
        super().__init__(engine)
        self._webhooks = webhooks

    async def add(self, act: Act) -> Act:
        """Keep an act, and whom it is to be told; return it with its revision."""
        async with self._read_then_write(_LOCK) as connection:
            last = await connection.scalar(select(func.max(moderation_act.c.revision))) or 0
            act = act._replace(revision=last + 1)
            await connection.execute(insert(moderation_act).values(_values(act)))
            event = Event(
                f"moderation/{act.revision}", f"moderation.{act.act}", act.at_ms, act.as_map()
            )
            await self._webhooks.put_within(connection, [event])
        return act

    async def since(self, revision: int, limit: int) -> Sequence[Act]:
        """Return the first acts after a revision that may still have an effect, in their order.

        Those whose time is over are among them: they took the place of what was before.
        """
        table = moderation_act.c
        query = (
            select(moderation_act)
            .where(table.revision > revision, table.act.not_in(("move", "expel")))
            .order_by(table.revision)
            .limit(limit)
        )
        async with self._transaction() as connection:
            return [_act(row) for row in await connection.execute(query)]

    async def revision(self) -> int:
        """Return the last revision, 0 where there is none."""
        async with self._transaction() as connection:
            return await connection.scalar(select(func.max(moderation_act.c.revision))) or 0

    async def page(
        self, room: str | None, user: str | None, before: int | None, limit: int
    ) -> list[Act]:
        """Return acts, the newest first, of a room and a user if given."""
        table = moderation_act.c
        query = select(moderation_act).order_by(table.revision.desc()).limit(limit)
        for column, wanted in ((table.room, room), (table.user_id, user)):
            if wanted is not None:
                query = query.where(column == wanted)
        if before is not None:
            query = query.where(table.revision < before)
        async with self._transaction() as connection:
            return [_act(row) for row in await connection.execute(query)]


def _values(act: Act) -> dict[str, Any]:
    return {
        "revision": act.revision,
        "act": act.act,
        "room": act.room,
        "user_id": act.user,
        "what": json.dumps(act.what) if act.what else None,
        "until_ms": act.until_ms,
        "epoch": act.epoch,
        "message_offset": act.offset,
        "to_room": act.to,
        "note": act.note,
        "done_by": act.by,
        "at_ms": act.at_ms,
    }


def _act(row: Row[Any]) -> Act:
    return Act(
        row.act,
        row.room,
        row.user_id,
        row.done_by,
        row.at_ms,
        row.note,
        tuple(json.loads(row.what)) if row.what else (),
        row.until_ms,
        row.epoch,
        row.message_offset,
        row.to_room,
        row.revision,
    )
