"""From the hub's log to the database and back, through outages, crashes and trimming."""

import asyncio
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chatd.archive import ArchiveAway
from chatd.facts import MessageAccepted, MessagesRecovered
from chatd.wire import Since
from metaport import history
from metaport.chat_journal import ChatJournal
from metaport.db.engine import connect, sqlite_url
from metaport.db.errors import DatabaseUnavailable
from metaport.db.messages import SqlMessages
from metaport.history import HistoryArchive, HistoryWriter, forget_old
from metaport.log import Log, trim
from metaport.usage_log import UsageLog

AT_MS = 1_790_000_000_000
DAY_S = 86_400
ROOT = Path(__file__).parents[2]


class Store(SqlMessages):
    """A database that can be away, or cut off before or after a transaction."""

    def __init__(self, engine):
        super().__init__(engine)
        self.away = False
        self.crash = None  # "before" or "after" the next transaction

    def _gone(self):
        if self.away:
            raise DatabaseUnavailable("away")

    async def checkpoint(self, reader):
        self._gone()
        return await super().checkpoint(reader)

    async def before(self, room, place, limit):
        self._gone()
        return await super().before(room, place, limit)

    async def upsert(self, facts, reader, position):
        self._gone()
        crash, self.crash = self.crash, None
        if crash == "before":
            raise DatabaseUnavailable("cut off")
        await super().upsert(facts, reader, position)
        if crash == "after":
            raise DatabaseUnavailable("cut off")


class Hub:
    """A log that messages are accepted into, and who brings them into a database."""

    def __init__(self, path, engine):
        self.directory = path / "log"
        self.store = Store(engine)
        self.offset = 0
        self.open()

    def open(self):
        self.log = Log(self.directory, segment_bytes=65_536)
        self.journal = ChatJournal(UsageLog(self.log, "hub", lambda: AT_MS / 1000))
        self.writer = HistoryWriter(self.store, self.directory, "hub")

    def restart(self):
        self.close()
        self.open()

    def close(self):
        self.writer.close()
        self.log.close()

    def say(self, count=1, body="말"):
        facts = []
        for _ in range(count):
            self.offset += 1
            facts.append(
                MessageAccepted(
                    "hall", "e1", self.offset, f"e1-{self.offset}", "u", "U", AT_MS, body, None, 2
                )
            )
        self.journal.commit(facts)

    async def kept(self):
        offsets, place = [], None
        while (page := await SqlMessages.after(self.store, "hall", place, 150)).messages:
            offsets += [each.offset for each in page.messages]
            place = Since("e1", offsets[-1])
        return offsets


@pytest.fixture(params=["sqlite", "postgresql"])
async def hub(request, tmp_path):
    sqlite = sqlite_url(tmp_path / "history.db")
    url = sqlite if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    engine = connect(url)
    opened = Hub(tmp_path, engine)
    yield opened
    opened.close()
    await engine.dispose()


@pytest.fixture
async def lite(tmp_path):
    engine = connect(sqlite_url(tmp_path / "history.db"))
    opened = Hub(tmp_path, engine)
    yield opened
    opened.close()
    await engine.dispose()


async def test_every_message_arrives_once_and_nothing_else_does(hub):
    hub.say(3)
    hub.journal.commit([MessagesRecovered("hall", "u", 3, AT_MS)])
    hub.say(2)
    assert await hub.writer.write() == 5
    assert await hub.writer.write() == 0
    assert await hub.kept() == [1, 2, 3, 4, 5]
    assert hub.writer.lag_bytes() == 0


async def test_an_outage_of_the_database_loses_and_doubles_nothing(hub):
    hub.say(2)
    await hub.writer.write()
    hub.store.away = True
    for _ in range(3):
        hub.say(400)
        with pytest.raises(DatabaseUnavailable):
            await hub.writer.write()
    assert hub.writer.lag_bytes() > 0
    hub.store.away = False
    assert await hub.writer.write() == 1200
    assert await hub.kept() == list(range(1, 1203))


