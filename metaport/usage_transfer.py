"""`metaport usage export|import`: the ledger and its closed months in one file, the same elsewhere.

A file is lines of JSON: a header, `w`indows, `s`essions and `g`auges in their order, `c`losed
months each followed by its `l`ines, corrections (`x`), and a last line with the SHA-256 of all
lines before.
**The same ledger makes the same bytes**, whatever database it is in: exported, imported and
exported again, it has the same digest. An import repeats without effect, and refuses what is not
whole, or contradicts a month that is closed here.
"""

import hashlib
import json
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import fields
from decimal import Decimal
from itertools import groupby
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from sqlalchemy import Table, select

from metaport.config import Config
from metaport.db.errors import DatabaseError
from metaport.db.ledger import SqlLedger
from metaport.db.periods import Periods, write_closed, write_correction
from metaport.db.tables.usage import usage_gauge, usage_session, usage_window
from metaport.language import Lang, Say
from metaport.progress import working
from metaport.usage_commands import CannotAnswer, open_ledger
from metaport.usage_privacy import usage_key
from metering.errors import LedgerUnavailable, MeteringError, MonthAltered
from metering.events import Checkpoint, Session, SessionRow, Subject, UsageRow
from metering.periods import (
    ClosedLine,
    ClosedMonth,
    ClosedSessions,
    Correction,
    canonical,
    digest_of,
)

FORMAT, VERSION = "metaport usage", 2
# Files of the first version have no sessions.
READABLE = (1, VERSION)
WRITING = Say("장부를 내보내는 중", "writing the ledger")
READING = Say("장부를 들여오는 중", "reading the ledger")
ROWS_AT_A_TIME = 10_000
# The name under which an import says up to when its figures are known.
READER = "import"


class Transferred(NamedTuple):
    """What a file holds."""

    windows: int
    gauges: int
    months: int
    corrections: int
    digest: str


class FileBroken(MeteringError):
    """The file is not whole, or not one of these."""


async def export_usage(ledger: SqlLedger, periods: Periods, file: BinaryIO) -> Transferred:
    """Write everything to `file`.

    Raises:
        LedgerUnavailable; OSError: it cannot be written.
    """
    sha256 = hashlib.sha256()

    def write(value: object) -> None:
        line = canonical(value) + b"\n"
        sha256.update(line)
        file.write(line)

    write({"format": FORMAT, "version": VERSION, "as_of_s": await ledger.as_of()})
    windows = gauges = 0
    async for row in _rows(ledger, usage_window):
        write(["w", *row])
        windows += 1
    async for row in _rows(ledger, usage_session):
        write(["s", *row])
    async for row in _rows(ledger, usage_gauge):
        write(["g", *row])
        gauges += 1
    months = await periods.months()
    for closed in months:
        signed = closed.header() | {"digest": closed.digest, "signature": closed.signature}
        write(["c", signed])
        for line in await periods.lines(closed.month):
            write(["l", *line])
    corrections = await periods.corrections()
    for made in corrections:
        write(["x", made.as_json()])
    digest = sha256.hexdigest()
    file.write(canonical({"sha256": digest}) + b"\n")
    return Transferred(windows, gauges, len(months), len(corrections), digest)


async def import_usage(ledger: SqlLedger, periods: Periods, path: Path) -> Transferred:
    """Take everything over from a file that `export_usage` wrote.

    1. The file is read through, and its digest and those of its months are checked.
    2. Windows and gauges are upserted, some at a time; a crash leaves less, not more.
    3. Months and corrections that are not here are written; that is one transaction.

    Raises:
        FileBroken, MonthAltered, LedgerUnavailable, OSError
    """
    digest, as_of_s = check_file(path)
    windows = gauges = 0
    some: list[UsageRow] = []
    sessions: list[SessionRow] = []
    for kind, *row in _records(path):
        match kind:
            case "w":
                some.append(_window(row))
                windows += 1
            case "g":
                some.append(_gauge(row))
                gauges += 1
            case "s":
                sessions.append(_session(row))
        if len(some) + len(sessions) >= ROWS_AT_A_TIME:
            await ledger.upsert(some, None, sessions)
            some, sessions = [], []
    alone = as_of_s is not None and await ledger.as_of() is None
    checkpoint = Checkpoint(READER, digest, as_of_s) if alone and as_of_s else None
    await ledger.upsert(some, checkpoint, sessions)
    months, corrections = await _import_closed(ledger, periods, path)
    return Transferred(windows, gauges, months, corrections, digest)


def check_file(path: Path) -> tuple[str, int | None]:
    """Read a file through; return its digest, and up to when its figures are known.

    Raises:
        FileBroken, MonthAltered; OSError: it cannot be read.
    """
    sha256 = hashlib.sha256()
    last, header = b"", None
    with path.open("rb") as file:
        for line in file:
            if last:
                sha256.update(last)
            header = header or line
            last = line
    try:
        told = json.loads(last)["sha256"]
        opening = json.loads(header or b"")
        if opening["format"] != FORMAT or opening["version"] not in READABLE:
            raise FileBroken(f"{path} is of another kind or version")
    except (ValueError, KeyError, TypeError) as error:
        raise FileBroken(f"{path} is not whole, or no export of usage") from error
    if told != sha256.hexdigest():
        raise FileBroken(f"{path} is not what was exported: its digest is another")
    for closed, lines in _months(path):
        if digest_of(closed, lines) != closed.digest:
            raise MonthAltered(f"{path}: {closed.month} is not what was closed")
    return told, opening["as_of_s"]


