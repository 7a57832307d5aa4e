import asyncio
import io
import json
import logging
import re
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metaport import logs
from metaport.logs import LoopLag, escape, redact
from metaport.tokens import Tokens

logger = logging.getLogger("metaport.test")
Lines = Callable[[], list[str]]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def root() -> Iterator[None]:
    """Give the root logger back as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    access = logging.getLogger("aiohttp.access").level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.getLogger("aiohttp.access").setLevel(access)
    logging.captureWarnings(False)


def set_up(stream: io.StringIO, **options: Any) -> Lines:
    logs.setup("hub", stream=stream, **options)
    return lambda: stream.getvalue().splitlines()


def failing() -> None:
    try:
        raise RuntimeError("no such thing\n\x1b[31m")
    except RuntimeError:
        logger.exception("it failed")


def test_a_terminal_gets_a_line_for_a_person() -> None:
    lines = set_up(Terminal())
    logger.info("listening on %s", "127.0.0.1", extra={"room": "광장", "n": 3})
    plain = re.sub("\x1b\\[[0-9;]*m", "", lines()[0])
    assert re.fullmatch(
        r"\d\d:\d\d:\d\d\.\d{3} INFO    hub      listening on 127.0.0.1 room=광장 n=3", plain
    )


def test_the_time_of_day_is_korean() -> None:
    lines = set_up(Terminal())
    fields = {"created": 0.5, "msecs": 500.0, "levelno": logging.INFO, "levelname": "INFO"}
    logging.getLogger().handle(logging.makeLogRecord(fields))
    assert lines()[0].startswith("09:00:00.500 ")


def test_anything_else_gets_json_with_utc() -> None:
    lines = set_up(io.StringIO())
    logger.warning("slow %d", 7, extra={"room": "광장", "lag_s": 0.5, "odd": object})
    line = json.loads(lines()[0])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line.pop("at"))
    assert isinstance(line.pop("pid"), int)
    assert line == {
        "level": "warning", "process": "hub", "logger": "metaport.test", "message": "slow 7",
        "room": "광장", "lag_s": 0.5, "odd": "<class 'object'>",
    }  # fmt: skip


def test_a_style_may_be_asked_for() -> None:
    lines = set_up(io.StringIO(), style="human")
    logger.info("plain")
    assert "\x1b" not in lines()[0]
    lines = set_up(Terminal(), style="json")
    logger.info("json")
    assert json.loads(lines()[0])["message"] == "json"


def test_lines_below_the_level_and_access_lines_are_left_out() -> None:
    lines = set_up(io.StringIO(), level="warning")
    logger.info("quiet")
    assert lines() == []
    lines = set_up(io.StringIO(), level="info")
    logging.getLogger("aiohttp.access").info("GET /")
    assert lines() == []


def test_fields_cannot_take_the_place_of_ours() -> None:
    lines = set_up(io.StringIO())
    logger.info("true", extra={"at": "never", "level": "none"})
    line = json.loads(lines()[0])
    assert line["level"] == "info"
    assert line["at"] != "never"


@pytest.mark.parametrize("stream", [io.StringIO, Terminal])
def test_an_exception_is_shown_with_its_lines_escaped(stream: type[io.StringIO]) -> None:
    lines = set_up(stream())
    failing()
    text = "\n".join(lines())
    assert "RuntimeError: no such thing" in text
    assert "\x1b[31mno" not in text
    assert "\\x1b[31m" in text.replace("\\\\", "\\")
    if stream is io.StringIO:
        assert len(lines()) == 1


def test_infinite_numbers_do_not_break_a_line() -> None:
    lines = set_up(io.StringIO())
    logger.info("odd", extra={"rate": float("inf")})
    assert json.loads(lines()[0])["rate"] == "inf"


def test_warnings_become_lines() -> None:
    lines = set_up(io.StringIO())
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old habit", DeprecationWarning, stacklevel=1)
    assert "old habit" in json.loads(lines()[0])["message"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain 광장 🙂", "plain 광장 🙂"),
        ("a\nb\r\tc", r"a\nb\r\tc"),
        ("\x1b[2J\x00\x9b", r"\x1b[2J\x00\x9b"),
        ("\u202e\u2028\ud800", r"\u202e\u2028\ud800"),
    ],
)
def test_control_characters_are_escaped(text: str, shown: str) -> None:
    assert escape(text) == shown


@given(st.text())
def test_an_escaped_text_is_one_printable_line(text: str) -> None:
    assert escape(text).isprintable()


TOKEN = Tokens("x" * 32).mint("u1", ttl_s=60)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"got {TOKEN} from", "got *** from"),
        (f"Authorization: Bearer {TOKEN}", "Authorization: ***"),
        ("GET /ws?token=abc.def&x=1", "GET /ws?token=***&x=1"),
        ("{'password': 'hunter 2', 'user': 'admin'}", "{'password': ***, 'user': 'admin'}"),
        ("postgresql://u:hunter2@db/x", "postgresql://u:***@db/x"),
        ("redis://:hunter2@redis:6379", "redis://:***@redis:6379"),
        ("the token expired", "the token expired"),
        ("TOKEN_SECRET=abc", "TOKEN_SECRET=***"),
        ("Authorization: Basic dXNlcjpwdw==", "Authorization: ***"),
        ("a bearer 0123456789abcdef", "a bearer ***"),
        ("basic rules, bearer of news", "basic rules, bearer of news"),
        ("http://127.0.0.1:8080/a@b", "http://127.0.0.1:8080/a@b"),
    ],
)
def test_secrets_never_reach_a_line(text: str, shown: str) -> None:
    assert redact(text) == shown


def test_secrets_in_fields_and_stacks_are_hidden_too() -> None:
    lines = set_up(io.StringIO())
    try:
        raise RuntimeError(TOKEN)
    except RuntimeError:
        logger.exception("bad %s", TOKEN, extra={"given": TOKEN})
    assert TOKEN not in lines()[0]


async def test_what_nobody_caught_is_logged_and_the_loop_goes_on() -> None:
    lines = set_up(io.StringIO())
    loop = asyncio.new_event_loop()
    logs.watch(loop)

    def run() -> None:
        loop.call_soon(lambda: 1 / 0)
        loop.call_soon(loop.stop)
        loop.run_forever()
        loop.call_exception_handler({"message": "odd"})
        loop.close()

    await asyncio.to_thread(run)
    first, second = (json.loads(line) for line in lines())
    assert (first["level"], second["message"]) == ("error", "odd")
    assert "ZeroDivisionError" in first["error"]


class FakeLoop(asyncio.BaseEventLoop):
    """A clock in the test's hands."""

    now_s = 100.0
    timers: list[tuple[float, Callable[[], None]]]

    def time(self) -> float:
        return self.now_s

    def call_at(self, when: float, callback: Any, *args: Any, context: Any = None) -> Any:
        self.timers.append((when, callback))
        return asyncio.TimerHandle(when, callback, args, self)

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        self.timers.clear()

    def fire(self, late_s: float) -> None:
        [(when, callback)] = self.timers
        self.timers.clear()
        self.now_s = when + late_s
        callback()


