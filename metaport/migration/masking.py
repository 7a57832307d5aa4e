"""Pseudonyms: the same value always gets the same one under one key, two values never one.

Joins and uniqueness are kept, and nobody without the key can go back or try candidates. 80 bits
of HMAC-SHA-256: among a million people the odds of one meeting are 1 to 2.4 · 10^12.
"""

import base64
import hmac
import json
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from metaport.migration.catalogue import Column
from metaport.migration.copy_text import Row


def _token(key: bytes, value: str) -> str:
    digest = hmac.digest(key, value.encode("utf-8", "surrogatepass"), "sha256")
    return base64.b32encode(digest[:10]).decode().lower()


def _identity(key: bytes, value: str) -> str:
    return f"p-{_token(key, value)}"


def _name(key: bytes, value: str) -> str:
    return f"가명 {_token(key, value)}"


def _mail(key: bytes, value: str) -> str:
    return f"{_token(key, value)}@masked.invalid"


def _phone(key: bytes, value: str) -> str:
    number = int.from_bytes(hmac.digest(key, value.encode(), "sha256")[:8]) % 10**15
    return f"000-{number:015d}"


def _address(key: bytes, value: str) -> str:
    return f"가상 주소 {_token(key, value)}"


def _text(_: bytes, value: str) -> str:
    return "·" * len(value)


def _json(_: bytes, value: str) -> str:
    """Keep the shape of a document and blot its words out; what is no JSON is blotted as text."""
    try:
        return json.dumps(_blotted(json.loads(value)), ensure_ascii=False)
    except ValueError:
        return _text(_, value)


def _blotted(tree: Any) -> Any:
    match tree:
        case str():
            return "·" * len(tree)
        case bool() | None:
            return tree
        case int() | float():
            return 0
        case list():
            return [_blotted(part) for part in tree]
        case _:
            return {name: _blotted(part) for name, part in tree.items()}


# `nothing` is told apart by the caller: null, or an empty text where null is not allowed.
MASKS: Mapping[str, Callable[[bytes, str], str]] = MappingProxyType(
    {
        "id": _identity,
        "name": _name,
        "email": _mail,
        "phone": _phone,
        "address": _address,
        "text": _text,
        "json": _json,
        "nothing": lambda _key, _value: "",
    }
)


class Masking:
    """Masks the rows of one table."""

    def __init__(self, key: bytes, columns: Sequence[Column], how: Mapping[str, str]) -> None:
        self._places = [
            (place, _masked(key, how[column.name], column.nullable))
            for place, column in enumerate(columns)
            if column.name in how
        ]

    def row(self, row: Row) -> Row:
        """Return a row with its masked columns in other words; null stays null."""
        values = list(row)
        for place, mask in self._places:
            value = values[place]
            if value is not None:
                values[place] = mask(value)
        return tuple(values)


def _masked(key: bytes, how: str, nullable: bool) -> Callable[[str], str | None]:
    if how == "nothing" and nullable:
        return lambda _: None
    mask = MASKS[how]
    scoped = hmac.digest(key, how.encode(), "sha256")
    return lambda value: mask(scoped, value)
