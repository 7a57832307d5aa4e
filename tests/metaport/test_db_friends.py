"""Friends and blocks on both databases."""

import asyncio

import pytest
from sqlalchemy import insert
from sqlalchemy.exc import IntegrityError

from metaport.db import friends as module
from metaport.db.engine import open_engine, sqlite_url
from metaport.db.friends import BlockedByAsker, SqlFriends, Tie, TooMany, pair_of
from metaport.db.person import Erasure, Persons
from metaport.db.tables.friendship import block, friendship


@pytest.fixture(params=["sqlite", "postgresql"])
async def engine(request, tmp_path):
    sqlite = sqlite_url(tmp_path / "metaport.db")
    url = sqlite if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    engine = await open_engine(url)
    yield engine
    await engine.dispose()


@pytest.fixture
def friends(engine):
    return SqlFriends(engine)


def users(found):
    return [each.user for each in found]


async def test_who_asks_waits_until_the_other_accepts(friends):
    assert await friends.ask("ann", "ben", 1) is Tie.WAITING
    assert await friends.ask("ann", "ben", 2) is Tie.WAITING
    assert await friends.requests_of("ann", "", 9) == [("ben", None, 1)]
    assert await friends.requests_to("ben", "", 9) == [("ann", None, 1)]
    assert not await friends.accept("ann", "ben", 3)  # who asked does not accept
    assert await friends.friends("ann", "", 9) == []
    assert await friends.accept("ben", "ann", 3)
    for one, other in (("ann", "ben"), ("ben", "ann")):
        assert await friends.friends(one, "", 9) == [(other, None, 3)]
        assert await friends.ask(one, other, 4) is Tie.FRIEND
    assert not await friends.part("ann", "ben", friends=False)
    assert await friends.part("ben", "ann", friends=True)
    assert await friends.friends("ann", "", 9) == []
    assert not await friends.accept("ben", "ann", 5)


async def test_a_request_is_declined_or_taken_back(friends):
    for one, other in (("ben", "ann"), ("ann", "ben")):
        await friends.ask("ann", "ben", 1)
        assert await friends.part(one, other, friends=False)
        assert await friends.requests_to("ben", "", 9) == []


async def test_two_who_ask_each_other_at_once_are_friends(friends):
    for number in range(5):
        one, other = f"a{number}", f"b{number}"
        ties = await asyncio.gather(friends.ask(one, other, 1), friends.ask(other, one, 1))
        assert set(ties) == {Tie.WAITING, Tie.FRIEND}
        assert users(await friends.friends(one, "", 9)) == [other]


async def test_lists_go_page_by_page(friends):
    for name in ("eve", "ben", "cho", "dan"):
        await friends.ask("ann", name, 1)
        await friends.accept(name, "ann", 2)
    assert users(await friends.friends("ann", "", 2)) == ["ben", "cho"]
    assert users(await friends.friends("ann", "cho", 9)) == ["dan", "eve"]


async def test_who_is_blocked_cannot_tell_by_asking(friends):
    await friends.block("ben", "ann", 1)
    assert await friends.ask("ann", "ben", 2) is Tie.WAITING
    assert users(await friends.requests_of("ann", "", 9)) == ["ben"]
    assert await friends.requests_to("ben", "", 9) == []
    assert not await friends.accept("ben", "ann", 3)
    assert not await friends.part("ben", "ann", friends=False)
    with pytest.raises(BlockedByAsker):
        await friends.ask("ben", "ann", 3)
    assert await friends.apart("ann", "ben")
    assert await friends.apart("ben", "ann")
    assert await friends.unblock("ben", "ann")
    assert not await friends.unblock("ben", "ann")
    assert users(await friends.requests_to("ben", "", 9)) == ["ann"]


async def test_a_block_ends_a_friendship_and_the_blockers_own_request(friends):
    await friends.ask("ann", "ben", 1)
    await friends.accept("ben", "ann", 2)
    await friends.ask("ben", "cho", 2)
    for name in ("ann", "cho", "cho"):
        await friends.block("ben", name, 3)
    assert await friends.friends("ann", "", 9) == await friends.requests_to("cho", "", 9) == []
    assert await friends.blocks("ben", "", 9) == [("ann", None, 3), ("cho", None, 3)]


async def test_nobody_has_too_many_even_at_once(friends, monkeypatch):
    monkeypatch.setattr(module, "MAX_REQUESTS", 2)
    monkeypatch.setattr(module, "MAX_FRIENDS", 2)
    monkeypatch.setattr(module, "MAX_BLOCKS", 2)
    asked = [friends.ask("ann", f"u{n}", 1) for n in range(5)]
    done = await asyncio.gather(*asked, return_exceptions=True)
    assert sum(isinstance(each, TooMany) for each in done) == 3
    for n in range(3):
        await friends.ask(f"v{n}", "ben", 1)
    taken = [friends.accept("ben", f"v{n}", 2) for n in range(3)]
    done = await asyncio.gather(*taken, return_exceptions=True)
    assert sum(isinstance(each, TooMany) for each in done) == 1
    blocked = [friends.block("cho", f"w{n}", 1) for n in range(4)]
    done = await asyncio.gather(*blocked, return_exceptions=True)
    assert sum(isinstance(each, TooMany) for each in done) == 2


@pytest.mark.parametrize(
    ("table", "values"),
    [
        (friendship, {"pair": "x" * 64, "asker": "a", "asked": "a", "asked_at_s": 1}),
        (block, {"blocker": "a", "blocked": "a", "at_s": 1}),
    ],
)
async def test_the_database_keeps_nobody_who_befriends_or_blocks_themself(engine, table, values):
    async with engine.connect() as connection:
        with pytest.raises(IntegrityError):
            await connection.execute(insert(table).values(values))


async def test_the_database_keeps_one_row_a_pair(engine, friends):
    await friends.ask("ann", "ben", 1)
    twin = {"pair": pair_of("ben", "ann"), "asker": "ben", "asked": "ann", "asked_at_s": 1}
    async with engine.connect() as connection:
        with pytest.raises(IntegrityError):
            await connection.execute(insert(friendship).values(twin))


async def test_an_export_tells_ones_own_and_not_who_blocks_one_and_an_erasure_leaves_none(
    engine, friends
):
    await friends.ask("ann", "cho", 1)
    await friends.block("ann", "dan", 1)
    await friends.block("ben", "ann", 1)
    persons = Persons(engine)
    told = [(table, row) async for table, row in persons.rows(["ann"])]
    assert [table for table, _ in told] == ["block", "friendship"]
    assert told[0][1] == {"blocker": "ann", "blocked": "dan", "at_s": 1}
    begun = await persons.begin_erasure(Erasure("erased-1", "ann", "self", 1, None, {}))
    await persons.erase(begun, ["ann"], 2)
    assert await friends.blocks("ann", "", 9) == await friends.requests_to("cho", "", 9) == []
    assert users(await friends.blocks("ben", "", 9)) == ["erased-1"]
