"""Wait for a condition, never for a time."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")
POLL_S = 0.05


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
