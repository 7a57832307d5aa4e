"""The contract of `chatd.archive.Archive`, over memory, SQLite and PostgreSQL alike."""

import itertools
import unicodedata
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from chatd.archive import NOTHING, MemoryArchive, Stretch
from chatd.facts import MessageAccepted
from chatd.wire import Message, Since
from metaport.db import messages as module
from metaport.db.engine import connect, open_engine, sqlite_url
from metaport.db.errors import DatabaseUnavailable
from metaport.db.messages import SqlMessages

AT_MS = 1_790_000_000_000
ROOMS = itertools.count()


class MemoryMessages(MemoryArchive):
    """The archive in memory, written to as the others are."""

    async def upsert(self, facts: Iterable[MessageAccepted], _reader: str, _position: int) -> None:
        for fact in facts:
            self.keep(fact.epoch, as_message(fact))


Store = MemoryMessages | SqlMessages


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    if request.param == "memory":
        yield MemoryMessages()
        return
    async for opened in _on(request, request.param, tmp_path):
        yield opened


@pytest.fixture(params=["sqlite", "postgresql"])
async def sql(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[SqlMessages]:
    async for opened in _on(request, request.param, tmp_path):
        yield opened


async def _on(request: pytest.FixtureRequest, kind: str, path: Path) -> AsyncIterator[SqlMessages]:
    sqlite = sqlite_url(path / "new.db")
    engine = connect(sqlite if kind == "sqlite" else request.getfixturevalue("postgres_url"))
    yield SqlMessages(engine)
    await engine.dispose()


def said(offset: int, epoch: str = "e1", room: str = "lobby", **fields: Any) -> MessageAccepted:
    values = {"user": "visitor", "name": "방문자", "at_ms": AT_MS + offset, "body": f"{offset}"}
    return MessageAccepted(room, epoch, offset, f"{epoch}-{offset}", **(values | fields))


def as_message(fact: MessageAccepted) -> Message:
    return Message(
        fact.room, fact.offset, fact.id, fact.user, fact.name, fact.at_ms, fact.body
    )  # fmt: skip


def offsets(stretch: Stretch) -> list[int]:
    return [each.offset for each in stretch.messages]


async def test_an_empty_archive_has_nothing(store: Store) -> None:
    for place in (None, Since("e1", 1)):
        for read in (store.before, store.after):
            assert await read("lobby", place, 10) == NOTHING


async def test_messages_come_back_as_they_were(store: Store) -> None:
    deep = {"at": [1.5, 0, -2, 1e300, 5e-324, -0.0, 2**53 - 1], "a": None, "": {"b": [True, "\0"]}}
    bodies = ["안녕\0하세요 🎉\u2028", "", deep, {}, unicodedata.normalize("NFD", "한글"), "'; --"]
    facts = [said(n, body=body) for n, body in enumerate(bodies, 1)]
    await store.upsert(facts, "hub", 1)
    page = await store.before("lobby", None, 10)
    assert page.messages == [as_message(fact) for fact in facts]
    assert list(page.messages[2].body) == ["at", "a", ""]
    assert str(page.messages[2].body) == str(deep)


async def test_pages_go_back_from_the_newest_and_on_from_the_oldest(store: Store) -> None:
    await store.upsert([said(n) for n in range(1, 6)], "hub", 1)
    newest = await store.before("lobby", None, 2)
    assert (newest.epoch, offsets(newest), newest.more) == ("e1", [4, 5], True)
    last = await store.before("lobby", Since("e1", 4), 3)
    assert (offsets(last), last.more) == ([1, 2, 3], False)
    assert offsets(await store.before("lobby", Since("e1", 1), 3)) == []
    oldest = await store.after("lobby", None, 2)
    assert (offsets(oldest), oldest.more) == ([1, 2], True)
    assert offsets(await store.after("lobby", Since("e1", 3), 9)) == [4, 5]
    assert offsets(await store.after("lobby", Since("e1", 5), 9)) == []


async def test_epochs_stand_in_the_order_they_appeared(store: Store) -> None:
    await store.upsert([said(1, "z"), said(2, "z")], "hub", 1)
    await store.upsert([said(1, "a"), said(3, "z"), said(1, "m")], "hub", 2)
    newest = await store.before("lobby", None, 10)
    assert (newest.epoch, offsets(newest), newest.more) == ("m", [1], True)
    middle = await store.before("lobby", Since("m", 1), 10)
    assert (middle.epoch, middle.more) == ("a", True)
    oldest = await store.before("lobby", Since("a", 1), 10)
    assert (oldest.epoch, offsets(oldest), oldest.more) == ("z", [1, 2, 3], False)
    on = await store.after("lobby", Since("z", 3), 10)
    assert (on.epoch, offsets(on), on.more) == ("a", [1], True)


async def test_an_unknown_epoch_is_newer_than_all(store: Store) -> None:
    await store.upsert([said(1), said(2)], "hub", 1)
    assert offsets(await store.before("lobby", Since("new", 1), 10)) == [1, 2]
    assert offsets(await store.after("lobby", Since("new", 0), 10)) == []


async def test_rooms_do_not_mix(store: Store) -> None:
    await store.upsert([said(1), said(1, room="hall"), said(2, room="Lobby")], "hub", 1)
    page = await store.before("lobby", None, 10)
    assert [each.room for each in page.messages] == ["lobby"]


@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
async def test_pages_joined_are_the_whole(store: Store, data: st.DataObject) -> None:
    """Whatever the epochs, the batches and the sizes of the pages: no gap and no duplicate."""
    room = f"room-{next(ROOMS)}"
    lengths = data.draw(st.lists(st.integers(1, 9), min_size=1, max_size=4))
    whole = [said(n, f"e{e}", room) for e, top in enumerate(lengths) for n in range(1, top + 1)]
    begun = 0
    while begun < len(whole):
        size = data.draw(st.integers(1, len(whole)))
        again = data.draw(st.integers(0, begun))  # a writer that crashed reads some again
        await store.upsert(whole[again : begun + size], "hub", begun)
        begun += size
    expected = [(fact.epoch, fact.offset) for fact in whole]
    limits = st.integers(1, 5)
    back: list[tuple[str, int]] = []
    place, more = None, True
    while more:
        page = await store.before(room, place, data.draw(limits))
        back[:0] = [(page.epoch, each.offset) for each in page.messages]
        place, more = Since(*back[0]), page.more
    assert back == expected
    on: list[tuple[str, int]] = []
    place, more = None, True
    while more:
        page = await store.after(room, place, data.draw(limits))
        on += [(page.epoch, each.offset) for each in page.messages]
        place, more = Since(*on[-1]), page.more
    assert on == expected


async def test_a_place_belongs_to_the_last_that_was_written_there(sql: SqlMessages) -> None:
    """After a power failure the log may give a place again that was read from it before."""
    await sql.upsert([said(1, body="forgotten")], "hub", 1)
    await sql.upsert([said(1, body="first"), said(1, body="second")], "hub", 2)
    assert [m.body for m in (await sql.before("lobby", None, 9)).messages] == ["second"]


async def test_messages_and_checkpoint_stand_or_fall_together(sql: SqlMessages) -> None:
    assert await sql.checkpoint("hub") is None
    await sql.upsert([said(1)], "hub", 2**62)
    with pytest.raises(DatabaseUnavailable):
        await sql.upsert([said(2), said(3, user=None)], "hub", 2**62 + 1)
    assert await sql.checkpoint("hub") == 2**62
    assert offsets(await sql.before("lobby", None, 9)) == [1]


async def test_a_checkpoint_is_no_reader_of_usage(sql: SqlMessages) -> None:
    """A history that lags must not hold back the moment up to which statements are complete."""
    await sql.upsert([], "hub", 1)
    async with sql._engine.connect() as connection:
        assert await connection.scalar(text("SELECT count(*) FROM reader_checkpoint")) == 0


async def test_a_page_is_bounded_in_bytes(
    sql: SqlMessages, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PAGE_BYTES", 40)
    await sql.upsert([said(n, body="가" * 6) for n in range(1, 5)], "hub", 1)
    page = await sql.before("lobby", None, 4)
    assert (offsets(page), page.more) == ([3, 4], True)
    page = await sql.after("lobby", None, 4)
    assert (offsets(page), page.more) == ([1, 2], True)
    await sql.upsert([said(5, body="가" * 99)], "hub", 2)
    assert offsets(await sql.before("lobby", None, 4)) == [5]


async def test_the_oldest_are_forgotten_first_and_a_few_at_a_time(sql: SqlMessages) -> None:
    await sql.upsert([said(n) for n in range(1, 8)], "hub", 1)
    assert await sql.forget(AT_MS + 6, 3) == 3
    assert offsets(await sql.before("lobby", None, 9)) == [4, 5, 6, 7]
    assert await sql.forget(AT_MS + 6, 3) == 2
    assert await sql.forget(AT_MS + 6, 3) == 0
    page = await sql.before("lobby", None, 9)
    assert (offsets(page), page.more) == ([6, 7], False)


async def test_a_forgotten_epoch_keeps_its_place(sql: SqlMessages) -> None:
    await sql.upsert([said(1), said(2), said(1, "e2", at_ms=AT_MS + 99)], "hub", 1)
    await sql.forget(AT_MS + 50, 9)
    page = await sql.after("lobby", Since("e1", 1), 9)
    assert (page.epoch, offsets(page)) == ("e2", [1])
    assert offsets(await sql.before("lobby", Since("e2", 1), 9)) == []


async def test_a_database_that_is_away_is_told_and_used_when_it_is_back(tmp_path: Path) -> None:
    folder = tmp_path / "later"
    engine = connect(sqlite_url(folder / "new.db"))
    store = SqlMessages(engine)
    with pytest.raises(DatabaseUnavailable):
        await store.before("lobby", None, 9)
    folder.mkdir()
    await store.upsert([said(1)], "hub", 1)
    assert offsets(await store.before("lobby", None, 9)) == [1]
    await engine.dispose()


async def test_two_writers_agree_on_the_order_of_epochs(postgres_url: str) -> None:
    engine = await open_engine(postgres_url)
    one, other = SqlMessages(engine), SqlMessages(engine)
    for n in range(5):
        await one.upsert([said(1, f"e{n}")], "one", n)
        await other.upsert([said(1, f"e{n}"), said(2, f"e{n}")], "other", n)
    epochs, place = [], None
    for _ in range(5):
        page = await one.before("lobby", place, 9)
        epochs.append(page.epoch)
        place = Since(page.epoch, 1)
    assert epochs == ["e4", "e3", "e2", "e1", "e0"]
    await engine.dispose()
