"""A TCP proxy that fails as networks do: it cuts, it stalls, it forgets."""

import asyncio
import contextlib
import random
from collections.abc import Callable

CHUNK_BYTES = 65_536


class _Line:
    """One connection through the proxy."""

    def __init__(self) -> None:
        self.writers: list[asyncio.StreamWriter] = []
        self.flows = asyncio.Event()
        self.flows.set()
        # Bytes disappear in both directions, and so does the end: neither side is told.
        self.half_open = False

    def cut(self) -> None:
        for writer in self.writers:
            writer.transport.abort()


class FaultyProxy:
    """Forwards connections to a port on loopback that may change, until told otherwise."""

    def __init__(self, target: Callable[[], int]) -> None:
        self._target = target
        self._server: asyncio.Server | None = None  # None until started
        self._lines: set[_Line] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def port(self) -> int:
        """Return where to connect."""
        assert self._server is not None
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def start(self) -> None:
        """Listen on a free port."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)

    async def close(self) -> None:
        """End everything."""
        assert self._server is not None
        self._server.close()
        for line in list(self._lines):
            line.flows.set()
            line.cut()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self, share: float, random_: random.Random) -> int:
        """Reset a share of the connections; return how many."""
        return self._each(share, random_, _Line.cut)

    def half_open(self, share: float, random_: random.Random) -> int:
        """Let a share of the connections swallow everything from now on."""

        def forget(line: _Line) -> None:
            line.half_open = True

        return self._each(share, random_, forget)

    def stall(self, share: float, random_: random.Random) -> Callable[[], None]:
        """Hold a share of the connections up; call the result to let them flow again."""
        held: list[_Line] = []

        def hold(line: _Line) -> None:
            line.flows.clear()
            held.append(line)

        def flow() -> None:
            for line in held:
                line.flows.set()

        self._each(share, random_, hold)
        return flow

    def _each(self, share: float, random_: random.Random, do: Callable[[_Line], None]) -> int:
        lines = [line for line in self._lines if not line.half_open]
        chosen = random_.sample(lines, min(len(lines), max(1, round(len(lines) * share))))
        for line in chosen:
            do(line)
        return len(chosen)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        line = _Line()
        line.writers.append(writer)
        self._lines.add(line)
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target())
            line.writers.append(far_writer)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._flow(line, reader, far_writer))
                group.create_task(self._flow(line, far_reader, writer))
        except* OSError:
            pass
        finally:
            line.cut()
            self._lines.discard(line)

    async def _flow(
        self, line: _Line, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        # uvloop says RuntimeError where a connection was cut meanwhile.
        with contextlib.suppress(OSError, RuntimeError):
            while data := await reader.read(CHUNK_BYTES):
                await line.flows.wait()
                if not line.half_open:
                    writer.write(data)
                    await writer.drain()
        if line.half_open:
            # Only the side that gave up knows; the other finds out by itself, or at the end.
            with contextlib.suppress(OSError):
                while await reader.read(CHUNK_BYTES):
                    pass
            await asyncio.sleep(HALF_OPEN_S)
        line.cut()


# A server's own silence limit is longer than a run; a forgotten line is dropped after this.
HALF_OPEN_S = 5.0
