"""Something to see on a terminal while a long answer is made."""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from metaport.language import Lang, Say

# Most answers are there sooner, and what flashes up and goes is only a disturbance.
TELL_EVERY_S = 0.5
CLEAR_LINE = "\r\x1b[K"


@contextmanager
def working(
    what: Say, lang: Lang, *, stream: TextIO | None = None, every_s: float = TELL_EVERY_S
) -> Iterator[None]:
    """Say on a terminal what is being done, and for how long; elsewhere say nothing.

    A thread tells: laying out a document gives the loop no turn.
    """
    shown = sys.stderr if stream is None else stream
    if not shown.isatty():
        yield
        return
    done = threading.Event()
    began = time.monotonic()

    def tell() -> None:
        told = False
        while not done.wait(every_s):
            shown.write(f"{CLEAR_LINE}{what.to(lang)} {time.monotonic() - began:.0f} s")
            shown.flush()
            told = True
        if told:
            shown.write(CLEAR_LINE)
            shown.flush()

    teller = threading.Thread(target=tell, name="progress", daemon=True)
    teller.start()
    try:
        yield
    finally:
        done.set()
        teller.join()
