import pytest

from chatd.room_book import RoomsAway, RoomSettings
from chatd.signals import LocalSignals
from metaport.background import background
from metaport.db.engine import open_engine, sqlite_url
from metaport.db.errors import DatabaseUnavailable
from metaport.db.rooms import RoomChange, SqlRooms
from metaport.room_file import RoomFile
from metaport.room_watch import CHANGES_AT_A_TIME, RoomWatch
from tests.chatd.station import until

OFFICE = RoomSettings("office", "private", users=("ann",))
FAIR = RoomSettings("fair", persistent=False)


class AwayStore:
    """A database nobody reaches."""

    async def since(self, revision, limit):
        raise DatabaseUnavailable("away")

    async def revision(self):
        raise DatabaseUnavailable("away")


@pytest.fixture
async def store(tmp_path):
    engine = await open_engine(sqlite_url(tmp_path / "metaport.db"))
    yield SqlRooms(engine)
    await engine.dispose()


@pytest.fixture
def file(tmp_path):
    return RoomFile(tmp_path / "rooms.jsonl")


def watch_of(store, file, signals=None):
    watch = RoomWatch(store, file, signals or LocalSignals())
    watch.recall()
    return watch


async def test_a_hub_that_never_knew_lets_nobody_in_until_it_does(store, file):
    watch = watch_of(AwayStore(), file)
    with pytest.raises(DatabaseUnavailable):
        await watch.look()
    await watch.try_to_look(1)
    assert watch.failing == "away"
    with pytest.raises(RoomsAway):
        watch.book.settings("office")
    knowing = watch_of(store, file)
    await knowing.look()
    assert knowing.book.settings("office") is None


async def test_what_is_new_is_told_and_what_was_known_outlives_a_restart(store, file):
    watch, changed = watch_of(store, file), []
    watch.book.listen(changed.append)
    await watch.look()
    await store.create(OFFICE, "admin", 0)
    await store.create(FAIR, "admin", 0)
    await watch.changed()
    await store.remove("fair", "admin", 0)
    await watch.look()
    assert changed == ["office", "fair", "fair"]
    after = watch_of(AwayStore(), file)
    assert after.book.settings("office") == OFFICE
    assert after.book.everything() == [OFFICE]
    again = watch_of(AwayStore(), file)
    assert again.book.everything() == [OFFICE], "the file was rewritten"


async def test_what_was_removed_while_the_hub_was_away_is_gone(store, file):
    first = watch_of(store, file)
    await store.create(OFFICE, "admin", 0)
    await first.look()
    await store.remove("office", "admin", 0)
    second = watch_of(store, file)
    assert second.book.settings("office") == OFFICE
    await second.look()
    assert second.book.settings("office") is None


async def test_a_database_from_a_backup_holds(tmp_path, store, file):
    watch = watch_of(store, file)
    await store.create(OFFICE, "admin", 0)
    await store.create(FAIR, "admin", 0)
    await watch.look()
    engine = await open_engine(sqlite_url(tmp_path / "backup.db"))
    backup = SqlRooms(engine)
    await backup.create(FAIR, "admin", 0)
    watch._store = backup
    await watch.look()
    await engine.dispose()
    assert watch.book.everything() == [FAIR]


async def test_more_changes_than_are_read_at_once_are_all_read(store, file):
    total = 2 * CHANGES_AT_A_TIME + 1

    class Many:
        async def revision(self):
            return total

        async def since(self, revision, limit):
            numbers = range(revision + 1, min(revision + limit, total) + 1)
            return [RoomChange(f"r-{n}", RoomSettings(f"r-{n}"), n) for n in numbers]

    watch = watch_of(Many(), file)
    await watch.look()
    assert len(watch.book.everything()) == total


async def test_another_hub_hears_of_a_change_by_signal(store, file, tmp_path):
    signals = LocalSignals()
    here, there = (
        watch_of(store, file, signals),
        watch_of(store, RoomFile(tmp_path / "other"), signals.beside()),
    )
    await here.look()
    async with background(follow=there.run()):
        await until(lambda: not there.book.away, "a first look")
        await store.create(OFFICE, "admin", 0)
        await here.changed()
        await until(lambda: there.book.settings("office") == OFFICE, "a signal")


def test_a_torn_or_foreign_line_is_left_out(file, tmp_path):
    file.append([("office", OFFICE), ("fair", FAIR)])
    path = tmp_path / "rooms.jsonl"
    path.write_bytes(path.read_bytes()[:-9] + b"\xff\n{}\n[1]\n")
    file.append([("late", None)])
    assert list(file.read()) == [("office", OFFICE), ("late", None)]
