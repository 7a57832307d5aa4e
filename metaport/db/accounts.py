"""Accounts on SQL: people, how they sign in, their roles, devices and avatars."""

from collections.abc import Collection

from sqlalchemy import delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from metaport.accounts import ACTIVE, Account, Device, Grant
from metaport.db.store import SqlStore
from metaport.db.tables.account import account, account_subject, avatar, role_grant
from metaport.db.tables.session import device
from metaport.duties import DutyRefused, Part, Step, clash, refusal
from metaport.language import Say


class _SubjectTaken(Exception):
    """Takes the account back that was made for a subject who has one."""


class SqlAccounts(SqlStore):
    """Everybody with an account."""

    async def add(self, new: Account) -> bool:
        """Keep a new account; False where its login is taken."""
        statement = self._insert(account).values(new._asdict()).on_conflict_do_nothing()
        async with self._transaction() as connection:
            return (await connection.execute(statement)).rowcount == 1

    async def get(self, account_id: str) -> Account | None:
        """Return one account."""
        async with self._transaction() as connection:
            return await self._get(connection, account_id)

    async def with_roles(self, account_id: str) -> tuple[Account, frozenset[str]] | None:
        """Return one account, and the roles it was given."""
        async with self._transaction() as connection:
            found = await self._get(connection, account_id)
            if found is None:
                return None
            return found, _held(await self._grants(connection, account_id))

    async def by_login(self, app: str, login: str) -> Account | None:
        """Return who signs in under a name."""
        query = select(account).where(account.c.app == app, account.c.login == login)
        async with self._transaction() as connection:
            row = (await connection.execute(query)).first()
            return None if row is None else Account(**row._mapping)

    async def by_subject(self, issuer: str, subject: str) -> Account | None:
        """Return who signs in as a subject of OpenID Connect."""
        linked = account_subject.c
        query = select(account).join(account_subject, linked.account == account.c.id)
        query = query.where(linked.issuer == issuer, linked.subject == subject)
        async with self._transaction() as connection:
            row = (await connection.execute(query)).first()
            return None if row is None else Account(**row._mapping)

    async def add_of_subject(self, new: Account, issuer: str, subject: str) -> bool:
        """Keep a new account that signs in as a subject; False where somebody does already."""
        link = self._insert(account_subject).values(
            issuer=issuer, subject=subject, account=new.id, linked_at_s=new.created_at_s
        )
        try:
            async with self._read_then_write() as connection:
                await connection.execute(insert(account).values(new._asdict()))
                done = await connection.execute(link.on_conflict_do_nothing())
                if done.rowcount != 1:
                    raise _SubjectTaken
        except _SubjectTaken:
            return False
        return True

    async def page(
        self, after: str, limit: int, *, app: str | None = None, state: str | None = None
    ) -> list[Account]:
        """Return accounts in the order of ids, those after `after`."""
        query = select(account).where(account.c.id > after)
        if app is not None:
            query = query.where(account.c.app == app)
        if state is not None:
            query = query.where(account.c.state == state)
        async with self._transaction() as connection:
            rows = await connection.execute(query.order_by(account.c.id).limit(limit))
            return [Account(**row._mapping) for row in rows]

    async def change(self, before: Account, after: Account) -> Account | None:
        """Change an account; None, and nothing done, where it is not `before` any more."""
        after = after._replace(version=before.version + 1)
        statement = update(account).where(
            account.c.id == before.id, account.c.version == before.version
        )
        async with self._transaction() as connection:
            done = await connection.execute(statement.values(after._asdict()))
            return after if done.rowcount == 1 else None

    async def approve(self, account_id: str, by: str, at_s: int) -> Account | None:
        """Let an account that waits, or was suspended, be used; None where there is none.

        Raises:
            DutyRefused: who asked for an account does not approve it.
        """
        async with self._read_then_write() as connection:
            found = await self._get(connection, account_id, lock=True)
            if found is None or found.state == ACTIVE:
                return found
            parts = {Part.SUBJECT: found.id, Part.ASKED: found.created_by}
            if (say := refusal(Step.APPROVE_ACCOUNT, by, parts)) is not None:
                raise DutyRefused(say)
            approved = found._replace(
                state=ACTIVE,
                state_reason="",
                approved_by=by,
                approved_at_s=at_s,
                version=found.version + 1,
            )
            await connection.execute(
                update(account).where(account.c.id == account_id).values(approved._asdict())
            )
            return approved

    async def grants(self, account_id: str) -> list[Grant]:
        """Return what roles were asked for, the oldest first, those taken back too."""
        async with self._transaction() as connection:
            return await self._grants(connection, account_id)

    async def ask_role(self, new: Grant) -> Grant:
        """Ask for a role, or return the grant of it that is open already.

        Raises:
            DutyRefused: nobody asks for a role of their own; or the account's roles exclude it.
        """
        async with self._read_then_write() as connection:
            await self._get(connection, new.account, lock=True)
            grants = await self._grants(connection, new.account)
            for grant in grants:
                if grant.open and grant.role == new.role:
                    return grant
            if new.asked_by == new.account:
                raise DutyRefused(_NOT_ONESELF)
            # Also by what is only asked for: two open grants could each be confirmed.
            if (say := clash([g.role for g in grants if g.open], new.role)) is not None:
                raise DutyRefused(say)
            await connection.execute(insert(role_grant).values(new._asdict()))
            return new

    async def confirm_role(self, account_id: str, role: str, by: str, at_s: int) -> Grant | None:
        """Confirm a role that was asked for; None where it was not.

        Raises:
            DutyRefused: who asked for it or gets it does not confirm it.
        """
        async with self._read_then_write() as connection:
            await self._get(connection, account_id, lock=True)
            grants = await self._grants(connection, account_id)
            grant = next((g for g in grants if g.open and g.role == role), None)
            if grant is None or grant.confirmed_by is not None:
                return grant
            parts = {Part.SUBJECT: grant.account, Part.ASKED: grant.asked_by}
            if (say := refusal(Step.CONFIRM_ROLE, by, parts)) is not None:
                raise DutyRefused(say)
            confirmed = grant._replace(confirmed_by=by, confirmed_at_s=at_s)
            await self._write_grant(connection, confirmed)
            return confirmed

    async def end_role(self, account_id: str, role: str, by: str, at_s: int) -> Grant | None:
        """Take a role back, or refuse what was asked for; None where there is none."""
        async with self._read_then_write() as connection:
            await self._get(connection, account_id, lock=True)
            grants = await self._grants(connection, account_id)
            grant = next((g for g in grants if g.open and g.role == role), None)
            if grant is None:
                return None
            ended = grant._replace(ended_by=by, ended_at_s=at_s)
            await self._write_grant(connection, ended)
            return ended

    async def devices(self, account_id: str) -> list[Device]:
        """Return an account's devices, the one used last first."""
        query = select(device).where(device.c.account == account_id)
        async with self._transaction() as connection:
            rows = await connection.execute(query.order_by(device.c.seen_at_s.desc(), device.c.id))
            return [Device(**row._mapping) for row in rows]

    async def see_device(self, seen: Device, most: int) -> None:
        """Keep what an account is signed in with; of more than `most` the oldest are forgotten."""
        statement = self._insert(device).values(seen._asdict())
        kept = {"name": seen.name, "agent": seen.agent, "seen_at_s": seen.seen_at_s}
        async with self._read_then_write() as connection:
            await connection.execute(
                statement.on_conflict_do_update(
                    index_elements=["id"],
                    set_=kept | {"address": seen.address},
                    where=device.c.account == seen.account,
                )
            )
            old = (
                select(device.c.id)
                .where(device.c.account == seen.account)
                .order_by(device.c.seen_at_s.desc(), device.c.id)
                .offset(most)
                .limit(100)
            )
            gone = (await connection.scalars(old)).all()
            if gone:
                await connection.execute(delete(device).where(device.c.id.in_(gone)))

    async def forget_device(self, account_id: str, device_id: str) -> bool:
        """Forget a device; False where the account has none of this id."""
        statement = delete(device).where(device.c.account == account_id, device.c.id == device_id)
        async with self._transaction() as connection:
            return (await connection.execute(statement)).rowcount == 1

    async def put_avatar(self, digest: str, media_type: str, content: bytes, at_s: int) -> None:
        """Keep a picture; the same one is there once."""
        statement = self._insert(avatar).values(
            digest=digest, media_type=media_type, content=content, created_at_s=at_s
        )
        async with self._transaction() as connection:
            await connection.execute(statement.on_conflict_do_nothing())

    async def avatar(self, digest: str) -> tuple[str, bytes] | None:
        """Return the media type and the content of a picture that somebody shows."""
        query = select(avatar.c.media_type, avatar.c.content).where(avatar.c.digest == digest)
        query = query.where(select(account.c.id).where(account.c.avatar == digest).exists())
        async with self._transaction() as connection:
            row = (await connection.execute(query)).first()
            return None if row is None else (row.media_type, row.content)

    async def forget_avatars(self, before_s: float) -> int:
        """Delete pictures that nobody shows and that were put before a moment."""
        shown = select(account.c.avatar).where(account.c.avatar.is_not(None))
        statement = delete(avatar).where(
            avatar.c.created_at_s < int(before_s), avatar.c.digest.not_in(shown)
        )
        async with self._transaction() as connection:
            return (await connection.execute(statement)).rowcount

    async def _get(
        self, connection: AsyncConnection, account_id: str, *, lock: bool = False
    ) -> Account | None:
        query = select(account).where(account.c.id == account_id)
        row = (await connection.execute(query.with_for_update() if lock else query)).first()
        return None if row is None else Account(**row._mapping)

    async def _grants(self, connection: AsyncConnection, account_id: str) -> list[Grant]:
        query = select(role_grant).where(role_grant.c.account == account_id)
        rows = await connection.execute(query.order_by(role_grant.c.asked_at_s, role_grant.c.id))
        return [Grant(**row._mapping) for row in rows]

    async def _write_grant(self, connection: AsyncConnection, grant: Grant) -> None:
        await connection.execute(
            update(role_grant).where(role_grant.c.id == grant.id).values(grant._asdict())
        )


_NOT_ONESELF = Say("자기 역할은 스스로 신청할 수 없습니다", "nobody asks for a role of their own")


def _held(grants: Collection[Grant]) -> frozenset[str]:
    return frozenset(grant.role for grant in grants if grant.holds)
