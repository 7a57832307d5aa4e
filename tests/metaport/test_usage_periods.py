"""A closed month never changes; what was wrong with it is a line in a later one."""

import json
import random
from collections.abc import AsyncIterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import DBAPIError

from metaport import cli
from metaport.db.engine import sqlite_url
from metaport.db.ledger import SqlLedger, open_ledger
from metaport.db.periods import ClosedLedger, Periods
from metaport.usage import LedgerReports
from metaport.usage_periods import price_book_text
from metering.errors import MonthAltered, MonthClosed, MonthOpen
from metering.events import Checkpoint, Subject, UsageRow
from metering.ledger import LARGEST_QUANTITY
from metering.meters import MESSAGES_SENT, METERS, PEAK_USERS, VOICE_SECONDS
from metering.periods import ClosedLine, ClosedMonth, digest_of, is_signed
from metering.pricebook import default_price_book, read_price_book
from metering.report import RENDERERS, build_report
from metering.statement import Aside
from metering.windows import month_period, open_zone
from tests.metering.cases import at_once, cases

SEOUL = open_zone("Asia/Seoul")
NOVEMBER, DECEMBER = month_period("2026-11", SEOUL), month_period("2026-12", SEOUL)
BOOK, SOURCE = price_book_text(None)
AFTER = DECEMBER.start_s + 3600.0
KEY = b"k" * 32
DEFAULT_BOOK = default_price_book()


def row(quantity: int, at_s: int, *, meter: str = VOICE_SECONDS, room: str = "lobby") -> UsageRow:
    return UsageRow("sfu", "1", meter, Subject(room, "visitor"), at_s // 900 * 900, quantity)


@pytest.fixture(params=["sqlite", "postgresql"])
async def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[SqlLedger]:
    sqlite = sqlite_url(tmp_path / "ledger.db")
    url: str = sqlite if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    opened = await open_ledger(url)
    rows = [
        row(6_000, NOVEMBER.start_s),
        row(30_000, NOVEMBER.end_s - 1, room="shop:a/b"),
        row(1_000, NOVEMBER.end_s - 1, meter=MESSAGES_SENT),
        row(60, DECEMBER.start_s),
        UsageRow("hub", "1", PEAK_USERS, Subject("", ""), NOVEMBER.start_s + 60, 41),
    ]
    await opened.upsert(rows, Checkpoint("hub", "1", DECEMBER.start_s + 10))
    yield opened
    await opened.close()


@pytest.fixture
def periods(ledger: SqlLedger) -> Periods:
    return Periods(ledger, KEY)


async def test_a_closed_month_is_signed_and_says_what_the_report_said(
    ledger: SqlLedger, periods: Periods
) -> None:
    reports = LedgerReports(ledger, default_price_book, "Asia/Seoul", periods=periods)
    open_report = await reports.month("2026-11", AFTER)
    assert open_report.complete
    closed = await periods.close("2026-11", BOOK, SOURCE, by="담당", now=AFTER)
    assert json.loads(closed.statement) == open_report.as_json()
    assert (closed.closed_by, closed.closed_at_s) == ("담당", int(AFTER))
    assert closed.figures[PEAK_USERS] == 41
    assert is_signed(closed, KEY)
    assert not is_signed(closed, b"l" * 32)
    assert await periods.verify("2026-11") == closed.digest
    assert await periods.months() == [closed]


async def test_nothing_that_comes_later_changes_a_closed_month(
    ledger: SqlLedger, periods: Periods
) -> None:
    book: list[Any] = [default_price_book()]
    reports = LedgerReports(ledger, lambda: book[0], "Asia/Seoul", periods=periods)
    before = await reports.month("2026-11", AFTER, details=True)
    await periods.close("2026-11", BOOK, SOURCE, by="담당", now=AFTER)
    await ledger.upsert([row(99_999, NOVEMBER.start_s), row(5, NOVEMBER.start_s + 9_000)])
    dearer = BOOK.replace('{ price = 1.2, per = "minute" }', '{ price = 6, per = "minute" }')
    assert dearer != BOOK
    book[0] = read_price_book(dearer, "dearer")
    after = await reports.month("2026-11", AFTER + 10_000_000, details=True)
    # Who has reported, and what was compared, is of the day it is asked on; the figures are kept.
    assert before.aside is not None
    assert after.aside == Aside(before.aside.figures, {}, ())
    before = replace(before, aside=after.aside)
    for form in ("text", "json", "csv", "focus", "html"):
        for lang in ("ko", "en"):
            assert RENDERERS[form](after, lang) == RENDERERS[form](before, lang), form
    december = await reports.month("2026-12", AFTER)
    assert [x.unit_price for x in december.lines if x.id.meter == VOICE_SECONDS] == [Decimal("0.1")]


async def test_a_month_is_closed_once_in_order_and_when_it_is_over(periods: Periods) -> None:
    with pytest.raises(MonthOpen, match="not over"):
        await periods.close("2026-12", BOOK, SOURCE, by="담당", now=AFTER)
    with pytest.raises(MonthOpen, match="not fully counted"):
        await periods.close("2026-12", BOOK, SOURCE, by="담당", now=DECEMBER.end_s + 1.0)
    why = "센 서버 한 대가 사라짐"
    closed = await periods.close(
        "2026-12", BOOK, SOURCE, by="담당", now=DECEMBER.end_s + 1.0, note=why
    )
    assert closed.note == why
    assert not json.loads(closed.statement)["complete"]
    for month in ("2026-12", "2026-11"):
        with pytest.raises(MonthClosed):
            await periods.close(month, BOOK, SOURCE, by="담당", now=DECEMBER.end_s + 1.0)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE closed_line SET quantity = quantity + 1",
        "DELETE FROM closed_line",
        "UPDATE closed_month SET statement = '{}'",
        "DELETE FROM closed_month",
    ],
)
async def test_the_database_refuses_to_change_it(
    ledger: SqlLedger, periods: Periods, statement: str
) -> None:
    await periods.close("2026-11", BOOK, SOURCE, by="담당", now=AFTER)
    with pytest.raises(DBAPIError, match="never changes"):
        async with ledger.engine.begin() as connection:
            await connection.exec_driver_sql(statement)
    await periods.verify("2026-11")


