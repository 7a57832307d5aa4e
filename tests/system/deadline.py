"""Wait for a condition, never for a time."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")
POLL_S = 0.05
READY_S = 3.0  # what a start may take
BACK_S = 5.0  # what coming back after a kill may take
YARDSTICK_S = 0.3


def contention() -> float:
    """Return how many times slower than alone a process runs now: 1 on a machine that is free.

    What a start may take holds for a machine that has nothing else to do; where other work goes
    on beside the tests, everything takes longer in proportion.
    """
    wall, cpu = time.monotonic(), time.process_time()
    while time.process_time() - cpu < YARDSTICK_S:
        pass
    return max(1.0, (time.monotonic() - wall) / YARDSTICK_S)


async def until(
    condition: Callable[[], T | Awaitable[T]], deadline_s: float, what: str | Callable[[], str]
) -> T:
    """Return the first true value of the condition.

    Raises:
        TimeoutError: not true within the deadline; says what was waited for.
    """
    end = time.monotonic() + deadline_s
    while True:
        value = condition()
        if inspect.isawaitable(value):
            value = await value
        if value:
            return value  # type: ignore[return-value]
        if time.monotonic() > end:
            told = what if isinstance(what, str) else what()
            raise TimeoutError(f"not within {deadline_s:.0f} s: {told}")
        await asyncio.sleep(POLL_S)
