"""Every message on SQL, in the order of its room: written by upsert, read page by page."""

from collections.abc import Sequence
from itertools import accumulate
from operator import itemgetter
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, Text, bindparam, delete, exists, func, select, tuple_
from sqlalchemy.ext.asyncio import AsyncEngine

from chatd.archive import NOTHING, Stretch
from chatd.facts import MessageAccepted
from chatd.wire import Message, Since
from metaport.db.store import SqlStore
from metaport.db.tables.history import history_checkpoint, message, room_epoch

# What is handed over at once holds the loop for about 1 ms, which serves chat in between.
ROWS_AT_A_TIME = 200
# A page holds at least one message, and no second one beyond this.
PAGE_BYTES = 1 << 20

_KEY = (message.c.room, message.c.epoch, message.c.message_offset)


class SqlMessages(SqlStore):
    """The messages of all rooms.

    `upsert` is one transaction: messages and checkpoint stand or fall together, and a message
    that comes again is the same row.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        super().__init__(engine)
        # Compiled once, with the order of its values: SQLAlchemy takes as long for a row as SQLite.
        compiled = self._upsert(message).compile(dialect=engine.dialect)
        self._upsert_message = str(compiled), itemgetter(*compiled.positiontup)
        self._upsert_checkpoint = self._upsert(history_checkpoint)
        self._add_epoch = self._insert_epoch()

    async def upsert(self, facts: Sequence[MessageAccepted], reader: str, position: int) -> None:
        """Keep messages, oldest first, and that `reader` has come to `position`.

        A later message at the same place replaces the earlier: after a power failure a log may
        have forgotten the last second of what was read from it, and then it is the log that
        says what the place holds.
        """
        epochs = dict.fromkeys((fact.room, fact.epoch) for fact in facts)
        newest = {(fact.room, fact.epoch, fact.offset): fact for fact in facts}
        # In the order of the key: two writers then lock rows in the same order.
        keys = sorted(newest)
        statement, values = self._upsert_message
        async with self._transaction() as connection:
            if epochs:
                named = [{"of_room": room, "of_epoch": epoch} for room, epoch in epochs]
                await connection.execute(self._add_epoch, named)
            for start in range(0, len(keys), ROWS_AT_A_TIME):
                some = keys[start : start + ROWS_AT_A_TIME]
                rows = [values(_as_row(newest[key])) for key in some]
                await connection.exec_driver_sql(statement, rows)
            await connection.execute(
                self._upsert_checkpoint, [{"reader": reader, "position": position}]
            )

    async def add(self, facts: Sequence[MessageAccepted]) -> None:
        """Keep messages whose places are empty; one that is there stays as it is."""
        epochs = dict.fromkeys((fact.room, fact.epoch) for fact in facts)
        rows = [_as_row(fact) for fact in facts]
        statement = self._insert(message).on_conflict_do_nothing(index_elements=list(_KEY))
        async with self._transaction() as connection:
            named = [{"of_room": room, "of_epoch": epoch} for room, epoch in epochs]
            await connection.execute(self._add_epoch, named)
            await connection.execute(statement, rows)

    async def missing(self, room: str, epoch: str, first: int, last: int) -> list[int]:
        """Return the offsets from `first` to `last` at which no message is."""
        at = message.c.message_offset
        there = (message.c.room == room, message.c.epoch == epoch, at.between(first, last))
        async with self._transaction() as connection:
            count = await connection.scalar(select(func.count()).where(*there))
            if count == last - first + 1:
                return []
            found = set(await connection.scalars(select(at).where(*there)))
        return [offset for offset in range(first, last + 1) if offset not in found]

    async def checkpoint(self, reader: str) -> int | None:
        """Return the position last kept for `reader`, None if there is none."""
        table = history_checkpoint.c
        async with self._transaction() as connection:
            position: int | None = await connection.scalar(
                select(table.position).where(table.reader == reader)
            )
            return position

    async def forget_reader(self, reader: str) -> None:
        """Forget how far `reader` has come: it will not read on."""
        table = history_checkpoint
        async with self._transaction() as connection:
            await connection.execute(delete(table).where(table.c.reader == reader))

    async def before(self, room: str, place: Since | None, limit: int) -> Stretch:
        """Return the messages that end right before `place`, or the newest."""
        async with self._transaction() as connection:
            return await connection.run_sync(lambda c: _Past(c, room, True).page(place, limit))

    async def after(self, room: str, place: Since | None, limit: int) -> Stretch:
        """Return the messages that begin right after `place`, or the oldest."""
        async with self._transaction() as connection:
            return await connection.run_sync(lambda c: _Past(c, room, False).page(place, limit))

    async def forget(self, before_ms: int, limit: int) -> int:
        """Delete up to `limit` of the messages accepted before a moment; return how many."""
        table = message.c
        oldest = select(*_KEY).where(table.at_ms < before_ms).order_by(table.at_ms).limit(limit)
        async with self._transaction() as connection:
            done = await connection.execute(delete(message).where(tuple_(*_KEY).in_(oldest)))
            return done.rowcount

    def _upsert(self, table: Any) -> Any:
        statement = self._insert(table)
        keys = list(table.primary_key)
        new = {c.name: statement.excluded[c.name] for c in table.c if not c.primary_key}
        return statement.on_conflict_do_update(index_elements=keys, set_=new)

    def _insert_epoch(self) -> Any:
        of_room, of_epoch = bindparam("of_room", type_=Text), bindparam("of_epoch", type_=Text)
        following = func.coalesce(func.max(room_epoch.c.ordinal), 0) + 1
        values = select(of_room, of_epoch, following).where(room_epoch.c.room == of_room)
        return (
            self._insert(room_epoch)
            .from_select(["room", "epoch", "ordinal"], values)
            .on_conflict_do_nothing(index_elements=list(room_epoch.primary_key))
        )


def _as_row(fact: MessageAccepted) -> dict[str, Any]:
    return {
        "room": fact.room,
        "epoch": fact.epoch,
        "message_offset": fact.offset,
        "message_id": fact.id,
        "user_id": fact.user,
        "name": fact.name,
        "at_ms": fact.at_ms,
        "body": msgspec.json.encode(fact.body).decode(),
    }


class _Past:
    """One room's messages, read in one direction."""

    def __init__(self, connection: Connection, room: str, older: bool) -> None:
        self._connection = connection
        self._room = room
        self._older = older

    def page(self, place: Since | None, limit: int) -> Stretch:
        """Return the messages next to `place`, or those at the far end."""
        epoch = None if place is None else place.epoch
        ordinal = None if epoch is None else self._ordinal(epoch)
        rows: Sequence[Row[Any]] = ()
        if place is not None and ordinal is not None:
            rows = self._rows(place.epoch, place.offset, limit + 1)
        elif place is not None and not self._older:
            return NOTHING  # after an epoch that is newer than all
        if not rows:
            ordinal, epoch = self._next_epoch(ordinal)
            if epoch is None:
                return NOTHING
            rows = self._rows(epoch, None, limit + 1)
        assert epoch is not None
        kept = _within_bytes(rows[:limit])
        more = len(kept) < len(rows) or self._next_epoch(ordinal)[1] is not None
        if self._older:
            kept.reverse()
        return Stretch(epoch, [_as_message(self._room, row) for row in kept], more)

    def _ordinal(self, epoch: str) -> int | None:
        table = room_epoch.c
        query = select(table.ordinal).where(table.room == self._room, table.epoch == epoch)
        ordinal: int | None = self._connection.scalar(query)
        return ordinal

    def _next_epoch(self, ordinal: int | None) -> tuple[int | None, str | None]:
        """Find the next epoch with messages in it, from the far end when `ordinal` is None."""
        table = room_epoch.c
        told = exists().where(message.c.room == table.room, message.c.epoch == table.epoch)
        query = select(table.ordinal, table.epoch).where(table.room == self._room, told)
        if ordinal is not None:
            beyond = table.ordinal < ordinal if self._older else table.ordinal > ordinal
            query = query.where(beyond)
        order = table.ordinal.desc() if self._older else table.ordinal
        row = self._connection.execute(query.order_by(order).limit(1)).first()
        return (None, None) if row is None else (row.ordinal, row.epoch)

    def _rows(self, epoch: str, offset: int | None, limit: int) -> Sequence[Row[Any]]:
        """Read `limit` rows, nearest to `offset` first."""
        at = message.c.message_offset
        query = select(message).where(message.c.room == self._room, message.c.epoch == epoch)
        if offset is not None:
            query = query.where(at < offset if self._older else at > offset)
        query = query.order_by(at.desc() if self._older else at).limit(limit)
        return self._connection.execute(query).all()


def _as_message(room: str, row: Row[Any]) -> Message:
    return Message(
        room,
        row.message_offset,
        row.message_id,
        row.user_id,
        row.name,
        row.at_ms,
        msgspec.json.decode(row.body),
    )


def _within_bytes(rows: Sequence[Row[Any]]) -> list[Row[Any]]:
    """Return the first of `rows`, those nearest to the place asked for, that make a page."""
    sizes = accumulate(len(row.body.encode()) for row in rows)
    fitting = sum(size <= PAGE_BYTES for size in sizes)
    return list(rows[: max(1, fitting)])
