"""Any stretch of time is taken apart into whole months, days, hours and windows, once each."""

from datetime import UTC, datetime
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metering.rollups import FIRST_S, HOUR_S, LAST_S, Level, day_and_month, parts
from metering.windows import WINDOW_S, Period, month_period

# Seoul has no daylight saving, Berlin and New York have, Lord Howe shifts by half an hour,
# Kathmandu and Chatham are off by quarters, Apia left out a day in 2011.
ZONES = (
    "Asia/Seoul", "UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe",
    "Asia/Kathmandu", "Pacific/Chatham", "Pacific/Apia",
)  # fmt: skip
SEOUL = ZoneInfo("Asia/Seoul")

zones = st.sampled_from([ZoneInfo(name) for name in ZONES])
instants = st.integers(1_290_000_000 // WINDOW_S, 1_830_000_000 // WINDOW_S).map(
    lambda n: n * WINDOW_S
)


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


@settings(max_examples=3_000)
@given(zone=zones, ends=st.tuples(instants, instants))
def test_parts_meet_and_make_up_the_stretch(zone: ZoneInfo, ends: tuple[int, int]) -> None:
    start_s, end_s = sorted(ends)
    found = list(parts(Period(start_s, end_s), zone))
    if start_s == end_s:
        assert found == []
        return
    assert (found[0].start_s, found[-1].end_s) == (start_s, end_s)
    assert all(earlier.end_s == later.start_s for earlier, later in pairwise(found))
    for level, first, last in found:
        for border in (first, last):
            day, month = day_and_month(border, zone)
            assert border % WINDOW_S == 0
            assert level is not Level.HOUR or border % HOUR_S == 0
            assert level is not Level.DAY or border == day
            assert level is not Level.MONTH or border == month


@settings(max_examples=2_000)
@given(zone=zones, at_s=instants)
def test_a_window_lies_in_one_day_of_one_month(zone: ZoneInfo, at_s: int) -> None:
    day, month = day_and_month(at_s, zone)
    assert month <= day <= at_s
    assert day_and_month(at_s + WINDOW_S - 1, zone) == (day, month)


def test_a_month_of_the_ledgers_zone_is_one_part() -> None:
    november = month_period("2026-11", SEOUL)
    assert list(parts(november, SEOUL)) == [(Level.MONTH, *november)]
    assert november.start_s == at("2026-10-31T15:00")  # the Seoul border, in UTC


def test_a_month_of_another_zone_is_days_with_hours_at_the_ends() -> None:
    november = month_period("2026-11", ZoneInfo("UTC"))
    assert list(parts(november, SEOUL)) == [
        (Level.HOUR, at("2026-11-01T00:00"), at("2026-11-01T15:00")),
        (Level.DAY, at("2026-11-01T15:00"), at("2026-11-30T15:00")),
        (Level.HOUR, at("2026-11-30T15:00"), at("2026-12-01T00:00")),
    ]


def test_quarters_of_hours_are_windows() -> None:
    start_s = at("2026-11-05T10:45")
    assert [part.level for part in parts(Period(start_s, start_s + 4500), SEOUL)] == [
        Level.WINDOW,
        Level.HOUR,
    ]


@pytest.mark.parametrize("ends", [(0, 2**40), (-(2**40), 2**63)])
def test_all_of_time_is_as_much_of_it_as_zones_are_defined_for(ends: tuple[int, int]) -> None:
    found = list(parts(Period(*ends), SEOUL))
    assert (found[0].start_s, found[-1].end_s) == (FIRST_S, LAST_S)