async def test_a_change_behind_the_databases_back_is_found(
    ledger: SqlLedger, periods: Periods
) -> None:
    await periods.close("2026-11", BOOK, SOURCE, by="담당", now=AFTER)
    lift = (
        ["ALTER TABLE closed_line DISABLE TRIGGER closed_line_never_changes"]
        if ledger.engine.dialect.name == "postgresql"
        else ["DROP TRIGGER closed_line_no_update"]
    )
    async with ledger.engine.begin() as connection:
        for statement in [*lift, "UPDATE closed_line SET quantity = 29999 WHERE quantity = 30000"]:
            await connection.exec_driver_sql(statement)
    with pytest.raises(MonthAltered, match="is not what was closed"):
        await periods.verify("2026-11")
    closed = await periods.closed("2026-11")
    assert closed is not None
    with pytest.raises(MonthAltered, match="priced otherwise"):
        await periods.report(closed)


async def test_a_correction_is_a_line_of_the_month_it_is_found_in(
    ledger: SqlLedger, periods: Periods
) -> None:
    reports = LedgerReports(ledger, default_price_book, "Asia/Seoul", periods=periods)
    await periods.close("2026-11", BOOK, SOURCE, by="담당", now=AFTER)
    november = await reports.month("2026-11", AFTER)
    december = await reports.month("2026-12", AFTER)
    made = await periods.correct(
        "2026-11", VOICE_SECONDS, -600, reason="두 번 셈", person="감독", now=AFTER
    )
    assert (made.booked_in, made.amount) == ("2026-12", Decimal(-12))  # 10 minutes at 1.2 won
    assert await reports.month("2026-11", AFTER) == november
    corrected = await reports.month("2026-12", AFTER)
    assert corrected.subtotal == december.subtotal - 12
    assert corrected.subtotal + corrected.vat == corrected.total
    assert "두 번 셈 (감독)" in RENDERERS["text"](corrected, "ko").decode()
    assert ",Correction," in RENDERERS["focus"](corrected, "ko").decode()
    with pytest.raises(ValueError, match="to take back"):
        await periods.correct("2026-11", VOICE_SECONDS, -36_000, reason="x", person="y", now=AFTER)
    with pytest.raises(MonthOpen):
        await periods.correct("2026-10", VOICE_SECONDS, 1, reason="x", person="y", now=AFTER)


