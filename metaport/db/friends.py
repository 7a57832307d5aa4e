"""Friends, requests to be, and blocks, on SQL.

Whoever changes something between two people holds a lock on both, so that counts hold and two who
ask each other at once are friends. A request to somebody who blocks the asker is kept as any other
and shown to nobody but the asker: they cannot tell.
"""

import hashlib
from enum import Enum, auto
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import ColumnElement, Row, case, delete, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from metaport.db.store import SqlStore
from metaport.db.tables.account import account
from metaport.db.tables.friendship import block, friendship

# A list that a client reads whole, and one that nobody fills by hand.
MAX_FRIENDS = 1_000
MAX_REQUESTS = 200
MAX_BLOCKS = 1_000


class Known(NamedTuple):
    """Somebody to a person, since `at_s` (Unix seconds); `name` is None without an account."""

    user: str
    name: str | None
    at_s: int


class Tie(Enum):
    """What somebody is to a person after all."""

    FRIEND = auto()
    WAITING = auto()
    """The other has been asked."""


class TooMany(Exception):
    """One of the two has as many friends, open requests or blocks as anybody may have."""


class BlockedByAsker(Exception):
    """Whoever asks blocks the other, and has to end that first."""


class SqlFriends(SqlStore):
    """What people are to each other."""

    async def ask(self, asker: str, asked: str, at_s: int) -> Tie:
        """Ask somebody to be a friend; who was asked by them accepts.

        Raises:
            TooMany, BlockedByAsker.
        """
        async with self._read_then_write(_lock_of(asker), _lock_of(asked)) as connection:
            if await _blocks(connection, asker, asked):
                raise BlockedByAsker
            row = await _between_them(connection, asker, asked)
            if row is not None and row.accepted_at_s is not None:
                return Tie.FRIEND
            if row is not None and row.asked == asker:
                await _accept(connection, asker, asked, at_s)
                return Tie.FRIEND
            if row is None:
                waiting = (friendship.c.asker == asker, friendship.c.accepted_at_s.is_(None))
                if await _count(connection, *waiting) >= MAX_REQUESTS:
                    raise TooMany
                values = {"pair": pair_of(asker, asked), "asker": asker, "asked": asked}
                await connection.execute(insert(friendship).values(**values, asked_at_s=at_s))
            return Tie.WAITING

    async def accept(self, asked: str, asker: str, at_s: int) -> bool:
        """Take a request; False where there is none to be seen. Raises `TooMany`."""
        async with self._read_then_write(_lock_of(asker), _lock_of(asked)) as connection:
            row = await _between_them(connection, asker, asked)
            if row is None or await _blocks(connection, asked, asker):
                return False
            if row.accepted_at_s is None:
                if row.asked != asked:
                    return False
                await _accept(connection, asked, asker, at_s)
            return True

    async def part(self, one: str, other: str, *, friends: bool) -> bool:
        """End a friendship, or a request of either of the two; False where there is none."""
        accepted = friendship.c.accepted_at_s
        query = delete(friendship).where(
            friendship.c.pair == pair_of(one, other),
            accepted.is_not(None) if friends else accepted.is_(None),
        )
        if not friends:
            # A request that `one` is not shown is none.
            hidden = _block_exists(one, friendship.c.asker)
            query = query.where(or_(friendship.c.asker == one, ~hidden))
        async with self._read_then_write(_lock_of(one), _lock_of(other)) as connection:
            return (await connection.execute(query)).rowcount > 0

    async def friends(self, user: str, after: str, limit: int) -> list[Known]:
        """Return friends by their ids, those after `after`."""
        other = case((friendship.c.asker == user, friendship.c.asked), else_=friendship.c.asker)
        mine = or_(friendship.c.asker == user, friendship.c.asked == user)
        since = friendship.c.accepted_at_s
        return await self._known(other, since, [mine, since.is_not(None)], after, limit)

    async def requests_to(self, user: str, after: str, limit: int) -> list[Known]:
        """Return who asks a person, by their ids, those after `after`; nobody whom they block."""
        table = friendship.c
        where = [
            table.asked == user,
            table.accepted_at_s.is_(None),
            ~_block_exists(user, table.asker),
        ]
        return await self._known(table.asker, table.asked_at_s, where, after, limit)

    async def requests_of(self, user: str, after: str, limit: int) -> list[Known]:
        """Return whom a person has asked, by their ids; not their names, which are not known."""
        table = friendship.c
        where = [table.asker == user, table.accepted_at_s.is_(None)]
        return await self._known(table.asked, table.asked_at_s, where, after, limit, names=False)

    async def block(self, blocker: str, blocked: str, at_s: int) -> None:
        """Want nothing from somebody: friends no more, and no request of the blocker's.

        Raises:
            TooMany.
        """
        async with self._read_then_write(_lock_of(blocker), _lock_of(blocked)) as connection:
            if await _blocks(connection, blocker, blocked):
                return
            count = select(func.count()).select_from(block).where(block.c.blocker == blocker)
            if (await connection.scalar(count) or 0) >= MAX_BLOCKS:
                raise TooMany
            values = {"blocker": blocker, "blocked": blocked, "at_s": at_s}
            await connection.execute(insert(block).values(values))
            # What the other asked stays, unseen: that it is gone would tell.
            ended = or_(friendship.c.accepted_at_s.is_not(None), friendship.c.asker == blocker)
            await connection.execute(
                delete(friendship).where(friendship.c.pair == pair_of(blocker, blocked), ended)
            )

    async def unblock(self, blocker: str, blocked: str) -> bool:
        """Take a block back; False where there is none."""
        query = delete(block).where(block.c.blocker == blocker, block.c.blocked == blocked)
        async with self._read_then_write(_lock_of(blocker), _lock_of(blocked)) as connection:
            return (await connection.execute(query)).rowcount > 0

    async def blocks(self, user: str, after: str, limit: int) -> list[Known]:
        """Return whom a person blocks, by their ids, those after `after`."""
        mine = [block.c.blocker == user]
        return await self._known(block.c.blocked, block.c.at_s, mine, after, limit, names=False)

    async def apart(self, one: str, other: str) -> bool:
        """Tell whether either of two blocks the other."""
        async with self._transaction() as connection:
            return await _blocks(connection, one, other) or await _blocks(connection, other, one)

    async def _known(
        self,
        other: ColumnElement[str],
        since: ColumnElement[int],
        where: list[ColumnElement[bool]],
        after: str,
        limit: int,
        *,
        names: bool = True,
    ) -> list[Known]:
        query = select(other.label("other"), since.label("since"))
        if names:
            name = select(account.c.name).where(account.c.id == other).scalar_subquery()
            query = query.add_columns(name.label("name"))
        query = query.where(*where, other > after).order_by(other).limit(limit)
        async with self._transaction() as connection:
            rows = await connection.execute(query)
            return [Known(row.other, row.name if names else None, row.since) for row in rows]


