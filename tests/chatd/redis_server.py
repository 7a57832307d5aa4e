"""Private Redis servers on 127.0.0.1: one, a primary with its Sentinels, or a cluster."""

import contextlib
import os
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from loadtest.redis_program import redis_program

_DEADLINE_S = 20.0


def free_port() -> int:
    """Return a port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(condition: Any, what: str) -> None:
    """Look at `condition` until it holds. For setting up: it stops the event loop."""
    deadline = time.monotonic() + _DEADLINE_S
    while True:
        with contextlib.suppress(redis.RedisError, OSError):
            if condition():
                return
        assert time.monotonic() < deadline, f"{what} did not happen"
        time.sleep(0.01)


class RedisServer:
    """One redis-server, in a directory of its own, without persistence unless `options` say so."""

    def __init__(self, directory: Path, *options: str, port: int | None = None) -> None:
        found = redis_program()
        assert found is not None, "redis-server is missing: apt-get install redis-server"
        self._program = found
        self.port = port or free_port()
        self.directory = directory
        self.options = options
        self._process: subprocess.Popen[bytes] | None = None
        directory.mkdir(parents=True, exist_ok=True)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def launch(self) -> None:
        """Start it; `wait_for(server.answers, …)` before it is used."""
        arguments = [self._program]
        if self.options and self.options[0] == "--sentinel":
            arguments += [str(self.directory / "sentinel.conf"), "--sentinel"]
        else:
            arguments += ["--save", "", *self.options]
        arguments += ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.directory)]
        with (self.directory / "server.log").open("ab") as log:
            self._process = subprocess.Popen(arguments, stdout=log, stderr=log)

    def start(self) -> "RedisServer":
        """Start it and wait until it answers."""
        self.launch()
        wait_for(self.answers, f"redis-server on {self.port}")
        return self

    def answers(self) -> bool:
        return self.ask("PING") == b"PONG"

    def ask(self, *command: Any) -> Any:
        """Return the server's reply to one command, on a connection of its own."""
        retry = Retry(NoBackoff(), 0)
        with redis.Redis(port=self.port, socket_timeout=5.0, protocol=2, retry=retry) as client:
            client.response_callbacks.clear()
            return client.execute_command(*command)

    def info(self, section: str) -> dict[str, str]:
        """Return one section of INFO."""
        lines = self.ask("INFO", section).decode().splitlines()
        return dict(line.split(":", 1) for line in lines if ":" in line)

    def kill(self) -> None:
        """kill -9, and wait until it is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """SIGSTOP: connections stay open and nothing answers."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)


class SentinelSet:
    """A primary, two replicas and three Sentinels."""

    name = "chat"

    def __init__(self, directory: Path, *options: str) -> None:
        fast = ("--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1", *options)
        first = RedisServer(directory / "redis-0", *fast)
        follow = ("--replicaof", f"127.0.0.1 {first.port}")
        self.servers = [
            first,
            *(RedisServer(directory / f"redis-{index}", *fast, *follow) for index in (1, 2)),
        ]
        self.sentinels = []
        for index in range(3):
            sentinel = RedisServer(directory / f"sentinel-{index}", "--sentinel")
            (sentinel.directory / "sentinel.conf").write_text(
                f"sentinel monitor {self.name} 127.0.0.1 {first.port} 2\n"
                f"sentinel down-after-milliseconds {self.name} 500\n"
                f"sentinel failover-timeout {self.name} 3000\n"
            )
            self.sentinels.append(sentinel)

    @property
    def url(self) -> str:
        hosts = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)
        return f"redis+sentinel://{hosts}/{self.name}"

    def start(self) -> "SentinelSet":
        for server in self.servers:
            server.start()
        wait_for(lambda: self._replicas() == 2, "replication")
        # After it: a Sentinel looks for replicas at once, and then every 10 s.
        for sentinel in self.sentinels:
            sentinel.launch()
        for sentinel in self.sentinels:
            wait_for(sentinel.answers, f"redis-server on {sentinel.port}")
            wait_for(lambda s=sentinel: self._knows_all(s), "Sentinels finding each other")
        return self

    def primary(self) -> RedisServer:
        """Return the server the first Sentinel calls primary."""
        _, port = self.sentinels[0].ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.name)
        return next(server for server in self.servers if server.port == int(port))

    def kill(self) -> None:
        for server in (*self.sentinels, *self.servers):
            server.kill()

    def _replicas(self) -> int:
        told = self.servers[0].info("replication")
        return sum("state=online" in told.get(f"slave{index}", "") for index in range(2))

    def _knows_all(self, sentinel: RedisServer) -> bool:
        sentinel_count = len(sentinel.ask("SENTINEL", "SENTINELS", self.name))
        replica_count = len(sentinel.ask("SENTINEL", "REPLICAS", self.name))
        return sentinel_count == 2 and replica_count == 2


