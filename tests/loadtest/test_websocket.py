import asyncio
import contextlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.websocket import BINARY, PING, Client, MarkerCount, masked, split


def served(payload, opcode=BINARY):
    """Return a server's frame: not masked."""
    size = len(payload)
    if size < 126:
        return struct.pack("!BB", 0x80 | opcode, size) + payload
    if size < 1 << 16:
        return struct.pack("!BBH", 0x80 | opcode, 126, size) + payload
    return struct.pack("!BBQ", 0x80 | opcode, 127, size) + payload


@pytest.mark.parametrize(("size", "head"), [(0, 2), (125, 2), (126, 4), (65_535, 4), (65_536, 10)])
def test_a_clients_frame_is_masked_with_zeros(size, head):
    frame = masked(b"x" * size)
    assert frame[0] == 0x82
    assert frame[1] & 0x80
    assert frame[head : head + 4] == b"\0\0\0\0"
    assert frame[head + 4 :] == b"x" * size


@given(
    st.lists(st.tuples(st.sampled_from([BINARY, PING]), st.integers(0, 70_000)), max_size=6),
    st.data(),
)
def test_frames_come_out_whole_however_the_bytes_are_cut(frames, data):
    stream = b"".join(served(b"p" * size, opcode) for opcode, size in frames)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=5)))
    buffer = bytearray()
    found = []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        buffer += stream[start:end]
        found += split(buffer)
    assert [(opcode, len(payload)) for opcode, payload in found] == frames
    assert not buffer


@given(st.lists(st.sampled_from([b"MARK", b"MA", b"RK", b"x", b""]), max_size=30), st.data())
def test_markers_are_counted_once_however_the_bytes_are_cut(pieces, data):
    stream = b"".join(pieces)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    marker = MarkerCount(b"MARK")
    found = 0
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        found += marker.feed(stream[start:end])
    assert found == marker.count == stream.count(b"MARK")


async def test_a_client_that_gives_up_before_the_welcome_is_gone():
    """It stayed connected, answered pings, and was counted as a leak of the hub's."""
    gone = asyncio.get_running_loop().create_future()

    async def accept(reader, writer):
        await reader.read(65_536)
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
        writer.transport.abort()
        gone.set_result(True)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await Client.enter(f"http://127.0.0.1:{port}", "token")
        async with asyncio.timeout(10):
            assert await gone
