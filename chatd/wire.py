"""The frames of `/ws` and their two codecs, MessagePack and JSON.

Client frames are decoded into typed structs in one pass. What does not fit is looked at again
by `chatd.misfit`, which finds the right refusal. Server frames are encoded once per codec,
WebSocket header included, and the same bytes go to every receiver.
"""

from collections.abc import Callable
from typing import Annotated, Any, Literal

import msgspec

from chatd import misfit
from chatd.deflate import deflate
from chatd.errors import BAD_BODY, BAD_FRAME, BAD_REQUEST, UNKNOWN_TYPE, Refused
from chatd.websocket import BINARY, TEXT, deflated_frame, frame

WIRE_VERSION = 1

# What JSON clients count exactly.
MAX_EXACT_INT = 2**53 - 1
# `id` may be any unsigned 64-bit integer.
MAX_ID = 2**64 - 1

Id = Annotated[int, msgspec.Meta(ge=0)]
Count = Annotated[int, msgspec.Meta(ge=0, le=MAX_EXACT_INT)]


class _FromClient(msgspec.Struct, frozen=True, gc=False, tag_field="t", tag=str.lower):
    pass


class Since(msgspec.Struct, frozen=True, gc=False):
    """The last message seen: its epoch and offset (exclusive)."""

    epoch: str
    offset: Count


class Hello(_FromClient, frozen=True):
    """The first frame."""

    token: str
    v: int


class Join(_FromClient, frozen=True):
    """Become a member, or synchronise again."""

    id: Id
    room: str
    since: Since | None = None
    history: Count = 0
    presence: bool = False
    state: bool = False
    space: bool = False


# The `id` of a join that no client asked for; clients' own are not negative.
UNASKED = -1


class Send(_FromClient, frozen=True):
    """Say something in a room."""

    id: Id
    room: str
    body: Any = None
    key: str | None = None


class Leave(_FromClient, frozen=True):
    """Stop being a member."""

    id: Id
    room: str


class History(_FromClient, frozen=True):
    """Page over a room's past; `before` and `after` are exclusive, without them the newest."""

    id: Id
    room: str
    before: Since | None = None
    after: Since | None = None
    limit: Annotated[int, msgspec.Meta(ge=1)] = 50


class Ping(_FromClient, frozen=True):
    """Ask for a pong; nobody has to."""

    id: Id | None = None


class State(_FromClient, frozen=True):
    """Show a value to the room, until the next of its kind; None takes it away.

    Answered only when it has an `id`.
    """

    room: str
    kind: str
    value: Any
    id: Id | None = None


class AskOnline(_FromClient, frozen=True, tag="online"):
    """Ask who is online; with `watch` also hear of changes, of these users and no others."""

    id: Id
    users: list[str]
    watch: bool = False


class Refresh(_FromClient, frozen=True):
    """Go on with a new token of the same user."""

    id: Id
    token: str


class MediaFrame(msgspec.Struct, frozen=True):
    """A `media.*` frame: `raw` is all of it, and chatd does not know its insides."""

    t: str
    id: int | None
    room: str
    raw: dict[str, Any]


_TYPED = Hello | Join | Send | Leave | History | Ping | Refresh | State | AskOnline

ClientFrame = _TYPED | MediaFrame
_STRUCTS: dict[str, type[msgspec.Struct]] = {
    "hello": Hello,
    "join": Join,
    "send": Send,
    "leave": Leave,
    "history": History,
    "ping": Ping,
    "refresh": Refresh,
    "state": State,
    "online": AskOnline,
}


class _FromServer(
    msgspec.Struct, frozen=True, gc=False, tag_field="t", tag=str.lower, omit_defaults=True
):
    pass


class Person(msgspec.Struct, frozen=True, gc=False):
    """A user as others see them, in `members`."""

    user: str
    name: str


class UserState(msgspec.Struct, frozen=True, gc=False):
    """The last value of a user and kind; None: it was taken away."""

    user: str
    kind: str
    value: Any


class User(msgspec.Struct, frozen=True, gc=False):
    """A user as they see themselves, in `welcome`."""

    id: str
    name: str


class Welcome(_FromServer, frozen=True):
    """The answer to `hello`; `expires_in` is None for a token that never runs out."""

    user: User
    session: str
    ping_s: float
    limits: dict[str, int | float]
    expires_in: int | None = None


class Joined(_FromServer, frozen=True):
    """The answer to `join`, or, without `id`, a room one is in without asking.

    `messages` are whole `message` frames, already encoded.
    """

    room: str
    epoch: str
    offset: int
    recovered: bool
    messages: list[msgspec.Raw]
    id: int | None = None
    members: list[Person] | None = None
    count: int | None = None
    states: list[UserState] | None = None
    sample: list[Person] | None = None
    removed: list[int] | None = None


