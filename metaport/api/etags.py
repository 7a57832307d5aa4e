"""Entity tags of resources that are changed (RFC 9110, sections 8.8.3 and 13.1).

A tag stands for what is laid down, not for live figures told beside it. Who reads with
`If-None-Match` is answered 304 while nothing has changed; who changes with `If-Match` is answered
412 when somebody else was quicker.
"""

import hashlib
import re
from typing import Any

import msgspec
from aiohttp import web

from metaport.api.bodies import respond
from metaport.api.problems import Problem

_TAG = re.compile(r'\s*(W/)?("[\x21\x23-\x7e\x80-\xff]*")\s*(?:,|$)')


def tag_of(*parts: Any) -> str:
    """Return the strong tag of structs or plain values."""
    encoded = msgspec.json.encode(_whole(parts), order="deterministic")
    return f'"{hashlib.blake2b(encoded, digest_size=12).hexdigest()}"'


def _whole(value: Any) -> Any:
    """Return a value with every field: `omit_defaults` leaves out by identity, so now and then."""
    if isinstance(value, msgspec.Struct):
        return {name: _whole(each) for name, each in msgspec.structs.asdict(value).items()}
    return [_whole(each) for each in value] if isinstance(value, list | tuple) else value


def check_match(request: web.Request, tag: str | None) -> None:
    """Refuse a change under `If-Match` of something else; `tag` is None where nothing is.

    Raises:
        Problem: `precondition-failed`.
    """
    header = _header(request, "If-Match")
    if header is not None and not _matches(header, tag, weak=False):
        raise Problem("precondition-failed")


def respond_tagged(request: web.Request, body: Any, tag: str, status: int = 200) -> web.Response:
    """Answer with a body and its tag, or 304 where the client has it already."""
    header = _header(request, "If-None-Match")
    reads = request.method in ("GET", "HEAD")
    if reads and header is not None and _matches(header, tag, weak=True):
        response = web.Response(status=304)
    else:
        response = respond(body, status)
    response.headers["ETag"] = tag
    if reads:
        # To be asked again each time: then a 304 spares the body.
        response.headers["Cache-Control"] = "private, no-cache"
    return response


def _header(request: web.Request, name: str) -> str | None:
    values = request.headers.getall(name, ())
    return ",".join(values) if values else None


def _matches(header: str, tag: str | None, *, weak: bool) -> bool:
    if header.strip() == "*":
        return tag is not None
    place = 0
    while place < len(header):
        found = _TAG.match(header, place)
        if found is None:
            return False
        if found[2] == tag and (weak or found[1] is None):
            return True
        place = found.end()
    return False
