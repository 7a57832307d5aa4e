from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from chatd.facts import ConnectionTime
from chatd.timesheet import Person, Timesheet

U = Person("u")


def seconds(facts):
    """Count as metering does: floor(end) - floor(start), in UTC."""
    counted = Counter()
    for fact in facts:
        whole = fact.end_ms // 1000 - fact.start_ms // 1000
        counted[fact.user] += whole * fact.connections
    return counted


def test_a_connection_is_its_time():
    sheet = Timesheet()
    assert sheet.opened(U, 10.0, 50_000) is None
    assert sheet.closed(U, 12.5, 52_500) == ConnectionTime("u", 50_000, 52_500, 1)
    assert len(sheet) == 0


def test_two_connections_count_twice_while_both_are_open():
    sheet = Timesheet()
    sheet.opened(U, 0.0, 0)
    assert sheet.opened(U, 1.0, 1000) == ConnectionTime("u", 0, 1000, 1)
    assert sheet.closed(U, 3.0, 3000) == ConnectionTime("u", 1000, 3000, 2)
    assert sheet.closed(U, 4.0, 4000) == ConnectionTime("u", 3000, 4000, 1)


def test_a_checkpoint_takes_those_that_are_due_oldest_first_and_not_more_than_asked():
    sheet = Timesheet(checkpoint_s=5.0)
    for number in range(3):
        sheet.opened(Person(f"u{number}"), float(number), number * 1000)
    assert sheet.checkpoint(4.9, 4900, limit=9) == []
    assert [fact.user for fact in sheet.checkpoint(6.5, 6500, limit=1)] == ["u0"]
    assert [fact.user for fact in sheet.checkpoint(6.5, 6500, limit=9)] == ["u1"]
    assert [fact.user for fact in sheet.checkpoint_all(6.6, 6600)] == ["u2", "u0", "u1"]


def test_a_wall_clock_that_is_set_moves_time_but_makes_none():
    sheet = Timesheet()
    sheet.opened(U, 0.0, 100_000)
    assert sheet.checkpoint_all(5.0, 3_705_000) == [ConnectionTime("u", 100_000, 105_000, 1)]
    assert sheet.checkpoint_all(7.0, 3_707_000) == [ConnectionTime("u", 3_705_000, 3_707_000, 1)]


def test_settled_is_the_beginning_of_the_oldest_stretch_also_when_the_clock_is_set():
    sheet = Timesheet(checkpoint_s=4.0)
    assert sheet.settled_ms(99_000) == 99_000
    sheet.opened(U, 0.0, 100_000)
    sheet.opened(Person("v"), 2.0, 52_000)  # set back by 50 s meanwhile
    assert sheet.settled_ms(53_000) == 52_000
    sheet.checkpoint(4.0, 54_000, limit=9)
    assert sheet.settled_ms(55_000) == 52_000
    sheet.closed(Person("v"), 5.0, 55_000)
    assert sheet.settled_ms(55_000) == 54_000
    sheet.closed(U, 6.0, 56_000)
    assert sheet.settled_ms(56_000) == 56_000


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
    utc_ms = settled_ms = 1_790_000_000_000 + start_ms
    facts, expected, opened = [], Counter(), {"u": [], "v": []}
    for move, user, pause_ms in [*moves, *[("close", user, 10) for user in "uv" * 80]]:
        utc_ms += pause_ms
        now = utc_ms / 1000
        told = []
        if move == "open":
            told = [sheet.opened(Person(user), now, utc_ms)]
            opened[user].append(utc_ms)
        elif move == "close" and opened[user]:
            told = [sheet.closed(Person(user), now, utc_ms)]
            expected[user] += utc_ms // 1000 - opened[user].pop() // 1000
        elif move == "checkpoint":
            told = sheet.checkpoint(now, utc_ms, limit=9)
        told = list(filter(None, told))
        assert all(fact.start_ms >= settled_ms for fact in told)
        facts += told
        settled_ms = sheet.settled_ms(utc_ms)
    assert seconds(facts) == expected
    assert len(sheet) == 0


def test_a_user_of_two_apps_is_two_people() -> None:
    sheet = Timesheet()
    there = Person("u", "game")
    sheet.opened(U, 0.0, 0)
    sheet.opened(there, 1.0, 1000)
    assert sheet.closed(U, 3.0, 3000) == ConnectionTime("u", 0, 3000)
    assert sheet.closed(there, 4.0, 4000) == ConnectionTime("u", 1000, 4000, 1, "game")
