"""Opening hours: whether a place is open at a moment, and when that changes.

Hours are of a week in a zone: days and a stretch from one clock time to another, which ends the
next day where it does not end later than it begins; `00:00` to `00:00` is a whole day. No hours at
all is always open.
"""

import re
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
DAYS: tuple[Day, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
Clock = Annotated[str, msgspec.Meta(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")]
MOST_STRETCHES = 32
_CLOCK = re.compile(r"([01]\d|2[0-3]):[0-5]\d")
# A stretch that began yesterday may last; every week is like the next.
_LOOK_DAYS = range(-1, 9)


class Stretch(msgspec.Struct, frozen=True, rename={"from_": "from"}):
    """When it is open on some days of the week."""

    days: tuple[Day, ...]
    from_: Clock
    to: Clock


Hours = Sequence[Stretch]


def fault_of(hours: Hours, zone: str) -> str | None:
    """Return what is wrong with hours in a zone, None when nothing is."""
    try:
        ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return "zone: not known"
    if len(hours) > MOST_STRETCHES:
        return f"hours: at most {MOST_STRETCHES}"
    for stretch in hours:
        if not stretch.days or not set(stretch.days) <= set(DAYS):
            return "hours: days of the week"
        if not _CLOCK.fullmatch(stretch.from_) or not _CLOCK.fullmatch(stretch.to):
            return "hours: clock times as 09:00"
    return None


def is_open(hours: Hours, zone: str, utc_s: float) -> bool:
    """Say whether it is open."""
    return not hours or any(begin <= utc_s < end for begin, end in _near(hours, zone, utc_s))


def opens_at(hours: Hours, zone: str, utc_s: float) -> float | None:
    """Return when it opens next, in seconds of UTC; None where it is open or never opens."""
    if is_open(hours, zone, utc_s):
        return None
    return min((begin for begin, _ in _near(hours, zone, utc_s) if begin > utc_s), default=None)


def _near(hours: Hours, zone: str, utc_s: float) -> list[tuple[float, float]]:
    """Return the stretches around a moment, in seconds of UTC."""
    where = ZoneInfo(zone)
    today = datetime.fromtimestamp(utc_s, UTC).astimezone(where).date()
    found = []
    for offset in _LOOK_DAYS:
        day = today + timedelta(days=offset)
        for stretch in hours:
            if DAYS[day.weekday()] in stretch.days:
                begin, end = _at(day, stretch.from_, where), _at(day, stretch.to, where)
                if end <= begin:
                    end = _at(day + timedelta(days=1), stretch.to, where)
                found.append((begin, end))
    return found


def _at(day: date, clock: str, where: ZoneInfo) -> float:
    return datetime.combine(day, time.fromisoformat(clock), where).timestamp()
