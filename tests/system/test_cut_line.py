"""A line that breaks after so many bytes, again and again: a recovery of more makes progress."""

import asyncio
import contextlib
import json
import shutil
from pathlib import Path

import pytest

from loadtest.invariants.hubs import HubProcess, token
from loadtest.websocket import Client
from tests.system.deadline import until

pytestmark = pytest.mark.system

SCRIPT = Path(__file__).with_name("cut_line.mjs")
CUT_BYTES = 32_768


class CuttingProxy:
    """Carries so many bytes down each connection, then resets it; None carries all."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.cut_bytes: int | None = None
        self.cuts = 0
        self.open = True
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> int:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        self._server.close()
        self.hang_up()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def hang_up(self) -> None:
        for writer in list(self._writers):
            writer.transport.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        far_writer = writer
        with contextlib.suppress(OSError):
            if self.open:
                far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._port)
                self._writers |= {writer, far_writer}
                up_task = asyncio.create_task(self._up(reader, far_writer), name="up")
                await self._down(far_reader, writer)
                up_task.cancel()
                await asyncio.gather(up_task, return_exceptions=True)
        for each in (writer, far_writer):
            self._writers.discard(each)
            each.transport.abort()

    async def _up(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()

    async def _down(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        left = self.cut_bytes
        while data := await reader.read(8_192):
            if left is not None:
                left -= len(data)
                if left < 0:
                    self.cuts += 1
                    return
            writer.write(data)
            await writer.drain()


@pytest.mark.timeout(120)
async def test_the_sdk_recovers_150_kb_over_a_line_that_breaks_every_32(folder: Path) -> None:
    node = shutil.which("node")
    assert node is not None, "node is missing: `make servers` installs it"
    hub = HubProcess(folder / "hub", {"METAPORT_PROFILE": "bench"})
    await hub.start()
    proxy = CuttingProxy(hub.port)
    port = await proxy.start()
    heard: list[dict[str, object]] = []
    process = await asyncio.create_subprocess_exec(
        *(node, str(SCRIPT), f"http://127.0.0.1:{port}", token("listener"), "plaza"),
        stdout=asyncio.subprocess.PIPE,
    )

    async def listen() -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            heard.append(json.loads(line))

    listen_task = asyncio.create_task(listen(), name="listen")
    try:
        await until(lambda: {"state": "joined", "offset": 0} in heard, 20, "the SDK has joined")
        proxy.open, proxy.cut_bytes = False, CUT_BYTES
        proxy.hang_up()
        client = await Client.enter(f"http://127.0.0.1:{hub.port}", token("speaker"))
        await client.request("join", room="plaza")
        for _ in range(150):
            await client.request("send", room="plaza", body="x" * 1_000)
        client.close()
        proxy.open = True
        back = {"state": "joined", "offset": 150}
        await until(lambda: back in heard, 60, lambda: f"all has come: {heard[-2:]}")
        offsets = [each["offset"] for each in heard if "origin" in each]
        assert offsets == list(range(1, 151))
        assert not any("gap" in each for each in heard)
        assert proxy.cuts >= 5
    finally:
        process.kill()
        await process.wait()
        await listen_task
        await proxy.close()
        await hub.stop()
