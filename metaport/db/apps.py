"""Apps and their keys on SQL."""

from collections.abc import Sequence

from sqlalchemy import func, insert, or_, select, update

from metaport.accounts import App
from metaport.app_keys import AppKey
from metaport.db.store import SqlStore
from metaport.db.tables.app import app, app_key


class SqlApps(SqlStore):
    """The apps of this installation and the keys that sign for them."""

    async def page(self, after: str, limit: int) -> list[App]:
        """Return apps in the order of ids, those after `after`."""
        query = select(app).where(app.c.id > after).order_by(app.c.id).limit(limit)
        async with self._transaction() as connection:
            return [App(**row._mapping) for row in await connection.execute(query)]

    async def get(self, app_id: str) -> App | None:
        """Return one app."""
        async with self._transaction() as connection:
            row = (await connection.execute(select(app).where(app.c.id == app_id))).first()
            return None if row is None else App(**row._mapping)

    async def add(self, new: App) -> bool:
        """Keep a new app; False where there is one of its id."""
        statement = self._insert(app).values(new._asdict()).on_conflict_do_nothing()
        async with self._transaction() as connection:
            return (await connection.execute(statement)).rowcount == 1

    async def change(
        self, app_id: str, *, name: str | None = None, state: str | None = None
    ) -> App | None:
        """Change an app's name or state; None where there is none."""
        given = {"name": name, "state": state}
        values = {key: value for key, value in given.items() if value is not None}
        async with self._transaction() as connection:
            if values:
                await connection.execute(update(app).where(app.c.id == app_id).values(values))
            row = (await connection.execute(select(app).where(app.c.id == app_id))).first()
            return None if row is None else App(**row._mapping)

    async def keys(self, app_id: str) -> list[AppKey]:
        """Return the keys of an app, the oldest first, void ones too."""
        query = select(app_key).where(app_key.c.app == app_id)
        async with self._transaction() as connection:
            rows = await connection.execute(query.order_by(app_key.c.created_at_s, app_key.c.id))
            return [_key(row._mapping) for row in rows]

    async def add_key(
        self, key: AppKey, by: str, *, ends_others_at_s: int | None, most: int
    ) -> bool:
        """Keep a new key; the app's other keys end by `ends_others_at_s`, None leaves them.

        False where the app has `most` keys in force already, and none of them ends.
        """
        its = app_key.c.app == key.app
        lasting = or_(app_key.c.ends_at_s.is_(None), app_key.c.ends_at_s > key.created_at_s)
        async with self._read_then_write() as connection:
            await connection.execute(select(app.c.id).where(app.c.id == key.app).with_for_update())
            if ends_others_at_s is not None:
                sooner = or_(app_key.c.ends_at_s.is_(None), app_key.c.ends_at_s > ends_others_at_s)
                await connection.execute(
                    update(app_key)
                    .where(its, sooner)
                    .values(ends_at_s=ends_others_at_s, ended_by=by)
                )
            query = select(func.count()).select_from(app_key).where(its, lasting)
            if (await connection.scalar(query) or 0) >= most:
                return False
            values = {
                "id": key.id,
                "app": key.app,
                "algorithm": key.algorithm,
                "public_key": key.public,
                "created_by": by,
                "created_at_s": key.created_at_s,
            }
            await connection.execute(insert(app_key).values(values))
            return True

    async def end_key(self, app_id: str, key_id: str, by: str, at_s: int) -> bool:
        """Make a key void from a moment on, or sooner if it was; False where there is none."""
        key = (app_key.c.app == app_id, app_key.c.id == key_id)
        sooner = or_(app_key.c.ends_at_s.is_(None), app_key.c.ends_at_s > at_s)
        async with self._read_then_write() as connection:
            found = await connection.scalar(select(app_key.c.id).where(*key))
            await connection.execute(
                update(app_key).where(*key, sooner).values(ends_at_s=at_s, ended_by=by)
            )
            return found is not None

    async def all_keys(self) -> Sequence[AppKey]:
        """Return every key; those of suspended apps are void since they were made."""
        query = select(app_key, app.c.state).join(app, app.c.id == app_key.c.app)
        async with self._transaction() as connection:
            rows = (await connection.execute(query.order_by(app_key.c.id))).all()
        return [_key(row._mapping, suspended=row.state != "active") for row in rows]


def _key(row: object, *, suspended: bool = False) -> AppKey:
    values = dict(row)  # type: ignore[call-overload]
    ends_at_s = values["created_at_s"] if suspended else values["ends_at_s"]
    return AppKey(
        values["id"],
        values["app"],
        values["algorithm"],
        values["public_key"],
        values["created_at_s"],
        ends_at_s,
    )
