"""Properties over thousands of seeded cases, cheap enough for every run; `make properties-long`.

A case is what a random generator draws, whose seed is the test's name and the case's number. What
drawing, shrinking and an event loop would add costs ten times as much as a case itself.
"""

import functools
import os
import random
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

# How many times the cases of an ordinary run.
FACTOR = int(os.environ.get("PROPERTY_FACTOR", "1"))

Answer = TypeVar("Answer")


def cases(count: int) -> Callable[[Callable[[random.Random], None]], Callable[[], None]]:
    """Run a property for `count` cases, each with a generator of its own."""

    def every(prove: Callable[[random.Random], None]) -> Callable[[], None]:
        def run() -> None:
            for number in range(count * FACTOR):
                seed = f"{prove.__name__} {number}"
                try:
                    prove(random.Random(seed))
                except BaseException as error:
                    error.add_note(f"with random.Random({seed!r})")
                    raise

        # Not its signature: pytest would look for a fixture.
        functools.update_wrapper(run, prove)
        del run.__wrapped__  # type: ignore[attr-defined]
        return run

    return every


def at_once(asked: Coroutine[Any, Any, Answer]) -> Answer:
    """Return the answer of a coroutine that waits for nothing, as those of memory."""
    try:
        asked.send(None)
    except StopIteration as done:
        answer: Answer = done.value
        return answer
    raise AssertionError("it waits for something")
