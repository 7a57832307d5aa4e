"""The WebSocket handshake (RFC 6455, section 4), and taking the connection over from aiohttp."""

import asyncio
import json
from collections.abc import Collection
from typing import NamedTuple
from urllib.parse import urlsplit

from aiohttp import hdrs, web
from aiohttp.abc import AbstractStreamWriter

from chatd.deflate import EXTENSION, accepts
from chatd.websocket import accept_key
from chatd.wire import BY_SUBPROTOCOL, DEFLATING, Codec


class Objection(NamedTuple):
    """Why a handshake is refused, for counting, and what the client is answered."""

    reason: str
    problem: web.Response


class Upgraded(web.StreamResponse):
    """Stands for a response that is already on its way; aiohttp has nothing to write."""

    def __init__(self) -> None:
        super().__init__(status=101)

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        return None


class _Tail:
    """Catches what a client sent behind its handshake, as `RequestHandler.set_parser` gives it."""

    def __init__(self) -> None:
        self.data = b""

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        self.data += data
        return False, b""

    def feed_eof(self) -> None:
        pass


def offered(request: web.Request) -> list[Codec]:
    """Return the codecs the client offers, in its order."""
    values = request.headers.getall(hdrs.SEC_WEBSOCKET_PROTOCOL, ())
    names = (name.strip() for value in values for name in value.split(","))
    return [BY_SUBPROTOCOL[name] for name in names if name in BY_SUBPROTOCOL]


def deflating(request: web.Request, codec: Codec) -> Codec:
    """Return the compressing variant of `codec` where the client's offer allows it."""
    offers = request.headers.getall(hdrs.SEC_WEBSOCKET_EXTENSIONS, ())
    return DEFLATING[codec.index] if accepts(offers) else codec


def object_to_origin(request: web.Request, allowed: Collection[str]) -> Objection | None:
    """Refuse pages of other hosts that are not `allowed` (lower case; `*` allows any)."""
    origin = request.headers.get(hdrs.ORIGIN)
    if origin is None or "*" in allowed or origin.lower() in allowed:
        return None
    try:
        same = urlsplit(origin).netloc.lower() == request.host.lower() != ""
    except ValueError:
        same = False
    if same:
        return None
    return objection("origin", 403, "Origin not allowed", "This page may not connect.")


def object_to_upgrade(request: web.Request) -> Objection | None:
    """Refuse what is not a handshake of RFC 6455 for a known subprotocol."""
    headers = request.headers
    upgrades = headers.get(hdrs.UPGRADE, "").lower() == "websocket"
    if not upgrades or "upgrade" not in headers.get(hdrs.CONNECTION, "").lower():
        found = objection("no_upgrade", 426, "WebSocket expected", "Use a WebSocket client.")
        found.problem.headers[hdrs.UPGRADE] = "websocket"
        return found
    if headers.get(hdrs.SEC_WEBSOCKET_VERSION) != "13":
        found = objection("version", 426, "WebSocket version 13 expected", "See RFC 6455.")
        found.problem.headers[hdrs.SEC_WEBSOCKET_VERSION] = "13"
        return found
    if accept_key(headers.get(hdrs.SEC_WEBSOCKET_KEY, "")) is None:
        return objection("key", 400, "Bad handshake", "Sec-WebSocket-Key is not 16 bytes.")
    if not offered(request):
        detail = f"Offer one of: {', '.join(BY_SUBPROTOCOL)}."
        return objection("subprotocol", 400, "Unknown subprotocol", detail)
    return None


def objection(
    reason: str, status: int, title: str, detail: str, *, retry_after_s: float | None = None
) -> Objection:
    """Return an objection whose answer is an RFC 9457 problem document."""
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    headers = {} if retry_after_s is None else {hdrs.RETRY_AFTER: str(int(retry_after_s + 0.999))}
    problem = web.Response(
        status=status,
        text=json.dumps(body),
        content_type="application/problem+json",
        headers=headers,
    )
    return Objection(reason, problem)


def switching(request: web.Request, codec: Codec) -> bytes:
    """Return the head of the answer to a good handshake (section 4.2.2)."""
    accept = accept_key(request.headers[hdrs.SEC_WEBSOCKET_KEY])
    extension = f"{hdrs.SEC_WEBSOCKET_EXTENSIONS}: {EXTENSION}\r\n" if codec in DEFLATING else ""
    return (
        "HTTP/1.1 101 Switching Protocols\r\n"
        "Upgrade: websocket\r\n"
        "Connection: Upgrade\r\n"
        f"Sec-WebSocket-Accept: {accept}\r\n"
        f"Sec-WebSocket-Protocol: {codec.subprotocol}\r\n{extension}\r\n"
    ).encode()


def take_over(
    request: web.Request, transport: asyncio.Transport, head: bytes, protocol: asyncio.Protocol
) -> None:
    """Answer with `head` and give the connection of `request` to `protocol`.

    aiohttp then knows nothing of it: its request handler lets go of the transport, counts the
    connection as lost and ends its task when the request's handler returns.
    """
    tail = _Tail()
    handler = request.protocol
    handler.set_parser(tail)  # type: ignore[arg-type]
    transport.set_protocol(protocol)
    handler.transport = None  # connection_lost would close it
    handler.connection_lost(None)
    transport.write(head)
    if tail.data:
        protocol.data_received(tail.data)
