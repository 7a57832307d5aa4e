import os

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode

from chatd.errors import DRAINING, NOT_UTF8, PROTOCOL_ERROR, TOO_BIG
from chatd.websocket import (
    BINARY,
    CLOSE,
    PING,
    TEXT,
    FrameReader,
    Message,
    accept_key,
    close_frame,
    frame,
    unmask,
)


def masked(opcode, payload, *, fin=True):
    """One client frame, made by the independent `websockets` package."""
    return Frame(opcode, payload, fin=fin).serialize(mask=True)


def read_all(data, *, max_bytes=1000, piece=None):
    reader = FrameReader(max_bytes)
    messages = []
    step = piece or max(1, len(data))
    for start in range(0, len(data), step):
        reader.receive_data(data[start : start + step])
        while (message := reader.next_message()) is not None:
            messages.append(message)
    return messages, reader.fault


def test_accept_key_is_the_one_of_rfc_6455():
    assert accept_key("dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


@pytest.mark.parametrize("key", ["", "short", "!!!!", "dGhlIHNhbXBsZSBub25jZQ", "한글"])
def test_a_key_that_is_not_16_bytes_is_none(key):
    assert accept_key(key) is None


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536])
def test_server_frames_equal_those_of_an_independent_implementation(size):
    payload = os.urandom(size)
    assert frame(payload, BINARY) == Frame(Opcode.BINARY, payload).serialize(mask=False)


def test_a_close_frame_carries_code_and_reason():
    expected = Frame(Opcode.CLOSE, (4000).to_bytes(2, "big") + b"draining")
    assert close_frame(DRAINING) == expected.serialize(mask=False)


@given(st.binary(max_size=300), st.binary(min_size=4, max_size=4))
def test_unmask_is_xor_byte_by_byte(payload, key):
    assert unmask(payload, key) == bytes(b ^ key[i % 4] for i, b in enumerate(payload))


@given(
    st.lists(
        st.tuples(st.sampled_from([Opcode.BINARY, Opcode.PING]), st.binary(max_size=125)),
        max_size=8,
    ),
    st.integers(1, 40),
)
def test_messages_come_out_whole_however_the_bytes_arrive(messages, piece):
    data = b"".join(masked(opcode, payload) for opcode, payload in messages)
    assert read_all(data, piece=piece) == ([Message(int(o), p) for o, p in messages], None)


@given(st.lists(st.text(max_size=20).map(str.encode), min_size=1, max_size=6), st.integers(1, 9))
def test_fragments_are_joined_and_control_frames_may_stand_between(parts, piece):
    data = b""
    for index, part in enumerate(parts):
        opcode = Opcode.TEXT if index == 0 else Opcode.CONT
        data += masked(opcode, part, fin=index == len(parts) - 1)
        if index < len(parts) - 1:
            data += masked(Opcode.PING, b"p")
    messages, fault = read_all(data, piece=piece)
    assert fault is None
    assert messages[-1] == Message(TEXT, b"".join(parts))
    assert messages[:-1] == [Message(PING, b"p")] * (len(parts) - 1)


def test_a_syllable_may_be_cut_between_fragments():
    text = "한".encode()
    data = masked(Opcode.TEXT, text[:1], fin=False) + masked(Opcode.CONT, text[1:])
    assert read_all(data) == ([Message(TEXT, text)], None)


FAULTS = {
    "unmasked": (bytes((0x82, 0x01, 0x00)), PROTOCOL_ERROR),
    "reserved bit": (bytes((0xC2, 0x80)) + bytes(4), PROTOCOL_ERROR),
    "reserved opcode 3": (bytes((0x83, 0x80)) + bytes(4), PROTOCOL_ERROR),
    "reserved control opcode 11": (bytes((0x8B, 0x80)) + bytes(4), PROTOCOL_ERROR),
    "fragmented ping": (bytes((0x09, 0x80)) + bytes(4), PROTOCOL_ERROR),
    "ping of 126 bytes": (bytes((0x89, 0xFE, 0, 126)) + bytes(4), PROTOCOL_ERROR),
    "continuation of nothing": (masked(Opcode.CONT, b"x"), PROTOCOL_ERROR),
    "new message inside a message": (
        masked(Opcode.TEXT, b"x", fin=False) + masked(Opcode.TEXT, b"y"),
        PROTOCOL_ERROR,
    ),
    "text that is not UTF-8": (masked(Opcode.TEXT, b"\xff"), NOT_UTF8),
    "close of one byte": (masked(Opcode.CLOSE, b"\x03"), PROTOCOL_ERROR),
    "close with code 1005": (masked(Opcode.CLOSE, b"\x03\xed"), PROTOCOL_ERROR),
    "close with code 2999": (masked(Opcode.CLOSE, (2999).to_bytes(2, "big")), PROTOCOL_ERROR),
    "close reason not UTF-8": (masked(Opcode.CLOSE, b"\x03\xe8\xff"), PROTOCOL_ERROR),
    "1001 of 1000 bytes": (masked(Opcode.BINARY, bytes(1001)), TOO_BIG),
    "2^63 bytes": (bytes((0x82, 0xFF)) + b"\xff" * 8 + bytes(4), TOO_BIG),
    "fragments too big together": (
        masked(Opcode.BINARY, bytes(600), fin=False) + masked(Opcode.CONT, bytes(401)),
        TOO_BIG,
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_fault(name):
    data, close = FAULTS[name]
    messages, fault = read_all(
        masked(Opcode.BINARY, b"before") + data + masked(Opcode.BINARY, b"after")
    )
    assert fault == close
    assert messages == [Message(BINARY, b"before")]


def test_what_is_too_big_is_refused_by_its_header_and_never_held():
    reader = FrameReader(1000)
    reader.receive_data(masked(Opcode.BINARY, bytes(5000))[:14])
    assert reader.next_message() is None
    assert reader.fault == TOO_BIG


def test_exactly_the_limit_is_fine():
    assert read_all(masked(Opcode.BINARY, bytes(1000)))[1] is None


@pytest.mark.parametrize("code", [1000, 1001, 1011, 3000, 4999])
def test_close_codes_a_client_may_send(code):
    payload = code.to_bytes(2, "big") + "안녕".encode()
    assert read_all(masked(Opcode.CLOSE, payload)) == ([Message(CLOSE, payload)], None)


def test_empty_fragments_without_end_are_not_held():
    reader = FrameReader(1000)
    reader.receive_data(masked(Opcode.BINARY, b"", fin=False))
    for _ in range(1000):
        reader.receive_data(masked(Opcode.CONT, b"", fin=False))
        assert reader.next_message() is None
    reader.receive_data(masked(Opcode.CONT, b"end"))
    assert reader.next_message() == Message(BINARY, b"end")


@given(st.binary(max_size=400), st.integers(1, 50))
def test_arbitrary_bytes_end_in_messages_or_a_fault(data, piece):
    messages, fault = read_all(data, max_bytes=100, piece=piece)
    assert fault in (None, PROTOCOL_ERROR, TOO_BIG, NOT_UTF8)
    assert all(len(message.payload) <= 125 for message in messages)
