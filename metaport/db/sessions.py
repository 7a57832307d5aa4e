"""Sessions on SQL: one row a sign-in, and the turn of its refresh token."""

from collections.abc import Sequence

from sqlalchemy import delete, insert, select, update

from metaport.db.store import SqlStore
from metaport.db.tables.session import login_session as table
from metaport.session_turns import Session, Verdict, take


class SqlSessions(SqlStore):
    """Who is signed in. Guests are here only since they renewed their tokens once."""

    async def begin(self, session: Session) -> None:
        """Keep a new session."""
        async with self._transaction() as connection:
            await connection.execute(insert(table).values(session._asdict()))

    async def turn(
        self,
        session_id: str,
        turn: int,
        now: float,
        *,
        expires_at_s: int,
        address: str,
        first: Session | None = None,
    ) -> tuple[Verdict, Session | None]:
        """Take the refresh token of a turn; return what becomes of it, and the session then.

        Of several at once one makes the next turn. A session that ended for reuse is told as it
        is after that. `first` is begun where there is no session of this id.
        """
        async with self._read_then_write() as connection:
            query = select(table).where(table.c.id == session_id).with_for_update()
            row = (await connection.execute(query)).first()
            if row is None and first is not None:
                statement = self._insert(table).values(first._asdict())
                await connection.execute(statement.on_conflict_do_nothing())
                row = (await connection.execute(query)).first()
            if row is None:
                return Verdict.OVER, None
            was = Session(**row._mapping)
            verdict, session = take(was, turn, now, expires_at_s=expires_at_s, address=address)
            if session != was:
                await connection.execute(
                    update(table).where(table.c.id == session_id).values(session._asdict())
                )
            return verdict, session

    async def of_user(self, user: str, now: float) -> list[Session]:
        """Return the sessions of a user that go on, the newest first."""
        query = select(table).where(
            table.c.user_id == user, table.c.ended_at_s.is_(None), table.c.expires_at_s > int(now)
        )
        async with self._transaction() as connection:
            rows = await connection.execute(query.order_by(table.c.created_at_s.desc(), table.c.id))
            return [Session(**row._mapping) for row in rows]

    async def end(
        self,
        user: str,
        reason: str,
        now: float,
        *,
        session: str | None = None,
        device: str | None = None,
        but: str | None = None,
    ) -> Sequence[str]:
        """End a user's sessions: one, those of a device, or all `but` one; return which ended."""
        which = [table.c.user_id == user, table.c.ended_at_s.is_(None)]
        if session is not None:
            which.append(table.c.id == session)
        if device is not None:
            which.append(table.c.device == device)
        if but is not None:
            which.append(table.c.id != but)
        statement = update(table).where(*which).values(ended_at_s=int(now), end_reason=reason)
        async with self._transaction() as connection:
            return (await connection.scalars(statement.returning(table.c.id))).all()

    async def users_of_app(self, app: str, now: float) -> Sequence[str]:
        """Return the users of an app with a session that goes on."""
        query = select(table.c.user_id).distinct()
        query = query.where(table.c.app == app, table.c.expires_at_s > int(now))
        async with self._transaction() as connection:
            return (await connection.scalars(query)).all()

    async def forget(self, now: float) -> int:
        """Delete sessions whose last refresh token has expired; return how many."""
        async with self._transaction() as connection:
            gone = await connection.execute(delete(table).where(table.c.expires_at_s < int(now)))
            return gone.rowcount
