"""Changes that wait are committed together, and each is told its own outcome."""

import asyncio

import pytest

from metaport.db.group_commit import MOST_AT_ONCE, GroupCommit


class Table:
    """Keeps what is committed; `gate` holds a commit back, `down` fails it."""

    def __init__(self) -> None:
        self.turns: list[list[int]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.begun = asyncio.Event()
        self.down = False

    async def commit(self, changes):
        self.begun.set()
        await self.gate.wait()
        if self.down:
            raise OSError("away")
        if any(change < 0 for change in changes):
            raise ValueError("negative")
        self.turns.append(list(changes))
        return [change * 10 for change in changes]


@pytest.fixture
async def table():
    return Table()


@pytest.fixture
async def group(table):
    return GroupCommit("commit", table.commit, lambda error: isinstance(error, ValueError))


async def held(table, group, *waiting):
    """Hold the commit of a first change back, and have others wait behind it."""
    table.gate.clear()
    first = asyncio.create_task(group.do(1))
    await table.begun.wait()
    others = [asyncio.create_task(group.do(change)) for change in waiting]
    await asyncio.sleep(0)
    return first, others


async def test_who_waits_is_committed_together_in_order(table, group):
    first, others = await held(table, group, 2, 3, 4)
    table.gate.set()
    assert await asyncio.gather(first, *others) == [10, 20, 30, 40]
    assert table.turns == [[1], [2, 3, 4]]
    assert await group.do(5) == 50


async def test_a_change_that_cannot_be_kept_fails_by_itself(table, group):
    first, others = await held(table, group, 2, -3, 4)
    table.gate.set()
    assert await first == 10
    two, bad, four = await asyncio.gather(*others, return_exceptions=True)
    assert (two, four) == (20, 40)
    assert isinstance(bad, ValueError)
    assert table.turns == [[1], [2], [4]]


async def test_all_are_told_what_failed_and_later_ones_are_committed(table, group):
    table.down = True
    first, others = await held(table, group, 2, 3)
    table.gate.set()
    told = await asyncio.gather(first, *others, return_exceptions=True)
    assert [type(each) for each in told] == [OSError] * 3
    assert table.turns == []
    table.down = False
    assert await group.do(4) == 40


async def test_who_is_cancelled_takes_no_other_along(table, group):
    first, others = await held(table, group, 2, 3)
    first.cancel()
    others[0].cancel()
    table.gate.set()
    assert await others[1] == 30
    assert table.turns == [[1], [2, 3]]


async def test_more_than_a_lock_may_be_held_for_go_in_turns(table, group):
    first, others = await held(table, group, *range(MOST_AT_ONCE + 1))
    table.gate.set()
    await asyncio.gather(first, *others)
    assert [len(turn) for turn in table.turns] == [1, MOST_AT_ONCE, 1]


async def test_a_commit_that_is_cancelled_leaves_nobody_waiting(table, group):
    first, others = await held(table, group, 2)
    group._commit_task.cancel()
    told = await asyncio.gather(first, *others, return_exceptions=True)
    assert [type(each) for each in told] == [asyncio.CancelledError] * 2
    table.gate.set()
    assert await group.do(3) == 30
