"""Usage by app, space, room, node and user: from facts to every form of the report."""

import asyncio
import csv
import io
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from chatd.facts import ConnectionTime, MessageAccepted
from metaport import cli
from metaport.chat_journal import ChatJournal
from metaport.compose import identity_of
from metaport.db.engine import sqlite_url
from metaport.db.ledger import SqlLedger, open_ledger
from metaport.db.periods import Periods
from metaport.log import Log
from metaport.tokens import Tokens
from metaport.usage import LedgerReports, Shipper
from metaport.usage_log import UsageLog
from metaport.usage_periods import price_book_text
from metering.dimensions import Dimension, used_by
from metering.document import Table
from metering.errors import PeriodError
from metering.events import Checkpoint
from metering.forms import FORMS
from metering.meters import CONNECTION_SECONDS, MESSAGES_SENT
from metering.pricebook import default_price_book
from metering.report import RENDERERS
from metering.statement_document import document_of
from metering.statement_words import words
from metering.windows import month_period, open_zone

NOVEMBER = month_period("2026-11", open_zone("Asia/Seoul"))
NOON_MS = (NOVEMBER.start_s + 43_200) * 1000
AFTER = NOVEMBER.end_s + 60.0

FACTS = (
    ConnectionTime("hong", NOON_MS, NOON_MS + 7_000),
    ConnectionTime("game:kim", NOON_MS, NOON_MS + 5_000, 2, "game"),
    MessageAccepted("lobby", "e", 1, "1", "hong", "n", NOON_MS, "hi"),
    MessageAccepted("game:town/square", "e", 1, "2", "game:kim", "n", NOON_MS, "hello"),
)


@pytest.fixture
async def ledger(tmp_path: Path) -> AsyncIterator[SqlLedger]:
    (tmp_path / "data").mkdir()
    opened = await open_ledger(sqlite_url(tmp_path / "data" / "metaport.db"))
    logs = {}
    for node, facts in (("hub", FACTS[:2]), ("hub-1", FACTS[2:])):
        logs[node] = tmp_path / node
        log = Log(logs[node])
        ChatJournal(UsageLog(log, node, lambda: AFTER)).commit(facts)
        log.close()
    shipper = Shipper(opened, logs)
    await shipper.ship()
    shipper.close()
    await opened.upsert([], Checkpoint("hub", "x", NOVEMBER.end_s + 9))
    yield opened
    await opened.close()


async def test_connection_seconds_are_those_of_the_tokens_app(ledger: SqlLedger) -> None:
    used = await used_by(ledger, Dimension.APP, NOVEMBER)
    assert {app: meters[CONNECTION_SECONDS] for app, meters in used.items()} == {
        "default": 7, "game": 10,
    }  # fmt: skip


async def test_each_dimension_has_all_that_was_used(ledger: SqlLedger) -> None:
    totals = await ledger.totals(*NOVEMBER)
    keys = {}
    for dimension in Dimension:
        used = await used_by(ledger, dimension, NOVEMBER)
        summed: dict[str, int] = {}
        for meters in used.values():
            for meter, quantity in meters.items():
                summed[meter] = summed.get(meter, 0) + quantity
        assert summed == totals, dimension
        keys[dimension.value] = list(used)
    assert keys == {
        "app": ["default", "game"],
        "space": ["", "game:town"],
        "room": ["", "game:", "game:town/square", "lobby"],
        "node": ["hub", "hub-1"],
        "user": ["game:kim", "hong"],
    }


def test_an_identity_carries_the_app_of_its_token() -> None:
    tokens = Tokens("s" * 32)
    claims = tokens.verify(tokens.mint("hong", ttl_s=60, now=0.0), 1.0)
    assert identity_of(claims).app == "default"


@pytest.mark.parametrize("lang", ["ko", "en"])
@pytest.mark.parametrize("dimension", Dimension)
async def test_every_form_shows_it(ledger: SqlLedger, lang: str, dimension: Dimension) -> None:
    reports = LedgerReports(ledger, default_price_book, "Asia/Seoul")
    report = await reports.month("2026-11", AFTER, by=dimension)
    title, _ = words(lang).by[dimension]
    [by] = [part for part in document_of(report, lang).details if part.title == title]
    assert isinstance(by, Table)
    assert len(by.rows) >= 3
    for form, render in FORMS.items():
        assert len(render(document_of(report, lang))) > 100, form
    stated = json.loads(RENDERERS["json"](report, lang))
    shares = stated["by"]["shares"]
    assert stated["by"]["dimension"] == dimension.value
    amounts = sum(int(share["amount"]) for share in shares) + int(stated["by"]["apart"])
    assert amounts == int(stated["subtotal"])
    table = list(csv.DictReader(io.StringIO(RENDERERS["csv"](report, lang).decode("utf-8-sig"))))
    rows = [row for row in table if row["kind"] == f"by_{dimension.value}"]
    sent = [row for row in rows if row["meter"] == MESSAGES_SENT]
    assert sum(int(row["quantity"]) for row in sent) == 2
    without = await reports.month("2026-11", AFTER)
    assert "by" not in json.loads(RENDERERS["json"](without, lang))


async def test_a_closed_month_tells_places_and_no_nodes(ledger: SqlLedger) -> None:
    periods = Periods(ledger, b"k" * 32)
    await periods.close("2026-11", *price_book_text(None), by="담당", now=AFTER)
    reports = LedgerReports(ledger, default_price_book, "Asia/Seoul", periods=periods)
    report = await reports.month("2026-11", AFTER, by=Dimension.SPACE)
    assert report.by is not None
    assert set(report.by.used) == {"", "game:town"}
    for dimension in (Dimension.NODE, Dimension.USER):
        with pytest.raises(PeriodError, match=f"not by {dimension}"):
            await reports.month("2026-11", AFTER, by=dimension)


@pytest.mark.usefixtures("ledger")
async def test_the_command_tells_usage_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("METAPORT_DATA_DIR", str(tmp_path / "data"))
    asked = ["usage", "report", "--month", "2026-11", "--by", "app", "--lang", "ko"]
    assert await asyncio.to_thread(cli.main, asked) == 0
    printed = capsys.readouterr().out
    assert "앱별 사용량과 금액" in printed
    assert "game" in printed
