"""What `metaport usage …` prints: the month, the budget, prices and how they compare."""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from metaport.config import Config
from metaport.db.engine import open_engine
from metaport.db.errors import DatabaseError
from metaport.db.ledger import SqlLedger
from metaport.db.periods import Periods
from metaport.language import Lang, Say
from metaport.usage import LedgerReports, price_book
from metaport.usage_privacy import usage_key
from metering.errors import MeteringError
from metering.report import DETAILED, RENDERERS

BINARY = frozenset({"xlsx", "pdf"})


class CannotAnswer(Exception):
    """Why there is nothing to print, in both languages."""

    def __init__(self, why: Say) -> None:
        super().__init__(why.en)
        self.why = why


@asynccontextmanager
async def open_ledger(config: Config, *, create: bool = False) -> AsyncIterator[SqlLedger]:
    """Lend the ledger of this installation; `create` makes one where there is none.

    Raises:
        CannotAnswer: nothing was ever counted here.
        DatabaseError: the database cannot be used.
    """
    here = config.database.url is not None or (config.data.dir / "metaport.db").exists()
    if create:
        config.data.dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    elif not here:
        raise CannotAnswer(
            Say(
                f"아직 사용량 기록이 없습니다 (data.dir: {config.data.dir})",
                f"there is no usage yet (data.dir: {config.data.dir})",
            )
        )
    engine = await open_engine(config.database_url)
    try:
        yield SqlLedger(engine, config.usage.zone)
    finally:
        await engine.dispose()


async def print_report(
    config: Config, month: str, form: str, lang: Lang, output: Path | None
) -> int:
    """Write the report of a month to `output` or standard output; returns the exit code."""
    now = datetime.now(UTC).timestamp()
    try:
        async with open_ledger(config) as ledger:
            reports = LedgerReports(
                ledger,
                partial(price_book, config),
                config.usage.zone,
                periods=Periods(ledger, usage_key(config)),
            )
            report = await reports.month(month, now, details=form in DETAILED)
        return deliver(RENDERERS[form](report, lang), form, lang, output)
    except CannotAnswer as error:
        print(f"metaport: {error.why.to(lang)}", file=sys.stderr)
        return 1
    except (MeteringError, DatabaseError) as error:
        print(f"metaport: {error}", file=sys.stderr)
        return 2


def deliver(body: bytes, form: str, lang: Lang, output: Path | None) -> int:
    """Write a rendered report to a file, or to standard output; returns the exit code."""
    if output is not None:
        try:
            output.write_bytes(body)
        except OSError as error:
            print(f"metaport: {output}: {error.strerror}", file=sys.stderr)
            return 1
        return 0
    if form in BINARY and sys.stdout.isatty():
        why = Say(
            f"{form} 형식은 화면에 쓸 수 없습니다: --output 파일을 지정하십시오",
            f"{form} is no form for a terminal: name a file with --output",
        )
        print(f"metaport: {why.to(lang)}", file=sys.stderr)
        return 2
    if form in BINARY:
        sys.stdout.buffer.write(body)
    else:
        print(body.decode(), end="")
    return 0
