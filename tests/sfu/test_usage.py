"""From participation to facts: contiguous intervals, byte deltas, nothing lost by a refusal."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from sfu.facts import MediaBytes, MemoryFacts, ParticipantInterval
from sfu.usage import UNSEEN_S, Moment, Session, Usage
from tests.sfu.world import Disk


def at(ms: int, *, set_by_ms: int = 0) -> Moment:
    """Return an instant of a wall clock that began with the monotonic one, and was set since."""
    return Moment(ms / 1000, ms + set_by_ms)


def interval(
    pixels: int, start_ms: int, end_ms: int, *, session: str = "p-1", began_ms: int = 0
) -> ParticipantInterval:
    return ParticipantInterval("room", "user", "p-1", pixels, start_ms, end_ms, session, began_ms)


def media_bytes(at_ms: int, received: int, sent: int) -> MediaBytes:
    return MediaBytes("room", "user", "p-1", at_ms, received, sent)


def test_voice_runs_from_joining_to_leaving() -> None:
    facts = MemoryFacts()
    usage = Usage(facts)
    stay = usage.enter("room", "user", "p-1", at(500))
    usage.checkpoint(stay, 0, 0, at(4500))
    usage.checkpoint(stay, 0, 0, at(7000))
    assert usage.commit()
    assert facts.kept == [
        interval(0, 500, 4500, began_ms=500),
        interval(0, 4500, 7000, began_ms=500),
    ]


def test_a_participation_that_began_elsewhere_goes_on_as_the_same_session() -> None:
    facts = MemoryFacts()
    usage = Usage(facts)
    stay = usage.enter("room", "user", "p-1", at(500), Session("s-1", 7))
    usage.leave(stay, 0, 0, at(4500))
    assert usage.commit()
    assert facts.kept == [interval(0, 500, 4500, session="s-1", began_ms=7)]


def test_a_change_of_pixels_splits_the_interval() -> None:
    facts = MemoryFacts()
    usage = Usage(facts)
    stay = usage.enter("room", "user", "p-1", at(0))
    usage.observe(stay, 0, at(1000))
    usage.observe(stay, 640 * 480, at(2000))
    usage.observe(stay, 640 * 480, at(3000))
    usage.observe(stay, 0, at(4000))
    usage.checkpoint(stay, 0, 0, at(5000))
    usage.commit()
    assert facts.kept == [
        interval(0, 0, 2000),
        interval(307200, 2000, 4000),
        interval(0, 4000, 5000),
    ]


def test_bytes_are_told_as_differences_of_totals() -> None:
    facts = MemoryFacts()
    usage = Usage(facts)
    stay = usage.enter("room", "user", "p-1", at(0))
    usage.checkpoint(stay, 100, 1000, at(0))
    usage.checkpoint(stay, 100, 1000, at(0))
    usage.checkpoint(stay, 150, 1000, at(0))
    usage.commit()
    assert facts.kept == [media_bytes(0, 100, 1000), media_bytes(0, 50, 0)]


def test_setting_the_wall_clock_makes_and_swallows_no_time() -> None:
    """An hour forward was an hour of talk; an hour back, and an hour of talk was not counted."""
    facts = MemoryFacts()
    usage = Usage(facts)
    stay = usage.enter("room", "user", "p-1", at(0))
    usage.checkpoint(stay, 0, 0, at(4000, set_by_ms=3_600_000))
    usage.checkpoint(stay, 9, 0, at(8000, set_by_ms=-3_600_000))
    usage.checkpoint(stay, 9, 0, at(12_000, set_by_ms=-3_600_000))
    usage.commit()
    assert facts.kept == [
        interval(0, 0, 4000),
        interval(0, 3_604_000, 3_608_000),
        media_bytes(3_608_000, 9, 0),
        interval(0, -3_592_000, -3_588_000),
    ]


def test_a_wall_clock_that_is_slewed_leaves_no_gap() -> None:
    facts = MemoryFacts()
    usage = Usage(facts)
    stay = usage.enter("room", "user", "p-1", at(0))
    for slewed_ms, ms in enumerate(range(4000, 24_000, 4000)):
        usage.checkpoint(stay, 0, 0, at(ms, set_by_ms=100 * slewed_ms))
    usage.commit()
    assert facts.kept == [interval(0, ms, ms + 4000) for ms in range(0, 20_000, 4000)]


def test_a_process_that_stood_still_counts_voice() -> None:
    """The video before the stop was counted through it, though nobody got any."""
    facts = MemoryFacts()
    usage = Usage(facts)
    stay = usage.enter("room", "user", "p-1", at(0))
    usage.observe(stay, 307200, at(1000))
    usage.observe(stay, 307200, at(100_000))
    usage.checkpoint(stay, 0, 0, at(101_000))
    usage.commit()
    assert facts.kept == [
        interval(0, 0, 1000),
        interval(307200, 1000, 3000),
        interval(0, 3000, 100_000),
        interval(307200, 100_000, 101_000),
    ]


def test_somebody_who_leaves_as_a_process_goes_on_got_no_video_meanwhile() -> None:
    facts = MemoryFacts()
    usage = Usage(facts)
    stay = usage.enter("room", "user", "p-1", at(0))
    usage.observe(stay, 307200, at(0))
    usage.leave(stay, 0, 0, at(100_000))
    usage.commit()
    assert facts.kept == [interval(307200, 0, 2000), interval(0, 2000, 100_000)]


def test_what_is_settled_is_what_no_later_fact_can_change() -> None:
    facts = Disk()
    usage = Usage(facts)
    assert usage.settled_ms(500) == 500
    early = usage.enter("room", "user", "p-1", at(1000))
    late = usage.enter("room", "user", "p-2", at(2000))
    assert usage.settled_ms(3000) == 1000
    usage.checkpoint(early, 0, 0, at(3000))
    assert usage.settled_ms(3000) == 1000
    facts.full = True
    usage.commit()
    assert usage.settled_ms(3000) == 1000
    facts.full = False
    usage.commit()
    assert usage.settled_ms(3000) == 2000
    usage.leave(late, 0, 0, at(4000))
    usage.commit()
    assert usage.settled_ms(4000) == 3000
    assert usage.settled_ms(2500) == 2500


def test_seconds_nobody_vouches_for_are_held_until_somebody_does() -> None:
    facts = MemoryFacts()
    usage = Usage(facts)
    stay = usage.enter("room", "user", "p-1", at(0))
    usage.vouch(stay, 3.0)
    usage.checkpoint(stay, 0, 0, at(4000))
    usage.checkpoint(stay, 0, 0, at(8000))
    usage.commit()
    assert facts.kept == [interval(0, 0, 3000)]
    assert usage.settled_ms(9000) == 3000
    assert [a.until_ms for a in facts.attended.values()] == [3000]
    usage.vouch(stay, 12.0)
    usage.leave(stay, 0, 0, at(10_000))
    usage.commit()
    assert facts.kept[1:] == [interval(0, 3000, 8000), interval(0, 8000, 10_000)]
    [attended] = facts.attended.values()
    assert (attended.since_ms, attended.until_ms, attended.ended) == (0, 10_000, True)


def test_who_leaves_unvouched_for_was_there_until_somebody_knew_it() -> None:
    """A process that was stopped for a minute, and whose people are elsewhere."""
    facts = MemoryFacts()
    usage = Usage(facts)
    stay = usage.enter("room", "user", "p-1", at(0))
    usage.vouch(stay, 3.0)
    usage.observe(stay, 100, at(1000))
    usage.leave(stay, 0, 0, at(60_000))
    usage.commit()
    assert facts.kept == [interval(0, 0, 1000), interval(100, 1000, 3000)]
    [attended] = facts.attended.values()
    assert (attended.until_ms, attended.ended) == (3000, True)
    assert usage.settled_ms(61_000) == 61_000


def test_what_is_held_for_long_is_little() -> None:
    usage = Usage(MemoryFacts())
    stay = usage.enter("room", "user", "p-1", at(0))
    usage.vouch(stay, 3.0)
    for second in range(1, 500):
        usage.checkpoint(stay, 0, 0, at(second * 1000))
    assert stay.held == [interval(0, 3000, 499_000)]


def test_refused_facts_are_merged_and_offered_again() -> None:
    facts = Disk()
    facts.full = True
    usage = Usage(facts)
    stay = usage.enter("room", "user", "p-1", at(0))
    for second in range(1, 100):
        usage.checkpoint(stay, second * 10, second * 100, at(second * 1000))
        assert not usage.commit()
    assert usage.pending == 4  # with the attendance
    assert usage.refusals == 99
    facts.full = False
    assert usage.commit()
    assert facts.kept == [
        interval(0, 0, 99_000),
        media_bytes(59_000, 590, 5900),
        media_bytes(99_000, 400, 4000),
    ]


def test_refused_intervals_of_other_pixels_stay_apart() -> None:
    facts = Disk()
    facts.full = True
    usage = Usage(facts)
    stay = usage.enter("room", "user", "p-1", at(0))
    usage.observe(stay, 100, at(1000))
    usage.commit()
    usage.observe(stay, 0, at(2000))
    usage.commit()
    usage.checkpoint(stay, 0, 0, at(3000))
    usage.commit()
    facts.full = False
    usage.commit()
    assert facts.kept == [interval(0, 0, 1000), interval(100, 1000, 2000), interval(0, 2000, 3000)]


@given(
    st.lists(
        st.tuples(
            st.integers(1, 9000),
            st.sampled_from([0, 0, 307200, 921600]),
            st.booleans(),
            st.booleans(),
        ),
        max_size=60,
    )
)
def test_intervals_are_contiguous_however_they_were_split_and_refused(
    steps: list[tuple[int, int, bool, bool]],
) -> None:
    facts = Disk()
    usage = Usage(facts)
    now = 123
    stay = usage.enter("room", "user", "p-1", at(now))
    truth: dict[int, int] = {}
    pixels = 0
    for length, seen, checkpoint, full in steps:
        now += length
        seen_ms = min(length, round(UNSEEN_S * 1000))
        truth[pixels] = truth.get(pixels, 0) + seen_ms
        truth[0] = truth.get(0, 0) + length - seen_ms
        usage.observe(stay, seen, at(now))
        pixels = seen
        facts.full = full
        if checkpoint:
            usage.checkpoint(stay, now, 2 * now, at(now))
            usage.commit()
    facts.full = False
    usage.checkpoint(stay, now, 2 * now, at(now))
    usage.commit()
    intervals = [fact for fact in facts.kept if isinstance(fact, ParticipantInterval)]
    told: dict[int, int] = {}
    for fact in intervals:
        told[fact.pixels] = told.get(fact.pixels, 0) + fact.end_ms - fact.start_ms
    assert told == {pixels: length for pixels, length in truth.items() if length}
    assert all(a.end_ms == b.start_ms for a, b in itertools.pairwise(intervals))
    octets = [fact for fact in facts.kept if isinstance(fact, MediaBytes)]
    assert sum(fact.ingress_bytes for fact in octets) == now
    assert sum(fact.egress_bytes for fact in octets) == 2 * now
