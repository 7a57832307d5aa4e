from itertools import pairwise
from math import inf

from hypothesis import given
from hypothesis import strategies as st

from sfu.nack import (
    FIRST_RTT_S,
    GIVE_UP_S,
    MAX_GAP,
    MAX_MISSING,
    MAX_TRIES,
    REORDER_WAIT_S,
    LossDetector,
    PacketRing,
)


def fed(*sequences: int, now: float = 0.0) -> LossDetector:
    detector = LossDetector()
    for sequence in sequences:
        detector.receive(sequence & 0xFFFF, now)
    return detector


def test_numbers_are_extended_past_the_wrap() -> None:
    detector = LossDetector()
    extended = [detector.receive(n, 0.0) for n in (0xFFFE, 0xFFFF, 0, 1)]
    assert extended == [0x1FFFE, 0x1FFFF, 0x20000, 0x20001]
    assert detector.deadline == inf


def test_a_gap_is_asked_for_after_the_wait_for_reordering() -> None:
    detector = fed(10, 13)
    assert detector.deadline == REORDER_WAIT_S
    assert detector.due(REORDER_WAIT_S / 2) == []
    assert detector.due(REORDER_WAIT_S) == [0x1000B, 0x1000C]


def test_a_packet_that_was_overtaken_is_not_asked_for() -> None:
    detector = fed(10, 12)
    assert detector.receive(11, 0.001) == 0x1000B
    assert detector.deadline == inf
    assert detector.due(1.0) == []
    assert detector.recovered == 0


def test_a_duplicate_is_none() -> None:
    detector = fed(10, 11)
    assert detector.receive(11, 0.0) is None
    assert detector.receive(10, 0.0) is None
    assert detector.receive(9, 0.0) is None  # before the first


def test_a_recovered_packet_counts_once() -> None:
    detector = fed(10, 12)
    detector.due(0.02)
    assert detector.receive(11, 0.05) == 0x1000B
    assert detector.receive(11, 0.06) is None
    assert detector.recovered == 1


def test_the_round_trip_is_learnt_from_the_first_answer() -> None:
    detector = fed(10, 12)
    detector.due(0.02)
    detector.receive(11, 0.05)
    assert abs(detector.rtt_s - 0.03) < 1e-9


def test_an_answer_to_a_repeated_request_teaches_nothing() -> None:
    detector = fed(10, 12)
    detector.due(0.02)
    detector.due(0.5)
    detector.receive(11, 0.51)
    assert detector.rtt_s == FIRST_RTT_S


def test_requests_are_repeated_slower_than_the_round_trip_until_given_up() -> None:
    detector = fed(10, 12)
    asked_at: list[float] = []
    while detector.deadline < inf:
        now = detector.deadline
        if detector.due(now):
            asked_at.append(now)
    assert all(b - a > FIRST_RTT_S for a, b in pairwise(asked_at))
    assert 4 <= len(asked_at) <= MAX_TRIES
    assert asked_at[-1] < GIVE_UP_S
    assert detector.given_up == 1
    assert detector.receive(11, 2.0) is None  # too late to be of use


def test_a_short_round_trip_does_not_make_it_ask_without_end() -> None:
    detector = fed(10, 12)
    detector.rtt_s = 0.001
    tries = 0
    while detector.deadline < inf:
        tries += len(detector.due(detector.deadline))
    assert tries == MAX_TRIES


def test_more_than_the_sender_keeps_is_not_asked_for() -> None:
    detector = fed(0, MAX_MISSING + 101)
    assert len(detector.missing) == MAX_MISSING
    assert detector.given_up == 100
    assert min(detector.missing) == 0x10000 + 101


def test_a_jump_is_another_beginning() -> None:
    detector = fed(0, 2, 5000)
    assert detector.missing == {}
    assert detector.highest - detector.first + 1 == 4  # what a receiver report expects
    assert detector.receive(4999, 0.0) is None


@given(st.lists(st.integers(-40, 60), max_size=300), st.integers(0, 0xFFFF))
def test_no_number_is_given_twice_and_what_is_missing_never_came(
    steps: list[int], first: int
) -> None:
    detector = LossDetector()
    given_out: set[int] = set()
    position = first
    for index, step in enumerate(steps):
        position += step
        number = detector.receive(position & 0xFFFF, index * 0.004)
        if number is not None:
            assert number & 0xFFFF == position & 0xFFFF
            assert number not in given_out
            given_out.add(number)
        if index % 3 == 0:
            detector.due(index * 0.004)
        assert not given_out & set(detector.missing)
        assert len(detector.missing) <= MAX_MISSING
        assert (detector.deadline == inf) or detector.missing
    if given_out:
        assert detector.highest == max(given_out)


@given(st.lists(st.integers(0, 0xFFFF), max_size=100))
def test_arbitrary_numbers_never_raise(sequences: list[int]) -> None:
    detector = LossDetector()
    for index, sequence in enumerate(sequences):
        detector.receive(sequence, index * 0.01)
        detector.due(index * 0.01)
        assert len(detector.missing) <= MAX_GAP


def test_a_ring_keeps_the_last_packets() -> None:
    ring = PacketRing(4)
    for number in range(10, 16):
        ring.put(number, b"%d" % number)
    assert ring.get(11) is None
    assert [ring.get(number) for number in (12, 15)] == [b"12", b"15"]
    assert ring.get(16) is None


def test_a_late_packet_does_not_push_out_a_newer_one() -> None:
    ring = PacketRing(4)
    ring.put(15, b"new")
    ring.put(11, b"old")
    assert ring.get(15) == b"new"
    assert ring.get(11) is None


def test_a_hole_in_a_ring_can_be_filled() -> None:
    ring = PacketRing(4)
    ring.put(12, b"12")
    ring.put(11, b"11")
    assert ring.get(11) == b"11"
