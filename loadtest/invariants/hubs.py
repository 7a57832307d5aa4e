"""Hub processes to be killed, stopped and given wrong clocks."""

import asyncio
import os
import re
import signal
import sys
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path

import jwt

from loadtest.launch import free_port

# Behind libfaketime, which reads its file at each look at a clock, a start took 30 s on a machine
# with five times as much to do as it has cores.
READY_DEADLINE_S = 120.0
STOP_DEADLINE_S = 30.0
# For tokens; holds nowhere else.
SECRET = "of a server that lives as long as one check"
YEAR_S = 31_536_000


def faketime_library() -> Path | None:
    """Return libfaketime, None where it is not installed."""
    found = [
        *Path("/usr/lib").glob("*/faketime/libfaketime.so.1"),
        *Path("/usr/local/lib/faketime").glob("libfaketime.so.1"),
    ]
    return found[0] if found else None


def token(user: str, *roles: str) -> str:
    """Mint a token as a platform's backend would; it outlives every step of the clock."""
    claims = {"sub": user, "name": user, "roles": list(roles), "exp": int(time.time()) + YEAR_S}
    return jwt.encode(claims, SECRET, "HS256")


class HubProcess:
    """One hub with a data directory of its own; its port stays the same over restarts."""

    def __init__(self, folder: Path, environment: Mapping[str, str] | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "data").mkdir(mode=0o700, exist_ok=True)
        self.port = free_port()
        self.starts = 0
        self._clock = folder / "clock"
        self._output = folder / "output.log"
        self._environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith("METAPORT_")},
            "METAPORT_HTTP_PORT": str(self.port),
            "METAPORT_DATA_DIR": str(folder / "data"),
            "METAPORT_TOKEN_SECRET": SECRET,
            "METAPORT_LOG_LEVEL": "warning",
            "METAPORT_DRAIN_S": "3",
            **(environment or {}),
        }
        self._process: asyncio.subprocess.Process | None = None  # None: not started

    @property
    def pid(self) -> int:
        """Return the process id."""
        assert self._process is not None
        return self._process.pid

    async def start(self, *, fake_clock: bool = False) -> None:
        """Start, and wait until it is ready. Raises RuntimeError with its last lines."""
        environment = dict(self._environment)
        library = faketime_library() if fake_clock else None
        if library is not None:
            self.set_clock(0)
            if not self.starts:
                # Behind libfaketime the schema takes half a minute: no hub lives so long here.
                await self._prepare_database()
            environment |= {
                "LD_PRELOAD": str(library),
                "FAKETIME_TIMESTAMP_FILE": str(self._clock),
                "FAKETIME_NO_CACHE": "1",
                "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            }
        with self._output.open("ab") as output:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "metaport", "hub"),
                env=environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self.starts += 1
        deadline = time.monotonic() + READY_DEADLINE_S
        while not await asyncio.to_thread(self._answers):
            if self._process.returncode is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the hub is not ready:\n{self.last_lines()}")
            await asyncio.sleep(0.02)

    async def _prepare_database(self) -> None:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "metaport", "db", "upgrade"),
            env=self._environment,
            stdout=asyncio.subprocess.DEVNULL,
        )
        if await process.wait():
            raise RuntimeError("the database cannot be prepared")

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    async def kill(self) -> None:
        """End it without a word."""
        self.signal(signal.SIGKILL)
        assert self._process is not None
        await self._process.wait()

    async def stop(self) -> int:
        """Let it drain; return its exit code."""
        assert self._process is not None
        if self._process.returncode is None:
            self.signal(signal.SIGTERM)
        async with asyncio.timeout(STOP_DEADLINE_S):
            return await self._process.wait()

    def set_clock(self, off_s: int) -> None:
        """Put the wall clock of a hub with a fake one off by so many seconds."""
        part = self._clock.with_suffix(".new")
        part.write_text(f"{off_s:+d}s\n")
        part.replace(self._clock)

    def descriptors(self) -> int:
        """Return how many file descriptors it holds."""
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    async def gauge(self, name: str) -> float:
        """Read one figure without labels from /metrics."""
        url = f"http://127.0.0.1:{self.port}/metrics"
        text = await asyncio.to_thread(lambda: urllib.request.urlopen(url, timeout=5).read())
        found = re.search(rf"^{name} (\S+)$", text.decode(), re.M)
        if found is None:
            raise RuntimeError(f"/metrics has no {name}")
        return float(found[1])

    def last_lines(self) -> str:
        """Return the end of its output."""
        return "\n".join(self._output.read_text("utf-8", "replace").splitlines()[-20:])

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=1) as got:
                return bool(got.status == 200)
        except OSError:
            return False
