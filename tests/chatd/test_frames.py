"""Both twins by one test class, and against each other and the frame reader."""

import importlib
import random
import socket
from types import ModuleType

import pytest

from chatd import frames, frames_pure
from chatd.websocket import BINARY, CLOSE, PING, TEXT, FrameReader

TWINS = [frames_pure]
try:
    TWINS.append(importlib.import_module("chatd._frames"))
except ImportError:  # no compiler here: the specification is all there is
    assert frames.TWIN == "python"

MAX_BYTES = 70_000


def masked(payload: bytes, first: int = 0x80 | BINARY, key: bytes = b"\x11\x22\x33\xf4") -> bytes:
    size = len(payload)
    if size < 126:
        head = bytes((first, 0x80 | size))
    elif size < 65536:
        head = bytes((first, 0xFE)) + size.to_bytes(2, "big")
    else:
        head = bytes((first, 0xFF)) + size.to_bytes(8, "big")
    return head + key + bytes(byte ^ key[i % 4] for i, byte in enumerate(payload))


@pytest.mark.parametrize("twin", TWINS, ids=lambda twin: twin.__name__)
class TestWholeMessages:
    def test_takes_every_whole_message_of_a_read(self, twin: ModuleType) -> None:
        payloads = [b"", b"a", bytes(range(125)), bytes(126), bytes(range(256)) * 255]
        data = b"".join(map(masked, payloads))
        assert twin.whole_messages(data, BINARY, MAX_BYTES, 64) == (payloads, len(data))

    def test_stops_after_the_limit(self, twin: ModuleType) -> None:
        data = masked(b"one") + masked(b"two")
        assert twin.whole_messages(data, BINARY, MAX_BYTES, 1) == ([b"one"], len(data) // 2)
        assert twin.whole_messages(data, BINARY, MAX_BYTES, 0) == ([], 0)

    @pytest.mark.parametrize(
        "odd",
        [
            masked(b"x" * 65_536),  # a length in 8 bytes
            masked(b"x" * 200)[:100],  # cut off
            masked(b"x")[:5],
            b"\x82",
            masked(b"part", first=BINARY),  # a first fragment
            masked(b"part", first=0x80),  # a last one
            masked(b"text", first=0x80 | TEXT),
            masked(b"", first=0x80 | PING),
            masked(b"", first=0x80 | CLOSE),
            masked(b"rsv1", first=0xC0 | BINARY),
            b"\x82\x04bare",  # not masked
            b"\x82\x7e\x00\x80" + bytes(128),
        ],
    )
    def test_leaves_what_needs_a_second_look(self, twin: ModuleType, odd: bytes) -> None:
        good = masked(b"good")
        assert twin.whole_messages(good + odd, BINARY, MAX_BYTES, 64) == ([b"good"], len(good))

    def test_leaves_what_is_too_big(self, twin: ModuleType) -> None:
        data = masked(b"x" * 200) + masked(b"y" * 201)
        assert twin.whole_messages(data, BINARY, 200, 64) == ([b"x" * 200], 208)


def test_twins_agree_on_anything() -> None:
    chance = random.Random(20261128)
    for _ in range(3000):
        parts = [
            masked(
                chance.randbytes(chance.choice((0, 1, 7, 8, 9, 124, 125, 126, 127, 300))),
                chance.choice((0x82, 0x82, 0x82, 0x81, 0x02, 0x89, 0xC2)),
                chance.randbytes(4),
            )
            for _ in range(chance.randrange(6))
        ]
        data = bytearray(b"".join(parts))
        for _ in range(chance.choice((0, 0, 1, 3))):
            if data:
                data[chance.randrange(len(data))] = chance.randrange(256)
        cut = bytes(data[: chance.randrange(len(data) + 1)] if chance.random() < 0.5 else data)
        asked = (cut, chance.choice((TEXT, BINARY)), chance.choice((8, 200, 70_000)), 4)
        assert TWINS[-1].whole_messages(*asked) == frames_pure.whole_messages(*asked)


@pytest.mark.parametrize("twin", TWINS, ids=lambda twin: twin.__name__)
def test_what_is_taken_is_what_the_reader_would_have_said(twin: ModuleType) -> None:
    chance = random.Random(7)
    for _ in range(300):
        data = b"".join(
            masked(chance.randbytes(chance.randrange(300)), chance.choice((0x82, 0x82, 0x89)))
            for _ in range(5)
        )
        messages, taken = twin.whole_messages(data, BINARY, MAX_BYTES, 64)
        reader = FrameReader(MAX_BYTES)
        reader.receive_data(data[:taken])
        for message in messages:
            assert reader.next_message() == (BINARY, message)
        assert reader.next_message() is None
        assert not reader.under_way


@pytest.mark.parametrize("twin", TWINS, ids=lambda twin: twin.__name__)
class TestSendAll:
    def test_writes_each_chunk_to_the_socket_beside_it(self, twin: ModuleType) -> None:
        pairs = [socket.socketpair() for _ in range(3)]
        chunks = [b"for the first", b"", b"for the third"]
        for ours, _ in pairs:
            ours.setblocking(False)
        assert twin.send_all([ours.fileno() for ours, _ in pairs], chunks) == []
        for (ours, theirs), chunk in zip(pairs, chunks, strict=True):
            ours.close()
            assert theirs.recv(100) == chunk
            theirs.close()

    def test_tells_what_a_full_socket_took(self, twin: ModuleType) -> None:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        data = bytes(8 << 20)
        [(place, sent)] = twin.send_all([ours.fileno()], [data])
        assert place == 0
        assert 0 < sent < len(data)
        assert twin.send_all([ours.fileno(), ours.fileno()], [b"more", b"more"]) == [(0, 0), (1, 0)]
        ours.close()
        got = 0
        while part := theirs.recv(1 << 20):
            got += len(part)
        assert got == sent
        theirs.close()

    def test_a_socket_that_fails_takes_nothing_and_stops_nobody(self, twin: ModuleType) -> None:
        gone, peer = socket.socketpair()
        peer.close()
        ours, theirs = socket.socketpair()
        descriptors = [gone.fileno(), ours.fileno()]
        assert twin.send_all(descriptors, [b"to nobody", b"to them"]) == [(0, 0)]
        assert theirs.recv(100) == b"to them"
        for sock in (gone, ours, theirs):
            sock.close()

    def test_nothing_is_nothing(self, twin: ModuleType) -> None:
        assert twin.send_all([], []) == []

    def test_a_chunk_for_each_descriptor(self, twin: ModuleType) -> None:
        with pytest.raises(ValueError, match=r"\w"):
            twin.send_all([1], [])