class Sent(_FromServer, frozen=True):
    """The answer to `send`; `epoch` is told where it is not the room's any more."""

    id: int
    room: str
    offset: int
    message_id: str
    at: int
    epoch: str | None = None


class Left(_FromServer, frozen=True):
    """The answer to `leave`, or, without `id`, the end of a membership and its `reason`.

    Where a moderator ended it: who, what they wrote, after how long one may come back, or which
    room one has been moved `to`.
    """

    room: str
    id: int | None = None
    reason: str | None = None
    retry_after_ms: int | None = None
    to: str | None = None
    by: str | None = None
    note: str | None = None


class Past(_FromServer, frozen=True, tag="history"):
    """The answer to `history`: whole `message` frames of one epoch, oldest first."""

    id: int
    room: str
    epoch: str
    messages: list[msgspec.Raw]
    more: bool


class Message(_FromServer, frozen=True, rename={"from_": "from"}):
    """A message, live or recovered; of one that was `removed` only its place is left."""

    room: str
    offset: int
    id: str
    from_: str
    name: str
    at: int
    body: Any
    removed: bool = False


class Removed(_FromServer, frozen=True):
    """A message is not to be shown any more."""

    room: str
    epoch: str
    offset: int
    id: str
    by: str | None = None
    note: str | None = None


class Space(_FromServer, frozen=True):
    """What a space shows: after `joined` where that was asked for, and with each change."""

    space: str
    revision: int
    state: dict[str, Any]


class Muted(_FromServer, frozen=True):
    """What of one is muted in a room from now on: `text`, `audio`, `video`, or nothing any more.

    `until` is in milliseconds since the Unix epoch; without it there is no end.
    """

    room: str
    what: list[str]
    until: int | None = None
    by: str | None = None
    note: str | None = None


class Presence(_FromServer, frozen=True):
    """Who came and went, for those who asked.

    `joined` and `left` name a user, `count` tells only how many there are, `members` tells all
    of them again (a room that was too big for names is small enough again).
    """

    room: str
    event: Literal["joined", "left", "count", "members"]
    user: str | None = None
    name: str | None = None
    count: int | None = None
    members: list[Person] | None = None


class WhoIsOnline(_FromServer, frozen=True, tag="online"):
    """The answer to `online`, or, without `id`, what has changed: user and whether online."""

    users: dict[str, bool]
    id: int | None = None


class Pong(_FromServer, frozen=True):
    """The answer to `ping`."""

    id: int | None = None


class Stated(_FromServer, frozen=True):
    """The answer to a `state` that asked for one."""

    id: int
    room: str


class States(_FromServer, frozen=True):
    """What changed in a room since the last tick; with `all`, everything there is."""

    room: str
    states: list[UserState]
    all: bool = False


class Refreshed(_FromServer, frozen=True):
    """The answer to `refresh`; `expires_in` as in `welcome`."""

    id: int
    expires_in: int | None = None


class Error(_FromServer, frozen=True):
    """The answer to what was refused; `id` where the request had one, `limit` where a rate was
    exceeded."""

    code: int
    reason: str
    message: str
    id: int | None = None
    retry_after_ms: int | None = None
    limit: str | None = None
    opens_at: int | None = None


