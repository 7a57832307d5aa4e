"""Planted differences are found, each by its check; without them there are none."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from chatd.facts import MessageAccepted
from metaport.attendance import Book, book_path
from metaport.config import Config, load_config
from metaport.db.ledger import SqlLedger, open_ledger
from metaport.db.messages import SqlMessages
from metaport.db.periods import Periods
from metaport.db.reconciling import Reconciliations
from metaport.usage import LedgerReports
from metaport.usage_periods import price_book_text
from metaport.usage_reconcile import as_json, day_period, reconcile, reconcile_daily
from metering.events import Checkpoint, Session, SessionRow, Subject, UsageRow
from metering.meters import MESSAGES_SENT, VIDEO_SECONDS_HD, VOICE_SECONDS
from metering.periods import digest_of
from metering.pricebook import default_price_book
from metering.reconciliation import merged
from metering.windows import open_zone
from sfu.facts import Attendance

DAY = date(2026, 11, 30)
PERIOD = day_period(DAY, open_zone("Asia/Seoul"))
NOON = PERIOD.start_s + 43_200


@pytest.fixture
def config(tmp_path: Path) -> Config:
    config = load_config(None, {"METAPORT_DATA_DIR": str(tmp_path / "data")})
    (config.data.dir / "log" / "sfu").mkdir(parents=True)
    return config


def row(quantity: int, meter: str, *, node: str, room: str = "lobby") -> UsageRow:
    return UsageRow(node, "1", meter, Subject(room, "visitor"), NOON, quantity)


def accepted(offset: int, room: str = "lobby") -> MessageAccepted:
    at_ms = NOON * 1000 + offset
    return MessageAccepted(room, "e1", offset, f"m{offset}", "visitor", "n", at_ms, "hi")


@pytest.fixture(params=["sqlite", "postgresql"])
async def ledger(request: pytest.FixtureRequest, config: Config) -> AsyncIterator[SqlLedger]:
    sqlite = config.database_url
    url: str = sqlite if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    opened = await open_ledger(url)
    rows = [
        row(3, MESSAGES_SENT, node="hub"),
        row(5, MESSAGES_SENT, node="hub", room="ephemeral"),
        row(100, VOICE_SECONDS, node="sfu"),
        row(20, VIDEO_SECONDS_HD, node="sfu"),
        row(9, VOICE_SECONDS, node="sfu-elsewhere"),
    ]
    sessions = [
        SessionRow(each.node, "1", each.meter, Session(NOON, "s"), NOON, each.quantity)
        for each in rows
        if each.meter != MESSAGES_SENT
    ]
    await opened.upsert(rows, Checkpoint("hub", "1", PERIOD.end_s + 5), sessions)
    messages = SqlMessages(opened.engine)
    await messages.upsert([accepted(offset) for offset in (4, 5, 6)], "hub", 1)
    since_ms = NOON * 1000 + 500
    book = Book(book_path(config, config.sfu_log))
    book.keep(
        [
            Attendance("lobby", "visitor", "p", since_ms, since_ms + 70_000, True, 0, 0),
            Attendance("lobby", "visitor", "q", since_ms, since_ms + 50_000, True, 0, 0),
        ]
    )
    book.close()
    yield opened
    await opened.close()


async def test_figures_that_agree_differ_in_nothing(config: Config, ledger: SqlLedger) -> None:
    found = await reconcile(config, ledger, DAY, NOON)
    assert found.differences == ()
    assert found.compared == {
        "messages": 1, "history": 1, "seconds": 1, "sessions": 3,
        "windows": 4, "hours": 4, "month": 4, "closed": 0,
    }  # fmt: skip
    assert found.skipped == {"messages": "1 rooms keep no history"}
    assert await Reconciliations(ledger).between("2026-11-01", "2026-12-01") == [found]


PLANTED = {
    "messages": "UPDATE usage_day SET quantity = 4 WHERE room = 'lobby' AND quantity = 3",
    "history": "DELETE FROM message WHERE message_offset = 5",
    "seconds": "UPDATE usage_window SET quantity = 99 WHERE quantity = 100",
    "sessions": "UPDATE usage_session SET quantity = 21 WHERE quantity = 20",
    "windows": "UPDATE usage_window SET quantity = 6 WHERE quantity = 5",
    "hours": "UPDATE usage_hour SET quantity = 6 WHERE quantity = 5",
    "month": "UPDATE usage_month SET quantity = 6 WHERE quantity = 5",
}


@pytest.mark.parametrize("check", PLANTED)
async def test_a_planted_difference_is_found(config: Config, ledger: SqlLedger, check: str) -> None:
    async with ledger.engine.begin() as connection:
        await connection.exec_driver_sql(PLANTED[check])
    found = await reconcile(config, ledger, DAY, NOON)
    told: list[Any] = [difference for difference in found.differences if difference.check == check]
    assert len(told) == 1
    assert abs(told[0].counted - told[0].known) == 1
    assert as_json(found)["differences"]


async def test_machines_on_one_ledger_keep_what_each_has_compared(
    config: Config, ledger: SqlLedger, tmp_path: Path
) -> None:
    """The second machine has SFUs of its own, which the first one's attendances know nothing of."""
    environment = {"METAPORT_DATA_DIR": str(tmp_path / "other"), "METAPORT_HUB_NAME": "other"}
    other = load_config(None, environment)
    named = row(30, VOICE_SECONDS, node="other/sfu", room="hall")
    its = SessionRow("other/sfu", "1", VOICE_SECONDS, Session(NOON, "t"), NOON, 30)
    await ledger.upsert([named], None, [its])
    book = Book(book_path(other, other.sfu_log))
    book.keep([Attendance("hall", "visitor", "r", NOON * 1000, NOON * 1000 + 30_000, True, 0, 0)])
    book.close()
    found = [await reconcile(each, ledger, DAY, NOON) for each in (config, other, config)]
    assert [each.differences for each in found] == [(), (), ()]
    assert found[0] == found[2]
    assert [each.node for each in found[:2]] == ["hub", "other/hub"]
    kept = await Reconciliations(ledger).between("2026-11-01", "2026-12-01")
    assert kept == found[:2]
    # Counted once, whoever compared it; attendances are each machine's own.
    assert merged(kept) == {**found[0].compared, "seconds": 2}