async def test_a_correction_goes_into_no_closed_month(periods: Periods) -> None:
    late = DECEMBER.end_s + 5.0
    await periods.close("2026-11", BOOK, SOURCE, by="담당", now=late)
    await periods.close("2026-12", BOOK, SOURCE, by="담당", now=late, note="시험")
    made = await periods.correct(
        "2026-11", VOICE_SECONDS, 60, reason="빠짐", person="담당", now=late
    )
    assert made.booked_in == "2027-01"


async def test_large_quantities_are_hashed_and_kept_exactly(tmp_path: Path) -> None:
    ledger = await open_ledger(sqlite_url(tmp_path / "large.db"))
    await ledger.upsert(
        [row(LARGEST_QUANTITY, NOVEMBER.start_s)], Checkpoint("hub", "1", DECEMBER.start_s)
    )
    periods = Periods(ledger, KEY)
    await periods.close("2026-11", BOOK, SOURCE, by="담당", now=AFTER)
    [line] = await periods.lines("2026-11")
    assert line.quantity == LARGEST_QUANTITY
    await periods.verify("2026-11")
    await ledger.close()


def drawn(lot: random.Random) -> list[ClosedLine]:
    """Lines of a few places, each once, in any order."""
    lines = {
        (
            NOVEMBER.start_s + lot.randint(0, 29) * 86_400,
            lot.choice(sorted(METERS)),
            "default",
            lot.choice(["", "공간"]),
            lot.choice(["lobby", "한글", "é"]),
        ): lot.randint(0, 10**12)
        for _ in range(lot.randint(0, 8))
    }
    return [ClosedLine(*key, quantity) for key, quantity in lines.items()]


@cases(1_000)
def test_a_closed_month_is_priced_to_the_same_bytes_again(lot: random.Random) -> None:
    book, lines = DEFAULT_BOOK, drawn(lot)

    def statement(of: list[ClosedLine]) -> bytes:
        ledger = ClosedLedger(of, NOVEMBER.end_s, {PEAK_USERS: 4})
        report = at_once(build_report(ledger, book, "2026-11", "Asia/Seoul", AFTER))
        return RENDERERS["json"](report, "ko") + RENDERERS["csv"](report, "ko")

    shuffled = lot.sample(lines, len(lines))
    assert statement(lines) == statement(shuffled)
    closed = ClosedMonth(
        "2026-11", "Asia/Seoul", *NOVEMBER, NOVEMBER.end_s, int(AFTER), "담당", "", BOOK, SOURCE,
        {PEAK_USERS: 4}, (), "{}",
    )  # fmt: skip
    digest = digest_of(closed, sorted(lines))
    assert digest == digest_of(closed, sorted(shuffled))
    if lines:
        more = lines[0]._replace(quantity=lines[0].quantity + 1)
        assert digest != digest_of(closed, sorted([more, *lines[1:]]))


def test_the_commands_say_what_is_closed_and_what_cannot_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("METAPORT_DATA_DIR", str(tmp_path / "data"))
    (tmp_path / "data").mkdir()
    common = ["--lang", "en"]
    assert cli.main(["usage", "close", "2026-01", "--by", "kim", *common]) == 1
    assert "there is no usage yet" in capsys.readouterr().err
    assert cli.main(["db", "upgrade", *common]) == 0
    assert cli.main(["usage", "close", "2026-01", "--by", "kim", *common]) == 2
    assert "not fully counted" in capsys.readouterr().err
    argv = ["usage", "close", "2026-01", "--by", "kim", "--as-is", "trial", *common]
    assert cli.main(argv) == 0
    assert "2026-01 closed by kim" in capsys.readouterr().out
    assert cli.main(argv) == 2
    assert "closed already" in capsys.readouterr().err
    correct = ["usage", "correct", "2026-01", "--by", "kim", "--reason", "late", *common]
    assert cli.main([*correct, "--meter", VOICE_SECONDS, "--quantity", "600"]) == 0
    assert "+600 → +12" in capsys.readouterr().out
    assert cli.main([*correct, "--meter", "dance", "--quantity", "1"]) == 2
    assert cli.main(["usage", "closed", *common]) == 0
    assert "as closed" in capsys.readouterr().out
