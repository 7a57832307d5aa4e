import asyncio

import pytest

from chatd.opening_hours import Stretch
from chatd.spaces import SpaceSettings, with_state
from metaport.db.engine import open_engine, sqlite_url
from metaport.db.spaces import SpaceChange, SqlSpaces

PARK = SpaceSettings(
    "금오산", "금오산", "Geumosan", 300, hours=(Stretch(("mon", "tue"), "09:00", "18:00"),)
)
HALL = SpaceSettings("hall", closed=True)


@pytest.fixture(params=["sqlite", "postgresql"])
async def spaces(request, tmp_path):
    sqlite = sqlite_url(tmp_path / "metaport.db")
    url = sqlite if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    engine = await open_engine(url)
    yield SqlSpaces(engine)
    await engine.dispose()


async def test_what_is_laid_down_is_read_back(spaces):
    assert await spaces.revision() == 0
    for settings in (PARK, HALL):
        assert await spaces.create(settings, "admin", 0) is None
        assert await spaces.get(settings.space) == settings
    assert await spaces.create(SpaceSettings("hall"), "admin", 0) == HALL
    assert await spaces.page("", 10) == [HALL, PARK]
    assert await spaces.since(1, 10) == [SpaceChange("hall", HALL, 2)]


async def test_of_changes_from_the_same_state_one_is_done(spaces):
    await spaces.create(PARK, "admin", 0)
    changes = [with_state(PARK, {"by": number}) for number in range(5)]
    done = await asyncio.gather(*(spaces.change(PARK, each, "admin", 1) for each in changes))
    assert sorted(done) == [False, False, False, False, True]
    assert (await spaces.get("금오산")).state_revision == 1


async def test_what_is_removed_is_told_and_may_come_again(spaces):
    await spaces.create(HALL, "admin", 0)
    assert await spaces.remove("hall", "admin", 1)
    assert not await spaces.remove("hall", "admin", 1)
    assert await spaces.get("hall") is None
    assert await spaces.since(0, 10) == [SpaceChange("hall", None, 2)]
    assert await spaces.create(HALL, "admin", 2) is None
