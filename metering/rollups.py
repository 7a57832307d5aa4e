"""Sums by hour, day and month: which of them a stretch of time is made of.

Hours are those of UTC, days and months those of one zone, the ledger's. A stretch is taken apart
into whole months, at its ends whole days, there whole hours, and what is left in windows: any
stretch of whole windows, in whatever zone it was asked for, is a sum of what is kept.
"""

import enum
from collections.abc import Iterator
from datetime import timedelta
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

from metering.windows import (
    WINDOW_S,
    Period,
    day_of,
    day_start,
    month_days,
    month_of,
    month_period,
    window_end,
)

HOUR_S = 3600
# What lies beyond belongs to a clock that was never set; zones are defined between.
FIRST_S, LAST_S = 86_400, 253_000_000_000 // WINDOW_S * WINDOW_S


class Level(enum.Enum):
    """How finely sums are kept, from coarse to fine."""

    MONTH = "month"
    DAY = "day"
    HOUR = "hour"
    WINDOW = "window"


class Part(NamedTuple):
    """A stretch of whole months, days, hours or windows."""

    level: Level
    start_s: int
    end_s: int


@lru_cache(maxsize=4096)
def day_and_month(at_s: int, zone: ZoneInfo) -> tuple[int, int]:
    """Return the starts of the day and of the month that hold a second, in `zone`."""
    at_s = min(max(at_s, FIRST_S), LAST_S)
    month = month_period(month_of(at_s, zone), zone)
    return day_start(day_of(at_s, zone), zone), month.start_s


def parts(period: Period, zone: ZoneInfo) -> Iterator[Part]:
    """Take a stretch of time apart into the coarsest sums it is made of, in order of time."""
    start_s = window_end(max(period.start_s, FIRST_S))
    yield from _parts(start_s, window_end(min(period.end_s, LAST_S)), zone, list(Level))


def _parts(start_s: int, end_s: int, zone: ZoneInfo, levels: list[Level]) -> Iterator[Part]:
    if start_s >= end_s:
        return
    level, *finer = levels
    if level is Level.WINDOW:
        yield Part(level, start_s, end_s)
        return
    first, last = _not_before(start_s, level, zone), _not_after(end_s, level, zone)
    if first >= last:
        yield from _parts(start_s, end_s, zone, finer)
        return
    yield from _parts(start_s, first, zone, finer)
    yield Part(level, first, last)
    yield from _parts(last, end_s, zone, finer)


def _not_after(at_s: int, level: Level, zone: ZoneInfo) -> int:
    match level:
        case Level.HOUR:
            return at_s - at_s % HOUR_S
        case Level.DAY:
            return day_start(day_of(at_s, zone), zone)
        case _:
            return month_period(month_of(at_s, zone), zone).start_s


def _not_before(at_s: int, level: Level, zone: ZoneInfo) -> int:
    start_s = _not_after(at_s, level, zone)
    if start_s == at_s:
        return at_s
    match level:
        case Level.HOUR:
            return start_s + HOUR_S
        case Level.DAY:
            return day_start(day_of(at_s, zone) + timedelta(days=1), zone)
        case _:
            return day_start(month_days(month_of(at_s, zone))[1], zone)
