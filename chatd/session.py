"""One client's conversation, without IO: hello first, then frames it may send, until silence.

Feed `receive_message` and `heard`; call `handle_timeout` at `next_deadline`. Whatever is refused
comes as `Refused`: answer with its `error` frame and close when its refusal says so.
"""

import re
from math import isinf
from typing import NamedTuple, Protocol

from chatd.body import body_bytes, body_fault, value_fault
from chatd.errors import (
    BAD_BODY,
    BAD_REQUEST,
    BAD_ROOM,
    BAD_TOKEN,
    BODY_TOO_BIG,
    FORBIDDEN,
    HELLO_EXPECTED,
    HELLO_LATE,
    RATE_LIMITED,
    SILENT,
    TOKEN_EXPIRED,
    TOKEN_LAPSED,
    TOKEN_REFUSED,
    TOKEN_REVOKED,
    TOKEN_UNDECIDED,
    UNSUPPORTED_VERSION,
    BadToken,
    Refused,
    TokenExpired,
    TokenRevoked,
    TokenUndecided,
)
from chatd.facts import DEFAULT_APP
from chatd.grants import Grants, Rights, rights_in
from chatd.limits import Limits, TokenBucket
from chatd.room_name import is_room_name
from chatd.wire import (
    MSGPACK,
    WIRE_VERSION,
    AskOnline,
    ClientFrame,
    Codec,
    Hello,
    History,
    Join,
    MediaFrame,
    Refresh,
    Send,
    State,
)

# Given to those who enter under a name of their choice.
GUEST_ROLE = "guest"
_STATE_KIND = re.compile(r"[A-Za-z0-9_.:-]{1,32}")


class Identity(NamedTuple):
    """Who a token speaks for.

    `rooms` None grants any room; `expires_at` and `issued_at` (0: not told) are in seconds of UTC;
    `subscriptions` are rooms joined without asking; usage outside rooms is that of `app`.
    """

    user_id: str
    name: str
    roles: frozenset[str] = frozenset()
    rooms: Grants = None
    expires_at: float = float("inf")
    subscriptions: tuple[str, ...] = ()
    token_id: str | None = None
    issued_at: float = 0.0
    app: str = DEFAULT_APP

    @property
    def guest(self) -> bool:
        """Whether it is somebody without an account."""
        return GUEST_ROLE in self.roles

    def rights(self, room: str) -> Rights:
        """Return what the token grants in `room`."""
        return rights_in(room, self.rooms)

    def may(self, right: Rights, room: str) -> bool:
        """Say whether the token grants `right` in `room`."""
        return right in self.rights(room)

    def expires_in(self, utc: float) -> int | None:
        """Return the whole seconds left, None when it never runs out."""
        return None if isinf(self.expires_at) else max(0, int(self.expires_at - utc))


class Authenticator(Protocol):
    """Reads tokens. Synchronous: a signature check, no look-up."""

    def verify(self, token: str, now: float) -> Identity:
        """Return whom `token` speaks for at `now` (seconds of UTC).

        Raises:
            BadToken: nobody.
            TokenExpired, TokenRevoked: somebody, once.
            TokenUndecided: perhaps somebody; ask again after the delay it tells.
        """


