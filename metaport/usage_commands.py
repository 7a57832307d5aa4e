"""What `metaport usage …` prints: the month, the budget, prices and how they compare."""

import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any

from metaport.config import Config
from metaport.db.engine import open_engine
from metaport.db.errors import DatabaseError
from metaport.db.ledger import SqlLedger
from metaport.db.periods import Periods
from metaport.language import Lang, Say
from metaport.progress import working
from metaport.usage import LedgerReports, price_book
from metaport.usage_privacy import usage_key
from metering.budget_document import budget_document
from metering.contract import load_contract
from metering.dimensions import Dimension
from metering.errors import MeteringError
from metering.forms import FORMS
from metering.market import Rate, compare, load_market
from metering.market_document import market_document
from metering.meters import PEAK_USERS
from metering.proposal import load_inputs, propose
from metering.proposal_document import proposal_book, proposal_document
from metering.report import DETAILED, RENDERERS
from metering.windows import days_of

BINARY = frozenset({"xlsx", "pdf"})
MAKING = Say("보고서를 만드는 중", "making the report")


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
    config: Config,
    month: str,
    form: str,
    lang: Lang,
    output: Path | None,
    *,
    by: Dimension | None = None,
) -> int:
    """Write the report of a month to `output` or standard output; returns the exit code."""

    async def make(reports: LedgerReports, now: float) -> bytes:
        report = await reports.month(month, now, details=form in DETAILED, by=by)
        return RENDERERS[form](report, lang)

    return await _answer(config, make, form, lang, output)


async def print_budget(config: Config, form: str, lang: Lang, output: Path | None) -> int:
    """Hold usage against the configured contract; returns the exit code."""
    path = config.usage.contract

    async def make(reports: LedgerReports, now: float) -> bytes:
        if path is None:
            raise CannotAnswer(
                Say(
                    "계약 파일이 설정되지 않았습니다 (usage.contract)",
                    "no contract is configured (usage.contract)",
                )
            )
        statement = await reports.budget(load_contract(path), now)
        if form == "json":
            return as_json(statement.as_json())
        return FORMS[form](budget_document(statement, lang))

    return await _answer(config, make, form, lang, output)


async def print_comparison(
    config: Config,
    month: str,
    *,
    rates: Sequence[Rate],
    market: Path | None,
    form: str,
    lang: Lang,
    output: Path | None,
) -> int:
    """Price a month by what others ask; returns the exit code."""

    async def make(reports: LedgerReports, now: float) -> bytes:
        rows = load_market(market)
        report = await reports.month(month, now, details=True)
        quantities: dict[str, int] = {}
        for line in report.lines:
            quantities[line.id.meter] = quantities.get(line.id.meter, 0) + line.quantity
        known_s = report.period.start_s if report.as_of_s is None else report.as_of_s
        days = len([day for day in days_of(report.period, report.zone) if day.start_s < known_s])
        users = None if report.aside is None else report.aside.figures.get(PEAK_USERS)
        compared = compare(rows, quantities, rates, users=users, days=days)
        return FORMS[form](market_document(report, compared, rates, lang))

    return await _answer(config, make, form, lang, output)


def print_proposal(inputs: Path | None, form: str, lang: Lang, output: Path | None) -> int:
    """Derive unit prices from costs and capacities; returns the exit code."""
    try:
        proposal = propose(load_inputs(inputs))
        if form == "book":
            body = proposal_book(proposal).encode()
        else:
            body = FORMS[form](proposal_document(proposal, lang))
    except MeteringError as error:
        print(f"metaport: {error}", file=sys.stderr)
        return 2
    return deliver(body, form, lang, output)


def as_json(tree: Mapping[str, Any]) -> bytes:
    """Write plain values as JSON that a person can read."""
    return (json.dumps(tree, ensure_ascii=False, indent=2) + "\n").encode()


def example(name: str) -> str:
    """Return an example file that is shipped with metering."""
    return resources.files("metering").joinpath(name).read_text(encoding="utf-8")


async def _answer(
    config: Config,
    make: Callable[[LedgerReports, float], Awaitable[bytes]],
    form: str,
    lang: Lang,
    output: Path | None,
) -> int:
    now = datetime.now(UTC).timestamp()
    try:
        async with open_ledger(config) as ledger:
            reports = LedgerReports(
                ledger,
                partial(price_book, config),
                config.usage.zone,
                periods=Periods(ledger, usage_key(config)),
            )
            with working(MAKING, lang):
                body = await make(reports, now)
    except CannotAnswer as error:
        print(f"metaport: {error.why.to(lang)}", file=sys.stderr)
        return 1
    except (MeteringError, DatabaseError) as error:
        print(f"metaport: {error}", file=sys.stderr)
        return 2
    return deliver(body, form, lang, output)


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
