"""What goes wrong, one after the other, by a seed."""

import asyncio
import random
import signal
import time
from collections.abc import Awaitable, Callable, Sequence

from loadtest.invariants.hubs import HubProcess
from loadtest.invariants.proxy import FaultyProxy
from loadtest.invariants.redis_servers import RedisSetting

Fault = Callable[[], Awaitable[str]]


class Schedule:
    """Breaks hubs and connections until told to stop, then puts everything right.

    Args:
        clocks: step the wall clocks of the hubs, too.
        tell: gets a line for each fault.
        redis: what is behind the hubs; breaks as well.
    """

    def __init__(
        self,
        hubs: Sequence[HubProcess],
        proxies: Sequence[FaultyProxy],
        seed: int,
        *,
        clocks: bool,
        tell: Callable[[str], None],
        redis: RedisSetting | None = None,
    ) -> None:
        self._hubs = hubs
        self._proxies = proxies
        self._random = random.Random(seed)
        self._clocks = clocks
        self._tell = tell
        self.counts: dict[str, int] = {}
        self._faults: list[Fault] = [
            self._kill,
            self._pause,
            self._cut_some,
            self._cut_all,
            self._stall,
            self._half_open,
            self._drain,
        ]
        if clocks:
            self._faults.append(self._step_clock)
        if redis is not None:
            self._faults += redis.faults(self._random)

    async def run(self, stop: asyncio.Event) -> None:
        """Break one thing after the other; each kind once before any comes again."""
        while not stop.is_set():
            for fault in self._random.sample(self._faults, len(self._faults)):
                what = await fault()
                name = what.split(":")[0]
                self.counts[name] = self.counts.get(name, 0) + 1
                self._tell(what)
                # Some faults meet the end of others, some a time of peace.
                await asyncio.sleep(self._random.choice([0.1, 0.5, 1.2]))
                if stop.is_set():
                    return

    async def _kill(self) -> str:
        hub = self._random.choice(self._hubs)
        await hub.kill()
        await asyncio.sleep(self._random.uniform(0, 0.5))
        await hub.start(fake_clock=self._clocks)
        return f"kill -9: a hub, started again as number {hub.starts}"

    async def _drain(self) -> str:
        hub = self._random.choice(self._hubs)
        began = time.monotonic()
        code = await hub.stop()
        took_s = time.monotonic() - began
        await hub.start(fake_clock=self._clocks)
        return f"SIGTERM: a hub drained in {took_s:.1f} s and ended with {code}"

    async def _pause(self) -> str:
        hub = self._random.choice(self._hubs)
        hub.signal(signal.SIGSTOP)
        for_s = self._random.choice([0.3, 1.0, 4.0])
        await asyncio.sleep(for_s)
        hub.signal(signal.SIGCONT)
        return f"kill -STOP: a hub for {for_s} s"

    async def _cut_some(self) -> str:
        count = self._random.choice(self._proxies).cut(0.3, self._random)
        return f"cut: {count} connections"

    async def _cut_all(self) -> str:
        count = sum(proxy.cut(1.0, self._random) for proxy in self._proxies)
        return f"cut all: {count} connections"

    async def _stall(self) -> str:
        proxy = self._random.choice(self._proxies)
        flow = proxy.stall(0.5, self._random)
        for_s = self._random.choice([0.2, 1.0, 3.5])
        await asyncio.sleep(for_s)
        flow()
        return f"stall: half of a proxy's connections for {for_s} s"

    async def _half_open(self) -> str:
        count = self._random.choice(self._proxies).half_open(0.3, self._random)
        return f"half-open: {count} connections"

    async def _step_clock(self) -> str:
        off_s = self._random.choice([-7200, -60, 0, 45, 3600])
        for hub in self._hubs:
            hub.set_clock(off_s)
        return f"clock: {off_s:+d} s"
