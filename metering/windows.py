"""Where time is cut: windows of 900 s in UTC, months and days of a zone, whole seconds.

Every interval is half-open: its start belongs to it, its end does not. Borders of months and days
fall on borders of windows in every zone in use today, because their offsets are multiples of
15 minutes; so a month is a sum of whole windows wherever it is read.
"""

import re
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from metering.errors import PeriodError

# 15 minutes: the finest step of any zone's offset today (Nepal +05:45, Chatham +12:45).
WINDOW_S = 900

_MONTH = re.compile(r"(?P<year>\d{4})-(?P<month>0[1-9]|1[0-2])", re.ASCII)


class Period(NamedTuple):
    """A half-open stretch of seconds since the Unix epoch."""

    start_s: int
    end_s: int


def window_start(at_s: int) -> int:
    """Return the start of the window that holds the second `at_s`."""
    return at_s - at_s % WINDOW_S


def window_end(at_s: int) -> int:
    """Return the first border of windows that is not before `at_s`."""
    return -(-at_s // WINDOW_S) * WINDOW_S


def whole_seconds(start_ms: int, end_ms: int) -> int:
    """Count an interval as floor(end) - floor(start), so that splitting it changes nothing."""
    return end_ms // 1000 - start_ms // 1000


def seconds_by_window(start_ms: int, end_ms: int) -> Iterator[tuple[int, int]]:
    """Share the whole seconds of an interval among windows, as (window start, seconds).

    Yields nothing for an interval without a whole second, nor for one that ends before it starts
    (a clock that was set back).
    """
    second, end_s = start_ms // 1000, end_ms // 1000
    while second < end_s:
        start = window_start(second)
        stop = min(start + WINDOW_S, end_s)
        yield start, stop - second
        second = stop


def open_zone(name: str) -> ZoneInfo:
    """Look up an IANA time zone.

    Raises PeriodError for a name that the system's time zone data does not hold.
    """
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise PeriodError(f"{name!r} is not a time zone this system knows") from error


def day_start(day: date, zone: ZoneInfo) -> int:
    """Return the second at which `day` begins in `zone`."""
    start_s = int(datetime.combine(day, time(), zone).timestamp())
    if start_s % WINDOW_S:
        raise PeriodError(f"{day} does not begin on a quarter of an hour in {zone.key}")
    return start_s


def days_of(period: Period, zone: ZoneInfo) -> list[Period]:
    """Cut a period that begins and ends with a day of `zone` into its days."""
    first = datetime.fromtimestamp(period.start_s, zone).date()
    days, start_s = [], period.start_s
    while start_s < period.end_s:
        first += timedelta(days=1)
        end_s = day_start(first, zone)
        days.append(Period(start_s, end_s))
        start_s = end_s
    return days


def day_of(at_s: int, zone: ZoneInfo) -> date:
    """Return the day that holds the second `at_s` in `zone`."""
    return datetime.fromtimestamp(at_s, zone).date()


def month_of(at_s: int, zone: ZoneInfo) -> str:
    """Return the month that holds the second `at_s` in `zone`, as 2026-11."""
    return f"{day_of(at_s, zone):%Y-%m}"


def month_days(month: str) -> tuple[date, date]:
    """Return the first day of a month written as 2026-11, and the first day after it."""
    match = _MONTH.fullmatch(month)
    if match is None or not 1970 <= int(match["year"]) <= 9998:
        raise PeriodError(f"{month!r} is not a month like 2026-11")
    first = date(int(match["year"]), int(match["month"]), 1)
    return first, date(first.year + first.month // 12, first.month % 12 + 1, 1)


def month_period(month: str, zone: ZoneInfo) -> Period:
    """Return the seconds of a month written as 2026-11 in `zone`."""
    first, after = month_days(month)
    return Period(day_start(first, zone), day_start(after, zone))
