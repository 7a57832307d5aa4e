"""The server under load: where it is, whose tokens open it, which processes it is made of."""

import asyncio
import json
import urllib.request
from dataclasses import dataclass
from typing import Any

from loadtest import processes
from loadtest.launch import Server


@dataclass
class Target:
    """A running server. `server` is `None` when somebody else started it.

    Process figures (memory, CPU) need a server on this machine that was started here.
    """

    url: str
    server: Server | None = None

    async def token(self, name: str) -> tuple[str, str]:
        """Sign a guest in; returns (token, user id)."""
        return await asyncio.to_thread(self.guest, name)

    def pid(self, role: str) -> int | None:
        """Return the process id of the `hub` or `sfu`, `None` when it is not ours to look at."""
        return self.server.child(role) if self.server is not None else None

    def cpu_seconds(self, role: str) -> float | None:
        """Return the CPU time a process has used so far."""
        pid = self.pid(role)
        return processes.cpu_seconds(pid) if pid is not None else None

    def resident_bytes(self, role: str) -> int | None:
        """Return the resident memory of a process."""
        pid = self.pid(role)
        return processes.resident_bytes(pid) if pid is not None else None

    def guest(self, name: str) -> tuple[str, str]:
        """Sign a guest in, blocking; returns (token, user id)."""
        request = urllib.request.Request(
            f"{self.url}/api/v1/auth/guest",
            data=json.dumps({"name": name}).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            body: dict[str, Any] = json.load(answer)
        return body["token"], body["user"]["id"]
