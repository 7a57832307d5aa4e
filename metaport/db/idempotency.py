"""Answers to requests with an `Idempotency-Key` on SQL: claimed, kept, told again, forgotten."""

from typing import NamedTuple

from sqlalchemy import ColumnElement, and_, delete, select, update

from metaport.db.store import SqlStore
from metaport.db.tables.idempotency import api_idempotency

KEPT_S = 86_400
# Longer than any request takes: whoever claimed and died is followed by a repeat so late.
LEASE_S = 60


class Request(NamedTuple):
    """One request: whose, under which key, what it asks (both hashed), and its own id."""

    caller: str
    key_hash: str
    request_hash: str
    id: str


class Kept(NamedTuple):
    """What is known under a key: of which request, and the sealed answer if there is one."""

    request_hash: str
    status: int | None
    answer: bytes | None


class SqlIdempotency(SqlStore):
    """Answers by caller and key."""

    async def claim(self, request: Request, now: float) -> Kept | None:
        """Claim a key: None where this request is to be done now, else what is known of it.

        One statement decides, so of two that come at once one is done.
        """
        at_s = int(now)
        table = api_idempotency.c
        values = {
            "request_hash": request.request_hash,
            "claimed_by": request.id,
            "claimed_at_s": at_s,
            "status": None,
            "answer": None,
        }
        free = (table.claimed_at_s <= at_s - KEPT_S) | (
            table.status.is_(None)
            & (table.claimed_at_s <= at_s - LEASE_S)
            & (table.request_hash == request.request_hash)
        )
        statement = (
            self._insert(api_idempotency)
            .values(caller=request.caller, key_hash=request.key_hash, **values)
            .on_conflict_do_update(
                index_elements=[table.caller, table.key_hash], set_=values, where=free
            )
        )
        known = select(table.request_hash, table.claimed_by, table.status, table.answer).where(
            self._under(request)
        )
        async with self._transaction() as connection:
            done = await connection.execute(statement)
            if done.rowcount == 1:
                return None
            row = (await connection.execute(known)).one()
        return Kept(row.request_hash, row.status, row.answer)

    async def keep(self, request: Request, status: int, answer: bytes) -> None:
        """Keep the answer of a request that was claimed, unless another has taken it over."""
        statement = update(api_idempotency).where(self._claimed(request))
        async with self._transaction() as connection:
            await connection.execute(statement.values(status=status, answer=answer))

    async def release(self, request: Request) -> None:
        """Let a key be used again: nothing was done under it."""
        async with self._transaction() as connection:
            await connection.execute(delete(api_idempotency).where(self._claimed(request)))

    async def forget(self, now: float) -> int:
        """Delete what is older than a day; return how many."""
        old = api_idempotency.c.claimed_at_s <= int(now) - KEPT_S
        async with self._transaction() as connection:
            return (await connection.execute(delete(api_idempotency).where(old))).rowcount

    def _under(self, request: Request) -> ColumnElement[bool]:
        table = api_idempotency.c
        return and_(table.caller == request.caller, table.key_hash == request.key_hash)

    def _claimed(self, request: Request) -> ColumnElement[bool]:
        table = api_idempotency.c
        return and_(self._under(request), table.claimed_by == request.id, table.status.is_(None))
