"""Who was there when, as the SFU says, against what it counted; over crashes and full disks."""

import asyncio
import time
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metaport import attendance as books
from metaport.attendance import (
    DAY_S,
    Book,
    attendances_of,
    book_path,
    keep_trimmed,
    read_attendance,
)
from metaport.config import Config
from metaport.log import Log, LogError, LogFull, LogLocked, LogTrimmed, read
from metaport.media_journal import MediaJournal
from metaport.media_process import run_sfu
from metaport.usage_log import UsageLog, usage_of
from sfu.errors import FactsRefused
from sfu.facts import Attendance
from sfu.usage import Moment, Usage

START_MS = 1_795_000_000_000


def attendance(participant="p-1", since=0, until=10, *, ended=True):
    return Attendance(
        "lobby", "u", participant, START_MS + since * 1000, START_MS + until * 1000, ended, 1, 2
    )


@pytest.fixture
def config(tmp_path):
    base = Config()
    return replace(base, data=replace(base.data, dir=tmp_path))


class Sfu:
    """One life of an SFU's journal."""

    def __init__(self, config, *, book=True):
        self.log = Log(config.sfu_log)
        self.book = Book(book_path(config, config.sfu_log)) if book else None
        self.journal = MediaJournal(UsageLog(self.log, "sfu", time.time), self.book)

    def close(self):
        self.log.close()
        if self.book:
            self.book.close()


def everything(config):
    return read_attendance(config, START_MS - 1000, START_MS + 10**9)


def test_what_ended_is_kept_when_the_log_is_gone(config):
    sfu = Sfu(config)
    sfu.journal.commit([attendance("p-1"), attendance("p-2", ended=False)])
    sfu.journal.commit([attendance("p-2", until=15)])
    sfu.close()
    assert everything(config) == [attendance("p-1"), attendance("p-2", until=15)]
    for segment in config.sfu_log.glob("*.log"):
        segment.unlink()
    assert everything(config) == [attendance("p-1"), attendance("p-2", until=15)]


def test_what_a_crash_left_open_is_copied_once(config):
    sfu = Sfu(config)
    sfu.journal.commit([attendance("p-1"), attendance("p-2", until=4, ended=False)])
    sfu.journal.commit([attendance("p-2", until=8, ended=False)])
    sfu.close()  # as far as files go, a kill is no different
    path = book_path(config, config.sfu_log)
    for _ in range(3):
        book = Book(path)
        book.copy(config.sfu_log)
        book.close()
    kept = [each for _, record in read(path) for each in attendances_of(record)]
    assert kept == [attendance("p-1"), attendance("p-2", until=8, ended=False)]


async def test_a_start_that_is_killed_has_copied_before_the_hub_may_trim(config):
    """A new segment of the log lets the hub trim the last one: by then the book has it."""
    sfu = Sfu(config)
    sfu.journal.commit([attendance("p-1", until=4, ended=False)])
    sfu.book.close()
    with pytest.raises(LogLocked):  # as far as the start got: its log is not open yet
        await run_sfu(config, asyncio.Event())
    sfu.log.close()
    path = book_path(config, config.sfu_log)
    kept = [each for _, record in read(path) for each in attendances_of(record)]
    assert kept == [attendance("p-1", until=4, ended=False)]
    Book(path).close()  # and let go of it


def test_a_log_that_is_trimmed_while_it_is_copied_is_read_again(config, monkeypatch):
    sfu = Sfu(config)
    sfu.journal.commit([attendance("p-1", ended=False)])
    sfu.close()
    trimmed = [LogTrimmed(config.sfu_log, 0, 100)]

    def trim_meanwhile(directory, position=None):
        if directory == config.sfu_log and trimmed:
            raise trimmed.pop()
        return read(directory, position)

    monkeypatch.setattr(books, "read", trim_meanwhile)
    path = book_path(config, config.sfu_log)
    book = Book(path)
    book.copy(config.sfu_log)
    book.close()
    assert not trimmed
    assert [each for _, record in read(path) for each in attendances_of(record)] == [
        attendance("p-1", ended=False)
    ]


def test_what_a_full_disk_kept_out_of_the_book_comes_with_the_next(config, monkeypatch):
    first = Sfu(config)
    first.journal.commit([attendance("p-1", until=4, ended=False)])
    first.close()
    path = book_path(config, config.sfu_log)
    book = Book(path)

    def full(log, records):
        raise LogFull(log.directory, "no space")

    with monkeypatch.context() as disk:
        disk.setattr(Log, "append", full)
        with pytest.raises(LogFull):
            book.copy(config.sfu_log)
    for segment in config.sfu_log.glob("*.log"):
        segment.unlink()  # the hub has trimmed it meanwhile
    log = Log(config.sfu_log)
    MediaJournal(UsageLog(log, "sfu", time.time), book).commit([])
    log.close()
    book.close()
    assert everything(config) == [attendance("p-1", until=4, ended=False)]


