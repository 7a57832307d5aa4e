"""The control protocol over TCP: nobody is heard before the token, whatever they send."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sfu import control
from sfu.control import ControlAddress, ControlClient, ControlServer, Link, Map, pack

TOKEN = "0123456789abcdef0123456789abcdef"


class Handler:
    def __init__(self) -> None:
        self.asked: list[str] = []
        self.lost: list[Link] = []

    def receive_request(self, link: Link, request: Map) -> Map:
        self.asked.append(request["op"])
        return {}

    def link_lost(self, link: Link) -> None:
        self.lost.append(link)


@pytest.fixture
def handler() -> Handler:
    return Handler()


@pytest.fixture
async def server(tmp_path: Path, handler: Handler) -> AsyncIterator[ControlServer]:
    address = ControlAddress("127.0.0.1", 0, TOKEN)
    server = ControlServer(tmp_path / "sfu.sock", handler, address)
    await server.start()
    yield server
    await server.close()


async def stranger(server: ControlServer, *data: bytes) -> bytes:
    """Send bytes as somebody who never said hello; return what comes until the end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.tcp_port)
    for part in data:
        writer.write(part)
    async with asyncio.timeout(10):
        try:
            return await reader.read()
        except ConnectionResetError:
            return b""
        finally:
            writer.close()


async def test_with_the_token_it_is_as_on_the_socket(
    server: ControlServer, handler: Handler
) -> None:
    client = ControlClient(ControlAddress("127.0.0.1", server.tcp_port, TOKEN))
    await client.start()
    async with asyncio.timeout(10):
        await client.wait_connected()
        assert await client.request({"op": "load", "filler": "x" * 100_000}) == {}
    assert handler.asked == ["load"]
    assert (len(server.connections), len(server.strangers)) == (1, 0)
    await client.close()
    async with asyncio.timeout(10):
        while not handler.lost:  # noqa: ASYNC110 - the other end's doing
            await asyncio.sleep(0.005)


@pytest.mark.parametrize(
    "data",
    [
        pack({"id": 1, "op": "drain", "stop": True}),
        pack({"id": 1, "op": "hello", "token": TOKEN[:-1] + "x"}),
        pack({"id": 1, "op": "hello"}),
        pack({"id": 1, "op": "hello", "token": 7}),
        pack({"id": 1, "op": "hello", "token": "\ud55c" * 40}),
        pack({"id": 1, "op": "drain", "token": TOKEN}),
        pack({"id": 1, "op": "hello", "token": "x" * 2000}),
        b"GET / HTTP/1.1\r\n\r\n",
        b"\xff" * 64,
    ],
    ids=[
        "no hello", "another token", "no token", "a number", "not ASCII", "the token elsewhere",
        "too long", "HTTP", "noise",
    ],
)  # fmt: skip
async def test_strangers_are_hung_up_on_and_never_heard(
    server: ControlServer, handler: Handler, data: bytes
) -> None:
    assert await stranger(server, data, pack({"id": 2, "op": "load"})) == b""
    assert handler.asked == []
    assert handler.lost == []


async def test_a_stranger_who_says_nothing_is_hung_up_on(
    server: ControlServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "HELLO_S", 0.05)
    assert await stranger(server, b"\x00\x00") == b""


async def test_only_so_many_strangers_are_kept(
    server: ControlServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "STRANGERS", 2)
    waiting = [await asyncio.open_connection("127.0.0.1", server.tcp_port) for _ in range(2)]
    async with asyncio.timeout(10):
        while len(server.strangers) < 2:  # noqa: ASYNC110 - the other end's doing
            await asyncio.sleep(0.005)
    assert await stranger(server) == b""
    for _, writer in waiting:
        writer.close()


async def test_with_another_token_nobody_is_connected(
    server: ControlServer, handler: Handler, caplog: pytest.LogCaptureFixture
) -> None:
    client = ControlClient(ControlAddress("127.0.0.1", server.tcp_port, "x" * 32))
    await client.start()
    async with asyncio.timeout(10):
        while caplog.text.count("no hello") < 2:
            assert not client.connected
            await asyncio.sleep(0.005)
    await client.close()
    assert handler.asked == []


def test_a_token_is_not_shown() -> None:
    assert TOKEN not in repr(ControlAddress("10.0.0.1", 7900, TOKEN))
    assert TOKEN not in f"{ControlAddress('10.0.0.1', 7900, TOKEN)}"
