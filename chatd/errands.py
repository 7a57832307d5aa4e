"""Errands: something every hub process is to do or tell, and who of them has answered.

`signals` are heard by all and promise nothing; an errand knows which processes live and says how
many of them have not answered in time, so that whoever asked is not told more than was done.
"""

import asyncio
import itertools
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

import msgspec

from chatd.signals import Signals

_log = logging.getLogger("chatd.errands")

TOPIC = "errands"
# A hub that is alive answers within milliseconds; a person waits for this.
WITHIN_S = 2.0

_encode = msgspec.msgpack.Encoder().encode

Handler = Callable[[dict[str, Any]], Awaitable[Any]]


class Answers(NamedTuple):
    """What came back: this process's result first; `unanswered` are processes that did not."""

    results: list[Any]
    unanswered: int


class _Errand(msgspec.Struct, array_like=True):
    number: int
    asker: str
    kind: str
    fields: dict[str, Any]


class _Answer(msgspec.Struct, array_like=True):
    number: int
    process: str
    result: Any
    failed: bool = False


_decode_errand = msgspec.msgpack.Decoder(_Errand).decode
_decode_answer = msgspec.msgpack.Decoder(_Answer).decode


class Errands:
    """Asks all processes, this one included, and answers for it.

    `others` returns the ids of all other processes that live.
    """

    def __init__(
        self,
        signals: Signals,
        process: str,
        others: Callable[[], Sequence[str]],
        *,
        within_s: float = WITHIN_S,
    ) -> None:
        self._signals = signals
        self._process = process
        self._others = others
        self._within_s = within_s
        self._handlers: dict[str, Handler] = {}
        self._numbers = itertools.count(1)
        # By number: who is still to answer, what has come, and what ends the waiting.
        self._open: dict[int, tuple[set[str], list[Any], asyncio.Event]] = {}
        # Errands of others that are being done; each leaves the set by itself.
        self._tasks: set[asyncio.Task[None]] = set()

    def serve(self, kind: str, handler: Handler) -> None:
        """Do errands of a kind by `handler`, whose result is data of MessagePack."""
        self._handlers[kind] = handler

    def start(self) -> None:
        """Hear what others ask."""
        self._signals.hear(TOPIC, self._asked)
        self._signals.hear(_topic_of(self._process), self._answered)

    async def close(self) -> None:
        """Hear no more; what is being done is given up."""
        self._signals.unhear(TOPIC)
        self._signals.unhear(_topic_of(self._process))
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def run(self, kind: str, **fields: Any) -> Answers:
        """Have it done here and by all others that live; at most `within_s` is waited for them.

        Raises what the handler of this process raises; others that fail count as unanswered.
        """
        number, waiting = next(self._numbers), set(self._others())
        results: list[Any] = []
        done = asyncio.Event()
        self._open[number] = waiting, results, done
        try:
            if waiting:
                self._signals.tell(TOPIC, _encode(_Errand(number, self._process, kind, fields)))
            own = await self._handlers[kind](fields)
            try:
                async with asyncio.timeout(self._within_s):
                    while waiting:
                        await done.wait()
                        done.clear()
            except TimeoutError:
                _log.warning("%d of the other hubs did not answer: %s", len(waiting), kind)
        finally:
            del self._open[number]
        return Answers([own, *results], len(waiting))

    def _asked(self, news: bytes) -> None:
        errand = _decode_errand(news)
        task = asyncio.get_running_loop().create_task(self._do(errand), name="chatd-errand")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _do(self, errand: _Errand) -> None:
        try:
            result = await self._handlers[errand.kind](errand.fields)
            answer = _Answer(errand.number, self._process, result)
        except Exception as error:
            _log.error("an errand of another hub failed: %s: %s", errand.kind, error)
            answer = _Answer(errand.number, self._process, None, failed=True)
        self._signals.tell(_topic_of(errand.asker), _encode(answer))

    def _answered(self, news: bytes) -> None:
        answer = _decode_answer(news)
        if answer.number not in self._open or answer.failed:
            return
        waiting, results, done = self._open[answer.number]
        if answer.process in waiting:
            waiting.discard(answer.process)
            results.append(answer.result)
        if not waiting:
            done.set()


def _topic_of(process: str) -> str:
    return f"errand:{process}"
