import asyncio
from contextlib import asynccontextmanager

import pytest
from sqlalchemy import text

from chatd.room_book import RoomSettings, direct_room
from metaport.db.direct import DirectPool
from metaport.db.engine import open_engine, sqlite_url
from metaport.db.errors import DatabaseUnavailable
from metaport.db.rooms import _LOCK, RoomChange, SqlRooms

OFFICE = RoomSettings("상담실", "private", capacity=20, users=("방문자", "b"), guests=False)
FAIR = RoomSettings("fair", persistent=False)


@pytest.fixture(params=["sqlite", "postgresql", "direct"])
async def store(request, tmp_path):
    """Return what makes stores of one database."""
    sqlite = sqlite_url(tmp_path / "metaport.db")
    url = sqlite if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    async with stores(url, directly=request.param == "direct") as store:
        yield store


@pytest.fixture(params=["postgresql", "direct"])
async def on_postgres(request, postgres_url):
    async with stores(postgres_url, directly=request.param == "direct") as store:
        yield store


@asynccontextmanager
async def stores(url, *, directly):
    engine = await open_engine(url)
    direct = DirectPool(engine.url) if directly else None

    async def make():
        rooms = SqlRooms(engine, direct)
        await rooms.page("", 1)  # finds the schema
        return rooms

    yield make
    if direct is not None:
        await direct.close()
    await engine.dispose()


@pytest.fixture
async def rooms(store):
    return await store()


async def test_what_is_laid_down_is_read_back(rooms):
    direct = RoomSettings(direct_room("a", "b"), "direct", users=("a", "b"), subscribed=True)
    assert await rooms.revision() == 0
    for settings in (OFFICE, FAIR, direct):
        assert await rooms.create(settings, "admin", 1_790_000_000.5) is None
        assert await rooms.get(settings.room) == settings
    assert await rooms.create(RoomSettings("fair"), "admin", 0) == FAIR
    assert await rooms.get("nowhere") is None
    assert await rooms.page("", 10) == [direct, FAIR, OFFICE]
    assert await rooms.page(direct.room, 1) == [FAIR]
    assert await rooms.since(1, 10) == [
        RoomChange("fair", FAIR, 2),
        RoomChange(direct.room, direct, 3),
    ]
    assert await rooms.since(0, 1) == [RoomChange("상담실", OFFICE, 1)]


async def test_of_two_changes_from_the_same_state_one_is_done(rooms):
    await rooms.create(OFFICE, "admin", 0)
    smaller = RoomSettings("상담실", "private", capacity=2)
    assert await rooms.change(OFFICE, smaller, "admin", 1)
    assert not await rooms.change(OFFICE, FAIR, "admin", 2)
    assert await rooms.get("상담실") == smaller
    assert await rooms.since(1, 10) == [RoomChange("상담실", smaller, 2)]


async def test_what_is_removed_is_told_and_may_come_again(rooms):
    await rooms.create(FAIR, "admin", 0)
    assert await rooms.remove("fair", "admin", 1)
    assert not await rooms.remove("fair", "admin", 1)
    assert not await rooms.remove("nowhere", "admin", 1)
    assert await rooms.get("fair") is None
    assert await rooms.page("", 10) == []
    assert await rooms.since(0, 10) == [RoomChange("fair", None, 2)]
    assert await rooms.create(FAIR, "admin", 2) is None
    assert await rooms.since(2, 10) == [RoomChange("fair", FAIR, 3)]


async def test_changes_at_once_are_each_in_their_order(store):
    writers = [await store() for _ in range(4)]
    made = [RoomSettings(f"room-{number}") for number in range(20)]
    await asyncio.gather(
        *(writers[n % 4].create(settings, "admin", 0) for n, settings in enumerate(made))
    )
    changes = await writers[0].since(0, 100)
    assert [change.revision for change in changes] == list(range(1, 21))
    assert {change.settings for change in changes} == set(made)


