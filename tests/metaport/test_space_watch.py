import pytest

from chatd.signals import LocalSignals
from chatd.spaces import SpaceSettings
from metaport.background import background
from metaport.db.engine import open_engine, sqlite_url
from metaport.db.errors import DatabaseUnavailable
from metaport.db.spaces import SqlSpaces
from metaport.space_watch import SpaceWatch
from tests.chatd.station import until

HALL = SpaceSettings("hall", closed=True)


class AwayStore:
    """A database nobody reaches."""

    async def since(self, revision, limit):
        raise DatabaseUnavailable("away")

    async def revision(self):
        raise DatabaseUnavailable("away")


@pytest.fixture
async def store(tmp_path):
    engine = await open_engine(sqlite_url(tmp_path / "metaport.db"))
    yield SqlSpaces(engine)
    await engine.dispose()


def watch_of(store, path, signals=None):
    watch = SpaceWatch(store, path, signals or LocalSignals())
    watch.recall()
    return watch


async def test_what_is_new_is_told_and_what_was_known_outlives_a_restart(store, tmp_path):
    watch, told = watch_of(store, tmp_path / "spaces"), []
    watch.book.listen(lambda before, after: told.append((before, after)))
    await watch.look()
    await store.create(HALL, "admin", 0)
    await watch.changed()
    assert told == [(None, HALL)]
    after = watch_of(AwayStore(), tmp_path / "spaces")
    await after.try_to_look(1)
    assert after.failing == "away"
    assert after.book.settings("hall") == HALL
    await store.remove("hall", "admin", 0)
    again = watch_of(store, tmp_path / "spaces")
    await again.look()
    assert again.book.everything() == []


async def test_another_hub_hears_of_it(store, tmp_path):
    signals = LocalSignals()
    here = watch_of(store, tmp_path / "a", signals)
    there = watch_of(store, tmp_path / "b", signals.beside())
    async with background(follow=there.run()):
        await store.create(HALL, "admin", 0)
        await here.changed()
        await until(lambda: there.book.settings("hall") == HALL, "a signal")


@pytest.mark.parametrize("torn", [b"", b"[{", b"\xff", b'[{"space": 7}]', b"[[]]"])
def test_a_file_that_says_nothing_is_left_alone(tmp_path, torn):
    path = tmp_path / "spaces"
    path.write_bytes(torn)
    assert watch_of(AwayStore(), path).book.everything() == []
