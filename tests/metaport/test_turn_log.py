"""coturn's log: each line counts once, whenever and however often it is read."""

import random
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest

from metaport.db.engine import sqlite_url
from metaport.db.ledger import open_ledger
from metaport.turn_log import BATCH_S, Relayed, TurnLogReader, relayed_in
from metering.errors import LedgerUnavailable
from metering.events import Checkpoint, SessionRow, Subject, UsageRow
from metering.figures import figures_of
from metering.ledger import MemoryLedger
from metering.meters import TURN_BYTES
from metering.windows import Period
from sfu.turn import username_of

NOW_S = 1_795_000_000
ALWAYS = (0, 2**40)


def line(user: str, received: int, sent: int, *, at_s: int = NOW_S, room: str = "plaza") -> str:
    at = datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%dT%H:%M:%S%z")
    return (
        f"{at}: session 001000000000000007: peer usage: realm=<turn.example.kr>, "
        f"username=<{username_of(at_s + 600, room, user)}>, "
        f"rp=9, rb={received}, sp=9, sb={sent}\n"
    )


def opened(number: int) -> str:
    return f"2026-11-28T21:00:{number:02d}+0000: log file opened: /var/log/turn.log\n"


class Flaky(MemoryLedger):
    """A ledger that is away, or that breaks after it has kept what it was given."""

    def __init__(self, lot: random.Random) -> None:
        super().__init__()
        self.lot: random.Random | None = lot

    async def upsert(
        self,
        rows: Sequence[UsageRow],
        checkpoint: Checkpoint | None = None,
        sessions: Sequence[SessionRow] = (),
    ) -> None:
        fate = 1.0 if self.lot is None else self.lot.random()
        if fate < 0.15:
            raise LedgerUnavailable("away")
        await super().upsert(rows, checkpoint, sessions)
        if fate < 0.3:
            raise LedgerUnavailable("kept, and not told")


@pytest.mark.parametrize(
    ("text", "relayed"),
    [
        (line("홍", 51_100, 102_300), Relayed(NOW_S, "plaza", "홍", 153_400)),
        (line("u", 1, 2, room="a:b/c"), Relayed(NOW_S, "a:b/c", "u", 3)),
        (line("u", 1, 2).replace("peer usage", "usage"), None),
        (line("u", 1, 2).replace(": session", ": (77): INFO: session"),
         Relayed(NOW_S, "plaza", "u", 3)),
        (line("u", 1, 2).replace("rb=1", "rb=-1"), None),
        (opened(1), None),
        ("\x00\xff garbage\n", None),
    ],
)  # fmt: skip
def test_a_line_is_read(text: str, relayed: Relayed | None) -> None:
    assert relayed_in(text.rstrip("\n").encode()) == relayed


def test_a_log_without_times_is_refused() -> None:
    with pytest.raises(ValueError, match="new-log-timestamp"):
        relayed_in(b"17" + line("u", 1, 2).encode()[24:].rstrip())


@pytest.mark.parametrize("seed", range(60))
async def test_every_line_counts_once_whatever_breaks(tmp_path: Path, seed: int) -> None:
    """Half lines, rotations, readers that die anywhere, a ledger that comes and goes."""
    lot = random.Random(seed)
    log, ledger, clock = tmp_path / "turn.log", Flaky(lot), [float(NOW_S)]
    log.write_text(opened(0))
    reader = TurnLogReader(log, ledger, "turn", lambda: clock[0])
    truth: dict[Subject, int] = {}
    files, torn = 0, ""
    for _ in range(80):
        clock[0] += lot.choice([1, 1, 1, 400])
        match lot.randrange(5):
            case 0 | 1:
                user, sizes = lot.choice("uvw"), (lot.randrange(10**6), lot.randrange(10**6))
                text = torn + line(user, *sizes, at_s=int(clock[0]))
                cut = lot.choice([len(text), lot.randrange(len(text))])
                with log.open("a") as file:
                    file.write(text[:cut])
                torn = text[cut:]
                subject = Subject("plaza", user)
                truth[subject] = truth.get(subject, 0) + sum(sizes)
            case 2 if not torn and lot.random() < 0.5:
                files += 1
                log.rename(tmp_path / f"turn.log.{files}")
                log.write_text(opened(files))
            case 3:
                reader = TurnLogReader(log, ledger, "turn", lambda: clock[0])
            case 4:
                with suppress(LedgerUnavailable):
                    await reader.ship()
    with log.open("a") as file:
        file.write(torn)
    ledger.lot = None
    await reader.ship()
    found = await ledger.by_subject(*ALWAYS)
    assert {subject: n for (_, subject), n in found.items() if n} == {
        subject: n for subject, n in truth.items() if n
    }


async def test_half_a_line_waits_for_its_end(tmp_path: Path) -> None:
    log, ledger = tmp_path / "turn.log", MemoryLedger()
    text = opened(0) + line("u", 10, 20)
    log.write_text(text[:-5])
    reader = TurnLogReader(log, ledger, "turn", lambda: NOW_S)
    assert await reader.ship() == 0
    log.write_text(text)
    assert await reader.ship() == 1
    assert await ledger.totals(*ALWAYS) == {TURN_BYTES: 30}


async def test_what_was_relayed_late_goes_to_the_window_of_its_own_time(tmp_path: Path) -> None:
    log, ledger = tmp_path / "turn.log", MemoryLedger()
    log.write_text(opened(0) + line("u", 1, 1, at_s=NOW_S - 86_400) + line("u", 2, 2))
    await TurnLogReader(log, ledger, "turn", lambda: NOW_S).ship()
    assert await ledger.totals(NOW_S - 87_300, NOW_S - 80_000) == {TURN_BYTES: 2}


async def test_a_row_is_kept_for_a_user_and_window_not_for_each_line(tmp_path: Path) -> None:
    ledger = await open_ledger(sqlite_url(tmp_path / "ledger.db"))
    log, now_s = tmp_path / "turn.log", float(NOW_S)
    log.write_text(opened(0))
    reader = TurnLogReader(log, ledger, "turn", lambda: now_s, lambda user: f"~{user}")
    for _ in range(100):
        with log.open("a") as file:
            file.write(line("u", 1, 1, at_s=NOW_S))
        await reader.ship()
    async with ledger.engine.connect() as connection:
        rows = (await connection.exec_driver_sql(
            "SELECT user_id, quantity FROM usage_window WHERE quantity > 0"
        )).fetchall()  # fmt: skip
    assert [tuple(row) for row in rows] == [("~u", 200)]
    now_s += BATCH_S
    assert await reader.ship() == 0
    assert '"' in (await ledger.checkpoint("turn") or "")
    assert await ledger.as_of() == int(now_s) - 1
    await ledger.close()


async def test_nothing_relayed_is_0_and_not_unmeasured(tmp_path: Path) -> None:
    log, ledger = tmp_path / "turn.log", MemoryLedger()
    assert TURN_BYTES not in await figures_of(ledger, Period(*ALWAYS))
    log.write_text(opened(0))
    await TurnLogReader(log, ledger, "turn", lambda: NOW_S).ship()
    assert (await figures_of(ledger, Period(*ALWAYS)))[TURN_BYTES] == 0


async def test_a_log_that_is_gone_is_told_and_read_when_it_is_back(tmp_path: Path) -> None:
    log, ledger = tmp_path / "turn.log", MemoryLedger()
    reader = TurnLogReader(log, ledger, "turn", lambda: NOW_S)
    with pytest.raises(FileNotFoundError):
        await reader.ship()
    log.write_text(opened(0) + line("u", 1, 1))
    assert await reader.ship() == 1
