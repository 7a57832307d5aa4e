"""Transport-wide congestion control: messages by hand, both ways round, and what is told when."""

import random
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sfu import rtcp, transport_feedback
from sfu.errors import RtcpError
from sfu.transport_feedback import (
    INTERVAL_S,
    MAX_GAP,
    MAX_LATE,
    TransportArrivals,
    TransportFeedback,
    build,
    parse,
)


def told(arrivals: TransportArrivals) -> dict[int, int | None]:
    """Read what a sender would of all messages that are due."""
    found: dict[int, int | None] = {}
    for body in arrivals.drain():
        (block,) = rtcp.parse(transport_feedback.message(1, 2, body))
        assert isinstance(block, TransportFeedback)
        found |= {block.base + at: ticks for at, ticks in enumerate(block.arrivals)}
    return found


@pytest.mark.parametrize(
    ("text", "base", "arrivals"),
    [
        ("0001000200000003 20020404", 1, [4, 8]),
        ("0001000300000300 a800 0404", 1, [772, None, 776]),
        # The reference time has a sign.
        ("ffff0002ffffff00 d800 10fffe", 0xFFFF, [-0x100 + 16, -0x100 + 14]),
        ("0005000300000000 4003 00107fff8000", 5, [16, 16 + 0x7FFF, 15]),
        ("0000000000000000", 0, []),
    ],
    ids=["a run of small ones", "a vector", "two bits each", "large ones", "nothing"],
)
def test_messages_are_read(text: str, base: int, arrivals: list[int | None]) -> None:
    read = parse(bytes.fromhex(text))
    assert (read.base, read.arrivals) == (base, arrivals)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "00010002000000",
        "0001000200000003",  # no chunk
        "0001000200000003 2002 04",  # a delta is missing
        "0001000100000003 4001 04",  # half of a large one
        "0001000100000003 6001 0404",  # status 3 is reserved
        "0001ffff00000003 3fff",  # more than anybody sends
        "0001000100000003 0000 0000",  # runs of nothing
    ],
)
def test_what_is_cut_or_reserved_is_refused(text: str) -> None:
    with pytest.raises(RtcpError, match="rtcp_block"):
        parse(bytes.fromhex(text))


@given(
    st.integers(0, 0xFFFF),
    st.lists(st.one_of(st.none(), st.integers(-9000, 9000)), min_size=1, max_size=400).filter(
        lambda steps: any(step is not None for step in steps)
    ),
)
def test_what_is_written_is_read_again(base: int, steps: list[int | None]) -> None:
    clock, arrivals = 1_000_000, list[int | None]()
    for step in steps:
        clock += step or 0
        arrivals.append(None if step is None else clock)
    body, count = build(base, 300, arrivals)
    read = parse(body)
    assert count == len(arrivals)
    assert (read.base, read.number, read.arrivals) == (base, 300 & 0xFF, arrivals)


def test_statuses_take_little_room() -> None:
    steady, _ = build(0, 0, [100 + 20 * n for n in range(100)])
    assert len(steady) == 8 + 2 + 100
    # Every tenth lost: 14 of them in a chunk.
    holes, _ = build(0, 0, [None if n % 10 == 5 else 100 + n for n in range(140)])
    assert len(holes) == 8 + 2 * 10 + 126


def test_more_than_8_s_between_two_packets_are_two_messages() -> None:
    arrivals = TransportArrivals()
    arrivals.receive(1, 1.0)
    arrivals.receive(2, 20.0)
    assert told(arrivals) == {1: 4000, 2: 80_000}


def test_a_message_is_due_a_tenth_of_a_second_after_the_first_packet() -> None:
    arrivals = TransportArrivals()
    assert arrivals.deadline == inf
    for number in range(5):
        arrivals.receive(10 + number, 1.0 + number / 100)
    assert arrivals.deadline == 1.0 + INTERVAL_S
    assert told(arrivals) == {10 + n: 4000 + 40 * n for n in range(5)}
    assert (arrivals.deadline, told(arrivals)) == (inf, {})


def test_what_is_missing_is_told_and_what_comes_late_is_told_again() -> None:
    arrivals = TransportArrivals()
    for number in (1, 2, 4):
        arrivals.receive(number, 1.0)
    assert told(arrivals) == {1: 4000, 2: 4000, 3: None, 4: 4000}
    arrivals.receive(3, 1.25)
    arrivals.receive(6, 1.25)
    assert told(arrivals) == {3: 5000, 5: None, 6: 5000}


def test_numbers_wrap_and_repeats_count_once() -> None:
    arrivals = TransportArrivals()
    for number in (0xFFFE, 0xFFFF, 0, 0, 1):
        arrivals.receive(number, 1.0)
    (body,) = arrivals.drain()
    assert parse(body).base == 0xFFFE
    assert parse(body).arrivals == [4000] * 4


def test_a_long_jump_is_another_beginning() -> None:
    arrivals = TransportArrivals()
    arrivals.receive(1, 1.0)
    arrivals.receive(1 + MAX_GAP + 1, 1.0)
    assert told(arrivals) == {MAX_GAP + 2: 4000}


def test_a_sender_that_shuffles_gets_few_messages() -> None:
    arrivals = TransportArrivals()
    arrivals.receive(2000, 1.0)
    assert told(arrivals)
    for number in range(1100, 1900, 2):
        arrivals.receive(number, 1.1)
    assert len(list(arrivals.drain())) == MAX_LATE


def test_whatever_arrives_is_told_in_datagrams_and_little_is_kept() -> None:
    seed = random.Random(7)
    arrivals = TransportArrivals()
    number = 0
    for _ in range(200):
        for _ in range(seed.choice((1, 20, 1500))):
            number += seed.choice((1, 1, 1, 2, -3, 300, 2000))
            arrivals.receive(number & 0xFFFF, seed.random() * 10)
        assert len(arrivals._waiting) <= transport_feedback.MAX_WAITING
        for body in arrivals.drain():
            assert len(transport_feedback.message(1, 2, body)) <= 1200
            assert len(transport_feedback.message(1, 2, body)) % 4 == 0
