"""The hub processes of one machine behind one port: reached one by one through their sockets.

The kernel gives a connection on the shared port to any of them. So the supervisor asks each for
its readiness, and whoever is scraped asks the others for their figures, over a Unix socket in the
data directory that nobody else can open.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence

import aiohttp
from aiohttp import web

from metaport.metrics import combine
from metaport.node import Node

logger = logging.getLogger(__name__)

# A hub that is that late has no figures in this scrape.
ANSWER_S = 2.0

Exposition = tuple[bytes, str]


class Siblings:
    """Serves what `own` says of itself to the others, and asks them."""

    def __init__(
        self,
        own: Node,
        nodes: Sequence[Node],
        *,
        ready: Callable[[], bool],
        metrics: Callable[[], Awaitable[Exposition]],
    ) -> None:
        self._own = own
        self._others = [node for node in nodes if node.number != own.number]
        self._ready = ready
        self._metrics = metrics
        self._runner: web.AppRunner | None = None  # None: alone, or not started

    async def start(self) -> None:
        """Listen for the others, where there are any.

        Raises:
            OSError: the socket cannot be bound.
        """
        if not self._others:
            return
        app = web.Application()
        app.add_routes([web.get("/readyz", self._readyz), web.get("/metrics", self._expose)])
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False)
        await self._runner.setup()
        with contextlib.suppress(FileNotFoundError):
            self._own.socket.unlink()  # of the last process with this log, which is dead
        await web.UnixSite(self._runner, str(self._own.socket)).start()

    async def close(self) -> None:
        """Stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def metrics(self) -> Exposition:
        """Return the figures of all hubs of this machine, each under its name."""
        own, content_type = await self._metrics()
        if not self._others:
            return own, content_type
        found = await asyncio.gather(*(self._ask(other) for other in self._others))
        texts: dict[str, bytes | None] = {self._own.process: own}
        texts |= {other.process: text for other, text in zip(self._others, found, strict=True)}
        return combine(texts), content_type

    async def _ask(self, other: Node) -> bytes | None:
        connector = aiohttp.UnixConnector(str(other.socket))
        timeout = aiohttp.ClientTimeout(total=ANSWER_S)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
            try:
                async with session.get("http://hub/metrics") as answer:
                    return await answer.read() if answer.status == 200 else None
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                logger.warning("no figures of %s: %s", other.process, error or "no answer")
                return None

    async def _readyz(self, _: web.Request) -> web.Response:
        return web.Response(status=200 if self._ready() else 503)

    async def _expose(self, _: web.Request) -> web.Response:
        body, content_type = await self._metrics()
        return web.Response(body=body, headers={"Content-Type": content_type})
