"""What goes wrong between a client and a server.

ClientError
├── ServerProblem   the server refused, with a problem document (RFC 9457)
└── Unreachable     no answer, or one that is not the API's
"""

from typing import Any

import msgspec


class ClientError(Exception):
    """Base of everything the client raises on purpose."""


class Unreachable(ClientError):
    """No answer came, or something else than this API answers there."""

    def __init__(self, url: str, said: str) -> None:
        self.url = url
        self.said = said
        super().__init__(f"{url}: {said}")


class ServerProblem(ClientError):
    """A refusal: its HTTP status, stable `reason` (`no-such-room`), title in the language asked.

    `fields` are the members beside those of RFC 9457.
    """

    def __init__(
        self, status: int, reason: str, title: str, detail: str, fields: dict[str, Any]
    ) -> None:
        self.status = status
        self.reason = reason
        self.title = title
        self.detail = detail
        self.fields = fields
        super().__init__(f"{title}: {detail}" if detail else title)

    @property
    def retry_after_s(self) -> float | None:
        """After how many seconds the same request may be served, None where it never is."""
        wait = self.fields.get("retry_after_s")
        return float(wait) if isinstance(wait, int | float) else None


def problem_of(status: int, body: bytes) -> ServerProblem | None:
    """Return the problem an answer tells, None where it tells none."""
    try:
        told = msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    kind, title = told.pop("type", None), told.pop("title", None)
    if not isinstance(kind, str) or not isinstance(title, str):
        return None
    told.pop("status", None)
    detail = str(told.pop("detail", ""))
    return ServerProblem(status, kind.removeprefix("/problems/"), title, detail, told)
