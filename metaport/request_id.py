"""Which request something is done for: told to the client, and beside every log line."""

import re
import secrets
from contextvars import ContextVar

# None outside a request. Tasks that a request starts have it too.
CURRENT: ContextVar[str | None] = ContextVar("request_id", default=None)
# What a client or a proxy may name a request by: nothing to forge a line of a log with.
_SANE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)


def accepted(named: str | None) -> str:
    """Return the name a request came with if it is a sane one, else a new one."""
    if named is not None and _SANE.fullmatch(named):
        return named
    return secrets.token_hex(8)
