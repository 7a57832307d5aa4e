"""Frames of real encoders: independent writers of the headers the SFU reads."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction

import av


@contextmanager
def ordinary_priority() -> Iterator[None]:
    """Come back from a library with the scheduling one went in with.

    As root, SVT-AV1 puts the calling thread under SCHED_FIFO at priority 99. Every process started
    from it afterwards inherits that, and a browser among them leaves nothing else any time: a
    machine with two cores stands still.
    """
    if not hasattr(os, "sched_getscheduler"):
        yield
        return
    policy, parameters = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        yield
    finally:
        os.sched_setscheduler(0, policy, parameters)


def encoded(codec: str, width: int, height: int, **options: str) -> bytes:
    """Encode one frame."""
    with ordinary_priority():
        return _encoded(codec, width, height, options)


def _encoded(codec: str, width: int, height: int, options: dict[str, str]) -> bytes:
    context = av.CodecContext.create(codec, "w")
    assert isinstance(context, av.VideoCodecContext)
    context.width, context.height = width, height
    context.pix_fmt = "yuv420p"
    context.time_base = Fraction(1, 30)
    context.options = options
    frame = av.VideoFrame(width, height, "yuv420p")
    frame.pts = 0
    return b"".join(bytes(packet) for packet in [*context.encode(frame), *context.encode(None)])


def leb128(number: int) -> bytes:
    """Write a length as AV1 does."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes((*out, number))


def obus(stream: bytes) -> list[bytes]:
    """Cut a temporal unit into its OBUs, without their lengths and the temporal delimiter."""
    found, position = [], 0
    while position < len(stream):
        header = stream[position]
        start = position + (2 if header & 0x04 else 1)
        size = shift = 0
        while True:
            byte = stream[start]
            size |= (byte & 0x7F) << shift
            start, shift = start + 1, shift + 7
            if not byte & 0x80:
                break
        if header >> 3 & 0x0F != 2:
            found.append(bytes((header & ~0x02,)) + stream[start : start + size])
        position = start + size
    return found
