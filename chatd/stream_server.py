"""`GET /sse` and `POST /sse/{stream}`: the chat for networks that break WebSocket."""

import secrets
from collections.abc import Callable, Collection
from typing import Protocol

from aiohttp import hdrs, web

from chatd.handshake import Objection, Upgraded, object_to_origin, objection, take_over
from chatd.hub import Hub
from chatd.limits import Limits
from chatd.stream import StreamConnection

# A request holds many small frames, or one of the largest size.
REQUEST_BYTES = 256 * 1024
NUMBER_DIGITS = 15


class Elsewhere(Protocol):
    """Where the streams of other hubs are; `None` is answered for a stream nobody has."""

    async def post(self, stream: str, number: int, body: bytes) -> int | None:
        """Hand a request on; return the HTTP status that the other hub answers."""


class Streams:
    """The streams of a hub, by their ids.

    Args:
        origins: as for `chatd.server.ChatServer`.
        object_to_one_more: why there may be no more connections now.
        opened, lost: told of each stream, so that a drain ends them too.
    """

    def __init__(
        self,
        hub: Hub,
        limits: Limits,
        *,
        origins: Collection[str],
        object_to_one_more: Callable[[web.Request], Objection | None],
        opened: Callable[[StreamConnection, web.Request], None],
        lost: Callable[[StreamConnection], None],
    ) -> None:
        self._hub = hub
        self._limits = limits
        self._origins = origins
        self._object_to_one_more = object_to_one_more
        self._opened = opened
        self._lost = lost
        self._streams: dict[str, StreamConnection] = {}
        self._request_bytes = max(REQUEST_BYTES, limits.frame_bytes + 1024)
        # None on a single hub.
        self.elsewhere: Elsewhere | None = None
        # The first part of each id: whose stream it is.
        self.name = secrets.token_hex(4)

    async def open(self, request: web.Request) -> web.StreamResponse:
        """Answer with a stream of events that goes on until one side ends it."""
        found = object_to_origin(request, self._origins) or self._object_to_one_more(request)
        if found is not None:
            self._hub.counters.handshakes_refused[found.reason] += 1
            return _readable(request, found.problem)
        transport = request.transport
        if transport is not None:
            chunked = request.version >= (1, 1)
            stream = StreamConnection(
                f"{self.name}-{secrets.token_urlsafe(18)}",
                transport,
                self._hub,
                self._limits,
                self._forget,
                chunked=chunked,
            )
            self._streams[stream.id] = stream
            self._opened(stream, request)
            take_over(request, transport, _head(request, chunked), stream)
            stream.begin()
        return Upgraded()

    async def post(self, request: web.Request) -> web.Response:
        """Take frames of a stream: `?n=1` for its first request, counting up."""
        found = object_to_origin(request, self._origins)
        if found is not None:
            return _readable(request, found.problem)
        number = request.query.get("n", "")
        if not number.isdecimal() or len(number) > NUMBER_DIGITS or int(number) == 0:
            return _refused(request, 400, "Bad request", "n counts the requests of a stream.")
        body = await self._read(request)
        if body is None:
            return _refused(request, 413, "Too large", f"At most {self._request_bytes} bytes.")
        id = request.match_info["stream"]
        status = await self.take(id, int(number), body)
        if status is None and self.elsewhere is not None and not id.startswith(f"{self.name}-"):
            status = await self.elsewhere.post(id, int(number), body)
        match status:
            case None:
                return _refused(request, 404, "Stream not here", "Open another stream.")
            case 429:
                return _refused(request, 429, "Too many requests", "One request at a time.")
            case 409:
                return _refused(request, 409, "Out of order", "An earlier request has not come.")
            case 503:
                return _refused(request, 503, "Try again", "Another hub does not answer.")
        return _readable(request, web.Response(status=204))

    async def _read(self, request: web.Request) -> bytes | None:
        """Return the body, None when it is too large; no more of it is held than may be."""
        body = bytearray()
        if (request.content_length or 0) > self._request_bytes:
            return None
        while chunk := await request.content.readany():
            body += chunk
            if len(body) > self._request_bytes:
                return None
        return bytes(body)

    async def take(self, id: str, number: int, body: bytes) -> int | None:
        """Give a request to the stream of this id; None when it is not here."""
        stream = self._streams.get(id)
        if stream is None:
            return None
        return await stream.receive(number, body)

    def _forget(self, stream: StreamConnection) -> None:
        self._streams.pop(stream.id, None)
        self._lost(stream)


def _head(request: web.Request, chunked: bool) -> bytes:
    lines = [
        "HTTP/1.1 200 OK",
        "Content-Type: text/event-stream; charset=utf-8",
        # A proxy that compresses waits for more to compress.
        "Cache-Control: no-store, no-transform",
        "X-Accel-Buffering: no",
        "X-Content-Type-Options: nosniff",
        "Connection: close",
        *(["Transfer-Encoding: chunked"] if chunked else []),
        *(f"{name}: {value}" for name, value in _cors(request).items()),
    ]
    return "\r\n".join([*lines, "", ""]).encode()


def _cors(request: web.Request) -> dict[str, str]:
    """Let the page read the answer; its origin has been allowed."""
    origin = request.headers.get(hdrs.ORIGIN)
    return {} if origin is None else {"Access-Control-Allow-Origin": origin, "Vary": "Origin"}


def _readable(request: web.Request, response: web.Response) -> web.Response:
    response.headers.update(_cors(request) if response.status != 403 else {})
    return response


def _refused(request: web.Request, status: int, title: str, detail: str) -> web.Response:
    retry_after_s = 1.0 if status in (429, 503) else None
    found = objection("stream", status, title, detail, retry_after_s=retry_after_s)
    return _readable(request, found.problem)
