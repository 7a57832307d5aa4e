"""The hub and the SFU as processes that are killed and started again, at once, without mercy."""

import asyncio
import os
import signal
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

from loadtest.launch import free_port

ROLES = ("hub", "sfu")


class Processes:
    """`metaport hub` and `metaport sfu` over one data directory; one that ends is started again."""

    def __init__(self, data_dir: Path, environment: dict[str, str]) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.starts = dict.fromkeys(ROLES, 0)
        self.killed_at: dict[str, float] = {}  # UTC, of the last kill by role
        self.kills = dict.fromkeys(ROLES, 0)
        self._data_dir = data_dir
        self._output = data_dir.parent / "output"
        self._environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith("METAPORT_")},
            "METAPORT_HTTP_PORT": str(self.port),
            "METAPORT_MEDIA_PORT": str(free_port()),
            "METAPORT_MEDIA_ADVERTISE": "127.0.0.1",
            "METAPORT_DATA_DIR": str(data_dir),
            "METAPORT_PROFILE": "bench",
            **environment,
        }
        self._running: dict[str, int] = {}  # number of the process, while it runs
        self._stopping = False
        self._keep_tasks: list[asyncio.Task[None]] = []  # end when stopping

    async def start(self) -> None:
        """Start both, and wait until they serve."""
        for name in ("run", "log", "secrets"):
            (self._data_dir / name).mkdir(parents=True, exist_ok=True)
        self._keep_tasks = [
            asyncio.create_task(self._keep(role), name=f"keep {role}") for role in ROLES
        ]
        await self.serving(120)

    async def serving(self, deadline_s: float) -> None:
        """Wait until the hub is ready and has its SFU."""
        async with asyncio.timeout(deadline_s):
            while not await asyncio.to_thread(self._ready):  # noqa: ASYNC110
                await asyncio.sleep(0.05)

    def kill(self, role: str) -> bool:
        """Kill a process by SIGKILL; False where there is none just now."""
        pid = self._running.pop(role, None)
        if pid is None:
            return False
        os.kill(pid, signal.SIGKILL)
        self.killed_at[role] = time.time()
        self.kills[role] += 1
        return True

    async def stop(self) -> None:
        """Let both drain."""
        self._stopping = True
        for role, task in zip(ROLES, self._keep_tasks, strict=True):
            if (pid := self._running.get(role)) is not None:
                os.kill(pid, signal.SIGTERM)
            await task

    async def command(self, *arguments: str) -> tuple[int, str]:
        """Run a command of the operator; return its exit code and output."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "metaport", *arguments, env=self._environment,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        output, _ = await process.communicate()
        assert process.returncode is not None
        return process.returncode, output.decode()

    def said(self) -> str:
        """Return the last of what the processes printed."""
        return self._output.read_text("utf-8", errors="replace")[-20_000:]

    async def _keep(self, role: str) -> None:
        with self._output.open("ab") as output:
            nursery = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "tests.crash.nursery", role, env=self._environment,
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=output,
            )  # fmt: skip
        assert nursery.stdin is not None
        assert nursery.stdout is not None
        while not self._stopping:
            nursery.stdin.write(b"start\n")
            self._running[role] = int(await nursery.stdout.readline())
            self.starts[role] += 1
            await nursery.stdout.readline()
            self._running.pop(role, None)
            await asyncio.sleep(0.05)
        nursery.stdin.close()
        await nursery.wait()

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/readyz?verbose", timeout=2) as answer:
                body: Any = answer.read()
                return answer.status == 200 and b"no SFU" not in body
        except OSError:
            return False
