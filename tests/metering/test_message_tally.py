"""Messages are counted once each, whatever is drained, refused, pruned, or set back."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from metering.message_tally import MessageCount, MessageTallies, rows_of
from metering.meters import (
    MESSAGES_DELIVERED,
    MESSAGES_SENT,
    TEXT_BYTES_IN,
    TEXT_BYTES_OUT,
)
from metering.windows import window_start

AT_S = 1_795_000_500 // 900 * 900

messages = st.tuples(
    st.sampled_from(["lobby", "hall"]),
    st.sampled_from(["u", "v"]),
    st.integers(AT_S * 1000, (AT_S + 5 * 900) * 1000),
    st.integers(0, 3),
    st.integers(0, 1_000),
    st.integers(0, 16_384),
    st.integers(0, 10**7),
)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.lists(messages, max_size=6)),
        st.tuples(st.just("refused"), st.lists(messages, max_size=6)),
        st.tuples(st.just("prune"), st.integers(AT_S, AT_S + 9 * 900)),
    ),
    max_size=12,
)


def kept(written: list[list[Any]]) -> dict[tuple[str, str, str, int], int]:
    """Add up what a ledger keeps: of each identity the greatest."""
    greatest: dict[tuple[Any, ...], int] = {}
    for tally in written:
        for row in rows_of("hub", "b", tally):
            greatest[row[:-1]] = max(greatest.get(row[:-1], 0), row.quantity)
    sums: dict[tuple[str, str, str, int], int] = {}
    for (_, _, meter, subject, start_s), quantity in greatest.items():
        key = (meter, *subject, start_s)
        sums[key] = sums.get(key, 0) + quantity
    return sums


def expected(told: list[MessageCount]) -> dict[tuple[str, str, str, int], int]:
    sums: dict[tuple[str, str, str, int], int] = {}
    meters = (MESSAGES_SENT, MESSAGES_DELIVERED, TEXT_BYTES_IN, TEXT_BYTES_OUT)
    for room, user, at_ms, *quantities in told:
        for meter, quantity in zip(meters, quantities, strict=True):
            key = (meter, room, user, window_start(at_ms // 1000))
            if quantity:
                sums[key] = sums.get(key, 0) + quantity
    return sums


@settings(max_examples=2_000)
@given(steps=steps)
def test_what_was_written_is_what_was_told(steps: list[tuple[str, Any]]) -> None:
    tallies = MessageTallies()
    written: list[list[Any]] = []
    told: list[MessageCount] = []
    for step, given_ in steps:
        if step == "prune":
            tallies.prune(given_)
            continue
        tallies.count(given_)
        drained = tallies.drain()
        if step == "write":
            written += drained
            told += given_
        else:
            tallies.take_back()
    written += tallies.drain()
    assert kept(written) == expected(told)


def test_what_is_long_over_is_forgotten() -> None:
    tallies = MessageTallies()
    for window in range(20):
        at_ms = (AT_S + window * 900) * 1000
        tallies.count([(f"room {window}", "u", at_ms, 1, 1, 1, 1)])
        tallies.drain()
        tallies.prune(AT_S + window * 900 - 3600)
    assert len(tallies) <= 6


def test_a_tally_that_stands_for_nothing_is_no_row() -> None:
    tallies = MessageTallies()
    tallies.count([("lobby", "u", AT_S * 1000, 0, 4, 0, 0)])
    [tally] = tallies.drain()
    assert [(row.meter, row.quantity) for row in rows_of("hub", "b", tally)] == [
        (MESSAGES_DELIVERED, 4)
    ]
