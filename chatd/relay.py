"""Media frames of one connection on their way to the SFU, one after the other."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import Any

from chatd.errors import INTERNAL, NO_MEDIA, Refused
from chatd.media import Media, MediaClient

_log = logging.getLogger("chatd.relay")

# An SFU answers within milliseconds; one that was killed is back within 5 s.
REQUEST_TIMEOUT_S = 15.0

Answer = dict[str, Any] | Refused


class Relay:
    """A queue and the task that empties it. The hub bounds the queue by `pending`."""

    def __init__(
        self, media: Media, client: MediaClient, answer: Callable[[int, Answer], None]
    ) -> None:
        self._media = media
        self._client = client
        self._answer = answer
        self._queue: deque[tuple[int | None, dict[str, Any]]] = deque()
        # None when there is nothing to carry; cancelled by `end`.
        self._carry_task: asyncio.Task[None] | None = None
        # Rooms whose media this connection may be in.
        self.rooms: set[str] = set()

    @property
    def pending(self) -> int:
        """Frames not yet answered, but for the one under way."""
        return len(self._queue)

    def submit(self, request_id: int | None, frame: dict[str, Any]) -> None:
        """Carry `frame` after those before it; without a `request_id` nobody is answered."""
        self._queue.append((request_id, frame))
        if self._carry_task is None:
            loop = asyncio.get_running_loop()
            self._carry_task = loop.create_task(self._carry(), name="chatd-media-relay")

    def end(self) -> None:
        """Drop what waits and tell media that the connection ended."""
        self._queue.clear()
        if self._carry_task is not None:
            self._carry_task.cancel()
        self._media.closed(self._client)

    async def _carry(self) -> None:
        # Cancelled only by `end`: then nobody waits for an answer.
        try:
            while self._queue:
                request_id, frame = self._queue.popleft()
                answer = await self._request(frame)
                if request_id is not None:
                    self._answer(request_id, answer)
        finally:
            self._carry_task = None

    async def _request(self, frame: dict[str, Any]) -> Answer:
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT_S):
                return await self._media.request(self._client, frame)
        except Refused as refused:
            return refused
        except TimeoutError:
            return Refused(NO_MEDIA, retry_after_ms=1000)
        except Exception:
            _log.exception("media request failed")
            return Refused(INTERNAL)