class RedisCluster:
    """Three primaries with a third of the slots each."""

    def __init__(self, directory: Path, *options: str) -> None:
        self.nodes = [
            RedisServer(
                directory / f"node-{index}",
                *options,
                "--cluster-enabled",
                "yes",
                "--cluster-node-timeout",
                "2000",
                "--cluster-port",
                str(free_port()),
            )
            for index in range(3)
        ]

    @property
    def url(self) -> str:
        return "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)

    def start(self) -> "RedisCluster":
        for node in self.nodes:
            node.launch()
        bounds = (0, 5461, 10923, 16384)
        for index, node in enumerate(self.nodes):
            wait_for(node.answers, f"redis-server on {node.port}")
            node.ask("CLUSTER", "SET-CONFIG-EPOCH", index + 1)
            node.ask("CLUSTER", "ADDSLOTSRANGE", bounds[index], bounds[index + 1] - 1)
        first = self.nodes[0]
        for node in self.nodes[1:]:
            bus_port = node.options[node.options.index("--cluster-port") + 1]
            first.ask("CLUSTER", "MEET", "127.0.0.1", node.port, bus_port)
        for node in self.nodes:
            wait_for(lambda n=node: b"cluster_state:ok" in n.ask("CLUSTER", "INFO"), "cluster")
            wait_for(lambda n=node: len(n.ask("CLUSTER", "SLOTS")) == 3, "slots")
        return self

    def owner(self, slot: int) -> RedisServer:
        """Return the node that serves `slot`."""
        for first, last, primary, *_ in self.nodes[0].ask("CLUSTER", "SLOTS"):
            if first <= slot <= last:
                return next(node for node in self.nodes if node.port == primary[1])
        raise AssertionError(f"nobody serves slot {slot}")

    def move(self, slot: int, to: RedisServer) -> None:
        """Move a slot with its keys while it is served (CLUSTER SETSLOT)."""
        source = self.owner(slot)
        source_id, target_id = source.ask("CLUSTER", "MYID"), to.ask("CLUSTER", "MYID")
        to.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", source_id)
        source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", target_id)
        while keys := source.ask("CLUSTER", "GETKEYSINSLOT", slot, 100):
            source.ask("MIGRATE", "127.0.0.1", to.port, "", 0, 5000, "KEYS", *keys)
        for node in (to, source, *self.nodes):
            node.ask("CLUSTER", "SETSLOT", slot, "NODE", target_id)

    def kill(self) -> None:
        for node in self.nodes:
            node.kill()


AnyRedis = RedisServer | SentinelSet | RedisCluster
# What hubs stand on in their own tests: a server, or, by REDIS_KIND, `sentinel` or `cluster`.
KIND = os.environ.get("REDIS_KIND", "single")


def redis_of(kind: str, directory: Path) -> AnyRedis:
    """Return a Redis of a kind that syncs every write."""
    always = ("--appendonly", "yes", "--appendfsync", "always")
    match kind:
        case "sentinel":
            return SentinelSet(directory, *always)
        case "cluster":
            return RedisCluster(directory, *always)
    return RedisServer(directory, *always)
