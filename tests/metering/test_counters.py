"""Cumulative totals: what drains, what is forgotten, and that nothing is lost or doubled."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metering.counters import Counters
from metering.events import Subject, UsageRow
from metering.ledger import MemoryLedger
from metering.meters import MESSAGES_SENT, VOICE_SECONDS
from metering.windows import whole_seconds
from tests.metering.cases import cases

LOBBY = Subject("lobby", "visitor")
HALL = Subject("hall", "host")


def test_totals_are_cumulative_within_a_window() -> None:
    counters = Counters("hub", "1")
    counters.add(MESSAGES_SENT, LOBBY, 1_000)
    counters.add(MESSAGES_SENT, LOBBY, 1_001, 4)
    assert counters.drain() == [UsageRow("hub", "1", MESSAGES_SENT, LOBBY, 900, 5)]
    counters.add(MESSAGES_SENT, LOBBY, 1_799)
    counters.add(MESSAGES_SENT, LOBBY, 1_800)
    assert sorted(counters.drain()) == [
        UsageRow("hub", "1", MESSAGES_SENT, LOBBY, 900, 6),
        UsageRow("hub", "1", MESSAGES_SENT, LOBBY, 1_800, 1),
    ]


def test_only_what_changed_drains() -> None:
    counters = Counters("hub", "1")
    counters.add(MESSAGES_SENT, LOBBY, 0)
    counters.add(MESSAGES_SENT, HALL, 0)
    counters.drain()
    counters.add(MESSAGES_SENT, HALL, 0)
    counters.add(MESSAGES_SENT, LOBBY, 0, 0)
    assert counters.drain() == [UsageRow("hub", "1", MESSAGES_SENT, HALL, 0, 2)]
    assert counters.drain() == []


def test_rows_that_could_not_be_written_drain_again() -> None:
    counters = Counters("hub", "1")
    counters.add(MESSAGES_SENT, LOBBY, 0)
    refused = counters.drain()
    counters.undrain(refused)
    counters.add(MESSAGES_SENT, LOBBY, 0)
    assert counters.drain() == [UsageRow("hub", "1", MESSAGES_SENT, LOBBY, 0, 2)]


def test_what_did_not_happen_is_taken_back() -> None:
    counters = Counters("hub", "1")
    counters.add(MESSAGES_SENT, LOBBY, 0, 3)
    counters.drain()
    counters.add(MESSAGES_SENT, LOBBY, 0, 2)
    counters.retract(MESSAGES_SENT, LOBBY, 0, 2)
    assert counters.drain() == [UsageRow("hub", "1", MESSAGES_SENT, LOBBY, 0, 3)]


def test_taking_everything_back_leaves_nothing() -> None:
    counters = Counters("hub", "1")
    counters.add(MESSAGES_SENT, LOBBY, 0, 2)
    counters.retract(MESSAGES_SENT, LOBBY, 0, 2)
    counters.retract(MESSAGES_SENT, HALL, 0, 0)
    assert counters.drain() == []
    assert len(counters) == 0


def test_more_than_was_counted_cannot_be_taken_back() -> None:
    counters = Counters("hub", "1")
    counters.add(MESSAGES_SENT, LOBBY, 0)
    with pytest.raises(ValueError, match=r"2 of chat\.messages_sent were never counted"):
        counters.retract(MESSAGES_SENT, LOBBY, 0, 2)
    with pytest.raises(ValueError, match="cannot shrink"):
        counters.add(MESSAGES_SENT, LOBBY, 0, -1)


def test_a_pruned_window_is_counted_on_under_another_identity() -> None:
    """The total is forgotten; counting on from 0 under the same identity would lose the rest."""
    counters = Counters("hub", "1")
    counters.add(MESSAGES_SENT, LOBBY, 0, 5)
    counters.drain()
    counters.prune(900)
    assert len(counters) == 0
    counters.add(MESSAGES_SENT, LOBBY, 0, 2)
    (late,) = counters.drain()
    assert late.boot != "1"
    assert late.quantity == 2
    assert late.window_start_s == 0


def test_what_has_not_drained_is_not_forgotten() -> None:
    counters = Counters("hub", "1")
    counters.add(MESSAGES_SENT, LOBBY, 0)
    counters.prune(10_000)
    assert counters.drain() == [UsageRow("hub", "1", MESSAGES_SENT, LOBBY, 0, 1)]


def test_the_window_in_which_pruning_ends_is_kept() -> None:
    counters = Counters("hub", "1")
    counters.add(MESSAGES_SENT, LOBBY, 899)
    counters.add(MESSAGES_SENT, LOBBY, 900)
    counters.drain()
    counters.prune(1_799)
    assert len(counters) == 1


@given(st.integers(0, 10**7), st.lists(st.integers(1, 2_000_000), min_size=1, max_size=8))
def test_checkpoints_anywhere_count_the_whole_interval(start_ms: int, steps: list[int]) -> None:
    counters = Counters("sfu", "1")
    end_ms = start_ms
    for step in steps:
        counters.add_interval(VOICE_SECONDS, LOBBY, end_ms, end_ms + step)
        end_ms += step
    assert sum(row.quantity for row in counters.drain()) == whole_seconds(start_ms, end_ms)


class Accounting:
    """What was counted in which window, and what a ledger keeps of it."""

    def __init__(self, lot: random.Random) -> None:
        self.lot = lot
        self.counters = Counters("hub", "1")
        self.counted: dict[int, int] = {}
        self.kept: dict[tuple[object, ...], int] = {}
        self.history: list[UsageRow] = []

    def count(self) -> None:
        at_s, quantity = self.lot.randint(0, 4_000), self.lot.randint(1, 9)
        self.counters.add(MESSAGES_SENT, LOBBY, at_s, quantity)
        self.counted[at_s // 900] = self.counted.get(at_s // 900, 0) + quantity

    def count_and_take_back(self) -> None:
        at_s, quantity = self.lot.randint(0, 4_000), self.lot.randint(1, 9)
        self.counters.add(MESSAGES_SENT, LOBBY, at_s, quantity)
        self.counters.retract(MESSAGES_SENT, LOBBY, at_s, quantity)

    def write(self) -> None:
        self._keep(self.counters.drain())

    def fail_to_write(self) -> None:
        self.counters.undrain(self.counters.drain())

    def forget(self) -> None:
        self.counters.prune(self.lot.randint(0, 5_000))

    def replay(self) -> None:
        if self.history:
            self._keep(self.lot.choices(self.history, k=self.lot.randint(0, 4)))

    def _keep(self, rows: list[UsageRow]) -> None:
        self.history += rows
        for row in rows:
            self.kept[row[:-1]] = max(self.kept.get(row[:-1], 0), row.quantity)


@cases(4_000)
def test_counting_refusals_forgetting_and_replays_in_any_order_make_a_plain_sum(
    lot: random.Random,
) -> None:
    books = Accounting(lot)
    steps = (
        books.count, books.count_and_take_back, books.write, books.fail_to_write, books.forget,
        books.replay,
    )  # fmt: skip
    for _ in range(lot.randint(1, 25)):
        lot.choice(steps)()
        assert sum(books.kept.values()) <= sum(books.counted.values())
    books.write()
    sums: dict[int, int] = {}
    for row, quantity in books.kept.items():
        window = row[4] // 900  # type: ignore[operator]
        sums[window] = sums.get(window, 0) + quantity
    assert sums == books.counted


async def test_two_boots_of_a_node_add_up() -> None:
    ledger = MemoryLedger()
    for boot in ("1", "2"):
        counters = Counters("hub", boot)
        counters.add(MESSAGES_SENT, LOBBY, 0, 3)
        rows = counters.drain()
        await ledger.upsert(rows)
        await ledger.upsert(rows)
    assert await ledger.totals(0, 900) == {MESSAGES_SENT: 6}
