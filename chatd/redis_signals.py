"""Signals over Redis pub/sub, on the connections of the bus."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from chatd.redis_link import Link, RedisSilent, RedisUnreachable
from chatd.redis_script import Command, partition_of
from chatd.redis_subscriptions import Subscriptions
from chatd.signals import Heard

_log = logging.getLogger("chatd.redis")

# Commands of one pipeline.
_FLIGHT = 256
# What waits for a node, or for its answer; more is dropped, oldest first.
_WAITING_BYTES = 4 * 1024 * 1024


class _Listener(NamedTuple):
    topic: str
    heard: Heard
    regained: Callable[[], None]


class RedisSignals:
    """`chatd.signals.Signals`, beside a `RedisBus`, which brings what its subscriptions hear.

    A node that does not answer costs the news that were on their way to it, and nothing else.
    """

    def __init__(self, link: Link, subscriptions: Subscriptions, origin: bytes) -> None:
        self._link = link
        self._subscriptions = subscriptions
        self._origin = origin
        self._listeners: dict[bytes, _Listener] = {}
        # By node; what is to be published next.
        self._waiting: dict[str, deque[Command]] = {}
        self._waiting_bytes: dict[str, int] = {}
        # One per node while something waits for it; ended by `close`.
        self._publish_tasks: dict[str, asyncio.Task[None]] = {}
        self.dropped = 0
        """News that were not told, or perhaps not."""

    def hear(self, topic: str, heard: Heard, regained: Callable[[], None] = lambda: None) -> None:
        channel = self._channel(topic)
        known = channel in self._listeners
        self._listeners[channel] = _Listener(topic, heard, regained)
        if not known:
            self._subscriptions.want(channel, partition_of(topic, self._link.partitions))
        elif self._subscriptions.is_confirmed(channel):
            regained()

    def unhear(self, topic: str) -> None:
        channel = self._channel(topic)
        if self._listeners.pop(channel, None) is not None:
            self._subscriptions.unwant(channel)

    def tell(self, topic: str, news: bytes) -> None:
        partition = partition_of(topic, self._link.partitions)
        node = self._link.node(partition)
        publish = "SPUBLISH" if self._link.sharded else "PUBLISH"
        waiting = self._waiting.setdefault(node, deque())
        waiting.append((publish, self._channel(topic), self._origin + b" " + news))
        size_bytes = self._waiting_bytes.get(node, 0) + len(news)
        while size_bytes > _WAITING_BYTES and len(waiting) > 1:
            size_bytes -= _news_bytes(waiting.popleft(), self._origin)
            self.dropped += 1
        self._waiting_bytes[node] = size_bytes
        if node not in self._publish_tasks:
            task = asyncio.get_running_loop().create_task(
                self._publish(node), name=f"redis-signals-{node}"
            )
            self._publish_tasks[node] = task

    def heard(self, channel: bytes, payload: bytes) -> None:
        """Take what a subscription has brought."""
        listener = self._listeners.get(channel)
        origin, _, news = payload.partition(b" ")
        if listener is None or origin == self._origin:
            return
        try:
            listener.heard(news)
        except Exception:
            # News of another version of this program must not end the subscription of all.
            _log.exception("news on %r could not be taken", listener.topic)

    def confirmed(self, channel: bytes) -> None:
        """Know that everything told from now on will be heard."""
        listener = self._listeners.get(channel)
        if listener is not None:
            listener.regained()

    async def close(self) -> None:
        """Forget what waits."""
        tasks = list(self._publish_tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _publish(self, node: str) -> None:
        """Publish until nothing waits; cancelling drops the rest."""
        waiting = self._waiting[node]
        try:
            while waiting:
                flight = [waiting.popleft() for _ in range(min(len(waiting), _FLIGHT))]
                self._waiting_bytes[node] -= sum(_news_bytes(c, self._origin) for c in flight)
                try:
                    replies = await self._link.send(node, flight)
                except (RedisUnreachable, RedisSilent):
                    self.dropped += len(flight)
                    continue
                # A slot that has just moved: the bus sees to it, and these are lost.
                self.dropped += sum(isinstance(reply, Exception) for reply in replies)
        finally:
            del self._publish_tasks[node]

    def _channel(self, topic: str) -> bytes:
        return partition_of(topic, self._link.partitions).key(b"news:" + topic.encode())


def _news_bytes(command: Command, origin: bytes) -> int:
    payload = command[2]
    assert isinstance(payload, bytes)
    return len(payload) - len(origin) - 1
