"""The subscriptions of this process: one subscriber per node, each channel with its node's."""

import asyncio
from collections.abc import Callable, Iterable

from chatd.redis_link import Link, RedisUnreachable
from chatd.redis_options import Times
from chatd.redis_script import Partition
from chatd.redis_subscriber import Ears, Subscriber


class Subscriptions:
    """Keeps every wanted channel subscribed where it is published.

    `ended` is called with the task of a subscriber when it is over.
    """

    def __init__(
        self,
        link: Link,
        *,
        process: str,
        times: Times,
        ears: Ears,
        ended: Callable[["asyncio.Task[None]"], None],
    ) -> None:
        self._link = link
        self._ended = ended
        self._process = process
        self._times = times
        self._ears = ears
        self._wanted: dict[bytes, Partition] = {}
        self._placed: dict[bytes, Subscriber] = {}
        self._subscribers: dict[str, Subscriber] = {}
        # One per subscriber; ended by `close`, or when the node serves nothing any more.
        self._run_tasks: dict[str, asyncio.Task[None]] = {}

    @property
    def fault(self) -> str | None:
        """What keeps publications from being heard, None when all are."""
        for subscriber in self._subscribers.values():
            if subscriber.fault is not None:
                return subscriber.fault
        return None if self._subscribers else "not subscribed to Redis yet"

    def unanswered(self, node: str) -> bool:
        """Say whether `node` was found to hang, before anything was published."""
        subscriber = self._subscribers.get(node)
        return subscriber is not None and subscriber.unanswered

    def want(self, channel: bytes, partition: Partition) -> None:
        """Subscribe to `channel`."""
        self._wanted[channel] = partition
        self._place(channel, partition)

    def unwant(self, channel: bytes) -> None:
        """Unsubscribe from `channel`."""
        self._wanted.pop(channel, None)
        subscriber = self._placed.pop(channel, None)
        if subscriber is not None:
            subscriber.unwant(channel)

    def is_confirmed(self, channel: bytes) -> bool:
        """Say whether publications on `channel` are heard now."""
        subscriber = self._placed.get(channel)
        return subscriber is not None and subscriber.is_confirmed(channel)

    def arrange(self) -> None:
        """Have a subscriber per node that serves something, and every channel with its own."""
        served: dict[str, Partition] = {}
        for partition in self._link.partitions:
            served.setdefault(self._link.node(partition), partition)
        for node in set(self._subscribers) - set(served):
            del self._subscribers[node]
            self._run_tasks.pop(node).cancel()
        for node, partition in served.items():
            if node not in self._subscribers:
                self._subscribers[node] = subscriber = self._subscriber(node, partition)
                self._run_tasks[node] = asyncio.create_task(
                    subscriber.run(), name=f"redis-subscriber-{node}"
                )
                self._run_tasks[node].add_done_callback(self._ended)
        for channel, partition in self._wanted.items():
            self._place(channel, partition)

    async def close(self) -> None:
        """End every subscription."""
        tasks = list(self._run_tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._run_tasks.clear()

    def _place(self, channel: bytes, partition: Partition) -> None:
        subscriber = self._subscribers.get(self._link.node(partition))
        before = self._placed.get(channel)
        if subscriber is None:
            return
        if subscriber is before:
            # The node let go of it, and the topology does not show yet to whom: asked again, it
            # says so.
            if not subscriber.has_asked(channel):
                subscriber.want(channel)
            return
        if before is not None:
            before.unwant(channel)
        self._placed[channel] = subscriber
        subscriber.want(channel)

    def _subscriber(self, node: str, partition: Partition) -> Subscriber:
        async def probe(channel: bytes) -> None:
            command = "SPUBLISH" if self._link.sharded else "PUBLISH"
            (reply,) = await self._link.send(node, [(command, channel, b"")])
            if isinstance(reply, Exception):
                raise RedisUnreachable(str(reply))

        return Subscriber(
            dial=lambda: self._link.endpoint(node),
            probe=probe,
            probe_channel=partition.key(b"probe:" + self._process.encode()),
            sharded=self._link.sharded,
            times=self._times,
            ears=self._ears,
            groups=_by_slot if self._link.sharded else _together,
        )


def _together(channels: Iterable[bytes]) -> Iterable[list[bytes]]:
    gathered = list(channels)
    return [gathered] if gathered else []


def _by_slot(channels: Iterable[bytes]) -> Iterable[list[bytes]]:
    # One SSUBSCRIBE names channels of one slot; a stem is one slot.
    groups: dict[bytes, list[bytes]] = {}
    for channel in channels:
        groups.setdefault(channel[: channel.index(b"}")], []).append(channel)
    return groups.values()
