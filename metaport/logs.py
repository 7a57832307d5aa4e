"""Log lines: for a person on a terminal, JSON otherwise; without secrets or control characters."""

from __future__ import annotations

import asyncio
import json
import logging
import math
import re
import sys
import time
import traceback
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, Literal, TextIO

from metaport.request_id import CURRENT

# Korea keeps no summer time, so a fixed offset needs no zone data.
SEOUL = timezone(timedelta(hours=9), "KST")

_SECRETS = (
    (re.compile(r"(://[^/\s:@]*):[^/\s@]+@"), r"\1:***@"),  # a URL's password
    (
        re.compile(
            r"(?i)((?:password|passwd|secret|token|authorization|api_?key)[\"']?\s*[=:]\s*)"
            r"(\"[^\"]*\"|'[^']*'|(?:(?:bearer|basic)\s+)?[^\s,;&}]+)"
        ),
        r"\1***",
    ),
    (re.compile(r"(?i)\b(bearer)\s+[\w.~+/=-]{12,}"), r"\1 ***"),
    (re.compile(r"\beyJ[\w-]{8,}\.[\w-]+\.[\w-]*"), "***"),  # a JWT anywhere else
)
# What tells who somebody is: an address of mail (not the user of a URL), a Korean mobile number.
_PERSONAL = (
    (
        re.compile(r"(?<![/:\w.+-])[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63})*\.[a-zA-Z]{2,24}"),
        "*@*",
    ),
    (re.compile(r"(?<!\d)01[016-9][-. ]?\d{3,4}[-. ]?\d{4}(?!\d)"), "01*-***"),
)
_COLOURS = {"DEBUG": "2", "INFO": "32", "WARNING": "33", "ERROR": "31", "CRITICAL": "1;31"}
_PLAIN = set(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message"}


def redact(text: str) -> str:
    """Mask what looks like a token, a password, an address of mail or a mobile number."""
    for pattern, replacement in (*_SECRETS, *_PERSONAL):
        text = pattern.sub(replacement, text)
    return text


def escape(text: str) -> str:
    r"""Show control characters as `\n`, `\x1b`, …: a client's bytes cannot forge a line."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    """Return what was given as `extra`."""
    return {name: value for name, value in vars(record).items() if name not in _PLAIN}


def _stack(record: logging.LogRecord) -> str:
    if not record.exc_info or record.exc_info[0] is None:
        return ""
    return redact("".join(traceback.format_exception(*record.exc_info)).rstrip())


def name_request(record: logging.LogRecord) -> bool:
    """Put the request beside what is logged for it; a filter that lets everything through."""
    request_id = CURRENT.get()
    if request_id is not None and not hasattr(record, "request_id"):
        record.request_id = request_id
    return True


class HumanFormatter(logging.Formatter):
    """Format a line for a person: Korean time of day, level, process, sentence, fields."""

    def __init__(self, process: str, *, colour: bool) -> None:
        super().__init__()
        self._process, self._colour = process, colour

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, SEOUL)
        level = f"{record.levelname:<7}"
        if self._colour:
            level = f"\x1b[{_COLOURS.get(record.levelname, '0')}m{level}\x1b[0m"
        fields = "".join(f" {name}={value}" for name, value in _fields(record).items())
        sentence = escape(redact(record.getMessage() + fields))
        line = f"{at:%H:%M:%S}.{int(record.msecs):03d} {level} {self._process:<8} {sentence}"
        stack = _stack(record)
        return "\n".join([line, *(f"    {escape(row)}" for row in stack.splitlines())])


class JsonFormatter(logging.Formatter):
    """Format a record as one JSON object; `at` is UTC."""

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC)
        line: dict[str, Any] = {
            "at": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "process": self._process,
            "pid": record.process,
            "logger": record.name,
            "message": escape(redact(record.getMessage())),
        }
        for name, value in _fields(record).items():
            known = value is None or (isinstance(value, int | float) and math.isfinite(value))
            line.setdefault(name, value if known else escape(redact(str(value))))
        if stack := _stack(record):
            line["error"] = "\n".join(escape(row) for row in stack.splitlines())
        return json.dumps(line, ensure_ascii=False, allow_nan=False, default=str)


def setup(
    process: str,
    *,
    level: str = "info",
    style: Literal["auto", "human", "json"] | str = "auto",
    stream: TextIO | None = None,
) -> logging.Handler:
    """Send every log line of this process to `stream` (standard error) in one style.

    `auto` is `human` on a terminal and `json` otherwise.
    """
    stream = sys.stderr if stream is None else stream
    terminal = stream.isatty()
    human = style == "human" or (style == "auto" and terminal)
    handler = logging.StreamHandler(stream)
    handler.addFilter(name_request)
    handler.setFormatter(
        HumanFormatter(process, colour=terminal) if human else JsonFormatter(process)
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    logging.captureWarnings(True)
    # One line a request says nothing that the metrics do not.
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)
    logging.getLogger("alembic.runtime.plugins").setLevel(logging.WARNING)  # one line a plugin
    return handler


def watch(loop: asyncio.AbstractEventLoop) -> None:
    """Log what nobody caught in `loop`, and go on."""
    logger = logging.getLogger("metaport.loop")

    def handle(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        task = context.get("task") or context.get("future")
        name = task.get_name() if isinstance(task, asyncio.Task) else ""
        stack = (type(error), error, error.__traceback__) if error else None
        logger.error(
            "%s%s", context.get("message", "unhandled error"), f" in {name}" if name else "",
            exc_info=stack,
        )  # fmt: skip

    loop.set_exception_handler(handle)


# A loop that works half of the time has answers waiting in the other half; one that is this late
# shares its core with something.
LOADED, LATE_S = 0.5, 0.02


class LoopLag:
    """Measure how late an event loop comes to its timers, and how much of the time it works.

    `current_s` is the last lateness, `worst_s` the worst since it was last taken. `busy` is the
    part of the last interval in which the loop's thread ran.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        interval_s: float = 0.25,
        thread_s: Callable[[], float] = time.thread_time,
    ) -> None:
        self._loop, self._interval_s, self._thread_s = loop, interval_s, thread_s
        self._timer: asyncio.TimerHandle | None = None  # None while not measuring
        self._worked_s = 0.0
        self.current_s = 0.0
        self.busy = 0.0
        self._worst_s = 0.0

    def start(self) -> None:
        """Begin; in the loop's own thread."""
        self._worked_s = self._thread_s()
        self._arm()

    @property
    def loaded(self) -> bool:
        """Whether what can wait should: people use more than half of the loop, or it is late."""
        return self.busy > LOADED or self.current_s > LATE_S

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def take_worst_s(self) -> float:
        worst_s, self._worst_s = self._worst_s, 0.0
        return worst_s

    def _arm(self) -> None:
        self._due = self._loop.time() + self._interval_s
        self._timer = self._loop.call_at(self._due, self._fire)

    def _fire(self) -> None:
        self.current_s = max(0.0, self._loop.time() - self._due)
        worked_s = self._thread_s()
        self.busy = (worked_s - self._worked_s) / (self._interval_s + self.current_s)
        self._worked_s = worked_s
        self._worst_s = max(self._worst_s, self.current_s)
        self._arm()
