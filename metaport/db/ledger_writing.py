"""What one call brings into the ledger, and where its sums go: the same for both databases."""

from collections.abc import Sequence
from typing import NamedTuple
from zoneinfo import ZoneInfo

from metering.events import Place, SessionRow, UsageRow, place_of
from metering.meters import GAUGES
from metering.rollups import HOUR_S, day_and_month


class Key(NamedTuple):
    """The identity of a row as the tables have it."""

    window_start_s: int
    node: str
    boot: str
    meter: str
    room: str
    user_id: str


class Times(NamedTuple):
    """The hour, day and month of a window."""

    window_start_s: int
    hour_s: int
    day_s: int
    month_s: int


class SessionKey(NamedTuple):
    """The identity of a session's row as its table has it."""

    window_start_s: int
    began_s: int
    session: str
    meter: str
    node: str
    boot: str


class Batch(NamedTuple):
    """Rows of one call: each identity once, with its greatest quantity."""

    windows: dict[Key, int]
    gauges: dict[Key, int]
    late: dict[Key, int]
    places: list[Place]
    times: list[Times]


def batch(rows: Sequence[UsageRow], zone: ZoneInfo, detail_from_s: int) -> Batch:
    """Sort rows by where they belong; those before `detail_from_s` are late."""
    windows: dict[Key, int] = {}
    gauges: dict[Key, int] = {}
    late: dict[Key, int] = {}
    for node, boot, meter, (room, user), start_s, quantity in rows:
        kept = gauges if meter in GAUGES else late if start_s < detail_from_s else windows
        key = Key(start_s, node, boot, meter, room, user)
        if quantity >= kept.get(key, 0):
            kept[key] = quantity
    rooms = {key.room for key in windows}
    starts = {key.window_start_s for key in windows}
    return Batch(windows, gauges, late, [place_of(room) for room in rooms], times_of(starts, zone))


def session_batch(rows: Sequence[SessionRow], detail_from_s: int) -> dict[SessionKey, int]:
    """Return each identity once, with its greatest quantity; what came too late is in no sum."""
    kept: dict[SessionKey, int] = {}
    for node, boot, meter, (began_s, name), start_s, quantity in rows:
        key = SessionKey(start_s, began_s, name, meter, node, boot)
        if start_s >= detail_from_s and quantity >= kept.get(key, 0):
            kept[key] = quantity
    return kept


def times_of(starts: set[int], zone: ZoneInfo) -> list[Times]:
    """Return the hour, day and month of each window."""
    return [Times(s, s - s % HOUR_S, *day_and_month(s, zone)) for s in starts]
