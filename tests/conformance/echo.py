"""An echo on the hub's own connections, for conformance suites: every message comes back."""

import asyncio
import dataclasses

from aiohttp import hdrs, web

from chatd.bus import LocalBus
from chatd.client import Client
from chatd.connection import WebSocketConnection
from chatd.deflate import EXTENSION, accepts, deflate
from chatd.errors import BadToken
from chatd.facts import MemoryFacts
from chatd.handshake import Upgraded, take_over
from chatd.hub import Hub
from chatd.limits import Limits
from chatd.session import Identity
from chatd.websocket import BINARY, TEXT, Message, accept_key, deflated_frame, frame
from chatd.wire import CODECS, DEFLATING

# The largest message of the suite is 16 MiB; half a minute is enough for any case.
LIMITS = dataclasses.replace(
    Limits().lifted(),
    frame_bytes=1 << 25,
    outbox_bytes=1 << 28,
    hello_timeout_s=600.0,
)


class Nobody:
    """Nobody says hello here."""

    def verify(self, token: str, now: float) -> Identity:
        raise BadToken


class EchoHub(Hub):
    """A hub that says each message back instead of reading it."""

    def receive(self, client: Client, payload: bytes) -> None:
        self.echo(client, BINARY, payload)

    def echo(self, client: Client, opcode: int, payload: bytes) -> None:
        """Send `payload` back as it came, compressed where that was negotiated."""
        packed = deflate(payload) if client.codec in DEFLATING else None
        data = frame(payload, opcode) if packed is None else deflated_frame(packed, opcode)
        if client.open:
            self._delivery.write(client, data)


class EchoConnection(WebSocketConnection):
    """A connection that takes text beside binary messages."""

    def _receive(self, message: Message) -> None:
        if message.opcode == TEXT and not self._closing:
            assert isinstance(self._hub, EchoHub)
            self._hub.echo(self._client, TEXT, message.payload)
        else:
            super()._receive(message)


async def serve(ready: asyncio.Future[int]) -> None:
    """Serve on a free port, which is told, until cancelled."""
    hub = EchoHub(LocalBus(), MemoryFacts(), Nobody(), limits=LIMITS)
    connections: set[WebSocketConnection] = set()

    async def upgrade(request: web.Request) -> web.StreamResponse:
        offers = request.headers.getall(hdrs.SEC_WEBSOCKET_EXTENSIONS, ())
        compressed = accepts(offers)
        codec = DEFLATING[0] if compressed else CODECS[0]
        extension = f"Sec-WebSocket-Extensions: {EXTENSION}\r\n" if compressed else ""
        accept = accept_key(request.headers[hdrs.SEC_WEBSOCKET_KEY])
        head = (
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Accept: {accept}\r\n{extension}\r\n"
        )
        assert request.transport is not None
        connection = EchoConnection(request.transport, hub, codec, LIMITS, connections.discard)
        connections.add(connection)
        take_over(request, request.transport, head.encode(), connection)
        return Upgraded()

    app = web.Application()
    app.router.add_get("/{tail:.*}", upgrade)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    assert runner.addresses
    ready.set_result(runner.addresses[0][1])
    try:
        await asyncio.Future()
    finally:
        for connection in list(connections):
            connection.abort()
        await runner.cleanup()
