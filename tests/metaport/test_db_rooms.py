import asyncio

import pytest

from chatd.room_book import RoomSettings, direct_room
from metaport.db.engine import open_engine, sqlite_url
from metaport.db.errors import DatabaseUnavailable
from metaport.db.rooms import RoomChange, SqlRooms

OFFICE = RoomSettings("상담실", "private", capacity=20, users=("방문자", "b"), guests=False)
FAIR = RoomSettings("fair", persistent=False)


@pytest.fixture(params=["sqlite", "postgresql"])
async def engine(request, tmp_path):
    sqlite = sqlite_url(tmp_path / "metaport.db")
    url = sqlite if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    engine = await open_engine(url)
    yield engine
    await engine.dispose()


@pytest.fixture
def rooms(engine):
    return SqlRooms(engine)


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


async def test_changes_at_once_are_each_in_their_order(engine):
    writers = [SqlRooms(engine) for _ in range(4)]
    await writers[0].get("prepared")
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