async def _rows(ledger: SqlLedger, table: Table[Any]) -> AsyncIterator[list[Any]]:
    """Yield the rows of a table in the order of their key, text by code points."""
    keys = [*table.primary_key, table.c.quantity]
    first, after = keys[0], -(2**62)
    while True:
        async with ledger.transaction() as connection:
            # Whole windows at a time: databases order text by rules of their own.
            bounds = select(first).where(first > after).order_by(first).limit(ROWS_AT_A_TIME)
            starts = list(await connection.scalars(bounds))
            if not starts:
                return
            within = select(*keys).where(first > after, first <= starts[-1])
            rows = [list(row) for row in await connection.execute(within)]
        after = starts[-1]
        for row in sorted(rows):
            yield row


def _records(path: Path) -> Iterator[list[Any]]:
    with path.open("rb") as file:
        next(file)
        for line in file:
            value = json.loads(line)
            if isinstance(value, list):
                yield value


def _months(path: Path) -> Iterator[tuple[ClosedMonth, list[ClosedLine]]]:
    closed: ClosedMonth | None = None
    for kind, records in groupby(_records(path), key=lambda record: record[0]):
        if kind == "c":
            for record in records:
                if closed is not None:
                    yield closed, []
                closed = _closed(record[1])
        elif kind == "l" and closed is not None:
            yield closed, [ClosedLine(*record[1:]) for record in records]
            closed = None
    if closed is not None:
        yield closed, []


async def _import_closed(ledger: SqlLedger, periods: Periods, path: Path) -> tuple[int, int]:
    here = {closed.month: closed.digest for closed in await periods.months()}
    known = {made.number: made for made in await periods.corrections()}
    made = [_correction(record[1]) for record in _records(path) if record[0] == "x"]
    months = 0
    async with ledger.writer() as connection:
        for closed, lines in _months(path):
            months += 1
            if here.get(closed.month, closed.digest) != closed.digest:
                raise MonthAltered(f"{closed.month} is closed here with another content")
            if closed.month not in here:
                await write_closed(connection, closed, lines)
        for one in made:
            if known.get(one.number, one) != one:
                raise MonthAltered(f"correction {one.number} is another one here")
            if one.number not in known:
                await write_correction(connection, one)
    return months, len(made)


def _window(row: list[Any]) -> UsageRow:
    start_s, node, boot, meter, room, user, quantity = row
    return UsageRow(node, boot, meter, Subject(room, user), start_s, quantity)


def _session(row: list[Any]) -> SessionRow:
    start_s, began_s, name, meter, node, boot, quantity = row
    return SessionRow(node, boot, meter, Session(began_s, name), start_s, quantity)


def _gauge(row: list[Any]) -> UsageRow:
    at_s, meter, node, boot, quantity = row
    return UsageRow(node, boot, meter, Subject("", ""), at_s, quantity)


def _closed(values: dict[str, Any]) -> ClosedMonth:
    sessions = tuple(map(ClosedSessions.read, values.get("sessions", ())))
    lists = {name: tuple(values.get(name, ())) for name in ("corrections", "reconciled")}
    return ClosedMonth(**values | lists | {"sessions": sessions})


def _correction(values: dict[str, Any]) -> Correction:
    known = {field.name: values[field.name] for field in fields(Correction)}
    return Correction(**known | {"amount": Decimal(values["amount"])})


async def run_transfer(config: Config, path: Path, *, out: bool, lang: Lang) -> int:
    """Export to a file that is not there yet, or import one; returns the exit code."""
    try:
        async with open_ledger(config, create=not out) as ledger:
            periods = Periods(ledger, usage_key(config))
            if out:
                with path.open("xb") as file, working(WRITING, lang):
                    done = await export_usage(ledger, periods, file)
            else:
                with working(READING, lang):
                    done = await import_usage(ledger, periods, path)
    except CannotAnswer as error:
        print(f"metaport: {error.why.to(lang)}", file=sys.stderr)
        return 1
    except (MeteringError, LedgerUnavailable, DatabaseError, OSError) as error:
        print(f"metaport: {error}", file=sys.stderr)
        return 2
    said = Say(
        f"구간 {done.windows:,}, 계측값 {done.gauges:,}, 마감한 달 {done.months}, "
        f"정정 {done.corrections}",
        f"{done.windows:,} windows, {done.gauges:,} gauges, {done.months} closed months, "
        f"{done.corrections} corrections",
    )
    print(said.to(lang))
    print(f"SHA-256 {done.digest}")
    return 0
