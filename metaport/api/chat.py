"""The chat connection: a WebSocket, or a stream of events where a network lets no WebSocket by.

Who comes in says so in the first frame; see `chatd/PROTOCOL.md`.
"""

from aiohttp import web

from metaport.api.operations import ANYONE, Operation
from metaport.api.services import SERVICES
from metaport.language import Say


async def connect(request: web.Request) -> web.StreamResponse:
    """Serve a WebSocket until it ends."""
    return await request.app[SERVICES].chat(request)


async def open_stream(request: web.Request) -> web.StreamResponse:
    """Serve a stream of server-sent events until it ends."""
    return await request.app[SERVICES].open_stream(request)


async def post_to_stream(request: web.Request) -> web.StreamResponse:
    """Take what the client of a stream says."""
    return await request.app[SERVICES].post_to_stream(request)


OPERATIONS = (
    Operation(
        "GET", "/ws", connect, Say("채팅 연결", "The chat connection"), ANYONE, described=False
    ),
    Operation(
        "GET", "/sse", open_stream, Say("이벤트 스트림", "A stream of events"), ANYONE,
        described=False, head=False,
    ),
    Operation(
        "POST", "/sse/{stream}", post_to_stream, Say("스트림으로 보내기", "Speak to a stream"),
        ANYONE, described=False,
    ),
)  # fmt: skip
