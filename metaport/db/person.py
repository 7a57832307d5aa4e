"""All that the database holds of one person: exported, and erased.

The columns say it themselves (`metaport.db.personal`), so that a table added later is not
forgotten.

1. `Persons.begin_erasure` writes down that somebody is to be erased, under which pseudonym; from
   then on a crash is a pause. The account turns into one of nobody in the same transaction: nobody
   can sign in to it.
2. `Persons.erase` goes through the tables: rows about the person go, or stand under the pseudonym.
3. `Persons.erase_due` does that again until `SETTLED_S` have passed: logs that were still on their
   way have arrived by then, and totals that are still counted keep their name until they are
   final. Then the id is forgotten too.
"""

import json
from collections.abc import AsyncIterator, Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Table, and_, delete, insert, or_, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from metaport.accounts import ERASED, Account
from metaport.db.personal import Personal
from metaport.db.schema import metadata
from metaport.db.store import SqlStore
from metaport.db.tables.account import account, avatar, role_grant
from metaport.db.tables.erasure import erasure

# Logs of all nodes have been shipped by then, as a rule for seconds; a total that comes later
# would be counted under both names.
SETTLED_S = 86_400
PAGE = 500
ERASED_NAME = "탈퇴한 사용자 / Erased user"

_BLANK = {
    Personal.NAME: ERASED_NAME,
    Personal.LOGIN: "",
    Personal.CONTACT: "",
    Personal.ADDRESS: "",
}


class Erasure(NamedTuple):
    """Somebody who is being erased; `user_id` is None once nothing is left."""

    pseudonym: str
    user_id: str | None
    asked_by: str
    at_s: int
    done_at_s: int | None
    counts: dict[str, int]