def pair_of(one: str, other: str) -> str:
    """Return what two people are found by, the same in both orders."""
    return hashlib.sha256(msgspec.msgpack.encode(sorted((one, other)))).hexdigest()


def _block_exists(blocker: str, blocked: ColumnElement[str]) -> ColumnElement[bool]:
    """Return the condition that somebody blocks whom a column names."""
    query = select(block.c.at_s).where(block.c.blocker == blocker, block.c.blocked == blocked)
    return query.exists()


def _lock_of(user: str) -> int:
    digest = hashlib.sha256(b"friends\0" + user.encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


async def _between_them(connection: AsyncConnection, one: str, other: str) -> Row[Any] | None:
    query = select(friendship).where(friendship.c.pair == pair_of(one, other))
    return (await connection.execute(query)).first()


async def _blocks(connection: AsyncConnection, blocker: str, blocked: str) -> bool:
    query = select(block.c.at_s).where(block.c.blocker == blocker, block.c.blocked == blocked)
    return (await connection.execute(query)).first() is not None


async def _count(connection: AsyncConnection, *where: ColumnElement[bool]) -> int:
    query = select(func.count()).select_from(friendship).where(*where)
    return await connection.scalar(query) or 0


async def _accept(connection: AsyncConnection, one: str, other: str, at_s: int) -> None:
    for user in (one, other):
        mine = or_(friendship.c.asker == user, friendship.c.asked == user)
        if await _count(connection, mine, friendship.c.accepted_at_s.is_not(None)) >= MAX_FRIENDS:
            raise TooMany
    await connection.execute(
        update(friendship)
        .where(friendship.c.pair == pair_of(one, other))
        .values(accepted_at_s=at_s)
    )
