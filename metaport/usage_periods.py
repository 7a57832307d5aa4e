"""`metaport usage close|correct|closed`: months are closed, corrected and verified by people."""

import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime
from importlib import resources
from pathlib import Path
from zoneinfo import ZoneInfo

from metaport.config import Config
from metaport.db.errors import DatabaseError
from metaport.db.periods import Periods
from metaport.language import Lang, Say
from metaport.usage_commands import CannotAnswer, open_ledger
from metaport.usage_privacy import usage_key
from metering.errors import MeteringError, PriceBookError
from metering.meters import METERS
from metering.periods import ClosedMonth, Correction, is_signed
from metering.pricebook import DEFAULT
from metering.windows import day_start

DONE, WRONG, REFUSED = 0, 1, 2


async def close_month(config: Config, month: str, by: str, note: str, lang: Lang) -> int:
    """Close a month, and say with which total and digest; returns the exit code."""

    async def close(periods: Periods) -> int:
        text, source = price_book_text(config.usage.pricebook)
        closed = await periods.close(month, text, source, by=by, now=_now(), note=note)
        print(Say(f"{month} 마감: {by}", f"{month} closed by {by}").to(lang))
        print(_told(closed, lang))
        return DONE

    return await _run(config, lang, close)


async def correct_month(
    config: Config,
    month: str,
    meter: str,
    quantity: int,
    *,
    room: str,
    day: date | None,
    reason: str,
    by: str,
    lang: Lang,
) -> int:
    """Book a correction, and say in which month with which amount; returns the exit code."""

    async def correct(periods: Periods) -> int:
        at_s = None if day is None else day_start(day, ZoneInfo(config.usage.zone))
        made = await periods.correct(
            month,
            meter,
            quantity,
            reason=reason,
            person=by,
            now=_now(),
            room=room,
            day_start_s=at_s,
        )
        print(_booked(made, lang))
        return DONE

    if meter not in METERS:
        print(f"metaport: --meter: {', '.join(METERS)}", file=sys.stderr)
        return REFUSED
    return await _run(config, lang, correct)


async def list_closed(config: Config, form: str, lang: Lang) -> int:
    """Verify and print every closed month and correction; 1 where one is not what was closed."""

    async def show(periods: Periods) -> int:
        code = DONE
        for closed in await periods.months():
            try:
                await periods.verify(closed.month)
                verdict = Say("그대로", "as closed") if _is_ours(closed, config) else _OTHERS
            except MeteringError:
                verdict, code = Say("바뀌었음!", "ALTERED!"), WRONG
            if form == "json":
                print(json.dumps(_as_json(closed, verdict.en), ensure_ascii=False))
            else:
                print(f"{closed.month}  {verdict.to(lang)}  {closed.closed_by}")
                print(_told(closed, lang))
        for made in await periods.corrections():
            if form == "json":
                print(json.dumps(made.as_json(), ensure_ascii=False))
            else:
                print(_booked(made, lang))
        return code

    return await _run(config, lang, show)


_OTHERS = Say("그대로 (다른 설치의 서명)", "as closed (signed by another installation)")


def price_book_text(path: Path | None) -> tuple[str, str]:
    """Return a price book as it is written, with its name. Raises PriceBookError."""
    if path is None:
        return resources.files("metering").joinpath(DEFAULT).read_text("utf-8"), DEFAULT
    try:
        return path.read_text("utf-8-sig"), path.name
    except (OSError, UnicodeDecodeError) as error:
        raise PriceBookError(str(path), None, str(error)) from error


@asynccontextmanager
async def open_periods(config: Config) -> AsyncIterator[Periods]:
    """Lend the closed months of this installation; raises as `usage_commands.open_ledger`."""
    async with open_ledger(config) as ledger:
        yield Periods(ledger, usage_key(config))


async def _run(config: Config, lang: Lang, work: Callable[[Periods], Awaitable[int]]) -> int:
    try:
        async with open_periods(config) as periods:
            return await work(periods)
    except CannotAnswer as error:
        print(f"metaport: {error.why.to(lang)}", file=sys.stderr)
        return WRONG
    except (MeteringError, DatabaseError, OSError, ValueError) as error:
        print(f"metaport: {error}", file=sys.stderr)
        return REFUSED


def _is_ours(closed: ClosedMonth, config: Config) -> bool:
    return is_signed(closed, usage_key(config))


def _as_json(closed: ClosedMonth, verdict: str) -> dict[str, object]:
    statement = json.loads(closed.statement)
    return {
        "month": closed.month,
        "verdict": verdict,
        "closed_by": closed.closed_by,
        "closed_at_s": closed.closed_at_s,
        "note": closed.note,
        "total": statement["total"],
        "digest": closed.digest,
        "signature": closed.signature,
    }


def _told(closed: ClosedMonth, lang: Lang) -> str:
    statement = json.loads(closed.statement)
    total = Say("합계", "total").to(lang)
    note = f"\n  {closed.note}" if closed.note else ""
    return f"  {total} {statement['total']} {statement['currency']}\n  {closed.digest}{note}"


def _booked(made: Correction, lang: Lang) -> str:
    booked = Say(f"{made.booked_in}에 반영", f"booked in {made.booked_in}").to(lang)
    title = METERS[made.meter].title(lang)
    return (
        f"#{made.number} {made.corrects} {title} {made.quantity:+,} → {made.amount:+,f} "
        f"({booked}): {made.reason} ({made.person})"
    )


def _now() -> float:
    return datetime.now(UTC).timestamp()
