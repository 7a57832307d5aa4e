"""What is seen while a long answer is made, and that nothing is left of it."""

import io
import threading

import pytest

from metaport.language import Say
from metaport.progress import CLEAR_LINE, working

WHAT = Say("명세서를 만드는 중", "making the statement")


class Terminal(io.StringIO):
    """A terminal that tells when something was written to it."""

    def __init__(self) -> None:
        super().__init__()
        self.told = threading.Event()

    def isatty(self) -> bool:
        return True

    def flush(self) -> None:
        self.told.set()


def test_a_terminal_is_told_and_cleared_again() -> None:
    terminal = Terminal()
    with working(WHAT, "ko", stream=terminal, every_s=0.001):
        assert terminal.told.wait(60)
    written = terminal.getvalue()
    assert f"{CLEAR_LINE}명세서를 만드는 중 0 s" in written
    assert written.endswith(CLEAR_LINE)


def test_an_answer_that_is_quick_leaves_no_trace() -> None:
    terminal = Terminal()
    with working(WHAT, "en", stream=terminal, every_s=3600):
        pass
    assert terminal.getvalue() == ""


def test_what_is_no_terminal_gets_nothing_and_errors_pass() -> None:
    stream = io.StringIO()
    with pytest.raises(ValueError, match="broken"), working(WHAT, "en", stream=stream, every_s=0):
        raise ValueError("broken")
    assert stream.getvalue() == ""
