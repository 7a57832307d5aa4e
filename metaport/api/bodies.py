"""Typed bodies: msgspec structs in, JSON out."""

from typing import Any, TypeVar

import msgspec
from aiohttp import web

from metaport.api.operations import operation_of
from metaport.api.problems import Problem

# PostgreSQL keeps no U+0000 in a text.
NO_NUL = r"^[^\x00]*$"

Body = TypeVar("Body", bound=msgspec.Struct)


async def read_json(request: web.Request, kind: type[Body]) -> Body:
    """Decode and validate a JSON body; `kind` is the one that its operation declares.

    One that its operation lets be left out is `{}` then.

    Raises:
        Problem: `bad-request`, with the path of the field that does not fit.
    """
    operation = operation_of(request)
    assert operation is None or operation.body is kind, "the body is not the documented one"
    data = await request.read()
    if not data and operation is not None and operation.bodiless:
        data = b"{}"
    return decode_json(data, kind)


def decode_json(data: bytes, kind: type[Body]) -> Body:
    """Decode and validate JSON; raises as `read_json` does."""
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Problem("bad-request", str(error)) from None


def respond(body: Any, status: int = 200) -> web.Response:
    """Encode a struct or plain value as JSON."""
    return web.Response(
        status=status, body=msgspec.json.encode(body), content_type="application/json"
    )


async def read_sdp(request: web.Request, media_type: str = "application/sdp") -> str:
    """Read an SDP (or SDP fragment) body.

    Raises:
        Problem: `unsupported-media-type`, `bad-sdp` when it is not UTF-8.
    """
    if request.content_type != media_type:
        raise Problem("unsupported-media-type", expects=media_type)
    try:
        return (await request.read()).decode()
    except UnicodeDecodeError:
        raise Problem("bad-sdp") from None
