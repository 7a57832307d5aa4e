"""permessage-deflate (RFC 7692) without context takeover.

Each message is compressed on its own: so a broadcast is compressed once and the same bytes serve
every receiver, and a connection keeps no window of 32 KiB. Whoever offers the extension in a way
that allows it gets it, where it is turned on.
"""

import zlib
from collections.abc import Iterable

EXTENSION = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
RSV1 = 0x40

# Smaller payloads gain nothing: a lone message of 60 bytes comes out about as long as it was.
LEAST_BYTES = 96
# Levels above 1 take twice the time for 2 % less; a small memory level sets up three times faster.
LEVEL, MEMORY = 1, 5
# Section 7.2.1: what a flush ends with is left out, and put back before inflating.
_TAIL = b"\x00\x00\xff\xff"


class BadDeflateError(Exception):
    """The bytes are no DEFLATE stream."""


class TooLongError(Exception):
    """There is more in it than allowed."""


def accepts(offers: Iterable[str]) -> bool:
    """Say whether a client's `Sec-WebSocket-Extensions` has an offer this can be the answer to."""
    return any(_fits(offer) for header in offers for offer in header.split(","))


def _fits(offer: str) -> bool:
    name, *parameters = (part.strip() for part in offer.split(";"))
    if name.lower() != "permessage-deflate":
        return False
    seen: set[str] = set()
    for parameter in parameters:
        key, _, value = (part.strip() for part in parameter.partition("="))
        if key in seen or not _known(key, value.strip('"')):
            return False
        seen.add(key)
    return True


def _known(key: str, value: str) -> bool:
    match key:
        case "server_no_context_takeover" | "client_no_context_takeover":
            return not value
        case "client_max_window_bits":
            return value in {"", "8", "9", "10", "11", "12", "13", "14", "15"}
        case "server_max_window_bits":
            # A smaller window would make other bytes for this receiver than for the others.
            return value == "15"
    return False


def deflate(payload: bytes) -> bytes | None:
    """Return `payload` compressed, None where that is not shorter."""
    if len(payload) < LEAST_BYTES:
        return None
    compressor = zlib.compressobj(LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS, MEMORY)
    packed = compressor.compress(payload) + compressor.flush(zlib.Z_SYNC_FLUSH)
    packed = packed[: -len(_TAIL)]
    return packed if len(packed) < len(payload) else None


def inflate(packed: bytes, max_bytes: int) -> bytes:
    """Return what was compressed; never make more than `max_bytes` of it.

    Raises:
        BadDeflateError, TooLongError
    """
    decompressor = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        payload = decompressor.decompress(packed + _TAIL, max_bytes + 1)
    except zlib.error as error:
        raise BadDeflateError(str(error)) from None
    if len(payload) > max_bytes:
        raise TooLongError(max_bytes)
    # A stream may end with its last block (section 7.2.3.4); nothing but the tail follows it.
    rest = decompressor.unused_data if decompressor.eof else decompressor.unconsumed_tail
    if rest.strip(b"\x00\xff"):
        raise BadDeflateError("bytes after the last block")
    return payload
