"""A second look at frames the typed decoders refuse: what is wrong with them, and whose `id`.

The outline of a frame is its outermost map; what is nested too deep for a decoder is None in it.
It is found without recursion, so any depth has an answer, and it exists exactly when the bytes
are one well-formed map. Only what is already refused comes here, so speed is no matter.
"""

import json
import math
import re
from typing import Any, NoReturn

import msgspec

from chatd.errors import BAD_FRAME, Refused

_JSON_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)


def request_id(outline: dict[Any, Any]) -> int | None:
    """Return the `id` to answer with, None when there is none that can be echoed."""
    value = outline.get("id")
    return value if type(value) is int and 0 <= value < 2**64 else None


def only_body(outline: dict[Any, Any], send: type[msgspec.Struct]) -> bool:
    """Say whether a `send` is fine but for its body."""
    without = {**outline, "body": None}
    try:
        msgspec.convert(without, send)
        msgspec.msgpack.encode(without)  # a room or key with a lone surrogate
    except (ValueError, OverflowError):
        return False
    return True


def shallow_json(payload: bytes) -> dict[Any, Any]:
    """Return the outline of a JSON frame.

    Raises:
        Refused: BAD_FRAME, the bytes are not a JSON map.
    """
    try:
        text = payload.decode()
        try:
            outline = _loads(text)
        except RecursionError:
            outline = _loads(_without_nested(text))
    except ValueError:
        raise Refused(BAD_FRAME) from None
    if not isinstance(outline, dict):
        raise Refused(BAD_FRAME, "a frame is a map")
    return outline


def _loads(text: str) -> Any:
    return json.loads(text, parse_constant=_no_constant, parse_int=_bounded_int)


def _bounded_int(digits: str) -> int | float:
    # Python refuses to read thousands of digits; as a number they are merely too big.
    return int(digits) if len(digits) <= 20 else math.inf


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)


def _without_nested(text: str) -> str:
    kept: list[str] = []
    closers: list[str] = []
    position = 0
    for token in _JSON_TOKEN.finditer(text):
        mark = token.group()
        if mark in ("{", "["):
            if len(closers) == 1:
                kept.append(text[position : token.start()] + "null")
            closers.append("}" if mark == "{" else "]")
        elif mark in ("}", "]"):
            if not closers or closers.pop() != mark:
                raise ValueError("brackets do not match")
            if len(closers) == 1:
                position = token.end()
    if closers:
        raise ValueError("brackets do not match")
    return "".join(kept) + text[position:]


def shallow_msgpack(payload: bytes) -> dict[Any, Any]:
    """Return the outline of a MessagePack frame; names that are not scalars are left out.

    Raises:
        Refused: BAD_FRAME, the bytes are not one MessagePack map.
    """
    try:
        return _outline(payload)
    except (IndexError, ValueError):
        raise Refused(BAD_FRAME) from None


def _outline(payload: bytes) -> dict[Any, Any]:
    start, pairs = _map_header(payload)
    outline: dict[Any, Any] = {}
    for _ in range(pairs):
        middle = _skip(payload, start)
        end = _skip(payload, middle)
        name = _scalar(payload[start:middle])
        if name is not None:
            outline[name] = _scalar(payload[middle:end])
        start = end
    if start != len(payload):
        raise ValueError("trailing bytes")
    return outline


def _map_header(payload: bytes) -> tuple[int, int]:
    first = payload[0]
    if first & 0xF0 == 0x80:
        return 1, first & 0x0F
    if first == 0xDE:
        return 3, _size(payload, 1, 2)
    if first == 0xDF:
        return 5, _size(payload, 1, 4)
    raise ValueError("a frame is a map")


# By first byte: how many bytes of length follow, and what is added for an extension's type.
_SIZED = {0xC4: (1, 0), 0xC5: (2, 0), 0xC6: (4, 0), 0xC7: (1, 1), 0xC8: (2, 1), 0xC9: (4, 1)}
_SIZED |= {0xD9: (1, 0), 0xDA: (2, 0), 0xDB: (4, 0)}
_FIXED = {0xC0: 0, 0xC2: 0, 0xC3: 0, 0xCA: 4, 0xCB: 8, 0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8}
_FIXED |= {0xD0: 1, 0xD1: 2, 0xD2: 4, 0xD3: 8, 0xD4: 2, 0xD5: 3, 0xD6: 5, 0xD7: 9, 0xD8: 17}
_COLLECTIONS = {0xDC: (2, 1), 0xDD: (4, 1), 0xDE: (2, 2), 0xDF: (4, 2)}


def _size(payload: bytes, start: int, size_bytes: int) -> int:
    if start + size_bytes > len(payload):
        raise IndexError
    return int.from_bytes(payload[start : start + size_bytes], "big")


def _skip(payload: bytes, position: int) -> int:
    """Return where the value at `position` ends."""
    values = 1
    while values:
        first = payload[position]
        position += 1
        values -= 1
        if first < 0x80 or first >= 0xE0:
            continue
        if first < 0x90:
            values += 2 * (first & 0x0F)
        elif first < 0xA0:
            values += first & 0x0F
        elif first < 0xC0:
            position += first & 0x1F
        elif first in _FIXED:
            position += _FIXED[first]
        elif first in _SIZED:
            width, extra = _SIZED[first]
            position += width + extra + _size(payload, position, width)
        elif first in _COLLECTIONS:
            width, factor = _COLLECTIONS[first]
            values += factor * _size(payload, position, width)
            position += width
        else:
            raise ValueError("0xc1 is never used")
        # Each value takes a byte at least, so a lying length ends here and not in a long loop.
        if position + values > len(payload):
            raise IndexError
    return position


def _scalar(value: bytes) -> Any:
    """Decode a scalar; None for collections, binary and extensions."""
    first = value[0]
    if 0x80 <= first < 0xA0 or first in _COLLECTIONS or 0xC4 <= first <= 0xC9:
        return None
    if 0xD4 <= first <= 0xD8:
        return None
    return msgspec.msgpack.decode(value)
