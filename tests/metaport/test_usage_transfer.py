"""The ledger in a file: the same bytes from any database, and nothing of a broken file."""

import io
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from metaport import cli
from metaport.db.engine import sqlite_url
from metaport.db.ledger import SqlLedger, open_ledger
from metaport.db.periods import Periods
from metaport.usage_periods import price_book_text
from metaport.usage_transfer import FileBroken, Transferred, export_usage, import_usage
from metering.errors import MonthAltered
from metering.events import Checkpoint, Subject, UsageRow
from metering.meters import MESSAGES_SENT, PEAK_USERS, VOICE_SECONDS
from metering.windows import month_period, open_zone

NOVEMBER = month_period("2026-11", open_zone("Asia/Seoul"))
AFTER = NOVEMBER.end_s + 3600.0
ROOMS = ["lobby", "한글", "shop:a/b", "Z", "a", "", "é"]


async def exported(ledger: SqlLedger, path: Path) -> Transferred:
    buffer = io.BytesIO()
    done = await export_usage(ledger, Periods(ledger, b"k" * 32), buffer)
    path.write_bytes(buffer.getvalue())  # noqa: ASYNC240
    return done


@pytest.fixture
async def source(tmp_path: Path) -> AsyncIterator[SqlLedger]:
    ledger = await open_ledger(sqlite_url(tmp_path / "source.db"))
    rows = [
        UsageRow("hub", "1", meter, Subject(room, "visitor"), NOVEMBER.start_s + n * 900, 10 + n)
        for n, room in enumerate(ROOMS)
        for meter in (MESSAGES_SENT, VOICE_SECONDS)
    ]
    rows.append(UsageRow("hub", "1", PEAK_USERS, Subject("", ""), NOVEMBER.start_s, 41))
    await ledger.upsert(rows, Checkpoint("hub", "1", NOVEMBER.end_s + 60))
    periods = Periods(ledger, b"k" * 32)
    await periods.close("2026-11", *price_book_text(None), by="담당", now=AFTER)
    await periods.correct("2026-11", VOICE_SECONDS, -6, reason="겹침", person="감독", now=AFTER)
    yield ledger
    await ledger.close()


@pytest.fixture(params=["sqlite", "postgresql"])
async def target(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[SqlLedger]:
    sqlite = sqlite_url(tmp_path / "target.db")
    url: str = sqlite if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    ledger = await open_ledger(url)
    yield ledger
    await ledger.close()


async def test_exported_imported_and_exported_again_it_is_the_same(
    source: SqlLedger, target: SqlLedger, tmp_path: Path
) -> None:
    out = await exported(source, tmp_path / "out")
    assert (out.windows, out.gauges, out.months, out.corrections) == (14, 1, 1, 1)
    periods = Periods(target, b"another key".ljust(32))
    for _ in range(2):
        assert await import_usage(target, periods, tmp_path / "out") == out
    assert await exported(target, tmp_path / "again") == out
    assert (tmp_path / "again").read_bytes() == (tmp_path / "out").read_bytes()
    for period in (NOVEMBER, (NOVEMBER.start_s, NOVEMBER.start_s + 3600)):
        assert await target.by_place(*period) == await source.by_place(*period)
    assert await periods.verify("2026-11")
    assert await periods.months() == await Periods(source, b"k" * 32).months()


@pytest.mark.parametrize("damage", ["cut", "changed", "empty", "foreign"])
async def test_a_broken_file_changes_nothing(
    source: SqlLedger, target: SqlLedger, tmp_path: Path, damage: str
) -> None:
    path = tmp_path / "out"
    await exported(source, path)
    whole = path.read_bytes()
    broken = {
        "cut": whole[:-100],
        "changed": whole.replace(b'"lobby"', b'"lobbi"', 1),
        "empty": b"",
        "foreign": b'{"a": 1}\n',
    }
    path.write_bytes(broken[damage])
    with pytest.raises(FileBroken):
        await import_usage(target, Periods(target, b"k" * 32), path)
    assert await target.totals(0, 2**40) == {}


async def test_a_month_closed_otherwise_here_is_told(
    source: SqlLedger, target: SqlLedger, tmp_path: Path
) -> None:
    path = tmp_path / "out"
    await exported(source, path)
    periods = Periods(target, b"k" * 32)
    await periods.close("2026-11", *price_book_text(None), by="담당", now=AFTER, note="비었음")
    with pytest.raises(MonthAltered, match="closed here with another content"):
        await import_usage(target, periods, path)


def test_the_commands_tell_digests_that_agree(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("METAPORT_DATA_DIR", str(tmp_path / "one"))
    assert cli.main(["usage", "export", "out", "--lang", "en"]) == 1
    (tmp_path / "one").mkdir(exist_ok=True)  # what was asked is in the audit trail already
    assert cli.main(["db", "upgrade"]) == 0
    argv = ["usage", "close", "2026-01", "--by", "kim", "--as-is", "trial", "--lang", "en"]
    assert cli.main(argv) == 0
    assert cli.main(["usage", "export", "out", "--lang", "en"]) == 0
    assert cli.main(["usage", "export", "out", "--lang", "en"]) == 2
    printed = capsys.readouterr()
    assert "File exists" in printed.err
    monkeypatch.setenv("METAPORT_DATA_DIR", str(tmp_path / "two"))
    assert cli.main(["usage", "import", "out", "--lang", "en"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] in printed.out
