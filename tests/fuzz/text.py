"""Fuzz the parsers of chatd: `python -m tests.fuzz.text --seconds 60 --seed 1`."""

import json
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any

import msgpack

import chatd
from chatd.errors import (
    BAD_BODY,
    BAD_FRAME,
    BAD_REQUEST,
    BAD_ROOM,
    BODY_TOO_BIG,
    NOT_UTF8,
    PROTOCOL_ERROR,
    TOKEN_REFUSED,
    TOO_BIG,
    UNKNOWN_TYPE,
    Refused,
)
from chatd.limits import Limits
from chatd.session import Identity, Session
from chatd.websocket import FrameReader
from chatd.wire import CODECS, JSON, MSGPACK, Codec, MediaFrame, Message, Send, State
from tests.fuzz import rooms
from tests.fuzz.campaign import Target, run

# What a good client may hear for bytes that are not good: nothing else, and never "internal".
DECODE_REFUSALS = (BAD_FRAME, UNKNOWN_TYPE, BAD_REQUEST, BAD_BODY)
SESSION_REFUSALS = (*DECODE_REFUSALS, BAD_ROOM, BODY_TOO_BIG, TOKEN_REFUSED)
READER_FAULTS = (PROTOCOL_ERROR, TOO_BIG, NOT_UTF8)

_FRAMES = [
    json.loads(frame)
    for frame in re.findall(
        r"<!-- example: \w+> .+? -->\n```json\n(.*?)\n```",
        (Path(chatd.__file__).parent / "PROTOCOL.md").read_text("utf-8"),
        re.DOTALL,
    )
]
_FRAMES += [{"t": "media.offer", "id": 2**64 - 1, "room": "r", "sdp": "v=0", "deep": [[{}]]}]


class _Anyone:
    def verify(self, token: str, now: float) -> Identity:
        return Identity(token, token)


def _attempt_frame(codec: Codec, reread: Callable[[bytes], Any], payload: bytes) -> object:
    """Judge a frame as the hub does; what is taken must be fit for every other client."""
    session = Session("s", codec, Limits().lifted(), 0.0)
    session.identity = Identity("visitor", "Visitor")
    try:
        frame = session.receive_message(payload, 0.0, 0.0, _Anyone())
    except Refused as refused:
        return _judge(refused)
    assert isinstance(reread(payload), dict), "another decoder does not see a map"
    if type(frame) is Send:
        message = Message(frame.room, 1, "m", "u", "U", 0, frame.body)
        packed = MSGPACK.encode(message)
        assert msgpack.unpackb(packed)["body"] == json.loads(JSON.encode(message))["body"]
    elif type(frame) is State:
        for each in CODECS:
            each.encode([frame.room, frame.kind, frame.value])
    elif type(frame) is MediaFrame:
        assert json.loads(JSON.encode(frame.raw)) == msgpack.unpackb(MSGPACK.encode(frame.raw))
    return type(frame).__name__


def _judge(refused: Refused) -> object:
    assert refused.refusal in SESSION_REFUSALS, refused
    assert refused.id is None or 0 <= refused.id < 2**64
    for each in CODECS:
        each.encode([refused.message, refused.id])
    # Without what it quotes of the input: a kind of outcome, not an outcome.
    return refused.refusal.reason, re.sub(r"\d+|`.*?`|'.*", "", refused.message, flags=re.DOTALL)


def _reread_msgpack(payload: bytes) -> Any:
    # In a field nobody knows a key may be anything, a list as well.
    return msgpack.unpackb(
        payload,
        strict_map_key=False,
        timestamp=0,
        raw=True,
        object_pairs_hook=lambda pairs: {repr(key): value for key, value in pairs},
    )


def _reread_json(payload: bytes) -> Any:
    # What is not UTF-8 is refused by the frame reader, before; where nobody looks it passes here.
    return json.loads(payload.decode(errors="replace"))


