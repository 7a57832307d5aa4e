"""Invitations into private rooms, on SQL. Of a code only its digest is kept."""

import hashlib
from typing import Any, NamedTuple

from sqlalchemy import Row, delete, func, insert, select, update

from metaport.db.store import SqlStore
from metaport.db.tables.invitation import invitation, invitation_use

# What is listed of a room stays short enough to be looked through.
MAX_OPEN = 200
# How long one that has ended is still listed.
KEPT_S = 30 * 86_400
# Any number that nothing else here locks: invitations are counted before one is added.
_LOCK = 0x696E76697465


class Invitation(NamedTuple):
    """An invitation into `room`; times are Unix seconds."""

    id: str
    room: str
    max_uses: int
    uses: int
    made_by: str
    made_at_s: int
    expires_at_s: int
    revoked_by: str | None = None


class TooManyInvitations(Exception):
    """The room has as many invitations as any may have."""


class _NotGood(Exception):
    """Takes back what was written for a code that is not good."""


class SqlInvitations(SqlStore):
    """All invitations."""

    async def make(self, new: Invitation, code: str) -> None:
        """Keep an invitation. Raises `TooManyInvitations`."""
        table, over = invitation.c, new.made_at_s - KEPT_S
        old = select(table.id).where(table.room == new.room, table.expires_at_s < over)
        async with self._read_then_write(_LOCK) as connection:
            await connection.execute(
                delete(invitation_use).where(invitation_use.c.invitation.in_(old))
            )
            await connection.execute(delete(invitation).where(table.id.in_(old)))
            count = select(func.count()).where(
                table.room == new.room,
                table.revoked_by.is_(None),
                table.expires_at_s > new.made_at_s,
                table.uses < table.max_uses,
            )
            if (await connection.scalar(count) or 0) >= MAX_OPEN:
                raise TooManyInvitations
            values = new._asdict() | {"digest": digest_of(code)}
            await connection.execute(insert(invitation).values(values))

    async def page(
        self, room: str, after: str, limit: int, *, made_by: str | None = None
    ) -> list[Invitation]:
        """Return a room's invitations by their ids, those after `after`; all, or somebody's."""
        query = select(invitation).where(invitation.c.room == room, invitation.c.id > after)
        if made_by is not None:
            query = query.where(invitation.c.made_by == made_by)
        async with self._transaction() as connection:
            rows = await connection.execute(query.order_by(invitation.c.id).limit(limit))
            return [_invitation(row) for row in rows]

    async def revoke(self, room: str, which: str, by: str, *, made_by: str | None = None) -> bool:
        """Take an invitation back, or somebody's only; False where there is none."""
        query = update(invitation).where(invitation.c.room == room, invitation.c.id == which)
        if made_by is not None:
            query = query.where(invitation.c.made_by == made_by)
        # Who took it back first stays written down.
        said = query.values(revoked_by=func.coalesce(invitation.c.revoked_by, by))
        async with self._transaction() as connection:
            return (await connection.execute(said)).rowcount == 1

    async def redeem(self, code: str, user: str, at_s: int) -> str | None:
        """Count a person once, and return the room; None for a code that is not good now."""
        table = invitation.c
        good = (table.digest == digest_of(code), table.revoked_by.is_(None))
        query = select(invitation).where(*good, table.expires_at_s > at_s)
        try:
            async with self._read_then_write() as connection:
                row = (await connection.execute(query)).first()
                if row is None:
                    return None
                # Of two that come at once with the same person, the second waits here.
                use = self._insert(invitation_use).values(
                    invitation=row.id, user_id=user, at_s=at_s
                )
                fresh = await connection.execute(use.on_conflict_do_nothing())
                if fresh.rowcount == 1:
                    count = update(invitation).where(*good, table.uses < table.max_uses)
                    done = await connection.execute(count.values(uses=table.uses + 1))
                    if done.rowcount != 1:
                        raise _NotGood
                room: str = row.room
                return room
        except _NotGood:
            return None


def digest_of(code: str) -> str:
    """Return what is kept of a code."""
    return hashlib.sha256(code.encode()).hexdigest()


def _invitation(row: Row[Any]) -> Invitation:
    return Invitation(*(row._mapping[name] for name in Invitation._fields))
