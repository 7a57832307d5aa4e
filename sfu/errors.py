"""Everything that can go wrong in the SFU, and the one table of codes clients see.

    SfuError
    ├── HostileBytes            counted by cause and dropped where bytes enter; no one is told
    │   ├── StunError           not a STUN message we serve, or not authenticated
    │   ├── RtpError            not an RTP packet
    │   ├── RtcpError           not a compound RTCP packet
    │   └── FramingError        not packets behind their lengths, on a TCP connection
    ├── SdpError                a session description that cannot be read or served
    ├── FactsRefused            the facts port could not keep what happened (disk full)
    └── Refused                 a request answered with one row of `REFUSALS`

Codes 300-399 are media. A client may retry 390-399 after `retry_after_ms`; the others are its own
mistake or a limit, and repeating the same request will not help.
"""

from typing import NamedTuple


class SfuError(Exception):
    """Base of all errors of this package."""


class HostileBytes(SfuError):
    """Bytes from the network that are not what they claim to be; `cause` names the counter."""

    def __init__(self, cause: str) -> None:
        super().__init__(cause)
        self.cause = cause


class StunError(HostileBytes):
    """Bytes that are not a STUN message this agent serves."""


class RtpError(HostileBytes):
    """Bytes that are not an RTP packet (RFC 3550, RFC 8285)."""


class RtcpError(HostileBytes):
    """Bytes that are not a compound RTCP packet (RFC 3550, RFC 5506)."""


class FramingError(HostileBytes):
    """Bytes on a TCP connection that are not framed packets (RFC 4571)."""


class SdpError(SfuError):
    """A session description that cannot be read (RFC 8866) or served (RFC 8829)."""


class FactsRefused(SfuError):
    """The facts port could not keep the facts; they are kept here and offered again."""


class Refusal(NamedTuple):
    """One row of the table: what a client sees when a request is refused."""

    code: int
    message: str
    retry_after_ms: int | None = None


REFUSALS: dict[str, Refusal] = {
    "bad_frame": Refusal(300, "the media frame lacks a field or holds a wrong one"),
    "unknown_frame": Refusal(301, "this media frame type is not known"),
    "not_in_media": Refusal(302, "join the room's media first"),
    "bad_sdp": Refusal(303, "the session description cannot be read or served"),
    "unsupported_codecs": Refusal(304, "none of the offered codecs is supported"),
    "no_such_track": Refusal(305, "this track does not exist"),
    "stale_offer": Refusal(306, "this offer is no longer current"),
    "no_such_publisher": Refusal(307, "this user publishes nothing here"),
    "too_many_tracks": Refusal(308, "too many tracks are published already"),
    "may_not_publish": Refusal(309, "this person may listen but not publish"),
    "no_such_participant": Refusal(310, "this participant does not exist"),
    "etag_mismatch": Refusal(311, "the session was restarted meanwhile"),
    "precondition_required": Refusal(312, "an ICE restart says which session it restarts"),
    "over_budget": Refusal(313, "the budget of this room is used up for this month"),
    "silenced": Refusal(314, "a moderator has muted this"),
    "unknown_op": Refusal(320, "the control operation is not known"),
    "bad_op": Refusal(321, "the control operation lacks a field or holds a wrong one"),
    "media_unavailable": Refusal(390, "the media server is away or closing", 1000),
    "too_many_participants": Refusal(391, "the media server is full", 5000),
    "internal": Refusal(399, "internal error", 1000),
}


class Refused(SfuError):
    """A request refused for a stable `reason` of `REFUSALS`."""

    def __init__(self, reason: str, detail: str | None = None) -> None:
        refusal = REFUSALS[reason]
        self.reason = reason
        self.code = refusal.code
        self.retry_after_ms = refusal.retry_after_ms
        self.message = f"{refusal.message}: {detail}" if detail else refusal.message
        super().__init__(f"{reason}: {self.message}")