def _attempt_reader(data: bytes) -> object:
    """Read the same bytes whole, one by one and in pieces: the same must come out."""
    found = {_read([data]), _read([data[i : i + 1] for i in range(len(data))]), _read(_cut(data))}
    assert len(found) == 1, "how bytes arrive matters"
    messages, fault = found.pop()
    assert fault is None or fault in READER_FAULTS, fault
    assert all(len(payload) <= 1024 for _, payload in messages)
    return tuple(sorted({opcode for opcode, _ in messages})), fault, len(messages) > 1


def _cut(data: bytes) -> list[bytes]:
    random = Random(data)
    places = sorted(random.randint(0, len(data)) for _ in range(5))
    return [data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True)]


def _read(pieces: Sequence[bytes]) -> tuple[Any, ...]:
    reader, messages = FrameReader(1024), []
    for piece in pieces:
        reader.receive_data(piece)
        while (message := reader.next_message()) is not None:
            messages.append((message.opcode, message.payload))
    return tuple(messages), reader.fault


def _masked(first: int, payload: bytes) -> bytes:
    size = len(payload)
    length = bytes([0x80 | size]) if size < 126 else b"\xfe" + size.to_bytes(2, "big")
    key = b"\x01\x80\x00\xff"
    return bytes([first]) + length + key + bytes(b ^ key[i % 4] for i, b in enumerate(payload))


_TEXT = "안녕하세요".encode()
TARGETS = (
    Target(
        "msgpack",
        [msgpack.packb(frame) for frame in _FRAMES],
        [*(bytes([first]) for first in range(0x80, 0xE0, 3)), b"\x82\xa1t", b"\x91", b"\xc1"]
        + [msgpack.packb(word) for word in ("t", "id", "room", "body", "value", "send", "media.x")]
        + [b"\xcb\x7f\xf8" + bytes(6), b"\xc7\x01\x05\x00", b"\xdd\xff\xff\xff\xff", b"\xa1\xff"],
        lambda data: _attempt_frame(MSGPACK, _reread_msgpack, data),
    ),
    Target(
        "json",
        [json.dumps(frame).encode() for frame in _FRAMES]
        + [json.dumps(frame, ensure_ascii=False).encode() for frame in _FRAMES],
        [
            *(
                b"{",
                b"}",
                b"[",
                b"]",
                b'"',
                b":",
                b",",
                b"\\",
                b"\\ud800",
                b"\\u0000",
                b"null",
                b"-",
            ),
            *(
                b"1e999",
                b"9" * 400,
                b"NaN",
                b"\xff",
                b"\xed\xa0\x80",
                b'{"t":',
                b'"media.x"',
                b"[[",
            ),
            *(b'"t":"send"', b'"id":18446744073709551616', b'"body":', b'"value":', b"0.1e-7"),
        ],
        lambda data: _attempt_frame(JSON, _reread_json, data),
    ),
    Target(
        "websocket",
        [
            _masked(0x81, _TEXT),
            _masked(0x82, bytes(300)),
            _masked(0x01, _TEXT[:4]) + _masked(0x89, b"ping") + _masked(0x80, _TEXT[4:]),
            _masked(0x02, b"a") + _masked(0x00, b"") + _masked(0x80, b"b"),
            _masked(0x88, b"\x03\xe8bye"),
            _masked(0x8A, b""),
            _masked(0x82, bytes(1025)),
        ],
        [bytes([first, 0x80 | size]) for first in (0x81, 0x01, 0x80, 0x88, 0x89) for size in (0, 5)]
        + [b"\xfe", b"\xff", bytes(4), b"\x80", b"\xc1\x80", b"\x03\xec", _masked(0x00, b"x")],
        _attempt_reader,
    ),
    *rooms.TARGETS,
)


if __name__ == "__main__":
    sys.exit(run(TARGETS, "Fuzz the parsers of chatd."))
