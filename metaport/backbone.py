"""What is behind a hub: nothing on a single machine, Redis where there are several hubs.

`Backbone` is what `metaport.compose` needs of either. `LocalBackbone` orders messages in the hub's
own memory and log; `RedisBackbone` lets Redis order, keep and count them.
"""

import asyncio
import logging
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from chatd.bus import Bus, LocalBus
from chatd.errands import Errands
from chatd.neighbours import Neighbours
from chatd.online import Online
from chatd.redis_bus import RedisBus
from chatd.redis_options import Durability, RedisOptions
from chatd.signalled_online import SignalledOnline
from chatd.signals import LocalSignals, Signals
from metaport import chat_journal
from metaport.boot import boot_id
from metaport.config import Config, Redis
from metaport.durability import losses, sentence
from metaport.language import Say
from metaport.log import Log
from metaport.node import NodeRefused

logger = logging.getLogger(__name__)

# Names the directory of a hub's log, so that a restart in it is known as the same hub.
HOME = "home"


class Backbone(Protocol):
    """The bus of a hub process, and how it is doing."""

    orders: bool
    """Whether messages are ordered, and so counted, in this process."""

    @property
    def bus(self) -> Bus:
        """Return the bus for the hub."""

    @property
    def signals(self) -> Signals:
        """Return the way to tell all other hubs something."""

    @property
    def errands(self) -> Errands:
        """Return the way to have something done at all hubs."""

    @property
    def state(self) -> str | None:
        """Say what keeps messages from flowing; None when they do."""

    @property
    def concern(self) -> str | None:
        """Say what is worse than it should be; None when nothing is."""

    def needed_from(self) -> int | None:
        """Return from where on the log is needed for the next start, None for nowhere."""

    @property
    def losses(self) -> Say | None:
        """Say what its durability can lose; None where that is the local log's alone."""

    @property
    def neighbours(self) -> Neighbours | None:
        """Return the people of other hubs, None where there is no other."""

    @property
    def online(self) -> Online | None:
        """Return who is online at any hub, None where there is no other."""

    async def start(self) -> None:
        """Begin; returns at once."""

    async def failed(self) -> None:
        """Return only when this process must end.

        Raises:
            NodeRefused: another hub has its name.
        """

    async def close(self) -> None:
        """Let go, after the hub is drained."""


class LocalBackbone:
    """A hub on its own: its log is the store, replayed at the start."""

    orders = True
    state = None
    concern = None
    losses = None
    neighbours = None
    online = None

    def __init__(self, log: Log) -> None:
        began = time.monotonic()
        self.bus = LocalBus()
        self.signals: Signals = LocalSignals()
        self.errands = Errands(self.signals, "", list)
        self._directory = log.directory
        self.bus.restore(chat_journal.replay(log.directory), boot_id())
        log.on_rotate = lambda: [
            chat_journal.time_record(time.monotonic()),
            *(chat_journal.room_record(fact) for fact in self.bus.heads()),
        ]
        logger.info("local log replayed in %d ms", (time.monotonic() - began) * 1000)

    def needed_from(self) -> int | None:
        return chat_journal.replay_from(self._directory)

    async def start(self) -> None:
        pass

    async def failed(self) -> None:
        await asyncio.Event().wait()

    async def close(self) -> None:
        pass


class RedisBackbone:
    """A hub among others on one Redis. `lapsed` is called with rooms whose members must rejoin."""

    orders = False

    def __init__(
        self, url: str, redis: Redis, *, name: str, home: str, lapsed: Callable[[str], None]
    ) -> None:
        self._name = name
        self._durability = durability_of(redis)
        self._broken = asyncio.Event()
        self.bus = RedisBus(
            url,
            lapsed=lapsed,
            options=_options(redis),
            name=name,
            home=home,
            broke=self._broken.set,
        )
        self.signals: Signals = self.bus.signals
        registry, loop = self.bus.registry, asyncio.get_running_loop()
        self.neighbours = Neighbours(
            self.signals,
            self.bus.process,
            lambda: registry.others,
            soon=loop.call_soon,
            later=loop.call_later,
            now=time.monotonic,
        )
        self.errands = Errands(self.signals, self.bus.process, lambda: registry.others)
        self.online = SignalledOnline(self.signals, self.bus.process, soon=loop.call_soon)
        self.bus.gone = self._gone

    def _gone(self, process: str) -> None:
        self.neighbours.gone(process)
        self.online.gone(process)

    @property
    def state(self) -> str | None:
        registry = self.bus.registry
        state = self.bus.state or registry.rival or registry.doubtful
        if state is None and not registry.known:
            return "not yet known which other hubs there are"
        return state

    @property
    def concern(self) -> str | None:
        return self.bus.concern

    @property
    def losses(self) -> Say | None:
        return sentence(losses(self._durability, self.bus.standing))

    def needed_from(self) -> int | None:
        return None

    async def start(self) -> None:
        await self.bus.start()

    async def failed(self) -> None:
        broken_task = asyncio.create_task(self._broken.wait(), name="redis-broken")
        try:
            while not broken_task.done():
                if self.bus.registry.rival is not None:
                    raise NodeRefused(self._name)
                await asyncio.wait({broken_task}, timeout=1.0)
        finally:
            broken_task.cancel()

    async def close(self) -> None:
        await self.bus.close()


def backbone_of(
    config: Config, log: Log, *, name: str, lapsed: Callable[[str], None]
) -> LocalBackbone | RedisBackbone:
    """Return the backbone the configuration asks for.

    Raises:
        LogError: the log cannot be replayed.
        OSError: the log's directory cannot be written.
    """
    if config.redis.url is None:
        return LocalBackbone(log)
    home = home_of(log.directory)
    return RedisBackbone(config.redis.url, config.redis, name=name, home=home, lapsed=lapsed)


def home_of(directory: Path) -> str:
    """Return the random name of a log's directory, made where there is none."""
    path = directory / HOME
    if not path.exists():
        path.write_text(secrets.token_hex(16), "ascii")
    return path.read_text("ascii").strip()


def durability_of(redis: Redis) -> Durability:
    """Return what the configuration promises about Redis."""
    return Durability(redis.appendfsync, redis.replicas, redis.wait_ms)


def _options(redis: Redis) -> RedisOptions:
    return RedisOptions(prefix=redis.prefix, durability=durability_of(redis))
