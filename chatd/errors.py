"""Refusals, close codes and exceptions of chatd: the one table clients are told about.

ChatError
├── Refused            answered with an `error` frame; closes when its refusal says so
│   └── MediaRefused   the SFU said no; its code and reason are passed on (300-399)
├── BadToken           raised by an `Authenticator`
│   ├── TokenExpired
│   └── TokenRevoked
├── TokenUndecided     raised by an `Authenticator` that will know soon
└── FactsRefused       raised by a `Facts` port that kept nothing of a batch
    └── BusAway        told by a bus that cannot reach its server
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Close:
    """A WebSocket close code and its stable reason."""

    code: int
    reason: str


# 4000-4099: reconnect at once, with jitter.
DRAINING = Close(4000, "draining")
SLOW_READER = Close(4001, "slow_reader")
TOKEN_LAPSED_CLOSE = Close(4002, "token_lapsed")
SILENT_CLOSE = Close(4003, "silent")
PLACE_LOST = Close(4004, "place_lost")
# 4100-4199: reconnect after the delay told in the `error` frame before it.
HELLO_LATE_CLOSE = Close(4101, "hello_late")
TOKEN_UNDECIDED_CLOSE = Close(4102, "token_undecided")
KICKED_CLOSE = Close(4103, "kicked")
# 4200-4299: do not reconnect with the same bytes or the same token.
BAD_FRAME_CLOSE = Close(4200, "bad_frame")
HELLO_EXPECTED_CLOSE = Close(4201, "hello_expected")
BAD_TOKEN_CLOSE = Close(4202, "bad_token")
TOKEN_EXPIRED_CLOSE = Close(4203, "token_expired")
UNSUPPORTED_VERSION_CLOSE = Close(4204, "unsupported_version")
TOKEN_REVOKED_CLOSE = Close(4205, "token_revoked")
BARRED_CLOSE = Close(4206, "barred")
# RFC 6455, section 7.4.1.
NORMAL = Close(1000, "")
PROTOCOL_ERROR = Close(1002, "protocol_error")
WRONG_KIND = Close(1003, "wrong_kind")
NOT_UTF8 = Close(1007, "not_utf8")
TOO_BIG = Close(1009, "too_big")

CLOSES = (
    NORMAL,
    PROTOCOL_ERROR,
    WRONG_KIND,
    NOT_UTF8,
    TOO_BIG,
    DRAINING,
    SLOW_READER,
    TOKEN_LAPSED_CLOSE,
    SILENT_CLOSE,
    PLACE_LOST,
    HELLO_LATE_CLOSE,
    TOKEN_UNDECIDED_CLOSE,
    KICKED_CLOSE,
    BAD_FRAME_CLOSE,
    HELLO_EXPECTED_CLOSE,
    BAD_TOKEN_CLOSE,
    TOKEN_EXPIRED_CLOSE,
    UNSUPPORTED_VERSION_CLOSE,
    TOKEN_REVOKED_CLOSE,
    BARRED_CLOSE,
)


@dataclass(frozen=True, slots=True)
class Refusal:
    """A row of the error table; `closes` is None when the connection stays open."""

    code: int
    reason: str
    message: str
    closes: Close | None = None


INTERNAL = Refusal(100, "internal", "The server failed; try again.")
UNKNOWN_TYPE = Refusal(101, "unknown_type", "There is no frame of this type.")
BAD_REQUEST = Refusal(102, "bad_request", "A field of the frame is missing or wrong.")
BAD_ROOM = Refusal(103, "bad_room", "This is not a room name.")
FORBIDDEN = Refusal(104, "forbidden", "The token does not grant this room.")
NOT_JOINED = Refusal(105, "not_joined", "Join the room first.")
TOO_MANY_ROOMS = Refusal(106, "too_many_rooms", "No more rooms can be joined or opened.")
BAD_BODY = Refusal(107, "bad_body", "The body is not a string or map of the JSON data model.")
BODY_TOO_BIG = Refusal(108, "body_too_big", "The body is over limits.body_bytes.")
RATE_LIMITED = Refusal(109, "rate_limited", "Too fast; try again after the delay.")
STORAGE_FULL = Refusal(110, "storage_full", "Not stored; try again after the delay.")
NO_MEDIA = Refusal(111, "no_media", "Voice and video are not available; try again later.")
TOKEN_REFUSED = Refusal(
    112, "token_refused", "Not a good token of the same user; the one before stays in force."
)
HISTORY_AWAY = Refusal(113, "history_away", "Older messages cannot be read now; try again later.")
BUS_AWAY = Refusal(114, "bus_away", "Messages cannot be passed on now; try again after the delay.")
ROOM_FULL = Refusal(115, "room_full", "The room has no free place; try again later.")
NOT_INVITED = Refusal(116, "not_invited", "The room is for invited people only.")
NO_GUESTS = Refusal(117, "no_guests", "Guests may not enter this room; sign in first.")
ROOMS_AWAY = Refusal(118, "rooms_away", "It is not known now who may enter; try again later.")
OVER_BUDGET = Refusal(119, "over_budget", "The budget of this room is used up for this month.")
MUTED = Refusal(120, "muted", "A moderator has muted you here.")
BANNED = Refusal(121, "banned", "A moderator has sent you out of this room.")
SPACE_CLOSED = Refusal(122, "space_closed", "The space is closed now.")
BAD_FRAME = Refusal(
    150, "bad_frame", "The bytes are not a frame of this subprotocol.", BAD_FRAME_CLOSE
)
HELLO_EXPECTED = Refusal(
    151, "hello_expected", "The first frame must be hello.", HELLO_EXPECTED_CLOSE
)
HELLO_LATE = Refusal(152, "hello_late", "No hello came in time.", HELLO_LATE_CLOSE)
BAD_TOKEN = Refusal(153, "bad_token", "The token is not valid.", BAD_TOKEN_CLOSE)
TOKEN_EXPIRED = Refusal(
    154, "token_expired", "The token has expired; get a new one.", TOKEN_EXPIRED_CLOSE
)
TOKEN_LAPSED = Refusal(
    155, "token_lapsed", "The token ran out; get a new one and reconnect.", TOKEN_LAPSED_CLOSE
)
UNSUPPORTED_VERSION = Refusal(
    156, "unsupported_version", "The server speaks version 1.", UNSUPPORTED_VERSION_CLOSE
)
SILENT = Refusal(157, "silent", "Nothing was heard for too long.", SILENT_CLOSE)
TOKEN_REVOKED = Refusal(
    158, "token_revoked", "The token was revoked; sign in again.", TOKEN_REVOKED_CLOSE
)
TOKEN_UNDECIDED = Refusal(
    159,
    "token_undecided",
    "The key of this token is not known yet; try again after the delay.",
    TOKEN_UNDECIDED_CLOSE,
)
KICKED = Refusal(
    160, "kicked", "A moderator has sent you away; come back after the delay.", KICKED_CLOSE
)
BARRED = Refusal(161, "barred", "A moderator has barred you from this server.", BARRED_CLOSE)

REFUSALS = (
    INTERNAL,
    UNKNOWN_TYPE,
    BAD_REQUEST,
    BAD_ROOM,
    FORBIDDEN,
    NOT_JOINED,
    TOO_MANY_ROOMS,
    BAD_BODY,
    BODY_TOO_BIG,
    RATE_LIMITED,
    STORAGE_FULL,
    NO_MEDIA,
    TOKEN_REFUSED,
    HISTORY_AWAY,
    BUS_AWAY,
    ROOM_FULL,
    NOT_INVITED,
    NO_GUESTS,
    ROOMS_AWAY,
    OVER_BUDGET,
    MUTED,
    BANNED,
    SPACE_CLOSED,
    BAD_FRAME,
    HELLO_EXPECTED,
    HELLO_LATE,
    BAD_TOKEN,
    TOKEN_EXPIRED,
    TOKEN_LAPSED,
    UNSUPPORTED_VERSION,
    SILENT,
    TOKEN_REVOKED,
    TOKEN_UNDECIDED,
    KICKED,
    BARRED,
)


class ChatError(Exception):
    """Base of everything chatd raises on purpose."""


class Refused(ChatError):
    """A frame that is answered with `error`.

    `limit` names the rate it was over, `opens_at` (UTC milliseconds) says when a space opens.
    """

    def __init__(
        self,
        refusal: Refusal,
        message: str | None = None,
        *,
        id: int | None = None,
        retry_after_ms: int | None = None,
        limit: str | None = None,
        opens_at: int | None = None,
    ) -> None:
        self.opens_at = opens_at
        self.refusal = refusal
        self.message = message or refusal.message
        self.id = id
        self.retry_after_ms = retry_after_ms
        self.limit = limit
        super().__init__(f"{refusal.reason}: {self.message}")


class MediaRefused(Refused):
    """What the SFU answers instead of a reply; its table lives with the SFU."""

    def __init__(
        self, code: int, reason: str, message: str, retry_after_ms: int | None = None
    ) -> None:
        super().__init__(Refusal(code, reason, message), retry_after_ms=retry_after_ms)
        self.code = code
        self.reason = reason


class BadToken(ChatError):
    """A token nobody here has signed, or that says nothing usable."""

    def __init__(self, message: str = "The token is not valid.") -> None:
        super().__init__(message)


class TokenExpired(BadToken):
    """A token that was good once."""

    def __init__(self, message: str = "The token has expired.") -> None:
        super().__init__(message)


class TokenRevoked(BadToken):
    """A token whose time is not over but which was taken back."""

    def __init__(self, message: str = "The token was revoked.") -> None:
        super().__init__(message)


class TokenUndecided(ChatError):
    """A token of which nothing can be said before its signer's key has been fetched."""

    def __init__(self, retry_after_ms: int = 1000) -> None:
        self.retry_after_ms = retry_after_ms
        super().__init__("The key of the token is not known yet.")


class FactsRefused(ChatError):
    """The facts port kept nothing of the batch (a full disk, say)."""

    def __init__(self, message: str = "not stored", retry_after_ms: int = 1000) -> None:
        self.retry_after_ms = retry_after_ms
        super().__init__(message)


class BusAway(FactsRefused):
    """The bus cannot pass messages on now; it resumes by itself."""
