import pytest

from chatd.moderation import Removal, Sanction
from chatd.signals import LocalSignals
from metaport.background import background
from metaport.db.errors import DatabaseUnavailable
from metaport.moderation_act import Act
from metaport.moderation_file import ActFile
from metaport.moderation_watch import ACTS_AT_A_TIME, ModerationWatch
from tests.chatd.station import until

BAN = Act("ban", "hall", "eve", "host", 0)
REMOVE = Act("remove", "hall", None, "host", 0, epoch="e1", offset=7)


class Acts:
    """A database in a list."""

    def __init__(self, *acts):
        self.acts = []
        self.away = False
        for act in acts:
            self.add(act)

    def add(self, act):
        self.acts.append(act._replace(revision=len(self.acts) + 1))

    async def since(self, revision, limit):
        return [act for act in self.acts if act.revision > revision][:limit]

    async def revision(self):
        if self.away:
            raise DatabaseUnavailable("away")
        return len(self.acts)


class Hub:
    """What the book has told."""

    def __init__(self):
        self.told = []

    def sanctioned(self, user):
        self.told.append(user)

    def removed(self, removal):
        self.told.append(removal)


def watch_of(store, path, signals=None):
    watch = ModerationWatch(store, ActFile(path), signals or LocalSignals(), lambda: 0.0)
    watch.recall()
    hub = Hub()
    watch.book.listen(hub)
    return watch, hub


async def test_what_is_new_is_told_once_and_what_was_known_outlives_a_restart(tmp_path):
    store = Acts(BAN)
    watch, hub = watch_of(store, tmp_path / "acts")
    await watch.look()
    store.add(REMOVE)
    await watch.look()
    await watch.look()
    assert hub.told == ["eve", Removal("hall", "e1", 7, "host")]
    store.away = True
    after, hub = watch_of(store, tmp_path / "acts")
    assert after.book.barred("eve", "hall", 0) == Sanction("hall", "eve", by="host")
    assert after.book.gone("hall", "e1") == {7}
    with pytest.raises(DatabaseUnavailable):
        await after.look()
    store.away = False
    await after.look()
    assert hub.told == [], "nothing was new"


async def test_what_was_lifted_while_the_hub_was_away_is_lifted(tmp_path):
    store = Acts(BAN)
    first, _ = watch_of(store, tmp_path / "acts")
    await first.look()
    store.add(BAN._replace(act="unban"))
    second, hub = watch_of(store, tmp_path / "acts")
    await second.look()
    assert second.book.barred("eve", "hall", 0) is None
    assert hub.told == ["eve"]


async def test_a_database_from_a_backup_holds(tmp_path):
    store = Acts(REMOVE, BAN)
    watch, _ = watch_of(store, tmp_path / "acts")
    await watch.look()
    store.acts.pop()
    await watch.look()
    assert watch.book.barred("eve", "hall", 0) is None
    third, _ = watch_of(store, tmp_path / "acts")
    assert third.book.barred("eve", "hall", 0) is None


async def test_more_than_is_read_at_once_is_all_read(tmp_path):
    store = Acts(*(BAN._replace(user=f"u{n}") for n in range(ACTS_AT_A_TIME + 1)))
    watch, hub = watch_of(store, tmp_path / "acts")
    await watch.look()
    assert len(hub.told) == ACTS_AT_A_TIME + 1


async def test_another_hub_looks_when_it_hears_of_it(tmp_path):
    store, signals = Acts(), LocalSignals()
    here, _ = watch_of(store, tmp_path / "here", signals)
    there, hub = watch_of(store, tmp_path / "there", signals.beside())
    async with background(follow=there.run()):
        store.add(BAN)
        here.tell()
        await until(lambda: hub.told, "a look")


async def test_a_torn_or_foreign_line_is_left_out(tmp_path):
    file = ActFile(tmp_path / "acts")
    file.append([BAN, REMOVE])
    path = tmp_path / "acts"
    path.write_bytes(path.read_bytes()[:-9] + b"\xff\n{}\n[1]\n")
    file.append([REMOVE])
    assert list(file.read()) == [BAN, REMOVE]
