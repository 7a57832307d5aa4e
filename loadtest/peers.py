"""The servers that text is measured on: ours, and those people would take instead.

`available` finds out which there are; `Peer.running` starts one on a core of its own and yields a
`Stand`: a port, the door people come in by, and the processes whose CPU counts.
"""

import asyncio
import os
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from loadtest import peer_setup, processes
from loadtest.hall import ChatDoor, Door, NatsDoor, RelayDoor, SocketIoDoor
from loadtest.launch import Server, free_port
from loadtest.peer_setup import AbsentError
from loadtest.redis_program import redis_program

SERVER_CORE = 0
REDIS_CORE = 1
START_DEADLINE_S = 20.0
RELAYS = Path(__file__).parent / "relays"
# So many guests sign in over one connection at once.
SIGN_INS_AT_ONCE = 16


@dataclass(frozen=True)
class Stand:
    """A server that is up. `pids` are all its processes."""

    port: int
    door: Door
    pids: Sequence[int]

    def cpu_seconds(self) -> float:
        """Return the CPU time all of it has used so far."""
        return sum(processes.cpu_seconds(pid) for pid in self.pids)

    def resident_bytes(self) -> int:
        """Return its resident memory."""
        return sum(processes.resident_bytes(pid) for pid in self.pids)


class Peer(ABC):
    """One server program. `acknowledges` says whether it orders, stores and answers each send."""

    name: str
    version: str
    acknowledges = False

    @abstractmethod
    def running(self, people: int) -> AbstractAsyncContextManager[Stand]:
        """Run it for the length of a block; that many people will come."""


class Chat(Peer):
    """This project, as `metaport run` starts it, with the rate limits lifted."""

    name = "metaport"
    acknowledges = True

    def __init__(self, version: str) -> None:
        self.version = version
        self.settings: dict[str, str] = {}

    @asynccontextmanager
    async def running(self, people: int) -> AsyncIterator[Stand]:
        with tempfile.TemporaryDirectory(prefix="metaport-race-") as folder:
            settings = {"METAPORT_PROFILE": "bench", **self.settings}
            server = Server(Path(folder) / "data", settings, core=SERVER_CORE)
            try:
                await server.start()
                tokens = await sign_in(server.url, people)
                pids = [server.pid, *processes.children(server.pid)]
                yield Stand(server.http_port, ChatDoor(server.http_port, tokens), pids)
            finally:
                await server.stop()


class ChatOnRedis(Chat):
    """The same with a Redis behind it, on the client's core: the hub has one for itself.

    Only the hub's CPU counts; Redis keeps everything in memory and writes nothing to disk.
    """

    name = "metaport+redis"

    def __init__(self, version: str, program: str) -> None:
        super().__init__(version)
        self._program = program

    @asynccontextmanager
    async def running(self, people: int) -> AsyncIterator[Stand]:
        port = free_port()
        process = await asyncio.create_subprocess_exec(
            *("taskset", "-c", str(REDIS_CORE), self._program, "--port", str(port)),
            *("--bind", "127.0.0.1", "--save", "", "--appendonly", "no"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.settings = {
            "METAPORT_REDIS_URL": f"redis://127.0.0.1:{port}",
            "METAPORT_REDIS_APPENDFSYNC": "none",
        }
        try:
            await _listening(port, process)
            async with super().running(people) as stand:
                yield stand
        finally:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()


class Program(Peer):
    """A peer that is one process."""

    def __init__(
        self, name: str, version: str, command: Sequence[str], environment: Mapping[str, str]
    ) -> None:
        self.name = name
        self.version = version
        self._command = command
        self._environment = environment

    @asynccontextmanager
    async def running(self, people: int) -> AsyncIterator[Stand]:
        port = free_port()
        command = [word.replace("{port}", str(port)) for word in self._command]
        process = await asyncio.create_subprocess_exec(
            *("taskset", "-c", str(SERVER_CORE), *command),
            env={**os.environ, **self._environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            await _listening(port, process)
            yield Stand(port, _DOORS[self.name](port), (process.pid,))
        finally:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()


_DOORS = {
    "nats-server": lambda port: NatsDoor(),
    "uWebSockets.js": RelayDoor,
    "ws": RelayDoor,
    "Socket.IO": SocketIoDoor,
}


def available(folder: Path, version: str) -> tuple[list[Peer], dict[str, str]]:
    """Return the peers that can be had here, ours first, and why the others cannot."""
    peers: list[Peer] = [Chat(version)]
    absent: dict[str, str] = {}
    makers = {"metaport+redis": lambda _: _redis(version), **_MAKERS}
    for name, make in makers.items():
        try:
            peers.append(make(folder))
        except AbsentError as reason:
            absent[name] = str(reason)
    return peers, absent


def _redis(version: str) -> Peer:
    program = redis_program()
    if program is None:
        raise AbsentError("neither redis-server nor valkey-server is installed")
    return ChatOnRedis(version, program)


def _nats(folder: Path) -> Peer:
    program = str(peer_setup.nats_server(folder))
    told = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
    version = told.stdout.rpartition("v")[2].strip()
    # 64 MB may wait for a reader, as it does by default; nothing is written to disk.
    return Program("nats-server", version, [program, "-a", "127.0.0.1", "-p", "{port}"], {})


def _relay(folder: Path, name: str, package: str, script: str) -> Peer:
    node = peer_setup.node(folder)
    loader = peer_setup.newer_libc(folder) if script == "uws.js" else ()
    command = [*loader, str(node), str(RELAYS / script), "{port}"]
    environment = {"NODE_PATH": str(folder / "node_modules"), "NODE_ENV": "production"}
    return Program(name, peer_setup.node_version(folder, package), command, environment)


def _centrifugo(folder: Path) -> Peer:
    raise AbsentError("published neither on PyPI nor on npm nor by Debian, and not driven here")


_MAKERS = {
    "nats-server": _nats,
    "uWebSockets.js": lambda f: _relay(f, "uWebSockets.js", "@btc-vision/uwebsockets.js", "uws.js"),
    "ws": lambda f: _relay(f, "ws", "ws", "ws.js"),
    "Socket.IO": lambda f: _relay(f, "Socket.IO", "socket.io", "socketio.js"),
    "Centrifugo": _centrifugo,
}


async def _listening(port: int, process: asyncio.subprocess.Process) -> None:
    end = time.monotonic() + START_DEADLINE_S
    while time.monotonic() < end and process.returncode is None:
        with suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            await writer.wait_closed()
            return
        await asyncio.sleep(0.05)
    raise AbsentError(f"it does not listen (exit code {process.returncode})")


async def sign_in(url: str, people: int) -> list[str]:
    """Return a token for each of so many guests."""
    connector = aiohttp.TCPConnector(limit=SIGN_INS_AT_ONCE)
    async with aiohttp.ClientSession(connector=connector) as session:

        async def one(number: int) -> str:
            body = {"name": f"person {number}"}
            async with session.post(f"{url}/api/v1/auth/guest", json=body) as answer:
                answer.raise_for_status()
                token: str = (await answer.json())["token"]
                return token

        return list(await asyncio.gather(*map(one, range(people))))