async def test_a_closed_month_keeps_what_it_had_been_compared_with(
    config: Config, ledger: SqlLedger
) -> None:
    found = await reconcile(config, ledger, DAY, NOON)
    periods = Periods(ledger, b"k" * 32)
    now = PERIOD.end_s + 60.0
    closed = await periods.close("2026-11", *price_book_text(None), by="담당", now=now)
    await reconcile(config, ledger, DAY, now)
    reports = LedgerReports(ledger, default_price_book, "Asia/Seoul", periods=periods)
    aside = (await reports.month("2026-11", now, details=True)).aside
    assert aside is not None
    assert aside.reconciled == (found,)
    assert await periods.verify("2026-11") == closed.digest
    altered = replace(closed, reconciled=())
    assert digest_of(altered, await periods.lines("2026-11")) != closed.digest


async def test_usage_that_came_after_a_month_was_closed_is_told_until_it_is_corrected(
    config: Config, ledger: SqlLedger
) -> None:
    periods = Periods(ledger, b"k" * 32)
    now = PERIOD.end_s + 60.0
    await periods.close("2026-11", *price_book_text(None), by="담당", now=now)
    assert (await reconcile(config, ledger, DAY, now)).differences == ()
    await ledger.upsert([row(11, MESSAGES_SENT, node="late", room="ephemeral")])
    [told] = (await reconcile(config, ledger, DAY, now)).differences
    assert told == ("closed", ("2026-11", MESSAGES_SENT), 8, 19)
    await periods.correct("2026-11", MESSAGES_SENT, 11, reason="늦음", person="담당", now=now)
    assert (await reconcile(config, ledger, DAY, now)).differences == ()


async def test_the_daily_job_compares_yesterday_once_it_is_fully_counted(
    config: Config, ledger: SqlLedger
) -> None:
    job = asyncio.create_task(reconcile_daily(config, ledger, lambda: PERIOD.end_s + 60.0))
    found = Reconciliations(ledger)
    async with asyncio.timeout(30):
        while not await found.between("2026-11-30", "2026-12-01"):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    job.cancel()
    await asyncio.gather(job, return_exceptions=True)
