"""A TCP proxy between the bus and Redis that fails the ways networks fail."""

import asyncio
import contextlib


class _Pair:
    def __init__(self) -> None:
        self.subscribes = False
        self.frozen = False
        self.writers: list[asyncio.StreamWriter] = []

    def close(self) -> None:
        for writer in self.writers:
            writer.transport.abort()


class TcpProxy:
    """Forwards to a port on 127.0.0.1, until told otherwise."""

    def __init__(self, target_port: int) -> None:
        self._target_port = target_port
        self._server: asyncio.Server | None = None
        self._pairs: set[_Pair] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        # Connections that subscribed, ever.
        self.subscriptions = 0
        self.refuses = False
        # Cut the connection once the request that has these bytes has been forwarded.
        self.cut_after: bytes | None = None
        self.cuts = 0
        # What the server answers, to those who do not subscribe, is lost.
        self.swallows = False

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"redis://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def start(self) -> "TcpProxy":
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return self

    async def close(self) -> None:
        assert self._server is not None
        self._server.close()
        self.cut(subscribers=True)
        self.cut(subscribers=False)
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self, *, subscribers: bool) -> None:
        """Reset the connections that subscribe, or those that do not."""
        for pair in list(self._pairs):
            if pair.subscribes == subscribers:
                pair.close()

    def freeze_subscribers(self) -> None:
        """Keep today's subscriptions open and let nothing through, as a lost route does."""
        for pair in self._pairs:
            pair.frozen = pair.frozen or pair.subscribes

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if self.refuses:
            writer.transport.abort()
            return
        pair = _Pair()
        self._pairs.add(pair)
        pair.writers.append(writer)
        with contextlib.suppress(OSError):
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target_port)
            pair.writers.append(far_writer)
            await asyncio.gather(
                self._requests(pair, reader, far_writer), self._replies(pair, far_reader, writer)
            )
        pair.close()
        self._pairs.discard(pair)

    async def _requests(
        self, pair: _Pair, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                if b"SUBSCRIBE" in data and not pair.subscribes:
                    pair.subscribes = True
                    self.subscriptions += 1
                doomed = self.cut_after is not None and self.cut_after in data
                if doomed:
                    self.cuts += 1
                    pair.frozen = True
                if not pair.subscribes or not pair.frozen:
                    writer.write(data)
                    await writer.drain()
                if doomed:
                    pair.writers[0].transport.abort()
        writer.close()

    async def _replies(
        self, pair: _Pair, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                if not pair.frozen and (pair.subscribes or not self.swallows):
                    writer.write(data)
                    await writer.drain()
        writer.close()
