"""The pure-Python twin of `chatd.frames`: its specification and its fallback."""

import os
from collections.abc import Sequence

from chatd.websocket import unmask

__all__ = ["send_all", "whole_messages"]


def whole_messages(data: bytes, opcode: int, max_bytes: int, limit: int) -> tuple[list[bytes], int]:
    """Take up to `limit` messages off the beginning of `data`.

    Only what needs no second look: masked frames of `opcode` that are whole messages and have at
    most `max_bytes`. Return their payloads and how many bytes they took; what stands there is for
    `chatd.websocket.FrameReader` to judge.
    """
    messages: list[bytes] = []
    at = 0
    while len(messages) < limit and len(data) - at >= 6 and data[at] == 0x80 | opcode:
        size, start = data[at + 1] & 0x7F, at + 6
        if size == 126:
            start += 2
            size = int.from_bytes(data[at + 2 : at + 4], "big")
        end = start + size
        if not data[at + 1] & 0x80 or data[at + 1] == 0xFF or size > max_bytes or end > len(data):
            break
        messages.append(unmask(data[start:end], data[start - 4 : start]) if size else b"")
        at = end
    return messages, at


def send_all(descriptors: Sequence[int], chunks: Sequence[bytes]) -> list[tuple[int, int]]:
    """Write each chunk to the socket beside it, without blocking; all sockets are non-blocking.

    Return (place, bytes written) of those not wholly written, also of those that failed.
    """
    unsent: list[tuple[int, int]] = []
    for place, (descriptor, chunk) in enumerate(zip(descriptors, chunks, strict=True)):
        try:
            sent = os.write(descriptor, chunk)
        except OSError:
            sent = 0
        if sent != len(chunk):
            unsent.append((place, sent))
    return unsent
