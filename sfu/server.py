"""The SFU process: one UDP port, a control socket, timers."""

from collections.abc import Callable, Sequence
from time import monotonic, time
from typing import Any

from sfu.facts import Facts


class SfuServer:
    """One SFU: media on one UDP port, orders on a Unix socket, facts into `facts`."""

    def __init__(
        self,
        media_host: str | None,
        media_port: int,
        advertise: Sequence[str],
        control_path: str,
        facts: Facts,
        *,
        clock: Callable[[], float] = monotonic,
        wall: Callable[[], float] = time,
    ) -> None:
        self._facts = facts

    async def start(self) -> None:
        """Bind the UDP port and the control socket. Raises OSError when one is taken."""
        raise NotImplementedError

    async def drain(self, timeout_s: float) -> None:
        """Tell everybody, commit the last facts, close everything."""
        raise NotImplementedError

    def counters(self) -> dict[str, Any]:
        """Return process-wide counters for metrics."""
        raise NotImplementedError
