from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from chatd.facts import ConnectionTime
from chatd.timesheet import Timesheet


def seconds(facts):
    """Count as metering does: floor(end) - floor(start), in UTC."""
    counted = Counter()
    for fact in facts:
        whole = fact.end_ms // 1000 - fact.start_ms // 1000
        counted[fact.user] += whole * fact.connections
    return counted


def test_a_connection_is_its_time():
    sheet = Timesheet()
    assert sheet.opened("u", 10.0, 50_000) is None
    assert sheet.closed("u", 12.5, 52_500) == ConnectionTime("u", 50_000, 52_500, 1)
    assert len(sheet) == 0


def test_two_connections_count_twice_while_both_are_open():
    sheet = Timesheet()
    sheet.opened("u", 0.0, 0)
    assert sheet.opened("u", 1.0, 1000) == ConnectionTime("u", 0, 1000, 1)
    assert sheet.closed("u", 3.0, 3000) == ConnectionTime("u", 1000, 3000, 2)
    assert sheet.closed("u", 4.0, 4000) == ConnectionTime("u", 3000, 4000, 1)


def test_a_checkpoint_takes_those_that_are_due_oldest_first_and_not_more_than_asked():
    sheet = Timesheet(checkpoint_s=5.0)
    for number in range(3):
        sheet.opened(f"u{number}", float(number), number * 1000)
    assert sheet.checkpoint(4.9, 4900, limit=9) == []
    assert [fact.user for fact in sheet.checkpoint(6.5, 6500, limit=1)] == ["u0"]
    assert [fact.user for fact in sheet.checkpoint(6.5, 6500, limit=9)] == ["u1"]
    assert [fact.user for fact in sheet.checkpoint_all(6.6, 6600)] == ["u2", "u0", "u1"]


def test_a_wall_clock_that_is_set_moves_time_but_makes_none():
    sheet = Timesheet()
    sheet.opened("u", 0.0, 100_000)
    assert sheet.checkpoint_all(5.0, 3_705_000) == [ConnectionTime("u", 100_000, 105_000, 1)]
    assert sheet.checkpoint_all(7.0, 3_707_000) == [ConnectionTime("u", 3_705_000, 3_707_000, 1)]


moves = st.lists(
    st.tuples(
        st.sampled_from(["open", "close", "checkpoint"]),
        st.sampled_from("uv"),
        st.integers(0, 7000),
    ),
    max_size=80,
)


@given(moves, st.integers(0, 999))
def test_however_it_is_split_the_seconds_are_those_of_each_connection(moves, start_ms):
    sheet = Timesheet(checkpoint_s=2.0)
    utc_ms = 1_790_000_000_000 + start_ms
    facts, expected, opened = [], Counter(), {"u": [], "v": []}
    for move, user, pause_ms in [*moves, *[("close", user, 10) for user in "uv" * 80]]:
        utc_ms += pause_ms
        now = utc_ms / 1000
        if move == "open":
            facts.append(sheet.opened(user, now, utc_ms))
            opened[user].append(utc_ms)
        elif move == "close" and opened[user]:
            facts.append(sheet.closed(user, now, utc_ms))
            expected[user] += utc_ms // 1000 - opened[user].pop() // 1000
        elif move == "checkpoint":
            facts += sheet.checkpoint(now, utc_ms, limit=9)
    assert seconds(filter(None, facts)) == expected
    assert len(sheet) == 0
