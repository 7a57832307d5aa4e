"""Requests of streams that another hub holds: handed on by signals.

A load balancer, or a port that several hubs share, sends the requests of a stream anywhere. The
hub that gets one asks the hub that the stream's id names, and answers what that one says. A signal
may be lost: then the client is told to try again, and a request that was taken is not taken twice.
"""

import asyncio
import itertools
import re
from collections.abc import Awaitable, Callable

import msgspec

from chatd.signals import NEWS_BYTES, Signals

# Longer than a hub is busy for, shorter than a client waits.
ANSWER_S = 5.0
# What one piece of news holds beside the head.
PART_BYTES = NEWS_BYTES - 1024
# Requests of others that are under way here; what comes beyond is not answered.
REQUESTS = 4096
_NAME = re.compile(r"[0-9a-f]{8}")

Take = Callable[[str, int, bytes], Awaitable[int | None]]


class _Asked(msgspec.Struct, tag="asked", array_like=True):
    """A part of a request; `last` completes it."""

    by: str
    question: int
    stream: str
    number: int
    part: bytes
    last: bool


class _Answered(msgspec.Struct, tag="answered", array_like=True):
    """What became of a request: an HTTP status, None for a stream nobody has."""

    question: int
    status: int | None


_decode = msgspec.msgpack.Decoder(_Asked | _Answered).decode
_encode = msgspec.msgpack.Encoder().encode


class StreamRelay:
    """The streams of other hubs: `chatd.stream_server.Elsewhere`.

    Args:
        name: what the ids of this hub's streams begin with.
        take: gives a request to a stream of this hub.
    """

    def __init__(self, name: str, signals: Signals, take: Take) -> None:
        self._name = name
        self._signals = signals
        self._take = take
        self._questions = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[int | None]] = {}
        # Requests of which not all parts are here, oldest first.
        self._parts: dict[tuple[str, int], bytes] = {}
        # Requests of others under way; each leaves the set by itself, `close` cancels them.
        self._take_tasks: set[asyncio.Task[None]] = set()
        signals.hear(_topic(name), self._heard)

    async def post(self, stream: str, number: int, body: bytes) -> int | None:
        """Ask the hub that holds `stream`; 503 when it does not answer in time."""
        owner = stream.partition("-")[0]
        if not _NAME.fullmatch(owner) or owner == self._name:
            return None
        question = next(self._questions)
        answer = self._waiting[question] = asyncio.get_running_loop().create_future()
        try:
            for start in range(0, len(body) or 1, PART_BYTES):
                part = body[start : start + PART_BYTES]
                last = start + PART_BYTES >= len(body)
                asked = _Asked(self._name, question, stream, number, part, last)
                self._signals.tell(_topic(owner), _encode(asked))
            async with asyncio.timeout(ANSWER_S):
                status: int | None = await answer
                return status
        except TimeoutError:
            return 503
        finally:
            del self._waiting[question]

    def close(self) -> None:
        """Stop; who still waits is told to try again elsewhere."""
        self._signals.unhear(_topic(self._name))
        for task in self._take_tasks:
            task.cancel()

    def _heard(self, news: bytes) -> None:
        try:
            told = _decode(news)
        except msgspec.DecodeError:
            return
        if isinstance(told, _Answered):
            waiting = self._waiting.get(told.question)
            if waiting is not None and not waiting.done():
                waiting.set_result(told.status)
            return
        key = told.by, told.question
        body = self._parts.pop(key, b"") + told.part
        if told.last:
            self._begin(told, body)
            return
        self._parts[key] = body
        if len(self._parts) > REQUESTS:
            self._parts.pop(next(iter(self._parts)))

    def _begin(self, asked: _Asked, body: bytes) -> None:
        if len(self._take_tasks) >= REQUESTS:
            return
        task = asyncio.get_running_loop().create_task(
            self._serve(asked, body), name=f"request of a stream for {asked.by}"
        )
        self._take_tasks.add(task)
        task.add_done_callback(self._take_tasks.discard)

    async def _serve(self, asked: _Asked, body: bytes) -> None:
        status = await self._take(asked.stream, asked.number, body)
        self._signals.tell(_topic(asked.by), _encode(_Answered(asked.question, status)))


def _topic(name: str) -> str:
    return f"stream.{name}"
