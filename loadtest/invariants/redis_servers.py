"""Private Redis servers to break: one, or a primary with replicas and Sentinels, or a cluster."""

import asyncio
import os
import random
import signal
import subprocess
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from loadtest.launch import free_port
from loadtest.redis_program import redis_program

DEADLINE_S = 20.0
# What a server with `appendfsync everysec` may not have synced when its machine loses power.
UNSYNCED_S = 2.0

Fault = Callable[[], Awaitable[str]]


def keeping(fsync: str) -> tuple[str, ...]:
    """Return the options of a server that keeps what it is told as `redis.appendfsync` says."""
    if fsync == "none":
        return ("--appendonly", "no")
    return ("--appendonly", "yes", "--appendfsync", fsync)


class RedisSetting(Protocol):
    """Redis as an operator may set it up, and what breaks it."""

    url: str
    environment: Mapping[str, str]
    """What hubs are told beside the URL."""
    keeps_epochs: bool
    """Whether rooms keep their numbering through these faults."""

    def start(self) -> None:
        """Start and wait until it answers."""

    def faults(self, chance: random.Random) -> list[Fault]:
        """Return what may go wrong with it."""

    def close(self) -> None:
        """End it."""


class Server:
    """One redis-server with a directory of its own."""

    def __init__(self, folder: Path, *options: str) -> None:
        program = redis_program()
        if program is None:
            raise RuntimeError("redis-server is missing")
        self.port = free_port()
        self.folder = folder
        self._program = program
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None  # None: not running
        folder.mkdir(parents=True, exist_ok=True)

    def start(self) -> None:
        """Start it, and wait until it answers."""
        if self._options[:1] == ("--sentinel",):
            arguments = [str(self.folder / "sentinel.conf"), "--sentinel"]
        else:
            arguments = ["--save", "", *self._options]
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._program, *arguments, "--port", str(self.port), "--bind", "127.0.0.1",
                 "--dir", str(self.folder)], stdout=log, stderr=log,
            )  # fmt: skip
        try:
            wait_for(lambda: self.ask("PING") == b"PONG", f"redis-server on {self.port}")
        except RuntimeError as error:
            last = (self.folder / "server.log").read_text("utf-8", "replace").splitlines()[-8:]
            raise RuntimeError("\n".join([str(error), *last])) from None

    def ask(self, *command: Any) -> Any:
        """Return the reply to one command."""
        retry = Retry(NoBackoff(), 0)
        with redis.Redis(port=self.port, socket_timeout=5.0, protocol=2, retry=retry) as client:
            client.response_callbacks.clear()
            return client.execute_command(*command)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """kill -9; harmless when it is not running."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    async def pause(self, seconds: float) -> None:
        """Let it hang, with its connections open."""
        self.signal(signal.SIGSTOP)
        await asyncio.sleep(seconds)
        self.signal(signal.SIGCONT)

    async def lose_power(self) -> int:
        """Die without what the last seconds wrote to the append-only file; return its bytes.

        `kill -9` alone loses nothing that was written: the kernel has it.
        """
        log = max((self.folder / "appendonlydir").glob("*.incr.aof"))
        synced = log.stat().st_size
        await asyncio.sleep(UNSYNCED_S)
        self.kill()
        lost = log.stat().st_size - synced
        os.truncate(log, synced)
        await asyncio.to_thread(self.start)
        return lost

    async def die(self, seconds: float) -> None:
        """kill -9, and start again after a while."""
        self.kill()
        await asyncio.sleep(seconds)
        await asyncio.to_thread(self.start)


class Single:
    """One server. One that syncs every write loses nothing, and rooms keep their numbering.

    With another `fsync` rooms begin anew whenever it dies, and what is sent again may be there
    twice, once in each epoch; every hub has what it acknowledged in its own log all the same.
    """

    def __init__(self, folder: Path, fsync: str = "always") -> None:
        self._fsync = fsync
        self.environment: Mapping[str, str] = {"METAPORT_REDIS_APPENDFSYNC": fsync}
        self.keeps_epochs = fsync == "always"
        self._server = Server(folder / "redis", *keeping(fsync))
        self.url = f"redis://127.0.0.1:{self._server.port}"

    def start(self) -> None:
        self._server.start()

    def faults(self, chance: random.Random) -> list[Fault]:
        async def die() -> str:
            for_s = chance.uniform(0.1, 2.0)
            await self._server.die(for_s)
            return f"Redis kill -9: away for {for_s:.1f} s"

        async def pause() -> str:
            for_s = chance.choice([0.5, 1.5, 4.0])
            await self._server.pause(for_s)
            return f"Redis kill -STOP: for {for_s} s"

        async def lose_power() -> str:
            lost = await self._server.lose_power()
            return f"Redis loses power: {lost} bytes of its file"

        return [die, pause, *([lose_power] if self._fsync == "everysec" else [])]

    def close(self) -> None:
        self._server.kill()


class Sentinels:
    """A primary, two replicas, three Sentinels; `replicas` have a message before its `sent`."""

    keeps_epochs = False
    name = "chat"

    def __init__(self, folder: Path, replicas: int = 2) -> None:
        self.environment: Mapping[str, str] = {
            "METAPORT_REDIS_APPENDFSYNC": "always",
            "METAPORT_REDIS_REPLICAS": str(replicas),
        }
        fast = (*keeping("always"), "--repl-diskless-sync-delay", "0",
                "--repl-ping-replica-period", "1",
                "--min-replicas-to-write", str(min(1, replicas)))  # fmt: skip
        first = Server(folder / "redis-0", *fast)
        follow = ("--replicaof", f"127.0.0.1 {first.port}")
        others = (Server(folder / f"redis-{index}", *fast, *follow) for index in (1, 2))
        self._servers = [first, *others]
        self._sentinels = [Server(folder / f"sentinel-{n}", "--sentinel") for n in range(3)]
        for sentinel in self._sentinels:
            (sentinel.folder / "sentinel.conf").write_text(
                f"sentinel monitor {self.name} 127.0.0.1 {first.port} 2\n"
                f"sentinel down-after-milliseconds {self.name} 1000\n"
                f"sentinel failover-timeout {self.name} 4000\n"
            )
        hosts = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self._sentinels)
        self.url = f"redis+sentinel://{hosts}/{self.name}"

    def start(self) -> None:
        for server in self._servers:
            server.start()
        wait_for(lambda: self._replicas(self._servers[0]) == 2, "replication")
        for sentinel in self._sentinels:
            sentinel.start()
        for sentinel in self._sentinels:
            wait_for(partial(self._knows_all, sentinel), "Sentinels finding each other")

    def faults(self, chance: random.Random) -> list[Fault]:
        async def die() -> str:
            primary = self._primary()
            primary.kill()
            await asyncio.to_thread(wait_for, lambda: self._primary() is not primary, "fail-over")
            await asyncio.sleep(chance.uniform(0, 2))
            await asyncio.to_thread(primary.start)
            await self._whole()
            return "Sentinel fail-over: the primary killed"

        async def hang() -> str:
            primary = self._primary()
            primary.signal(signal.SIGSTOP)
            await asyncio.to_thread(wait_for, lambda: self._primary() is not primary, "fail-over")
            primary.signal(signal.SIGCONT)
            await self._whole()
            return "Sentinel fail-over: the primary stopped"

        async def lose_replica() -> str:
            replica = chance.choice([s for s in self._servers if s is not self._primary()])
            await replica.die(chance.uniform(0.1, 1.0))
            await self._whole()
            return "Redis replica kill -9: away for a moment"

        return [die, hang, lose_replica]

    def close(self) -> None:
        for server in (*self._sentinels, *self._servers):
            server.kill()

    async def _whole(self) -> None:
        """Wait until the primary of now has both replicas again: one fault at a time."""
        await asyncio.to_thread(
            wait_for, lambda: self._replicas(self._primary()) == 2, "replicas coming back"
        )

    def _primary(self) -> Server:
        _, port = self._sentinels[0].ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.name)
        return next(server for server in self._servers if server.port == int(port))

    def _replicas(self, server: Server) -> int:
        return int(server.ask("INFO", "replication").count(b"state=online"))

    def _knows_all(self, sentinel: Server) -> bool:
        others = sentinel.ask("SENTINEL", "SENTINELS", self.name)
        return len(others) == 2 and len(sentinel.ask("SENTINEL", "REPLICAS", self.name)) == 2


class Cluster:
    """Three nodes with a third of the slots each, which move while they are served."""

    environment: Mapping[str, str] = MappingProxyType({"METAPORT_REDIS_APPENDFSYNC": "always"})
    keeps_epochs = True

    def __init__(self, folder: Path) -> None:
        self._bus_ports = [free_port() for _ in range(3)]
        self._nodes = [
            Server(folder / f"node-{n}", *keeping("always"), "--cluster-enabled", "yes",
                   "--cluster-node-timeout", "5000", "--cluster-port", str(port))
            for n, port in enumerate(self._bus_ports)
        ]  # fmt: skip
        self.url = "redis+cluster://" + ",".join(f"127.0.0.1:{n.port}" for n in self._nodes)

    def start(self) -> None:
        bounds = (0, 5461, 10923, 16384)
        for index, node in enumerate(self._nodes):
            node.start()
            node.ask("CLUSTER", "SET-CONFIG-EPOCH", index + 1)
            node.ask("CLUSTER", "ADDSLOTSRANGE", bounds[index], bounds[index + 1] - 1)
        for node, port in zip(self._nodes[1:], self._bus_ports[1:], strict=True):
            self._nodes[0].ask("CLUSTER", "MEET", "127.0.0.1", node.port, port)
        for node in self._nodes:
            wait_for(partial(_is_whole, node), "the cluster")

    def faults(self, chance: random.Random) -> list[Fault]:
        async def move() -> str:
            source, target = chance.sample(self._nodes, 2)
            count = await asyncio.to_thread(self._move_filled, source, target)
            return f"Cluster slot move: {count} slots with keys in them"

        async def pause() -> str:
            for_s = chance.choice([0.5, 1.5])
            await chance.choice(self._nodes).pause(for_s)
            return f"Redis kill -STOP: one node for {for_s} s"

        return [move, pause]

    def close(self) -> None:
        for node in self._nodes:
            node.kill()

    def _move_filled(self, source: Server, target: Server) -> int:
        source_id, target_id = source.ask("CLUSTER", "MYID"), target.ask("CLUSTER", "MYID")
        keys = source.ask("KEYS", "*")[:4]
        slots = {source.ask("CLUSTER", "KEYSLOT", key) for key in keys}
        for slot in slots:
            target.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", source_id)
            source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", target_id)
            while moving := source.ask("CLUSTER", "GETKEYSINSLOT", slot, 100):
                source.ask("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *moving)
            for node in (target, source, *self._nodes):
                node.ask("CLUSTER", "SETSLOT", slot, "NODE", target_id)
        return len(slots)


def _is_whole(node: Server) -> bool:
    ready = b"cluster_state:ok" in node.ask("CLUSTER", "INFO")
    return ready and len(node.ask("CLUSTER", "SLOTS")) == 3


SETTINGS: dict[str, Callable[[Path], RedisSetting]] = {
    "redis": Single,
    "sentinel": Sentinels,
    "cluster": Cluster,
    # What an operator may choose that keeps less; deploy/redis.md says what.
    "everysec": partial(Single, fsync="everysec"),
    "memory": partial(Single, fsync="none"),
    "no-wait": partial(Sentinels, replicas=0),
}


def wait_for(condition: Callable[[], object], what: str) -> None:
    """Look at `condition` until it holds. Raises RuntimeError when that takes too long."""
    deadline = time.monotonic() + DEADLINE_S
    while True:
        try:
            if condition():
                return
        except (redis.RedisError, OSError):
            pass
        if time.monotonic() > deadline:
            raise RuntimeError(f"{what} did not happen in {DEADLINE_S:.0f} s")
        time.sleep(0.02)
