"""permessage-deflate: negotiation, bytes, bounds, and over real sockets."""

import dataclasses
import json
import zlib

import msgpack
import pytest
import websockets
from hypothesis import given
from hypothesis import strategies as st

from chatd.deflate import (
    LEAST_BYTES,
    BadDeflateError,
    TooLongError,
    accepts,
    deflate,
    inflate,
)
from chatd.errors import NOT_UTF8, PROTOCOL_ERROR, TOO_BIG
from chatd.limits import Limits
from chatd.websocket import BINARY, TEXT, FrameReader
from chatd.wire import CODECS, DEFLATING
from tests.chatd.conftest import House
from tests.chatd.test_frames import masked
from tests.chatd.test_server import JSON, MSGPACK, serving

LONG = "말 " * 2_000
SQUEEZED = dataclasses.replace(Limits().lifted(), deflate=True)


def squeeze(payload, *, last=False):
    compressor = zlib.compressobj(wbits=-15)
    data = compressor.compress(payload)
    if last:
        return data + compressor.flush(zlib.Z_FINISH) + b"\x00"
    return (data + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]


@pytest.mark.parametrize(
    ("offer", "taken"),
    [
        ("permessage-deflate", True),
        ("permessage-deflate; client_max_window_bits", True),
        ("permessage-deflate; client_max_window_bits=9; server_no_context_takeover", True),
        ('permessage-deflate; server_max_window_bits="15"', True),
        ("permessage-deflate; server_max_window_bits=10", False),
        ("permessage-deflate; server_max_window_bits=10, permessage-deflate", True),
        ("permessage-deflate; server_max_window_bits", False),
        ("permessage-deflate; client_max_window_bits=7", False),
        ("permessage-deflate; server_no_context_takeover=1", False),
        ("permessage-deflate; client_max_window_bits; client_max_window_bits", False),
        ("permessage-deflate; something_else", False),
        ("x-webkit-deflate-frame", False),
        ("", False),
    ],
)
def test_only_offers_that_can_be_kept_are_taken(offer, taken):
    assert accepts([offer]) is taken


def test_short_messages_and_those_that_grow_stay_as_they_are():
    assert deflate(b"x" * (LEAST_BYTES - 1)) is None
    assert deflate(bytes(range(256))) is None


@given(st.binary(max_size=5_000), st.integers(1, 40))
def test_what_is_squeezed_comes_back(payload, times):
    packed = deflate(payload * times)
    if packed is not None:
        assert len(packed) < len(payload * times)
        assert inflate(packed, 1 << 20) == payload * times
    assert inflate(squeeze(payload, last=True), 5_000) == payload


def test_a_bomb_makes_no_more_than_is_allowed():
    bomb = squeeze(bytes(64 << 20))
    assert len(bomb) < 100_000
    with pytest.raises(TooLongError):
        inflate(bomb, 131_072)
    assert inflate(squeeze(bytes(131_072)), 131_072) == bytes(131_072)


@pytest.mark.parametrize("packed", [b"\xff\xff\xff", squeeze(b"word", last=True) + b"more"])
def test_other_bytes_are_told(packed):
    with pytest.raises(BadDeflateError):
        inflate(packed, 1_000)


class TestReader:
    def read(self, *frames, max_bytes=1_000, extended=True):
        reader = FrameReader(max_bytes, extended=extended)
        reader.receive_data(b"".join(frames))
        messages = []
        while (message := reader.next_message()) is not None:
            messages.append(message)
        return messages, reader.fault

    def test_takes_compressed_and_plain_messages(self):
        frames = (masked(squeeze(b"one"), 0xC0 | BINARY), masked(b"two"))
        assert self.read(*frames) == ([(BINARY, b"one"), (BINARY, b"two")], None)

    def test_a_message_in_pieces_is_compressed_as_one_with_control_frames_between(self):
        packed = squeeze(b"x" * 300)
        frames = (masked(packed[:2], 0x40 | TEXT), masked(b"", 0x89), masked(packed[2:], 0x80))
        assert self.read(*frames) == ([(0x9, b""), (TEXT, b"x" * 300)], None)

    @pytest.mark.parametrize(
        ("frame", "fault"),
        [
            (masked(squeeze(bytes(1_001)), 0xC0 | BINARY), TOO_BIG),
            (masked(squeeze(b"\xff\xfe"), 0xC0 | TEXT), NOT_UTF8),
            (masked(b"\xff\xff\xff", 0xC0 | BINARY), PROTOCOL_ERROR),
            (masked(b"", 0xC9), PROTOCOL_ERROR),
            (masked(b"", 0xA0 | BINARY), PROTOCOL_ERROR),
            (masked(b"a", TEXT) + masked(b"b", 0xC0), PROTOCOL_ERROR),
        ],
    )
    def test_tells_what_is_wrong(self, frame, fault):
        assert self.read(frame) == ([], fault)

    def test_without_the_extension_no_bit_is_reserved(self):
        assert self.read(masked(squeeze(b"x"), 0xC0 | BINARY), extended=False)[1] is PROTOCOL_ERROR


def test_a_broadcast_is_compressed_once_for_all():
    house = House()
    crowd = [house.visitor(f"v{n}", "r", codec=DEFLATING[0]) for n in range(3)]
    plain = house.visitor("plain", "r", codec=CODECS[0])
    for visitor in crowd:
        visitor.hear()
    plain.say(t="send", id=1, room="r", body=LONG)
    heard = plain.hear()
    [message] = [frame for frame in heard if frame["t"] == "message"]
    datas = [visitor.pipe.data for visitor in crowd]
    assert datas[0][0] == 0xC0 | BINARY
    assert datas[0] is datas[1] is datas[2]
    assert len(datas[0]) < len(LONG.encode()) / 10
    for visitor in crowd:
        assert visitor.hear() == [message]


async def test_two_independent_clients_speak_compressed_with_a_plain_one():
    async with serving(SQUEEZED) as chat:
        plain = await chat.visitor("plain", "hall")
        squeezed = await chat.visitor("squeezed", "hall", protocol=JSON, compress=15)
        assert squeezed.ws.compress
        assert not plain.ws.compress
        url = f"ws://127.0.0.1:{chat.port}/ws"
        async with websockets.connect(url, subprotocols=[MSGPACK]) as other:
            assert "permessage-deflate" in other.response.headers["Sec-WebSocket-Extensions"]
            for frame in (
                {"t": "hello", "token": "other", "v": 1},
                {"t": "join", "id": 1, "room": "hall"},
                {"t": "send", "id": 2, "room": "hall", "body": LONG},
            ):
                await other.send(msgpack.packb(frame))
            heard = {}
            while "message" not in heard:
                frame = msgpack.unpackb(await other.recv())
                heard[frame["t"]] = frame
        assert heard["message"]["body"] == LONG
        for visitor in (plain, squeezed):
            while (frame := await visitor.hear())["t"] != "message":
                pass
            assert frame == heard["message"]
        await squeezed.ws.close()
        await plain.ws.close()


async def test_nobody_gets_it_while_it_is_off():
    async with serving() as chat:
        visitor = await chat.visitor("ann", "hall", protocol=JSON, compress=15)
        assert not visitor.ws.compress
        sent = await visitor.ask(t="send", room="hall", body=LONG)
        assert json.dumps(sent)
        await visitor.ws.close()
