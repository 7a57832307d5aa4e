"""The daily comparison of what was counted with what others know (`metering.reconciliation`)."""

import asyncio
import json
import logging
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from metaport.attendance import read_attendance
from metaport.config import Config
from metaport.db.errors import DatabaseError
from metaport.db.ledger import SqlLedger
from metaport.db.reconciling import Reconciliations
from metaport.language import Lang, Say
from metaport.log import LogError
from metaport.node import hub_node, node_name
from metaport.usage_commands import CannotAnswer, open_ledger
from metaport.usage_privacy import user_names
from metering.errors import LedgerUnavailable, MeteringError
from metering.meters import METERS, Service
from metering.reconciliation import CHECKS, Difference, Reconciliation, differing, seconds_within
from metering.windows import Period, day_of, day_start

logger = logging.getLogger(__name__)

# Within an hour of midnight, once every reader has come past it.
LOOK_EVERY_S = 600.0
PARTICIPATION = tuple(
    name for name, meter in METERS.items() if meter.service in (Service.VOICE, Service.VIDEO)
)


async def reconcile_daily(config: Config, ledger: SqlLedger, clock: Callable[[], float]) -> None:
    """Compare yesterday once it is fully counted, each day, until cancelled."""
    done: str | None = None
    while True:
        yesterday = day_of(int(clock()), ledger.zone) - timedelta(days=1)
        try:
            if done != yesterday.isoformat() and await _counted(ledger, yesterday):
                found = await reconcile(config, ledger, yesterday, clock())
                done = found.day
                for difference in found.differences:
                    logger.error("usage of %s differs: %s", found.day, _told(difference, "en"))
        except (LedgerUnavailable, LogError, OSError) as error:
            logger.warning("usage is compared later: %s", error)
        await asyncio.sleep(LOOK_EVERY_S)


async def reconcile(config: Config, ledger: SqlLedger, day: date, now: float) -> Reconciliation:
    """Compare a day, keep what was found, and return it.

    Raises:
        LedgerUnavailable, LogError, OSError
    """
    figures = Reconciliations(ledger)
    period = day_period(day, ledger.zone)
    compared: dict[str, int] = {}
    skipped: dict[str, str] = {}
    differences: list[Difference] = []

    def compare(
        check: str, counted: dict[tuple[str, ...], int], known: dict[tuple[str, ...], int]
    ) -> None:
        compared[check] = compared.get(check, 0) + len(counted.keys() | known.keys())
        differences.extend(differing(check, counted, known))

    sent = await figures.sent(period)
    offsets, kept = await figures.offsets(period)
    unkept = [key for key, count in sent.items() if count and key not in offsets]
    if unkept:
        skipped["messages"] = f"{len(unkept)} rooms keep no history"
    compare("messages", {key: n for key, n in sent.items() if key in offsets}, offsets)
    compare("history", kept, offsets)
    if period.start_s < await figures.detail_from_s():
        skipped["seconds"] = skipped["sessions"] = skipped["windows"] = "details are no longer kept"
    else:
        nodes = [node_name(config, log.name) for log in config.sfu_logs]
        seconds = await figures.attended(period, nodes, PARTICIPATION)
        compare("seconds", seconds, await asyncio.to_thread(_attended, config, period))
        compare("sessions", *await figures.by_session(period))
        compare("windows", await figures.days(period), await figures.windows(period))
    hours = await figures.hours(period)
    if hours is None:
        skipped["hours"] = "the day is not made of whole hours of UTC"
    else:
        compare("hours", hours, await figures.days(period))
    compare("month", *await figures.month(period.start_s))
    compare("closed", *await figures.closed())
    node = hub_node(config, 0).name
    made = Reconciliation(day.isoformat(), int(now), compared, tuple(differences), skipped, node)
    await figures.keep(made)
    return made


def day_period(day: date, zone: ZoneInfo) -> Period:
    """Return the seconds of a day in `zone`."""
    return Period(day_start(day, zone), day_start(day + timedelta(days=1), zone))


async def _counted(ledger: SqlLedger, day: date) -> bool:
    return (await ledger.as_of() or 0) >= day_period(day, ledger.zone).end_s


def _attended(config: Config, day: Period) -> dict[tuple[str, ...], int]:
    name_of = user_names(config)
    found: dict[tuple[str, ...], int] = {}
    for stay in read_attendance(config, day.start_s * 1000, day.end_s * 1000):
        key = stay.room, name_of(stay.user)
        seconds = seconds_within(stay.since_ms, stay.until_ms, *day)
        found[key] = found.get(key, 0) + seconds
    return {key: seconds for key, seconds in found.items() if seconds}


async def print_reconciliation(config: Config, day: str | None, form: str, lang: Lang) -> int:
    """Compare a day, yesterday if None, and print what differs; 1 where something does."""
    try:
        async with open_ledger(config) as ledger:
            now = datetime.now(UTC).timestamp()
            yesterday = day_of(int(now), ledger.zone) - timedelta(days=1)
            chosen = date.fromisoformat(day) if day else yesterday
            found = await reconcile(config, ledger, chosen, now)
    except CannotAnswer as error:
        print(f"metaport: {error.why.to(lang)}", file=sys.stderr)
        return 1
    except (MeteringError, DatabaseError, LogError, OSError, ValueError) as error:
        print(f"metaport: {error}", file=sys.stderr)
        return 2
    if form == "json":
        print(json.dumps(as_json(found), ensure_ascii=False, indent=2))
    else:
        _print(found, lang)
    return 1 if found.differences else 0


def as_json(found: Reconciliation) -> dict[str, object]:
    """Return what was found as plain values, for a report."""
    return {
        **found.as_json(),
        "differences": [difference.as_json() for difference in found.differences],
    }


def _print(found: Reconciliation, lang: Lang) -> None:
    print(found.day)
    for check, count in found.compared.items():
        differing_here = [d for d in found.differences if d.check == check]
        verdict = (
            Say(f"{len(differing_here)}건 다름", f"{len(differing_here)} differ")
            if differing_here
            else Say("차이 없음", "no difference")
        )
        compared = Say(f"{count:,}건 비교", f"{count:,} compared")
        print(f"  {Say(*CHECKS[check]).to(lang)}: {compared.to(lang)}, {verdict.to(lang)}")
        for difference in differing_here:
            print(f"    {_told(difference, lang)}")
    for check, why in found.skipped.items():
        not_compared = Say("비교하지 못함", "not compared").to(lang)
        print(f"  {Say(*CHECKS[check]).to(lang)}: {not_compared} ({why})")


def _told(difference: Difference, lang: Lang) -> str:
    key = " · ".join(
        ascii(part)[1:-1] if not part.isprintable() else part for part in difference.key
    )
    return f"{key or '-'}: {difference.counted:,} ≠ {difference.known:,}"
