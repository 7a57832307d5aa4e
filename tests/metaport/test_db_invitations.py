"""Invitations on both databases."""

import asyncio

import pytest
from sqlalchemy import update
from sqlalchemy.exc import IntegrityError

from metaport.db import invitations as module
from metaport.db.engine import open_engine, sqlite_url
from metaport.db.invitations import Invitation, SqlInvitations, TooManyInvitations
from metaport.db.person import Erasure, Persons
from metaport.db.tables.invitation import invitation


@pytest.fixture(params=["sqlite", "postgresql"])
async def engine(request, tmp_path):
    sqlite = sqlite_url(tmp_path / "metaport.db")
    url = sqlite if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    engine = await open_engine(url)
    yield engine
    await engine.dispose()


@pytest.fixture
def invitations(engine):
    return SqlInvitations(engine)


def made(name="i1", uses=1, at=100, by="host"):
    return Invitation(name, "room", uses, 0, by, at, at + 100)


async def test_many_at_once_come_as_many_as_it_is_for(invitations):
    await invitations.make(made(uses=3), "code")
    came = await asyncio.gather(*(invitations.redeem("code", f"u{n}", 101) for n in range(8)))
    assert sorted(came, key=str) == [None] * 5 + ["room"] * 3
    assert [each.uses for each in await invitations.page("room", "", 9)] == [3]


async def test_one_person_at_once_and_again_is_counted_once(invitations):
    await invitations.make(made(uses=2), "code")
    came = await asyncio.gather(*(invitations.redeem("code", "ann", 101) for _ in range(5)))
    assert came == ["room"] * 5
    assert await invitations.redeem("code", "ben", 101) == "room"
    assert await invitations.redeem("code", "cho", 101) is None
    assert await invitations.redeem("code", "ann", 101) == "room"


async def test_what_is_unknown_over_or_taken_back_is_not_good(invitations):
    await invitations.make(made(), "code")
    assert await invitations.redeem("other", "ann", 101) is None
    assert await invitations.redeem("code", "ann", 200) is None
    assert not await invitations.revoke("room", "i1", "eve", made_by="eve")
    assert not await invitations.revoke("other", "i1", "host")
    assert await invitations.revoke("room", "i1", "host", made_by="host")
    assert await invitations.revoke("room", "i1", "admin")
    assert await invitations.redeem("code", "ann", 101) is None
    assert [each.revoked_by for each in await invitations.page("room", "", 9)] == ["host"]


async def test_lists_are_of_a_room_and_a_maker_and_forget(invitations, monkeypatch):
    for name, by in (("i1", "host"), ("i2", "eve"), ("i3", "host")):
        await invitations.make(made(name, by=by), name)
    assert await invitations.page("other", "", 9) == []
    assert await invitations.page("room", "i1", 1) == [made("i2", by="eve")]
    assert await invitations.page("room", "", 9, made_by="host") == [made("i1"), made("i3")]
    await invitations.redeem("i1", "ann", 101)
    late = made("i4", at=201 + module.KEPT_S)
    await invitations.make(late, "i4")
    assert await invitations.page("room", "", 9) == [late]


async def test_a_room_has_a_bounded_number_of_open_ones(invitations, monkeypatch):
    monkeypatch.setattr(module, "MAX_OPEN", 2)
    many = (invitations.make(made(f"i{n}"), f"c{n}") for n in range(4))
    done = await asyncio.gather(*many, return_exceptions=True)
    assert sum(isinstance(each, TooManyInvitations) for each in done) == 2
    (first, _) = await invitations.page("room", "", 9)
    await invitations.revoke("room", first.id, "host")
    await invitations.make(made("i9"), "c9")


async def test_the_database_bounds_uses_and_keeps_no_code(engine, invitations):
    await invitations.make(made(), "the-code")
    async with engine.connect() as connection:
        rows = (await connection.execute(invitation.select())).all()
        assert "the-code" not in str(rows)
        with pytest.raises(IntegrityError):
            await connection.execute(update(invitation).values(uses=2))


async def test_who_made_one_and_who_came_are_told_and_erased(engine, invitations):
    await invitations.make(made(uses=2), "code")
    await invitations.redeem("code", "ann", 101)
    persons = Persons(engine)
    for name, table in (("host", "invitation"), ("ann", "invitation_use")):
        told = [(found, row) async for found, row in persons.rows([name])]
        assert [found for found, _ in told] == [table]
        assert "digest" not in told[0][1]
        begun = await persons.begin_erasure(Erasure(f"erased-{name}", name, "self", 1, None, {}))
        await persons.erase(begun, [name], 2)
        assert [found async for found, _ in persons.rows([name])] == ["erasure"]
    (left,) = await invitations.page("room", "", 9)
    assert (left.made_by, left.uses) == ("erased-host", 1)