def test_a_book_that_cannot_be_written_refuses_no_facts(config, caplog):
    sfu = Sfu(config)
    sfu.book.close()

    def full(_):
        raise LogError("full")

    sfu.book.keep = full
    sfu.journal.commit([attendance()])
    sfu.log.close()
    assert "attendance is kept later" in caplog.text
    assert everything(config) == [attendance()]


def test_the_books_of_all_sfus_are_read_and_a_range_is_cut_out(config):
    sfu = Sfu(config)
    sfu.journal.commit([attendance("p-1", 0, 10)])
    sfu.close()
    second = Log(config.sfu_log.with_name("sfu-1"))
    journal = MediaJournal(UsageLog(second, "sfu-1", time.time))
    journal.commit([attendance("p-9", 20, 30, ended=False)])
    second.close()
    assert [each.participant for each in everything(config)] == ["p-1", "p-9"]
    assert read_attendance(config, START_MS + 10_000, START_MS + 20_000) == []
    [part] = read_attendance(config, START_MS + 25_000, START_MS + 26_000)
    assert part.participant == "p-9"


def test_nothing_is_there_before_the_first_start(config):
    assert everything(config) == []


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["checkpoint", "observe", "hand_over", "take_back", "step", "refuse"]),
        st.integers(1, 7000),
    ),
    max_size=12,
)


@given(STEPS)
def test_attended_seconds_are_the_counted_ones(steps):
    """Whatever splits intervals: pixels, checkpoints, a clock that is set, a move, a full disk."""

    class Facts:
        full = False

        def __init__(self):
            self.kept = []

        def commit(self, facts):
            if self.full:
                raise FactsRefused
            self.kept.extend(facts)

    facts = Facts()
    usage = Usage(facts)
    now, skew_ms = 100.0, START_MS
    stay = usage.enter("lobby", "u", "p", Moment(now, skew_ms + round(now * 1000)))
    for what, length_ms in steps:
        now += length_ms / 1000
        moment = Moment(now, skew_ms + round(now * 1000))
        match what:
            case "checkpoint":
                usage.checkpoint(stay, 0, 0, moment)
            case "observe":
                usage.observe(stay, length_ms % 3 * 100, moment)
            case "hand_over":
                usage.hand_over(stay, moment)
            case "take_back":
                usage.take_back(stay, moment)
            case "step":
                skew_ms += 3_600_000
            case "refuse":
                facts.full = not facts.full
        usage.commit()
    facts.full = False
    usage.leave(stay, 0, 0, Moment(now + 1, skew_ms + round((now + 1) * 1000)))
    usage.commit()
    last = {}
    counted = 0
    for fact in facts.kept:
        if isinstance(fact, Attendance):
            last[fact.since_ms] = fact
        elif hasattr(fact, "end_ms"):
            counted += fact.end_ms // 1000 - fact.start_ms // 1000
    attended = sum(f.until_ms // 1000 - f.since_ms // 1000 for f in last.values())
    assert attended == counted
    assert all(each.ended for each in last.values())


def test_attendance_and_seconds_are_written_together(config):
    sfu = Sfu(config)
    sfu.journal.commit([attendance(ended=False)])
    sfu.close()
    [[_, first], [_, second]] = list(read(config.sfu_log))
    assert attendances_of(first) == [attendance(ended=False)]
    assert usage_of(second) is not None


@pytest.fixture
def long_book(config, monkeypatch):
    """A book of many files, a stay of ten seconds in each."""
    monkeypatch.setattr(books, "SEGMENT_BYTES", 1)
    book = Book(book_path(config, config.sfu_log))
    for number in range(10):
        book.keep([attendance(f"p-{number}", number * 10, number * 10 + 10)])
    yield book
    book.close()


def test_a_book_is_trimmed_by_whole_files_and_keeps_its_last(config, long_book):
    long_book.trim(START_MS + 45_000)
    assert [each.participant for each in everything(config)] == [f"p-{n}" for n in range(4, 10)]
    long_book.trim(START_MS + 45_000)
    assert len(everything(config)) == 6
    long_book.trim(START_MS + 10**9)
    assert [each.participant for each in everything(config)] == ["p-9"]
    long_book.keep([attendance("p-10", 100, 110)])
    assert len(everything(config)) == 2


async def test_a_book_is_trimmed_by_the_days_that_details_are_kept(config, long_book):
    """It grew for ever."""
    trimmed = asyncio.Event()
    loop = asyncio.get_running_loop()
    trim = long_book.trim
    long_book.trim = lambda before_ms: (trim(before_ms), loop.call_soon_threadsafe(trimmed.set))

    async def kept(days):
        now_s = START_MS / 1000 + 45 + days * DAY_S
        task = asyncio.create_task(keep_trimmed(long_book, days, lambda: now_s))
        await (trimmed.wait() if days else task)
        task.cancel()
        return len(everything(config))

    assert await kept(0) == 10
    assert await kept(400) == 6