class Codec:
    """One subprotocol: `decode` client frames, `encode` server frames, `frame` for the wire."""

    def __init__(
        self,
        *,
        index: int,
        name: str,
        opcode: int,
        decode_typed: Callable[[bytes], Any],
        decode_map: Callable[[bytes], dict[Any, Any]],
        decode_shallow: Callable[[bytes], dict[Any, Any]],
        encode: Callable[[Any], bytes],
    ) -> None:
        self.index = index
        self.name = name
        self.subprotocol = f"metaport.v{WIRE_VERSION}.{name}"
        self.opcode = opcode
        self.encode = encode
        self._decode_typed = decode_typed
        self._decode_map = decode_map
        self._decode_shallow = decode_shallow

    def frame(self, message: Any) -> bytes:
        """Return `message` as one WebSocket frame, ready for any number of receivers."""
        return frame(self.encode(message), self.opcode)

    def wrap(self, payload: bytes) -> bytes:
        """Return an encoded message as one WebSocket frame."""
        return frame(payload, self.opcode)

    @property
    def packs(self) -> bool:
        """Whether it is MessagePack."""
        return self.opcode == BINARY

    def decode(self, payload: bytes) -> ClientFrame:
        """Return the frame in `payload`.

        Raises:
            Refused: BAD_FRAME for what is not a frame at all, else UNKNOWN_TYPE, BAD_REQUEST
                or BAD_BODY with the request's `id` where it has a good one.
        """
        try:
            typed: ClientFrame = self._decode_typed(payload)
        except UnicodeDecodeError:
            raise Refused(BAD_FRAME, "a string is not UTF-8") from None
        except (ValueError, RecursionError) as error:
            return self._decode_misfit(payload, error)
        if type(typed) is Send:
            if typed.id <= MAX_ID:
                return typed
            raise Refused(BAD_REQUEST, "id is over 2^64 - 1")
        if getattr(typed, "id", None) is not None and typed.id > MAX_ID:  # type: ignore[union-attr,operator]
            raise Refused(BAD_REQUEST, "id is over 2^64 - 1")
        return typed

    def _decode_misfit(self, payload: bytes, error: Exception) -> ClientFrame:
        outline = self._decode_shallow(payload)  # raises Refused(BAD_FRAME)
        kind, request_id = outline.get("t"), misfit.request_id(outline)
        if not isinstance(kind, str):
            raise Refused(BAD_REQUEST, "t is missing or not a string", id=request_id)
        if kind.startswith("media."):
            return self._decode_media(payload, kind, request_id)
        if kind not in _STRUCTS:
            raise Refused(UNKNOWN_TYPE, id=request_id)
        if kind == "send" and misfit.only_body(outline, Send):
            raise Refused(BAD_BODY, id=request_id)
        raise Refused(BAD_REQUEST, str(error)[:200], id=request_id)

    def _decode_media(self, payload: bytes, kind: str, request_id: int | None) -> MediaFrame:
        try:
            raw = self._decode_map(payload)
        except (ValueError, RecursionError) as error:
            raise Refused(BAD_REQUEST, str(error)[:200], id=request_id) from None
        room = raw.get("room")
        if request_id is None or not isinstance(room, str):
            raise Refused(BAD_REQUEST, "media frames have an id and a room", id=request_id)
        if not all(isinstance(name, str) for name in raw):
            raise Refused(BAD_REQUEST, "the names of fields are strings", id=request_id)
        return MediaFrame(kind, request_id, room, raw)


class DeflatingCodec(Codec):
    """A codec whose frames are compressed where that is shorter (RFC 7692)."""

    def frame(self, message: Any) -> bytes:
        return self.wrap(self.encode(message))

    def wrap(self, payload: bytes) -> bytes:
        packed = deflate(payload)
        return (
            frame(payload, self.opcode) if packed is None else deflated_frame(packed, self.opcode)
        )


MSGPACK = Codec(
    index=0,
    name="msgpack",
    opcode=BINARY,
    decode_typed=msgspec.msgpack.Decoder(_TYPED).decode,
    decode_map=msgspec.msgpack.Decoder(dict[Any, Any]).decode,
    decode_shallow=misfit.shallow_msgpack,
    encode=msgspec.msgpack.Encoder().encode,
)
JSON = Codec(
    index=1,
    name="json",
    opcode=TEXT,
    decode_typed=msgspec.json.Decoder(_TYPED).decode,
    decode_map=msgspec.json.Decoder(dict[Any, Any]).decode,
    decode_shallow=misfit.shallow_json,
    encode=msgspec.json.Encoder().encode,
)
CODECS = (MSGPACK, JSON)
DEFLATING = tuple(
    DeflatingCodec(
        index=len(CODECS) + codec.index,
        name=codec.name,
        opcode=codec.opcode,
        decode_typed=codec._decode_typed,
        decode_map=codec._decode_map,
        decode_shallow=codec._decode_shallow,
        encode=codec.encode,
    )
    for codec in CODECS
)
# Receivers of the same bytes have the same of these.
VARIANTS = (*CODECS, *DEFLATING)
BY_SUBPROTOCOL = {codec.subprotocol: codec for codec in CODECS}

_decode_message = msgspec.msgpack.Decoder(Message).decode


def tombstone(message: Message) -> Message:
    """Return what is left of a message that was removed: its place, and whose it was."""
    return msgspec.structs.replace(message, body=None, removed=True)


def tombstone_of(packed: bytes, codec: Codec) -> bytes:
    """Return the payload for `codec` of what is left of a packed `message` frame."""
    return codec.encode(tombstone(_decode_message(packed)))


def packed_to_json(packed: bytes) -> bytes:
    """Return a `message` frame's MessagePack payload as its JSON payload."""
    return JSON.encode(_decode_message(packed))
