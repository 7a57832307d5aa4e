"""`Idempotency-Key`: what makes something is done once, however often it is asked for.

Of an operation that answers 201 to somebody with a token (`operations.Operation.makes`):

1. the key is claimed in the database; what is known under it ends here: its answer is told again
   (`Idempotency-Replayed: true`), another body is 422, one still under way 409
2. the operation is done
3. its answer is kept for a day, sealed, for it may tell a secret

A crash between 1 and 2 leaves a claim that a repeat takes over after a minute. A crash between 2
and 3 does too, and then the operation is done again: it finds what the first has made where names
say so (a room: 409 `room-exists`), and makes another one where not. What is refused (4xx, 5xx) is
not kept: nothing was made, the key is free again.
"""

import hashlib
import re
import secrets

from aiohttp import web

from metaport.api.operations import CLAIMS, operation_of
from metaport.api.problems import Handler, Problem
from metaport.api.services import SERVICES
from metaport.db.idempotency import Request

HEADER = "Idempotency-Key"
MAX_CHARACTERS = 255
# Visible ASCII; the draft writes a string in quotes, most clients write none.
_KEY = re.compile(rf'"?([\x21\x23-\x7e]{{1,{MAX_CHARACTERS}}})"?')


@web.middleware
async def once(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Do what makes something once under its key.

    Raises:
        Problem: `bad-request` for a key that is none, and what `Once.do` raises.
    """
    operation = operation_of(request)
    if operation is None or not operation.makes or HEADER not in request.headers:
        return await handler(request)
    found = _KEY.fullmatch(request.headers[HEADER])
    if found is None:
        raise Problem("bad-request", f"{HEADER}: 1–{MAX_CHARACTERS} visible ASCII characters")
    asked = hashlib.sha256(f"{request.method} {request.raw_path}\0".encode())
    asked.update(await request.read())
    named = Request(
        request[CLAIMS].user,
        hashlib.sha256(found[1].encode()).hexdigest(),
        asked.hexdigest(),
        secrets.token_hex(8),
    )
    return await request.app[SERVICES].once.do(named, lambda: handler(request))
