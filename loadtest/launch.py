"""Start `metaport run` the way a newcomer does, on free ports and a data directory of its own."""

import asyncio
import os
import random
import signal
import socket
import ssl
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from loadtest import precedence, processes

METAPORT = Path(sys.executable).with_name("metaport")
READY_DEADLINE_S = 30.0
STOP_DEADLINE_S = 30.0


class LaunchError(Exception):
    """The server did not become ready, or did not stop; the message carries its last lines."""


def free_port() -> int:
    """Return a port nobody uses now, for TCP and UDP, on any address.

    Below the range from which systems take the ports of outgoing connections: there one would be
    taken again before the server has it.
    """
    while True:
        port = random.randint(20_000, 32_000)
        if all(_is_free(kind, port) for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM)):
            return port


def _is_free(kind: socket.SocketKind, port: int) -> bool:
    try:
        with socket.socket(socket.AF_INET, kind) as probe:
            probe.bind(("", port))
    except OSError:
        return False
    return True


class Server:
    """One `metaport run` with its output and its children."""

    def __init__(
        self,
        data_dir: Path,
        environment: Mapping[str, str] | None = None,
        arguments: tuple[str, ...] = (),
        *,
        core: int | None = None,
    ) -> None:
        self.data_dir = data_dir
        self.http_port = free_port()
        self.media_port = free_port()
        self.arguments = arguments
        self._pin = () if core is None else ("taskset", "-c", str(core))
        self.lines: list[str] = []
        self.ready_s: float | None = None  # from the start to the first good /readyz
        self.environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith("METAPORT_")},
            "METAPORT_HTTP_PORT": str(self.http_port),
            "METAPORT_MEDIA_PORT": str(self.media_port),
            "METAPORT_MEDIA_ADVERTISE": "127.0.0.1",
            "METAPORT_DATA_DIR": str(data_dir),
            "PYTHONUNBUFFERED": "1",
            **(environment or {}),
        }
        self._process: asyncio.subprocess.Process | None = None  # None: not started
        self._read_task: asyncio.Task[None] | None = None  # None: not started; ends with the output

    @property
    def url(self) -> str:
        """Return where pages and the API are."""
        scheme = "https" if "auto" in self.arguments else "http"
        return f"{scheme}://127.0.0.1:{self.http_port}"

    @property
    def pid(self) -> int:
        """Return the supervisor's process id."""
        assert self._process is not None
        return self._process.pid

    @property
    def output(self) -> str:
        """Return everything printed so far."""
        return "\n".join(self.lines)

    def child(self, role: str) -> int | None:
        """Return the process id of the `hub` or `sfu` child, `None` while there is none."""
        for pid, command in processes.children(self.pid).items():
            if f" {role}" in command:
                return pid
        return None

    async def start(self) -> None:
        """Start and wait until `/readyz` answers 200.

        Raises:
            LaunchError: it ended, or was not ready in time.
        """
        began = time.monotonic()
        await self.spawn()
        while not await self.ready():
            if self._process is not None and self._process.returncode is not None:
                await self.ended()
                raise LaunchError(f"ended with {self._process.returncode}:\n{self.output}")
            if time.monotonic() - began > READY_DEADLINE_S:
                raise LaunchError(f"not ready after {READY_DEADLINE_S:.0f} s:\n{self.output}")
            await asyncio.sleep(0.02)
        self.ready_s = time.monotonic() - began

    async def spawn(self) -> None:
        """Start the process without waiting for readiness."""
        self._process = await asyncio.create_subprocess_exec(
            *self._pin,
            METAPORT,
            "run",
            *self.arguments,
            env=self.environment,
            cwd=self.data_dir.parent,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            limit=1 << 20,
            start_new_session=True,
        )
        precedence.share(self._process.pid)
        self._read_task = asyncio.create_task(self._read(), name="server-output")

    async def ready(self, path: str = "/readyz") -> bool:
        """Tell whether a health address answers 200 now."""
        return await asyncio.to_thread(_answers, f"{self.url}{path}")

    async def ended(self) -> int:
        """Wait for the end and return the exit code."""
        assert self._process is not None
        assert self._read_task is not None
        async with asyncio.timeout(STOP_DEADLINE_S):
            code = await self._process.wait()
            await self._read_task
        return code

    async def stop(self) -> int:
        """End it with SIGTERM and return the exit code; what hangs is killed and told.

        Raises:
            LaunchError: it did not end in time.
        """
        if self._process is None:
            return 0
        if self._process.returncode is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            return await self.ended()
        except TimeoutError:
            os.killpg(self._process.pid, signal.SIGKILL)
            await self.ended()
            raise LaunchError(
                f"ignored SIGTERM for {STOP_DEADLINE_S:.0f} s:\n{self.output}"
            ) from None

    async def command(self, *arguments: str) -> str:
        """Run another `metaport` command in the same environment and return its output.

        Raises:
            LaunchError: it failed.
        """
        process = await asyncio.create_subprocess_exec(
            METAPORT,
            *arguments,
            env=self.environment,
            cwd=self.data_dir.parent,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
        if process.returncode != 0:
            raise LaunchError(
                f"metaport {' '.join(arguments)}: {process.returncode}\n{err.decode()}"
            )
        return out.decode()

    async def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            self.lines.append(line.decode(errors="backslashreplace").rstrip("\n"))


@asynccontextmanager
async def running(
    data_dir: Path,
    environment: Mapping[str, str] | None = None,
    arguments: tuple[str, ...] = (),
    *,
    core: int | None = None,
) -> AsyncIterator[Server]:
    """Run a server for the length of a block."""
    server = Server(data_dir, environment, arguments, core=core)
    try:
        await server.start()
        yield server
    finally:
        await server.stop()


def _answers(url: str) -> bool:
    # Whose certificate it is, is another question than whether it is ready.
    context = ssl._create_unverified_context() if url.startswith("https") else None
    try:
        with urllib.request.urlopen(url, timeout=1, context=context) as response:
            return bool(response.status == 200)
    except OSError:
        return False