@pytest.mark.parametrize("crash", ["before", "after"])
async def test_a_crash_around_the_transaction_repeats_and_never_loses(hub, crash):
    hub.say(3)
    hub.store.crash = crash
    with pytest.raises(DatabaseUnavailable):
        await hub.writer.write()
    hub.restart()
    hub.say(2)
    await hub.writer.write()
    assert await hub.kept() == [1, 2, 3, 4, 5]


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    moves=st.lists(
        st.sampled_from(["say", "much", "write", "restart", "away", "back", "before", "after"]),
        max_size=14,
    )
)
async def test_whatever_happens_the_whole_is_there_in_the_end(lite, moves):
    for move in moves:
        match move:
            case "say":
                lite.say()
            case "much":
                lite.say(700, "긴 말" * 9)
            case "restart":
                lite.restart()
            case "away" | "back":
                lite.store.away = move == "away"
            case "before" | "after":
                lite.store.crash = move
            case "write":
                with suppress(DatabaseUnavailable):
                    await lite.writer.write()
                    trim(lite.directory, lite.writer.stored or 0)
    lite.store.away, lite.store.crash = False, None
    await lite.writer.write()
    assert await lite.kept() == list(range(1, lite.offset + 1))


KILLED = """
import asyncio, sys
from pathlib import Path
from metaport.db.engine import connect
from metaport.db.messages import SqlMessages
from metaport.history import HistoryWriter

async def main():
    writer = HistoryWriter(SqlMessages(connect(sys.argv[1])), Path(sys.argv[2]), "hub")
    print("ready", flush=True)
    await writer.write()
    await asyncio.Event().wait()  # the kill may come late; it is to meet a live process

asyncio.run(main())
"""


async def test_a_writer_killed_at_any_moment_is_taken_over_without_a_trace(hub):
    for _ in range(6):
        hub.say(1_000)
    url = hub.store._engine.url.render_as_string(hide_password=False)
    for delay_s in (0.0, 0.02, 0.05, 0.1, 0.2):
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", KILLED, url, hub.directory, stdout=subprocess.PIPE, cwd=ROOT
        )
        assert await process.stdout.readline() == b"ready\n"
        await asyncio.sleep(delay_s)
        process.kill()
        await process.communicate()
    await hub.writer.write()
    assert await hub.kept() == list(range(1, 6_001))


async def test_what_was_trimmed_under_a_restored_database_is_told_and_passed_over(lite, caplog):
    lite.say(2)
    await lite.writer.write()
    backup = await lite.store.checkpoint("hub")
    for _ in range(4):
        lite.say(1, "가" * 30_000)
    await lite.writer.write()
    trim(lite.directory, lite.log.position)
    await lite.store.upsert([], "hub", backup)
    lite.restart()
    lite.say(1)
    await lite.writer.write()
    assert "missing from history" in caplog.text
    assert lite.offset in await lite.kept()


async def test_an_idle_log_costs_no_transactions(lite):
    lite.say()
    await lite.writer.write()
    stored = lite.writer.stored
    for _ in range(10):
        lite.journal._usage.write()
        await lite.writer.write()
    assert lite.writer.stored == stored
    assert await lite.store.checkpoint("hub") == stored
    assert lite.writer.lag_bytes() == 0


async def test_pages_hold_what_was_accepted_a_moment_ago(hub):
    archive = HistoryArchive(hub.store, hub.writer)
    writing = asyncio.create_task(hub.writer.run())
    for count in (1, 5, 3):
        hub.say(count)
        page = await archive.before("hall", None, 100)
        assert [each.offset for each in page.messages] == list(range(1, hub.offset + 1))
        page = await archive.after("hall", Since("e1", hub.offset - 1), 9)
        assert [each.offset for each in page.messages] == [hub.offset]
    hub.say()
    page = await archive.before("hall", Since("e1", hub.offset), 1)
    assert [each.offset for each in page.messages] == [hub.offset - 1]
    page = await archive.before("hall", Since("e2", 1), 1)
    assert [each.offset for each in page.messages] == [hub.offset]
    writing.cancel()
    await asyncio.wait([writing])


