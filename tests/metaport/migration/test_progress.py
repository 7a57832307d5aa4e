"""What a person sees while a copy runs, in both languages."""

import io
from pathlib import Path

import pytest

from metaport.language import Lang, Say
from metaport.migration import normalisation, type_mapping
from metaport.migration.progress import Progress

DEPLOY = Path(__file__).parents[3] / "deploy"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("lang", "line"),
    [
        ("ko", "자료 [██████░░░░░░░░░░░░░░░░░░]  25% 250/1,000  25 행/초  남은 시간 0:30  message"),
        ("en", "data [██████░░░░░░░░░░░░░░░░░░]  25% 250/1,000  25 rows/s  0:30 to go  message"),
    ],
)
def test_a_terminal_shows_share_rate_and_time_to_go(
    lang: Lang, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    now = [0.0]
    stream = Terminal()
    progress = Progress(lang, stream, lambda: now[0])
    progress.begin(Say("자료", "data"), 1_000)
    now[0] = 10.0
    progress.add(250, "message")
    assert stream.getvalue().split("\r")[-1].rstrip() == line
    now[0] = 20.0
    progress.add(1_000, "message")  # more than was expected
    assert "100%" in stream.getvalue().split("\r")[-1]


def test_a_copy_that_goes_on_counts_its_rate_from_there() -> None:
    now = [0.0]
    progress = Progress("en", Terminal(), lambda: now[0])
    progress.begin(Say("자료", "data"), 1_000, done=500)
    now[0] = 10.0
    progress.add(100, "")
    assert " 10 rows/s  0:40 to go" in progress.line()


def test_a_file_gets_nothing() -> None:
    stream = io.StringIO()
    progress = Progress("en", stream)
    progress.begin(Say("자료", "data"), 10)
    progress.add(10, "t")
    progress.end()
    assert stream.getvalue() == ""


@pytest.mark.parametrize("module", [type_mapping, normalisation])
def test_the_document_says_what_the_code_does(module: object) -> None:
    """The tables of deploy/migration.md are those of the docstrings."""
    text = (DEPLOY / "migration.md").read_text("utf-8")
    for line in (module.__doc__ or "").splitlines():
        if line.startswith("|"):
            assert line in text
