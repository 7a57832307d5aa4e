"""What a hub may ask of the SFU: control operations, and the `media.*` frames they relay.

Decoding is strict: a missing field or one of the wrong type is refused, unknown fields are
ignored, so that older servers understand newer clients.
"""

from typing import Any, Literal, get_args

import msgspec

from sfu.errors import Refused

Source = Literal["microphone", "camera", "screen"]
Kind = Literal["audio", "video"]


class Frame(msgspec.Struct, tag_field="t"):
    """A `media.*` frame of a chat client."""


class Join(Frame, tag="media.join"):
    """Take part in a room's media, or claim a participant again by its `resume` secret."""

    resume: str | None = None


class Leave(Frame, tag="media.leave"):
    """Take part no longer."""


class PublishedSource(msgspec.Struct):
    """What an m-line of a publishing offer carries."""

    mid: str
    source: Source


class Publish(Frame, tag="media.publish"):
    """Offer what the client sends: first, again for renegotiation, or to restart ICE."""

    sdp: str
    tracks: list[PublishedSource] = []


class Answer(Frame, tag="media.answer"):
    """Answer our offer number `n`."""

    n: int
    sdp: str


class Mute(Frame, tag="media.mute"):
    """Stop or resume forwarding of the client's own track."""

    track: str
    muted: bool


class Subscribe(Frame, tag="media.subscribe"):
    """Choose what to receive: everything of the others, or these tracks."""

    auto: bool
    tracks: list[str] = []


class Restart(Frame, tag="media.restart"):
    """Ask for an offer with new ICE credentials."""


class Trickle(Frame, tag="media.trickle"):
    """Tell a candidate of the client's (RFC 8838), empty after the last.

    Nothing depends on it: an ICE-lite agent learns addresses from checks.
    """

    candidate: str = ""


class Release(Frame, tag="media.release"):
    """Give up the place that was handed over to another SFU: the new one carries."""


AnyFrame = Join | Leave | Publish | Answer | Mute | Subscribe | Restart | Trickle | Release


class Operation(msgspec.Struct, tag_field="op"):
    """A request on the control socket."""


class RelayFrame(Operation, tag="frame"):
    """Relay a media frame of a chat session."""

    session: str
    user: str
    name: str
    room: str
    may_publish: bool
    frame: dict[str, Any]
    may_enter: bool = True
    """Whether somebody who is not in the room's media may come in; who resumes is in."""
    silenced: list[Kind] = []
    """What of theirs moderation does not let be heard or seen."""
    stay: str = ""
    """Names the participation this one goes on with, which began at `began_ms`; empty: it does not.
    """
    began_ms: int = 0


class SessionClosed(Operation, tag="session_closed"):
    """Note that a chat connection ended."""

    session: str


class Sessions(Operation, tag="sessions"):
    """Tell which chat sessions live; the participants of all others start their grace period."""

    sessions: list[str]


class Whip(Operation, tag="whip"):
    """Publish by WHIP."""

    room: str
    user: str
    name: str
    sdp: str
    silenced: list[Kind] = []


class Whep(Operation, tag="whep", rename={"publisher": "from"}):
    """Receive by WHEP; `None` takes everything published in the room."""

    room: str
    user: str
    name: str
    sdp: str
    publisher: str | None = None


class Patch(Operation, tag="patch"):
    """Trickle candidates to, or restart ICE of, a WHIP or WHEP session."""

    participant: str
    sdp_fragment: str
    if_match: str | None = None


class Delete(Operation, tag="delete"):
    """End a WHIP or WHEP session."""

    participant: str


class Stats(Operation, tag="stats"):
    """Ask for counters."""


class Diagnose(Operation, tag="diagnose"):
    """Ask how everybody's media is doing in a room, or in all."""

    room: str | None = None


class Load(Operation, tag="load"):
    """Ask how much there is to do here, and in which rooms."""


class HandOver(Operation, tag="hand_over"):
    """Stop metering the seconds of a chat participant: another SFU goes on with them."""

    session: str
    room: str


class EndRoom(Operation, tag="end_room"):
    """End everybody's participation in a room that cannot be moved."""

    room: str


class Silence(Operation, tag="silence"):
    """Forward nothing of these kinds of a user in a room, and let them unmute none of it."""

    room: str
    user: str
    kinds: list[Kind]


class Expel(Operation, tag="expel"):
    """End the participation of a user in a room, whatever they came by."""

    room: str
    user: str
    reason: str


class Drain(Operation, tag="drain"):
    """Admit nobody any more; with `stop`, end the process once everybody has moved."""

    stop: bool = False


class Admit(Operation, tag="admit"):
    """Admit people again after `drain`."""


AnyOperation = (
    RelayFrame
    | SessionClosed
    | Sessions
    | Whip
    | Whep
    | Patch
    | Delete
    | Stats
    | Diagnose
    | Load
    | HandOver
    | EndRoom
    | Silence
    | Expel
    | Drain
    | Admit
)

_FRAMES = {struct.__struct_config__.tag for struct in get_args(AnyFrame)}
_OPERATIONS = {struct.__struct_config__.tag for struct in get_args(AnyOperation)}


def read_frame(frame: dict[str, Any]) -> AnyFrame:
    """Type a media frame. Raises Refused: `unknown_frame`, `bad_frame`."""
    if str(frame.get("t")) not in _FRAMES:
        raise Refused("unknown_frame")
    try:
        read: AnyFrame = msgspec.convert(frame, AnyFrame)
    except msgspec.ValidationError as error:
        raise Refused("bad_frame", str(error)) from None
    return read


def read_operation(request: dict[str, Any]) -> AnyOperation:
    """Type a control request. Raises Refused: `unknown_op`, `bad_op`."""
    if str(request.get("op")) not in _OPERATIONS:
        raise Refused("unknown_op")
    try:
        read: AnyOperation = msgspec.convert(request, AnyOperation)
    except msgspec.ValidationError as error:
        raise Refused("bad_op", str(error)) from None
    return read