def test_loop_lag_is_how_late_a_timer_comes() -> None:
    loop = FakeLoop()
    loop.timers = []
    lag = LoopLag(loop, interval_s=0.25)
    lag.start()
    for late_s in (0.0, 0.3, 0.1):
        loop.fire(late_s)
    assert lag.current_s == pytest.approx(0.1)
    assert lag.take_worst_s() == pytest.approx(0.3)
    assert lag.take_worst_s() == 0
    lag.close()
    lag.close()
    assert loop.timers == []
    loop.close()


def test_a_loop_that_works_half_of_the_time_or_comes_late_has_none_to_spare() -> None:
    loop = FakeLoop()
    loop.timers = []
    worked_s = 0.0
    lag = LoopLag(loop, interval_s=0.25, thread_s=lambda: worked_s)
    lag.start()
    seen = []
    for late_s, work_s in ((0.0, 0.1), (0.0, 0.2), (0.05, 0.1)):
        worked_s += work_s
        loop.fire(late_s)
        seen.append((round(lag.busy, 2), lag.loaded))
    assert seen == [(0.4, False), (0.8, True), (0.33, True)]
    lag.close()
    loop.close()


def test_what_tells_who_somebody_is_is_masked():
    said = "mail kim.cs+1@example.co.kr, (lee@example.com) call 010-1234-5678 or 01012345678."
    assert redact(said) == "mail *@*, (*@*) call 01*-*** or 01*-***."
    for plain in ("postgresql://kim@db.example.kr/x", "at 1790790001012345678", "a @ b", "v1.0@2"):
        assert redact(plain) == plain
    assert len(redact("a." * 50_000 + "@")) == 100_001
