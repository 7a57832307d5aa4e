"""How far a copy is: a bar with rate and time to go on a terminal, nothing in a file."""

import shutil
import sys
import time
from collections.abc import Callable
from typing import TextIO

from metaport.language import Lang, Say
from metaport.terminal import fitted

BAR = 24
EVERY_S = 0.2


class Progress:
    """Draws one line over and over; `clock` is in seconds."""

    def __init__(
        self,
        lang: Lang,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._lang = lang
        self._stream = stream or sys.stderr
        self._shows = self._stream.isatty()
        self._clock = clock
        self._began = self._drawn = clock()
        self._title = ""
        self.total = self.done = self._before = 0

    def begin(self, title: Say, total: int, done: int = 0) -> None:
        """Start to count to `total`, of which `done` was there before."""
        self._title, self.total = title.to(self._lang), total
        self.done = self._before = done
        self._began = self._clock()
        self.draw()

    def add(self, rows: int, what: str) -> None:
        """Count rows of a table, and draw now and then."""
        self.done += rows
        if self._clock() - self._drawn >= EVERY_S:
            self.draw(what)

    def draw(self, what: str = "") -> None:
        if self._shows:
            self._drawn = self._clock()
            columns = shutil.get_terminal_size().columns - 1
            self._stream.write(f"\r{fitted(self.line(what), columns)}")
            self._stream.flush()

    def line(self, what: str = "") -> str:
        """Write the line: bar, share, rows, rate, time to go, and what is at hand."""
        total = max(self.total, self.done)
        share = self.done / total if total else 1.0
        full = int(share * BAR)
        spent_s = max(self._clock() - self._began, 1e-9)
        rate = (self.done - self._before) / spent_s
        left = f"{_clock_time((total - self.done) / rate)}" if rate else "–:––"
        to_go = Say(f"남은 시간 {left}", f"{left} to go").to(self._lang)
        per_s = Say("행/초", "rows/s").to(self._lang)
        return (
            f"{self._title} [{'█' * full}{'░' * (BAR - full)}] {share:4.0%} "
            f"{self.done:,}/{total:,}  {rate:,.0f} {per_s}  {to_go}  {fitted(what, 24)}"
        )

    def end(self) -> None:
        """Leave the finished line standing."""
        if self._shows:
            self.draw()
            self._stream.write("\n")
            self._stream.flush()


def _clock_time(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
