"""Changes that wait for the one before them, committed together.

Where changes have one order, each waits for the commit of the one before. Those that came
meanwhile go together: one transaction for all of them, in the order they came in, and each is told
its own outcome.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

# They hold the lock of their order together: this many take it for about 20 ms.
MOST_AT_ONCE = 200

Change = TypeVar("Change")
Outcome = TypeVar("Outcome")


class GroupCommit(Generic[Change, Outcome]):
    """Commits changes by `commit`, which does all of them or raises and does none.

    Where it raises for what one of them holds (`is_of_one`), each is committed alone, so that it
    fails by itself. Whatever else it raises, all of them are told.
    """

    def __init__(
        self,
        name: str,
        commit: Callable[[Sequence[Change]], Awaitable[Sequence[Outcome]]],
        is_of_one: Callable[[Exception], bool] = lambda _: False,
    ) -> None:
        self._name, self._commit, self._is_of_one = name, commit, is_of_one
        self._waiting: list[tuple[Change, asyncio.Future[Outcome]]] = []
        # None while nothing waits. Ends by itself; cancelling it tells those whose turn it was.
        self._commit_task: asyncio.Task[None] | None = None

    async def do(self, change: Change) -> Outcome:
        """Return the outcome of a change once it is committed; raises what `commit` does."""
        done: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._waiting.append((change, done))
        if self._commit_task is None:
            self._commit_task = asyncio.create_task(self._commit_waiting(), name=self._name)
        # Who is cancelled does not take the others' changes along.
        return await asyncio.shield(done)

    async def _commit_waiting(self) -> None:
        try:
            while self._waiting:
                turn = self._waiting[:MOST_AT_ONCE]
                del self._waiting[:MOST_AT_ONCE]
                try:
                    await self._take(turn)
                except BaseException:
                    _cancel(turn)
                    raise
        finally:
            self._commit_task = None
            # None of them is left to wait for a task that has ended.
            _cancel(self._waiting)
            self._waiting = []

    async def _take(self, turn: Sequence[tuple[Change, asyncio.Future[Outcome]]]) -> None:
        try:
            outcomes = await self._commit([change for change, _ in turn])
        except Exception as error:
            if len(turn) > 1 and self._is_of_one(error):
                for each in turn:
                    await self._take([each])
                return
            for _, done in turn:
                done.set_exception(error)
        else:
            for (_, done), outcome in zip(turn, outcomes, strict=True):
                done.set_result(outcome)


def _cancel(turn: Sequence[tuple[Change, asyncio.Future[Outcome]]]) -> None:
    for _, done in turn:
        done.cancel()
