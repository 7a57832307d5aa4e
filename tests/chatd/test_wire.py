import json

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatd.errors import BAD_BODY, BAD_FRAME, BAD_REQUEST, UNKNOWN_TYPE, Refused
from chatd.wire import (
    JSON,
    MSGPACK,
    Error,
    Hello,
    Join,
    Leave,
    MediaFrame,
    Ping,
    Send,
    Since,
)


def packed(codec, frame):
    return msgpack.packb(frame) if codec is MSGPACK else json.dumps(frame).encode()


def unpacked(codec, payload):
    return msgpack.unpackb(payload) if codec is MSGPACK else json.loads(payload)


def refusal_of(codec, payload):
    with pytest.raises(Refused) as caught:
        codec.decode(payload)
    return caught.value.refusal, caught.value.id


@pytest.mark.parametrize(
    ("frame", "typed"),
    [
        ({"t": "hello", "token": "x", "v": 1}, Hello("x", 1)),
        ({"t": "join", "id": 1, "room": "r"}, Join(1, "r")),
        (
            {"t": "join", "id": 1, "room": "r", "since": {"epoch": "e", "offset": 9}},
            Join(1, "r", since=Since("e", 9)),
        ),
        (
            {"t": "join", "id": 1, "room": "r", "history": 5, "presence": True},
            Join(1, "r", history=5, presence=True),
        ),
        ({"t": "send", "id": 2, "room": "r", "body": "안녕"}, Send(2, "r", "안녕")),
        (
            {"t": "send", "id": 2, "room": "r", "body": {"a": [1]}, "key": "k"},
            Send(2, "r", {"a": [1]}, "k"),
        ),
        ({"t": "leave", "id": 3, "room": "r"}, Leave(3, "r")),
        ({"t": "ping"}, Ping()),
        ({"t": "ping", "later": "a field of tomorrow"}, Ping()),
        ({"t": "leave", "id": 2**64 - 1, "room": "r"}, Leave(2**64 - 1, "r")),
        (
            {"t": "media.join", "id": 4, "room": "r", "x": {"y": 1}},
            MediaFrame(
                "media.join", 4, "r", {"t": "media.join", "id": 4, "room": "r", "x": {"y": 1}}
            ),
        ),
    ],
)
def test_client_frames_decode(codec, frame, typed):
    assert codec.decode(packed(codec, frame)) == typed


@pytest.mark.parametrize(
    ("frame", "refusal", "request_id"),
    [
        ({"t": "nope", "id": 7}, UNKNOWN_TYPE, 7),
        ({"t": "nope"}, UNKNOWN_TYPE, None),
        ({"id": 7}, BAD_REQUEST, 7),
        ({"t": 5, "id": 7}, BAD_REQUEST, 7),
        ({}, BAD_REQUEST, None),
        ({"t": "join", "id": 7}, BAD_REQUEST, 7),
        ({"t": "join", "id": 7, "room": 5}, BAD_REQUEST, 7),
        ({"t": "join", "id": -1, "room": "r"}, BAD_REQUEST, None),
        ({"t": "join", "id": "1", "room": "r"}, BAD_REQUEST, None),
        ({"t": "join", "id": 1.5, "room": "r"}, BAD_REQUEST, None),
        ({"t": "join", "id": True, "room": "r"}, BAD_REQUEST, None),
        ({"t": "join", "room": "r"}, BAD_REQUEST, None),
        ({"t": "join", "id": 7, "room": "r", "history": -1}, BAD_REQUEST, 7),
        ({"t": "join", "id": 7, "room": "r", "since": {"epoch": "e"}}, BAD_REQUEST, 7),
        ({"t": "join", "id": 7, "room": "r", "since": 3}, BAD_REQUEST, 7),
        ({"t": "send", "id": 7, "body": "no room"}, BAD_REQUEST, 7),
        ({"t": "send", "id": 7, "room": "r", "body": "x", "key": 3}, BAD_REQUEST, 7),
        ({"t": "media.join", "id": 7}, BAD_REQUEST, 7),
        ({"t": "media.join", "room": "r"}, BAD_REQUEST, None),
    ],
)
def test_misfits_are_refused_with_their_id(codec, frame, refusal, request_id):
    assert refusal_of(codec, packed(codec, frame)) == (refusal, request_id)


@pytest.mark.parametrize("payload", [b"", b"\xc1", b"\x93\x01\x02\x03", b"\x80\x00", b"\x2a"])
def test_bytes_that_are_no_msgpack_map_are_a_bad_frame(payload):
    assert refusal_of(MSGPACK, payload) == (BAD_FRAME, None)


@pytest.mark.parametrize("payload", [b"", b"{", b"[1]", b"null", b'{"t":"ping"}x', b'{"t":NaN}'])
def test_text_that_is_no_json_map_is_a_bad_frame(payload):
    assert refusal_of(JSON, payload) == (BAD_FRAME, None)


def test_a_msgpack_string_that_is_not_utf_8_is_a_bad_frame():
    frame = b"\x84\xa1t\xa4send\xa2id\x01\xa4room\xa1r\xa4body\xa2\xff\xfe"
    assert refusal_of(MSGPACK, frame) == (BAD_FRAME, None)


def test_a_json_id_over_64_bits_cannot_be_echoed():
    payload = b'{"t":"leave","id":18446744073709551616,"room":"r"}'
    assert refusal_of(JSON, payload)[0] is BAD_REQUEST


@given(st.binary(max_size=300))
def test_arbitrary_bytes_are_a_frame_or_refused(payload):
    for codec in (MSGPACK, JSON):
        refusal = None
        try:
            codec.decode(payload)
        except Refused as refused:
            refusal = refused.refusal
        assert refusal in (None, BAD_FRAME, BAD_REQUEST, UNKNOWN_TYPE, BAD_BODY)


def test_absent_fields_are_left_out(codec):
    error = Error(101, "unknown_type", "no")
    assert unpacked(codec, codec.encode(error)) == {
        "t": "error",
        "code": 101,
        "reason": "unknown_type",
        "message": "no",
    }


def test_a_frame_is_one_websocket_frame_of_the_subprotocols_kind(codec):
    data = codec.frame(Error(101, "unknown_type", "no"))
    assert data[0] == 0x80 | codec.opcode
    assert unpacked(codec, data[2:])["t"] == "error"