async def test_without_a_way_in_it_says_so(tmp_path):
    engine = await open_engine(sqlite_url(tmp_path / "metaport.db"))
    await engine.dispose()
    (tmp_path / "metaport.db").unlink()
    (tmp_path / "metaport.db").mkdir()
    with pytest.raises(DatabaseUnavailable):
        await SqlRooms(engine).get("fair")
    await engine.dispose()


async def test_of_many_who_want_the_same_at_once_one_is_done_and_the_others_stand(rooms):
    await rooms.create(OFFICE, "admin", 0)
    smaller = RoomSettings("상담실", "private", capacity=2)
    made = [RoomSettings(f"room-{number}") for number in range(10)]
    changed, removed, *found = await asyncio.gather(
        asyncio.gather(*(rooms.change(OFFICE, smaller, "admin", 1) for _ in range(5))),
        asyncio.gather(*(rooms.remove("nowhere", "admin", 1) for _ in range(5))),
        *(rooms.create(FAIR, user, 1) for user in "abc"),
        *(rooms.create(settings, "admin", 1) for settings in made),
    )
    assert sorted(changed) == [False] * 4 + [True]
    assert removed == [False] * 5
    assert found == [None, FAIR, FAIR] + [None] * 10
    changes = await rooms.since(0, 100)
    assert [change.revision for change in changes] == list(range(2, 14))
    assert {change.settings for change in changes} == {smaller, FAIR, *made}


async def test_a_room_that_comes_and_goes_in_one_commit_is_gone(rooms):
    await rooms.create(OFFICE, "admin", 0)
    told = await asyncio.gather(
        rooms.create(FAIR, "a", 1),
        rooms.remove("fair", "b", 2),
        rooms.remove("fair", "c", 3),
        rooms.remove("상담실", "d", 4),
        rooms.create(OFFICE, "e", 5),
    )
    assert told == [None, True, False, True, None]
    assert await rooms.since(1, 10) == [
        RoomChange("fair", None, 3),
        RoomChange("상담실", OFFICE, 5),
    ]


async def test_a_room_the_database_cannot_keep_fails_by_itself(on_postgres):
    rooms = await on_postgres()
    good, bad, late = await asyncio.gather(
        rooms.create(FAIR, "a", 1),
        rooms.create(RoomSettings("nul\x00"), "a", 1),
        rooms.create(OFFICE, "a", 1),
        return_exceptions=True,
    )
    assert (good, late) == (None, None)
    assert isinstance(bad, DatabaseUnavailable)
    assert [change.settings for change in await rooms.since(0, 10)] == [FAIR, OFFICE]


async def test_a_server_that_dies_in_a_commit_leaves_nothing_half_done(on_postgres):
    rooms = await on_postgres()
    await rooms.create(OFFICE, "a", 0)
    async with rooms._engine.connect() as other:
        # Held by another hub, so that the commit is under way until its connection is ended.
        await other.execute(text("SELECT pg_advisory_lock(:lock)"), {"lock": _LOCK})
        made = [RoomSettings(f"room-{number}") for number in range(10)]
        asked = [asyncio.create_task(rooms.create(each, "a", 1)) for each in made]
        ended = (
            "SELECT pg_terminate_backend(pid) FROM pg_locks JOIN pg_database ON oid = database"
            " WHERE locktype = 'advisory' AND NOT granted AND datname = current_database()"
        )
        while not (await other.execute(text(ended))).all():  # noqa: ASYNC110 - another server
            await asyncio.sleep(0.01)
        told = await asyncio.gather(*asked, return_exceptions=True)
        assert [type(each) for each in told] == [DatabaseUnavailable] * 10
        await other.execute(text("SELECT pg_advisory_unlock(:lock)"), {"lock": _LOCK})
    assert await rooms.since(1, 100) == []
    assert await rooms.create(FAIR, "a", 2) is None
    assert await rooms.since(1, 100) == [RoomChange("fair", FAIR, 2)]
