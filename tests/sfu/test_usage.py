"""From participation to facts: contiguous intervals, byte deltas, nothing lost by a refusal."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from sfu.facts import MediaBytes, MemoryFacts, ParticipantInterval
from sfu.usage import Usage
from tests.sfu.world import Disk


def interval(pixels: int, start_ms: int, end_ms: int) -> ParticipantInterval:
    return ParticipantInterval("room", "user", "p-1", pixels, start_ms, end_ms)


def media_bytes(at_ms: int, received: int, sent: int) -> MediaBytes:
    return MediaBytes("room", "user", "p-1", at_ms, received, sent)


def test_voice_runs_from_joining_to_leaving() -> None:
    facts = MemoryFacts()
    usage = Usage(facts)
    stay = usage.enter("room", "user", "p-1", 500)
    usage.checkpoint(stay, 0, 0, 4500)
    usage.checkpoint(stay, 0, 0, 7000)
    assert usage.commit()
    assert facts.kept == [interval(0, 500, 4500), interval(0, 4500, 7000)]


def test_a_change_of_pixels_splits_the_interval() -> None:
    facts = MemoryFacts()
    usage = Usage(facts)
    stay = usage.enter("room", "user", "p-1", 0)
    usage.observe(stay, 0, 1000)
    usage.observe(stay, 640 * 480, 2000)
    usage.observe(stay, 640 * 480, 3000)
    usage.observe(stay, 0, 4000)
    usage.checkpoint(stay, 0, 0, 5000)
    usage.commit()
    assert facts.kept == [
        interval(0, 0, 2000),
        interval(307200, 2000, 4000),
        interval(0, 4000, 5000),
    ]


def test_bytes_are_told_as_differences_of_totals() -> None:
    facts = MemoryFacts()
    usage = Usage(facts)
    stay = usage.enter("room", "user", "p-1", 0)
    usage.checkpoint(stay, 100, 1000, 0)
    usage.checkpoint(stay, 100, 1000, 0)
    usage.checkpoint(stay, 150, 1000, 0)
    usage.commit()
    assert facts.kept == [media_bytes(0, 100, 1000), media_bytes(0, 50, 0)]


def test_a_wall_clock_set_back_counts_no_second_twice() -> None:
    facts = MemoryFacts()
    usage = Usage(facts)
    stay = usage.enter("room", "user", "p-1", 10_000)
    usage.checkpoint(stay, 0, 0, 12_000)
    usage.checkpoint(stay, 0, 0, 9_000)
    usage.checkpoint(stay, 0, 0, 13_000)
    usage.commit()
    assert facts.kept == [interval(0, 10_000, 12_000), interval(0, 12_000, 13_000)]


def test_refused_facts_are_merged_and_offered_again() -> None:
    facts = Disk()
    facts.full = True
    usage = Usage(facts)
    stay = usage.enter("room", "user", "p-1", 0)
    for second in range(1, 100):
        usage.checkpoint(stay, second * 10, second * 100, second * 1000)
        assert not usage.commit()
    assert usage.pending == 3
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
    stay = usage.enter("room", "user", "p-1", 0)
    usage.observe(stay, 100, 1000)
    usage.commit()
    usage.observe(stay, 0, 2000)
    usage.commit()
    usage.checkpoint(stay, 0, 0, 3000)
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
    stay = usage.enter("room", "user", "p-1", now)
    truth: dict[int, int] = {}
    pixels = 0
    for length, seen, checkpoint, full in steps:
        now += length
        truth[pixels] = truth.get(pixels, 0) + length
        usage.observe(stay, seen, now)
        pixels = seen
        facts.full = full
        if checkpoint:
            usage.checkpoint(stay, now, 2 * now, now)
            usage.commit()
    facts.full = False
    usage.checkpoint(stay, now, 2 * now, now)
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
