"""A reverse proxy that breaks WebSocket: it refuses every upgrade and passes the rest."""

import asyncio

import aiohttp
from aiohttp import web

HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "upgrade", "content-length"}


class RefusingProxy:
    """Passes HTTP on to a server, chunk by chunk."""

    def __init__(self, target: str) -> None:
        self._target = target
        self.upgrades_refused = 0
        self.streams = 0
        # Answers to so many of the next requests of streams are lost on the way back.
        self.lose_answers = 0
        self.lost = 0
        self._open: set[web.StreamResponse] = set()

    async def __aenter__(self) -> "RefusingProxy":
        # Compressed answers are passed on as they are.
        self._session = aiohttp.ClientSession(self._target, auto_decompress=False)
        app = web.Application(client_max_size=1 << 20)
        app.router.add_route("*", "/{path:.*}", self._pass)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.cut()
        await self._runner.cleanup()
        await self._session.close()

    def cut(self) -> None:
        """Break every stream that is open."""
        for response in list(self._open):
            if (request := response._req) is not None and request.transport is not None:
                request.transport.abort()

    async def _pass(self, request: web.Request) -> web.StreamResponse:
        if "upgrade" in request.headers.get("Connection", "").lower():
            self.upgrades_refused += 1
            return web.Response(status=502, text="this proxy passes no upgrade")
        headers = {n: v for n, v in request.headers.items() if n.lower() not in HOP_BY_HOP}
        async with self._session.request(
            request.method, request.raw_path, headers=headers, data=await request.read()
        ) as answer:
            if self.lose_answers and request.method == "POST" and "/sse/" in request.path:
                self.lose_answers -= 1
                self.lost += 1
                assert request.transport is not None
                request.transport.abort()
                raise asyncio.CancelledError
            kept = [(n, v) for n, v in answer.headers.items() if n.lower() not in HOP_BY_HOP]
            response = web.StreamResponse(status=answer.status)
            for name, value in kept:
                response.headers.add(name, value)
            await response.prepare(request)
            self._open.add(response)
            self.streams += request.path == "/sse"
            try:
                async for chunk in answer.content.iter_any():
                    await response.write(chunk)
                await response.write_eof()
            except (aiohttp.ClientError, ConnectionError):
                pass
            finally:
                self._open.discard(response)
            return response
