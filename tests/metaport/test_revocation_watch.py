import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from chatd.signals import LocalSignals
from metaport import revocation_watch
from metaport.db.engine import open_engine, sqlite_url
from metaport.db.errors import DatabaseUnavailable
from metaport.db.revocations import SqlRevocations
from metaport.revocation import Revocation, Revocations, of_token_id, of_user
from metaport.revocation_file import RevocationFile
from metaport.revocation_watch import RevocationWatch

NOW = 1_800_000_000.0


class Hub:
    """What one hub has of revocation: its list, its disk, and how often it acted."""

    def __init__(self, store, path: Path, signals=None) -> None:
        self.known = Revocations()
        self.acted = 0
        self.file = RevocationFile(path)
        self.watch = RevocationWatch(
            self.known,
            store,
            self.file,
            signals or LocalSignals(),
            enforce=self.act,
            clock=lambda: NOW,
        )
        self.watch.recall()

    def act(self) -> None:
        self.acted += 1

    def has(self, user: str) -> bool:
        return self.known.covers(user, None, NOW - 1)


class AwayStore:
    """A database nobody reaches."""

    async def add(self, revocations, at_s) -> None:
        raise DatabaseUnavailable("away")

    async def since(self, serial):
        raise DatabaseUnavailable("away")

    async def forget(self, now) -> None:
        raise DatabaseUnavailable("away")


@pytest.fixture(params=["sqlite", "postgresql"])
async def store(request: pytest.FixtureRequest, tmp_path: Path):
    sqlite = sqlite_url(tmp_path / "metaport.db")
    url = sqlite if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    engine = await open_engine(url)
    yield SqlRevocations(engine)
    await engine.dispose()


async def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.005)


async def test_it_holds_here_at_once_and_at_every_hub_that_looks(store, tmp_path: Path) -> None:
    here, there = (Hub(store, tmp_path / name) for name in ("here", "there"))
    await there.watch.look()
    assert await here.watch.revoke(of_user("u1", NOW, NOW)) is True
    assert (here.has("u1"), here.acted) == (True, 1)
    assert not there.has("u1")
    await there.watch.look()
    assert (there.has("u1"), there.acted) == (True, 1)
    await here.watch.look()
    await there.watch.look()
    assert (here.acted, there.acted) == (1, 1), "nobody acts twice"


async def test_what_was_revoked_holds_after_a_restart_without_a_database(
    store, tmp_path: Path
) -> None:
    await Hub(store, tmp_path / "here").watch.revoke(of_user("u1", NOW, NOW))
    assert Hub(AwayStore(), tmp_path / "here").has("u1")
    fresh = Hub(store, tmp_path / "another")
    assert not fresh.has("u1")
    await fresh.watch.look()
    assert fresh.has("u1")


async def test_without_a_database_it_holds_here_and_others_hear_when_it_is_back(
    store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(revocation_watch, "LOOK_S", 0.01)
    signals = LocalSignals()
    here = Hub(AwayStore(), tmp_path / "here", signals)
    there = Hub(store, tmp_path / "there", signals.beside())
    run_task = asyncio.create_task(there.watch.run())
    await until(lambda: there.watch._read_whole_at)
    assert await here.watch.revoke(of_user("u1", NOW, NOW)) is False
    assert here.watch.failing == "away"
    assert there.has("u1"), "the signal came"
    here.watch._store = store
    assert await here.watch.revoke(of_user("u2", NOW, NOW)) is True
    late = Hub(store, tmp_path / "late")
    await late.watch.look()
    assert (late.has("u1"), late.has("u2")) == (True, True)
    run_task.cancel()


async def test_a_database_from_a_backup_is_told_what_it_forgot(store, tmp_path: Path) -> None:
    here = Hub(store, tmp_path / "here")
    await here.watch.revoke(of_user("u1", NOW + 0.1234, NOW))
    await store.forget(NOW * 2)
    here.watch._look_through()
    await here.watch.look()
    other = Hub(store, tmp_path / "other")
    await other.watch.look()
    assert other.has("u1")
    here.watch._look_through()
    await here.watch.look()
    found, _ = await store.since(0)
    assert len(found) == 1, "and told once"


async def test_what_is_over_is_forgotten_everywhere(store, tmp_path: Path) -> None:
    await store.add([Revocation("token", "t1", 0.0, NOW - 1), of_token_id("t2", NOW)], NOW)
    here = Hub(store, tmp_path / "here")
    await here.watch.look()
    assert [entry.subject for entry in here.known] == ["t2"]
    assert [entry.subject for entry in (await store.since(0))[0]] == ["t2"]


async def test_rows_that_were_numbered_early_and_committed_late_are_read(
    store, tmp_path: Path
) -> None:
    here = Hub(store, tmp_path / "here")
    for number in range(3):
        await store.add([of_token_id(f"t{number}", NOW)], NOW)
    await here.watch.look()
    here.watch._serial = 300  # others went on; three of them were seen first
    await here.watch.look()
    assert len(here.known) == 3


def test_a_torn_line_on_disk_costs_nothing_but_itself(tmp_path: Path) -> None:
    file = RevocationFile(tmp_path / "revocations.jsonl")
    file.append([of_user("u1", NOW, NOW)])
    with (tmp_path / "revocations.jsonl").open("ab") as raw:
        raw.write(b'["user", "u2", 18000\xff\n[1]\nnull\n["user", "torn')
    file.append([of_user("u3", NOW, NOW)])
    assert [entry.subject for entry in file.read()] == ["u1", "u3"]
    assert (tmp_path / "revocations.jsonl").stat().st_mode & 0o777 == 0o600


async def test_news_that_are_no_revocation_are_dropped(
    store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    signals = LocalSignals()
    here = Hub(store, tmp_path / "here", signals.beside())
    run_task = asyncio.create_task(here.watch.run())
    await until(lambda: here.watch._read_whole_at)
    signals.tell(revocation_watch.TOPIC, b'{"kind": "all"}')
    assert "no revocation" in caplog.text
    assert len(here.known) == 0
    run_task.cancel()
