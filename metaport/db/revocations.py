"""Revoked tokens on SQL: the list that every hub reads."""

from collections.abc import Sequence

from sqlalchemy import delete, insert, select

from metaport.db.store import SqlStore
from metaport.db.tables.revocation import token_revocation
from metaport.revocation import Revocation

# Serial numbers are given before they are committed: one that is lower than the greatest seen may
# still appear. So many are read again.
OVERLAP = 256


class SqlRevocations(SqlStore):
    """The revocations of all hubs."""

    async def add(self, revocations: Sequence[Revocation], at_s: float) -> None:
        """Keep revocations that were made at `at_s`."""
        rows = [
            {
                "kind": each.kind,
                "subject": each.subject,
                "before_ms": int(each.before_s * 1000),
                "until_s": int(each.until_s),
                "at_s": int(at_s),
            }
            for each in revocations
        ]
        async with self._transaction() as connection:
            await connection.execute(insert(token_revocation), rows)

    async def since(self, serial: int) -> tuple[list[Revocation], int]:
        """Return what came after `serial` (some of it may be known), and the serial reached."""
        table = token_revocation.c
        query = select(table.serial, table.kind, table.subject, table.before_ms, table.until_s)
        async with self._transaction() as connection:
            rows = (await connection.execute(query.where(table.serial > serial - OVERLAP))).all()
        found = [
            Revocation(row.kind, row.subject, row.before_ms / 1000, float(row.until_s))
            for row in rows
        ]
        return found, max((row.serial for row in rows), default=serial)

    async def forget(self, now: float) -> None:
        """Delete those that can void nothing any more."""
        async with self._transaction() as connection:
            await connection.execute(
                delete(token_revocation).where(token_revocation.c.until_s <= int(now))
            )