async def test_old_pages_are_read_while_the_writer_is_behind(lite):
    lite.say(9)
    await lite.writer.write()
    lite.say(9)
    archive = HistoryArchive(lite.store, lite.writer)
    page = await archive.before("hall", Since("e1", 5), 2)
    assert [each.offset for each in page.messages] == [3, 4]
    page = await archive.after("hall", Since("e1", 5), 2)
    assert [each.offset for each in page.messages] == [6, 7]


async def test_a_page_is_refused_at_once_while_the_database_is_away(lite, monkeypatch, caplog):
    archive = HistoryArchive(lite.store, lite.writer)
    writing = asyncio.create_task(lite.writer.run())
    lite.say(2)
    assert len((await archive.before("hall", None, 9)).messages) == 2
    lite.store.away = True
    lite.say()
    async with asyncio.timeout(2):
        for read in (archive.before, archive.after):
            with pytest.raises(ArchiveAway):
                await read("hall", None, 9)
    assert lite.writer.failing == "away"
    monkeypatch.setattr(history, "FAIL_FAST_S", 0.0)
    lite.store.away = False
    assert len((await archive.before("hall", None, 9)).messages) == 3
    assert lite.writer.failing is None
    assert "written to history again" not in [r.message for r in caplog.records if r.levelno > 30]
    writing.cancel()
    await asyncio.wait([writing])


async def test_old_messages_are_deleted_a_few_at_a_time(hub, monkeypatch):
    monkeypatch.setattr(history, "FORGET_AT_A_TIME", 2)
    monkeypatch.setattr(history, "FORGET_PAUSE_S", 0.0)
    hub.say(5)
    await hub.writer.write()
    deleted = asyncio.Event()
    forget = hub.store.forget

    async def watched(before_ms, limit):
        count = await forget(before_ms, limit)
        if count < limit:
            deleted.set()
        return count

    monkeypatch.setattr(hub.store, "forget", watched)
    for days_later, left in ((6.9, [1, 2, 3, 4, 5]), (7.1, [])):
        now_s = AT_MS / 1000 + days_later * DAY_S
        forgetting = asyncio.create_task(forget_old(hub.store, 7, lambda now_s=now_s: now_s))
        async with asyncio.timeout(10):
            await deleted.wait()
        forgetting.cancel()
        await asyncio.wait([forgetting])
        deleted.clear()
        assert await hub.kept() == left


async def test_a_writer_gives_way_to_those_who_talk_and_loses_nothing(lite, monkeypatch):
    monkeypatch.setattr("metaport.history.MESSAGES_A_TRANSACTION", 10)
    loaded = True
    writer = HistoryWriter(lite.store, lite.directory, "hub", lambda: loaded)
    for _ in range(8):
        lite.say(10)
    assert await writer.write(give_way=True) < 80
    assert writer.lag_bytes() > 0
    monkeypatch.setattr("metaport.history.LONGEST_LAG_BYTES", 1)
    rest = await writer.write(give_way=True)
    assert rest > 0
    assert await lite.kept() == list(range(1, 81))
    monkeypatch.setattr("metaport.history.LONGEST_LAG_BYTES", 1 << 30)
    for _ in range(4):
        lite.say(10)
    loaded = False
    assert await writer.write(give_way=True) == 40
    writer.close()


async def test_who_asks_for_what_was_said_is_told_all_of_it_also_under_load(lite, monkeypatch):
    monkeypatch.setattr("metaport.history.MESSAGES_A_TRANSACTION", 10)
    writer = HistoryWriter(lite.store, lite.directory, "hub", lambda: True)
    for _ in range(6):
        lite.say(10)
    task = asyncio.create_task(writer.run())
    async with asyncio.timeout(30):
        await writer.caught_up()
    assert await lite.kept() == list(range(1, 61))
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    writer.close()