class Session:
    """The state of one conversation."""

    __slots__ = (
        "_frames",
        "_hello_by",
        "_joins",
        "_lapses_at",
        "_ping_at",
        "_sends",
        "_states",
        "codec",
        "heard_at",
        "id",
        "identity",
        "limits",
        "resume_at",
    )

    def __init__(self, session_id: str, codec: Codec, limits: Limits, now: float) -> None:
        self.id = session_id
        self.codec = codec
        self.identity: Identity | None = None
        self.resume_at = 0.0
        self.limits = limits
        self._hello_by = now + limits.hello_timeout_s
        self.heard_at = now
        self._ping_at = now + limits.ping_s
        self._lapses_at = float("inf")
        self._frames = TokenBucket(limits.frame_per_s, limits.frame_burst, now)
        self._sends = TokenBucket(limits.send_per_s, limits.send_burst, now)
        self._states = TokenBucket(limits.state_per_s, limits.state_burst, now)
        self._joins = TokenBucket(limits.join_per_s, limits.join_burst, now)

    def heard(self, now: float) -> None:
        """Note that bytes came, whatever they were."""
        self.heard_at = now

    def receive_message(
        self, payload: bytes, now: float, utc: float, authenticator: Authenticator
    ) -> ClientFrame:
        """Return the frame in `payload` when this client may send it now.

        A `Hello` comes back once, with `identity` set; a `Refresh` with the new one. `now` is
        monotonic, `utc` is not; both in seconds.

        Raises:
            Refused: see `chatd.errors`.
        """
        if self.identity is None:
            return self._greet(payload, now, utc, authenticator)
        frame = self.codec.decode(payload)
        if type(frame) is Send:
            self._count_frame(frame, now)
            self._check_send(frame, now)
            return frame
        if type(frame) is Hello:
            raise Refused(BAD_REQUEST, "hello was said before")
        self._count_frame(frame, now)
        if type(frame) is Join:
            self._check_join(frame, now)
        elif type(frame) is State:
            self._check_state(frame)
        elif type(frame) is History:
            self._check_history(frame, now)
        elif type(frame) is AskOnline and (wait_s := self._joins.take(now)):
            raise too_fast(frame, wait_s, "join")  # as much work as a join
        elif type(frame) is Refresh:
            self._refresh(frame, now, utc, authenticator)
        elif type(frame) is MediaFrame and (fault := body_fault(frame.raw)) is not None:
            # What goes on to the SFU is of the JSON data model too: any decoder there bears it.
            raise Refused(BAD_REQUEST, fault, id=frame.id)
        return frame

    def take_state(self, now: float) -> float:
        """Count a `state`; return 0.0, or the seconds until the next may come."""
        return self._states.take(now)

    def receive_ping(self, now: float) -> float:
        """Count a WebSocket ping; return the seconds not to read for, 0.0 as a rule."""
        return self._frames.take(now)

    def wait_s(self, now: float) -> float:
        """Return the seconds not to read for: frames of all kinds came too fast together.

        An answer to each frame of a flood is work too; not reading costs nothing.
        """
        return max(0.0, self.resume_at - now) if self.resume_at else 0.0

    def next_deadline(self) -> float:
        """Return the moment by which `handle_timeout` is to be called."""
        if self.identity is None:
            return self._hello_by
        return min(self._ping_at, self.heard_at + self.limits.dead_s, self._lapses_at)

    def handle_timeout(self, now: float) -> bool:
        """Say whether a WebSocket ping is due.

        Raises:
            Refused: HELLO_LATE, SILENT or TOKEN_LAPSED; all of them close.
        """
        if self.identity is None:
            if now >= self._hello_by:
                raise Refused(HELLO_LATE, retry_after_ms=1000)
            return False
        if now >= self._lapses_at:
            raise Refused(TOKEN_LAPSED)
        if now >= self.heard_at + self.limits.dead_s:
            raise Refused(SILENT)
        if now < self._ping_at:
            return False
        self._ping_at = now + self.limits.ping_s
        return True

    def _count_frame(self, frame: ClientFrame, now: float) -> None:
        wait_s = self._frames.take(now)
        if wait_s:
            self.resume_at = now + wait_s
            raise too_fast(frame, wait_s, "frame")

    def _greet(self, payload: bytes, now: float, utc: float, authenticator: Authenticator) -> Hello:
        try:
            frame = self.codec.decode(payload)
        except Refused as refused:
            if refused.refusal.closes is not None:
                raise
            raise Refused(HELLO_EXPECTED, refused.message, id=refused.id) from None
        if type(frame) is not Hello:
            raise Refused(HELLO_EXPECTED, id=getattr(frame, "id", None))
        if frame.v != WIRE_VERSION:
            raise Refused(UNSUPPORTED_VERSION)
        self._go_on_as(_identify(frame.token, utc, authenticator), now, utc)
        self._ping_at = now + self.limits.ping_s
        return frame

    def _refresh(
        self, frame: Refresh, now: float, utc: float, authenticator: Authenticator
    ) -> None:
        try:
            identity = _identify(frame.token, utc, authenticator)
        except Refused as refused:
            raise Refused(
                TOKEN_REFUSED,
                refused.message,
                id=frame.id,
                retry_after_ms=refused.retry_after_ms,
            ) from None
        if self.identity is not None and identity.user_id != self.identity.user_id:
            raise Refused(TOKEN_REFUSED, "The token is another user's.", id=frame.id)
        self._go_on_as(identity, now, utc)

    def _go_on_as(self, identity: Identity, now: float, utc: float) -> None:
        self.identity = identity
        self._lapses_at = now + (identity.expires_at - utc)

    def _check_send(self, frame: Send, now: float) -> None:
        wait_s = self._sends.take(now)
        if wait_s:
            raise too_fast(frame, wait_s, "send")
        body = frame.body
        if not (type(body) is str and body.isascii() and len(body) <= self.limits.body_bytes):
            self._check_body(frame)
        if frame.key is not None and not 1 <= len(frame.key) <= self.limits.key_chars:
            raise Refused(
                BAD_REQUEST, f"key has 1 to {self.limits.key_chars} characters", id=frame.id
            )

    def _check_body(self, frame: Send) -> None:
        fault = body_fault(frame.body)
        if fault is not None:
            raise Refused(BAD_BODY, fault, id=frame.id)
        if body_bytes(frame.body) > self.limits.body_bytes:
            raise Refused(BODY_TOO_BIG, id=frame.id)

    def _check_state(self, frame: State) -> None:
        if not _STATE_KIND.fullmatch(frame.kind):
            raise Refused(BAD_REQUEST, "kind is 1 to 32 letters, digits or -_.:", id=frame.id)
        fault = value_fault(frame.value)
        if fault is not None:
            raise Refused(BAD_BODY, fault, id=frame.id)
        if len(MSGPACK.encode(frame.value)) > self.limits.state_bytes:
            raise Refused(BODY_TOO_BIG, "The value is over limits.state_bytes.", id=frame.id)

    def _check_join(self, frame: Join, now: float) -> None:
        wait_s = self._joins.take(now)
        if wait_s:
            raise too_fast(frame, wait_s, "join")
        if not is_room_name(frame.room):
            raise Refused(BAD_ROOM, id=frame.id)
        if self.identity is not None and not self.identity.may(Rights.READ, frame.room):
            raise Refused(FORBIDDEN, id=frame.id)

    def _check_history(self, frame: History, now: float) -> None:
        # A page is as much work as a join.
        wait_s = self._joins.take(now)
        if wait_s:
            raise too_fast(frame, wait_s, "join")
        if frame.before is not None and frame.after is not None:
            raise Refused(BAD_REQUEST, "before and after exclude each other", id=frame.id)


def _identify(token: str, utc: float, authenticator: Authenticator) -> Identity:
    try:
        identity = authenticator.verify(token, utc)
    except TokenExpired:
        raise Refused(TOKEN_EXPIRED) from None
    except TokenRevoked:
        raise Refused(TOKEN_REVOKED) from None
    except TokenUndecided as undecided:
        raise Refused(TOKEN_UNDECIDED, retry_after_ms=undecided.retry_after_ms) from None
    except BadToken:
        raise Refused(BAD_TOKEN) from None
    if identity.expires_at <= utc:
        raise Refused(TOKEN_EXPIRED)
    return identity


def too_fast(frame: ClientFrame, wait_s: float, limit: str) -> Refused:
    """Return the refusal of a frame that came `wait_s` too early for a limit."""
    # Rounded up, so that a client that waits as told finds a token.
    retry_after_ms = min(int(wait_s * 1000) + 1, 60_000)
    id = getattr(frame, "id", None)
    return Refused(RATE_LIMITED, id=id, retry_after_ms=retry_after_ms, limit=limit)