class Persons(SqlStore):
    """Everybody of whom a table tells something."""

    async def rows(self, names: Sequence[str]) -> AsyncIterator[tuple[str, dict[str, Any]]]:
        """Yield what is held of a person, table by table; `names` are their id and other names.

        Pages of rows, each in a transaction of its own: a slow reader holds no connection.
        """
        for table in _tables(Personal.PERSON):
            told = [column for column in table.c if not column.info.get("secret")]
            about = or_(*(column.in_(names) for column in _columns(table, Personal.PERSON)))
            async for row in self._pages(table, told, about):
                yield table.name, row
        shown = select(account.c.avatar).where(account.c.id.in_(names))
        async for row in self._pages(avatar, list(avatar.c), avatar.c.digest.in_(shown)):
            yield avatar.name, row

    async def begin_erasure(self, begun: Erasure) -> Erasure:
        """Write down that somebody is to be erased; return what was written before, if it was."""
        assert begun.user_id is not None
        query = select(erasure).where(erasure.c.user_id == begun.user_id)
        async with self._read_then_write() as connection:
            row = (await connection.execute(query)).first()
            if row is not None:
                return _erasure(row._mapping)
            values = begun._asdict() | {"counts": "{}"}
            await connection.execute(insert(erasure).values(values))
            await self._empty_account(connection, begun.user_id, begun.pseudonym)
        return begun

    async def erase(self, which: Erasure, names: Sequence[str], now: float) -> Erasure:
        """Erase what there is of somebody by now; done when it is `SETTLED_S` old."""
        counts = dict(which.counts)
        for table in metadata.sorted_tables:
            if table is erasure or table.info.get("stays"):
                continue
            async with self._transaction() as connection:
                changed = await self._erase_in(connection, table, names, which.pseudonym, now)
            if changed:
                counts[table.name] = counts.get(table.name, 0) + changed
        done = now >= which.at_s + SETTLED_S
        after = which._replace(
            counts=counts,
            user_id=None if done else which.user_id,
            done_at_s=int(now) if done else None,
        )
        values = after._asdict() | {"counts": json.dumps(counts)}
        async with self._transaction() as connection:
            await connection.execute(
                update(erasure).where(erasure.c.pseudonym == which.pseudonym).values(values)
            )
        return after

    async def unfinished(self) -> list[Erasure]:
        """Return who is still being erased."""
        query = select(erasure).where(erasure.c.user_id.is_not(None))
        async with self._transaction() as connection:
            rows = await connection.execute(query.order_by(erasure.c.at_s))
            return [_erasure(row._mapping) for row in rows]

    async def _empty_account(self, connection: AsyncConnection, user: str, pseudonym: str) -> None:
        """Let an account be nobody's: grants of roles, which are a record, refer to it."""
        row = (await connection.execute(select(account).where(account.c.id == user))).first()
        if row is None:
            return
        was = Account(**row._mapping)
        nobody = Account(
            pseudonym,
            was.app,
            None,
            ERASED_NAME,
            ERASED,
            pseudonym if was.created_by == user else was.created_by,
            was.created_at_s,
            approved_by=was.approved_by,
            approved_at_s=was.approved_at_s,
        )
        await connection.execute(insert(account).values(nobody._asdict()))
        await connection.execute(
            update(role_grant).where(role_grant.c.account == user).values(account=pseudonym)
        )
        # What signs in to it, and its devices, go with it.
        await connection.execute(delete(account).where(account.c.id == user))
        shown = select(account.c.id).where(account.c.avatar == was.avatar)
        await connection.execute(
            delete(avatar).where(avatar.c.digest == was.avatar, ~shown.exists())
        )

    async def _erase_in(
        self,
        connection: AsyncConnection,
        table: Table,
        names: Sequence[str],
        pseudonym: str,
        now: float,
    ) -> int:
        changed = 0
        for column in _columns(table, Personal.PERSON):
            about: ColumnElement[bool] = column.in_(names)
            if table.info.get("goes_with_the_person"):
                changed += (await connection.execute(delete(table).where(about))).rowcount
                continue
            if (settles := table.info.get("settles")) is not None:
                about = and_(about, table.c[settles] < int(now) - SETTLED_S)
            if column.primary_key:
                await self._drop_twins(connection, table, column, about, pseudonym)
            values = {column.name: pseudonym} | _blanks(table)
            done = await connection.execute(update(table).where(about).values(values))
            changed += done.rowcount
        for column in _columns(table, Personal.ACTOR):
            done = await connection.execute(
                update(table).where(column.in_(names)).values({column.name: pseudonym})
            )
            changed += done.rowcount
        return changed

    async def _drop_twins(
        self,
        connection: AsyncConnection,
        table: Table,
        column: Any,
        about: ColumnElement[bool],
        pseudonym: str,
    ) -> None:
        """Delete rows that are there under the pseudonym already: they say the same."""
        twin = table.alias()
        same = [twin.c[key.name] == key for key in table.primary_key if key.name != column.name]
        there = select(twin.c[column.name]).where(twin.c[column.name] == pseudonym, *same)
        await connection.execute(delete(table).where(about, there.exists()))

    async def _pages(
        self, table: Table, told: list[Any], about: ColumnElement[bool]
    ) -> AsyncIterator[dict[str, Any]]:
        key = list(table.primary_key)
        query = select(*told, *(each.label(f"key_{n}") for n, each in enumerate(key)))
        query = query.where(about).order_by(*key).limit(PAGE)
        last: tuple[Any, ...] | None = None
        while True:
            page = query if last is None else query.where(tuple_(*key) > tuple_(*last))
            async with self._transaction() as connection:
                rows = (await connection.execute(page)).all()
            for row in rows:
                yield {column.name: row._mapping[column] for column in told}
            if len(rows) < PAGE:
                return
            last = tuple(rows[-1][-len(key) :])


def _tables(kind: Personal) -> list[Table]:
    return [table for table in metadata.sorted_tables if _columns(table, kind)]


def _columns(table: Table, kind: Personal) -> list[Any]:
    return [column for column in table.c if column.info.get("personal") is kind]


def _blanks(table: Table) -> dict[str, Any]:
    """Return what stands where a row that stays told something of the person."""
    return {
        column.name: None if column.nullable else _BLANK[column.info["personal"]]
        for column in table.c
        if column.info.get("personal") in _BLANK
    }


def _erasure(row: Any) -> Erasure:
    values = dict(row)
    return Erasure(**values | {"counts": json.loads(values["counts"])})
