"""The control protocol: framing, requests and errors over a real socket, coming back."""

import asyncio
import contextlib
import stat
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sfu.control import (
    MESSAGE_LIMIT_BYTES,
    ControlBroken,
    ControlClient,
    ControlError,
    ControlLost,
    ControlServer,
    Link,
    Map,
    Unpacker,
    pack,
)
from sfu.errors import Refused


class Echo:
    """A handler that answers with what it was asked, or as the operation says."""

    def __init__(self) -> None:
        self.links: list[Link] = []
        self.lost: list[Link] = []

    def receive_request(self, link: Link, request: Map) -> Map:
        if link not in self.links:
            self.links.append(link)
        match request["op"]:
            case "refuse":
                raise Refused("media_unavailable")
            case "fail":
                raise ZeroDivisionError
            case "push":
                link.push({"event": "pushed"})
        return request

    def link_lost(self, link: Link) -> None:
        self.lost.append(link)


def mode(path: Path) -> int | None:
    return stat.S_IMODE(path.stat().st_mode) if path.exists() else None


def leave_behind(path: Path) -> None:
    path.parent.mkdir()
    path.touch()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run" / "sfu.sock"


def test_messages_survive_any_cut() -> None:
    messages = [{"id": 1, "op": "x"}, {"event": "frame", "frame": {"sdp": "v" * 3000}}]
    stream = b"".join(pack(m) for m in messages)
    unpacker = Unpacker()
    assert [m for byte in stream for m in unpacker.receive_data(bytes([byte]))] == messages
    assert Unpacker().receive_data(stream) == messages


@pytest.mark.parametrize(
    "data",
    [
        (MESSAGE_LIMIT_BYTES + 1).to_bytes(4, "big"),
        b"\x00\x00\x00\x01\xc1",
        b"\x00\x00\x00\x01\x05",
        b"\x00\x00\x00\x00",
    ],
    ids=["too long", "not MessagePack", "not a map", "empty"],
)
def test_another_protocol_is_noticed(data: bytes) -> None:
    with pytest.raises(ControlBroken):
        Unpacker().receive_data(data)


@given(st.binary(max_size=100))
def test_no_bytes_raise_anything_else(data: bytes) -> None:
    with contextlib.suppress(ControlBroken):
        Unpacker().receive_data(data)


async def test_requests_are_answered_and_refusals_carry_their_row(path: Path) -> None:
    server = ControlServer(path, Echo())
    await server.start()
    client = ControlClient(path)
    await client.start()
    await client.wait_connected()
    assert client.connected
    assert await client.request({"op": "hello", "x": 1}) == {"op": "hello", "x": 1, "id": 1}
    with pytest.raises(ControlError) as error:
        await client.request({"op": "refuse"})
    assert (error.value.code, error.value.reason, error.value.retry_after_ms) == (
        390,
        "media_unavailable",
        1000,
    )
    await client.close()
    await server.close()


async def test_a_bug_is_answered_as_internal_and_the_connection_goes_on(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server = ControlServer(path, Echo())
    await server.start()
    client = ControlClient(path)
    await client.start()
    await client.wait_connected()
    with pytest.raises(ControlError) as error:
        await client.request({"op": "fail"})
    assert error.value.reason == "internal"
    assert "ZeroDivisionError" in caplog.text
    assert await client.request({"op": "hello"})
    await client.close()
    await server.close()


async def test_events_reach_the_client(path: Path) -> None:
    events: asyncio.Queue[Map] = asyncio.Queue()
    server = ControlServer(path, Echo())
    await server.start()
    client = ControlClient(path, on_event=events.put_nowait)
    await client.start()
    await client.wait_connected()
    await client.request({"op": "push"})
    assert await events.get() == {"event": "pushed"}
    await client.close()
    await server.close()


async def test_only_this_user_may_open_the_socket(path: Path) -> None:
    server = ControlServer(path, Echo())
    await server.start()
    assert mode(path) == 0o600
    await server.close()
    assert mode(path) is None


async def test_a_socket_left_by_a_dead_process_is_replaced(path: Path) -> None:
    leave_behind(path)
    server = ControlServer(path, Echo())
    await server.start()
    await server.close()


async def test_the_client_comes_back_and_greets_again(path: Path) -> None:
    greeted: asyncio.Queue[None] = asyncio.Queue()
    lost: asyncio.Queue[None] = asyncio.Queue()

    async def greet() -> None:
        greeted.put_nowait(None)

    client = ControlClient(path, on_connect=greet, on_lost=lambda: lost.put_nowait(None))
    await client.start()
    with pytest.raises(ControlLost):
        await client.request({"op": "too early"})
    for _ in range(2):
        handler = Echo()
        server = ControlServer(path, handler)
        await server.start()
        await greeted.get()
        await client.request({"op": "hello"})
        await server.close()
        await lost.get()
        assert handler.lost == handler.links
    assert not client.connected
    await client.close()


async def test_a_waiting_request_ends_with_the_connection(path: Path) -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        server.close()
        writer.close()
        await writer.wait_closed()

    path.parent.mkdir()
    server = await asyncio.start_unix_server(hang_up, path)
    client = ControlClient(path)
    await client.start()
    await client.wait_connected()
    with pytest.raises(ControlLost):
        await client.request({"op": "hello"})
    await client.close()
    await server.wait_closed()


async def test_a_greeting_to_a_dying_server_ends_with_the_connection(path: Path) -> None:
    """The greeting waited for an answer that nobody could give, and kept the client away."""
    greeted: asyncio.Queue[bool] = asyncio.Queue()

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        dying.close()
        writer.close()
        await writer.wait_closed()

    async def greet() -> None:
        try:
            await client.request({"op": "sessions", "sessions": []})
        except ControlLost:
            greeted.put_nowait(False)
        else:
            greeted.put_nowait(True)

    path.parent.mkdir()
    dying = await asyncio.start_unix_server(hang_up, path)
    client = ControlClient(path, on_connect=greet)
    await client.start()
    assert await greeted.get() is False
    await dying.wait_closed()
    server = ControlServer(path, Echo())
    await server.start()
    assert await greeted.get() is True
    await client.close()
    await server.close()


async def test_a_greeting_that_fails_keeps_the_connection(path: Path) -> None:
    async def greet() -> None:
        raise ControlLost("gone again")

    server = ControlServer(path, Echo())
    await server.start()
    client = ControlClient(path, on_connect=greet)
    await client.start()
    await client.wait_connected()
    assert await client.request({"op": "hello"})
    await client.close()
    await server.close()


async def test_the_server_drops_who_speaks_something_else(path: Path) -> None:
    server = ControlServer(path, Echo())
    await server.start()
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(b"GET / HTTP/1.1\r\n\r\n")
    assert await reader.read() == b""
    writer.close()
    await writer.wait_closed()
    await server.close()


def test_what_is_nested_too_deep_is_broken() -> None:
    body = b"\x81\xa1a" + b"\x91" * 100_000 + b"\x90"
    with pytest.raises(ControlBroken):
        Unpacker().receive_data(len(body).to_bytes(4, "big") + body)


async def test_several_requests_in_one_write_are_answered_in_order(path: Path) -> None:
    server = ControlServer(path, Echo())
    await server.start()
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(b"".join(pack({"id": n, "op": "x"}) for n in range(3)))
    answers = []
    for _ in range(3):
        length = int.from_bytes(await reader.readexactly(4), "big")
        answers.append(msgspec.msgpack.decode(await reader.readexactly(length))["id"])
    assert answers == [0, 1, 2]
    writer.close()
    await writer.wait_closed()
    await server.close()
