"""What a message may say: a string or a map of the JSON data model."""

from typing import Any

from chatd.wire import MAX_EXACT_INT, MSGPACK

MAX_BODY_DEPTH = 32


def body_fault(body: Any) -> str | None:
    """Return what keeps `body` out of the JSON data model, None when it is fine."""
    if type(body) is str:
        return None if body.isascii() or _encodable(body) else "a string has a lone surrogate"
    if type(body) is not dict:
        return "body is a string or a map"
    return value_fault(body)


def body_bytes(body: Any) -> int:
    """Return what counts against `limits.body_bytes`: UTF-8 of a string, MessagePack of a map."""
    return len(body.encode()) if type(body) is str else len(MSGPACK.encode(body))


def value_fault(value: Any) -> str | None:
    """Return what keeps any `value` out of the JSON data model, None when it is fine."""
    # A stack of our own: hostile depth must not become Python recursion.
    pending: list[tuple[Any, int]] = [(value, 1)]
    while pending:
        value, depth = pending.pop()
        kind = type(value)
        if kind is dict or kind is list:
            if depth > MAX_BODY_DEPTH:
                return f"nested deeper than {MAX_BODY_DEPTH}"
            if kind is dict:
                for name in value:
                    if type(name) is not str or not _encodable(name):
                        return "the keys of a map are strings"
            items = value.values() if kind is dict else value
            pending.extend((item, depth + 1) for item in items)
        elif (fault := _scalar_fault(value)) is not None:
            return fault
    return None


def _scalar_fault(value: Any) -> str | None:
    kind = type(value)
    if kind is str:
        return None if _encodable(value) else "a string has a lone surrogate"
    if kind is int:
        return None if -MAX_EXACT_INT <= value <= MAX_EXACT_INT else "an integer is over 2^53 - 1"
    if kind is float:
        # NaN is not equal to itself; an infinity minus itself is NaN.
        return None if value - value == 0 else "a number is not finite"
    return None if value is None or kind is bool else "binary and extension types are not JSON"


def _encodable(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
