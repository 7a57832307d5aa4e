"""Windows, months and whole seconds."""

from datetime import date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metering.errors import PeriodError
from metering.windows import (
    WINDOW_S,
    day_start,
    month_period,
    open_zone,
    seconds_by_window,
    whole_seconds,
    window_end,
    window_start,
)

SEOUL = ZoneInfo("Asia/Seoul")
times_ms = st.integers(0, 4_102_444_800_000)


@given(st.integers(0, 2**40))
def test_every_second_lies_in_one_window(at_s: int) -> None:
    start = window_start(at_s)
    assert start % WINDOW_S == 0
    assert start <= at_s < start + WINDOW_S
    assert window_end(start) == start
    assert window_end(start + 1) == start + WINDOW_S


@settings(max_examples=1_000)
@given(st.lists(times_ms, min_size=2, max_size=6).map(sorted))
def test_splitting_an_interval_anywhere_changes_nothing(cuts: list[int]) -> None:
    whole: dict[int, int] = dict(seconds_by_window(cuts[0], min(cuts[-1], cuts[0] + 10**8)))
    parts: dict[int, int] = {}
    end = min(cuts[-1], cuts[0] + 10**8)
    bounded = [min(cut, end) for cut in cuts]
    for start_ms, end_ms in pairwise(bounded):
        for window, seconds in seconds_by_window(start_ms, end_ms):
            parts[window] = parts.get(window, 0) + seconds
    assert parts == whole


@given(times_ms, st.integers(0, 10**8))
def test_windows_hold_exactly_the_whole_seconds(start_ms: int, length_ms: int) -> None:
    shares = list(seconds_by_window(start_ms, start_ms + length_ms))
    assert sum(seconds for _, seconds in shares) == whole_seconds(start_ms, start_ms + length_ms)
    assert all(0 < seconds <= WINDOW_S and start % WINDOW_S == 0 for start, seconds in shares)


def test_a_second_is_counted_when_its_end_is_passed() -> None:
    assert whole_seconds(1_999, 2_000) == 1
    assert whole_seconds(2_000, 2_999) == 0
    assert list(seconds_by_window(899_500, 901_500)) == [(0, 1), (900, 1)]


def test_an_interval_that_ends_before_it_starts_is_nothing() -> None:
    assert list(seconds_by_window(5_000, 2_000)) == []


def test_a_month_in_seoul_begins_at_three_in_the_afternoon_utc() -> None:
    period = month_period("2026-11", SEOUL)
    assert datetime.fromtimestamp(period.start_s, ZoneInfo("UTC")).isoformat() == (
        "2026-10-31T15:00:00+00:00"
    )
    assert period.end_s - period.start_s == 30 * 86_400


def test_a_month_with_a_change_of_clocks_has_an_hour_more_or_less() -> None:
    newyork = ZoneInfo("America/New_York")
    march, november = month_period("2026-03", newyork), month_period("2026-11", newyork)
    assert march.end_s - march.start_s == 31 * 86_400 - 3_600
    assert november.end_s - november.start_s == 30 * 86_400 + 3_600


def test_months_of_every_zone_meet_on_borders_of_windows() -> None:
    names = [f"{year}-{month:02}" for year in (2025, 2026) for month in range(1, 13)]
    for zone in map(open_zone, sorted(available_timezones())):
        months = [month_period(name, zone) for name in names]
        assert all(earlier.end_s == later.start_s for earlier, later in pairwise(months)), zone
        assert all(period.start_s % WINDOW_S == 0 for period in months), zone


@given(
    st.dates(date(2020, 1, 1), date(2037, 12, 30)),
    st.sampled_from(["Asia/Seoul", "Asia/Beirut", "America/Santiago", "Australia/Lord_Howe"]),
)
def test_days_follow_each_other_without_a_gap(day: date, name: str) -> None:
    zone = ZoneInfo(name)
    start, after = day_start(day, zone), day_start(day + timedelta(days=1), zone)
    assert datetime.fromtimestamp(start, zone).date() == day
    assert datetime.fromtimestamp(start - 1, zone).date() == day - timedelta(days=1)
    assert 23 * 3_600 <= after - start <= 25 * 3_600


@pytest.mark.parametrize(
    "month",
    ["2026-13", "2026-00", "2026-1", "26-01", "0001-01", "9999-01", "2026-11 ", "２０２６-11", ""],
)
def test_what_is_not_a_month_is_refused(month: str) -> None:
    with pytest.raises(PeriodError, match="is not a month like 2026-11"):
        month_period(month, SEOUL)


@pytest.mark.parametrize(
    "name", ["Asia/Soul", "", "../etc/passwd", "Asia", "/etc/localtime", "a\0b"]
)
def test_what_is_not_a_zone_is_refused(name: str) -> None:
    with pytest.raises(PeriodError, match="is not a time zone this system knows"):
        open_zone(name)


def test_a_day_off_the_quarter_of_an_hour_is_refused() -> None:
    with pytest.raises(PeriodError, match="does not begin on a quarter of an hour"):
        day_start(date(1970, 6, 1), ZoneInfo("Africa/Monrovia"))
