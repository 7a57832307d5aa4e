"""Join the chat's media port to the SFU's control socket.

1. `SfuLink.request` sends one operation and waits for its answer.
2. `MediaRelay` is the hub's media port: it relays `media.*` frames of chat connections, unread.
3. Events of the SFU reach `MediaRelay.on_event`: frames go to their chat session, ended
   WHIP and WHEP participants leave their room.
4. A lost control connection loses no media: `MediaRelay.on_connect` compares who is there, and only
   those whom the SFU does not know are sent to join again; all are when it stays away.

**What a media frame means is the SFU's business alone**; here only session, user, name, room
and whether the person may publish are added.
"""

import asyncio
import logging
from collections.abc import Callable, Container, Sequence
from typing import Any, TypedDict

from chatd.grants import Rights
from chatd.media import MediaClient, MediaRefused
from sfu.control import ControlClient, ControlError, ControlLost

logger = logging.getLogger(__name__)

# An SFU under load answers an offer in tens of milliseconds; its restart takes under 2 s.
REQUEST_TIMEOUT_S = 5.0
MEDIA_UNAVAILABLE = 390
# An SFU that lives takes the connection back within 0.3 s; one that died needs a second to return.
RETURN_S = 1.0


def may_publish(roles: Container[str]) -> bool:
    """Tell whether a person with these roles may send media; listeners only receive."""
    return "listener" not in roles


class SfuAway(Exception):
    """No SFU answers at the moment."""


class SfuLink:
    """One hub process's connection to its SFU."""

    def __init__(self, client: ControlClient) -> None:
        self._client = client

    @property
    def connected(self) -> bool:
        """Tell whether the control connection is up."""
        return self._client.connected

    async def request(self, op: str, **fields: Any) -> dict[str, Any]:
        """Ask the SFU.

        Raises:
            ControlError: the SFU refused, with its own reason.
            SfuAway: no connection, or no answer within 5 s.
        """
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT_S):
                return await self._client.request({"op": op, **fields})
        except (ControlLost, TimeoutError, OSError):
            raise SfuAway(op) from None


class Member(TypedDict):
    """A WHIP or WHEP participant, as the SFU tells of them."""

    participant: str
    room: str
    user: str
    name: str


class MediaRelay:
    """The media port of `chatd.hub.Hub` over an SFU.

    `matched(members)` is called with all WHIP and WHEP participants of the SFU when it is back,
    with none when it stays away; `ended(participant)` when one of them ends.
    """

    def __init__(
        self,
        link: SfuLink,
        matched: Callable[[Sequence[Member]], None],
        ended: Callable[[str], None],
    ) -> None:
        self._link = link
        self._matched = matched
        self._ended = ended
        self._clients: dict[str, MediaClient] = {}
        self._rooms: dict[str, set[str]] = {}  # session: rooms whose media it has joined
        # Leaves the SFU did not hear: it may live, and would count on.
        self._unheard_leaves: dict[tuple[str, Any], dict[str, Any]] = {}
        self._closing_tasks: set[asyncio.Task[None]] = set()
        # None while the SFU is there, and once it was given up.
        self._give_up_handle: asyncio.TimerHandle | None = None

    async def request(self, client: MediaClient, frame: dict[str, Any]) -> dict[str, Any]:
        """Relay one `media.*` frame and return the SFU's reply frame."""
        self._clients[client.session] = client
        room = frame.get("room")
        self._unheard_leaves.pop((client.session, room), None)
        try:
            reply = await self._carry(client, frame)
        except ControlError as refusal:
            raise MediaRefused(
                refusal.code, refusal.reason, refusal.message, refusal.retry_after_ms
            ) from None
        except SfuAway:
            if frame.get("t") == "media.leave":
                self._unheard_leaves[client.session, room] = frame
            raise MediaRefused(
                MEDIA_UNAVAILABLE, "media_unavailable", "the media server is away", 1000
            ) from None
        self._note(client.session, reply)
        return reply

    async def _carry(self, client: MediaClient, frame: dict[str, Any]) -> dict[str, Any]:
        identity = client.identity
        return await self._link.request(
            "frame",
            session=client.session,
            user=identity.user_id,
            name=identity.name,
            room=frame.get("room"),
            may_publish=may_publish(identity.roles)
            and identity.may(Rights.PUBLISH, str(frame.get("room"))),
            frame=frame,
        )

    def _note(self, session: str, reply: dict[str, Any]) -> None:
        if reply.get("t") == "media.joined":
            self._rooms.setdefault(session, set()).add(reply["room"])
        elif reply.get("t") == "media.left":
            self._rooms.get(session, set()).discard(reply["room"])

    def closed(self, client: MediaClient) -> None:
        """Tell the SFU that a chat connection ended; its participant gets a grace period."""
        self._rooms.pop(client.session, None)
        if self._clients.pop(client.session, None) is None:
            return
        task = asyncio.get_running_loop().create_task(
            self._tell_closed(client.session), name=f"media-closed-{client.session}"
        )
        self._closing_tasks.add(task)
        task.add_done_callback(self._closing_tasks.discard)

    async def _tell_closed(self, session: str) -> None:
        try:
            await self._link.request("session_closed", session=session)
        except (ControlError, SfuAway):
            logger.debug("session %s ended while the SFU was away", session)

    async def on_connect(self) -> None:
        """Compare with the SFU who is there, after either side was away.

        Sessions it does not know join again; WHIP and WHEP participants that this process does
        not know are present again.
        """
        answer = await self._link.request("sessions", sessions=list(self._clients))
        self._stop_waiting()
        self._matched(answer["participants"])
        for session in self._rooms.keys() - set(answer["known"]):
            self._close_media(session)
        leaves, self._unheard_leaves = self._unheard_leaves, {}
        for (session, _), frame in leaves.items():
            if (client := self._clients.get(session)) is not None:
                self._note(session, await self._carry(client, frame))

    def on_lost(self) -> None:
        """Wait for the SFU a moment: it may live, and people talk on."""
        if self._give_up_handle is None:
            loop = asyncio.get_running_loop()
            self._give_up_handle = loop.call_later(RETURN_S, self._give_up)

    def _give_up(self) -> None:
        """Tell everybody in media that the SFU is gone: they join again when it is back."""
        self._give_up_handle = None
        self._matched([])
        for session in list(self._rooms):
            self._close_media(session)

    def _stop_waiting(self) -> None:
        if self._give_up_handle is not None:
            self._give_up_handle.cancel()
            self._give_up_handle = None

    def _close_media(self, session: str) -> None:
        for room in self._rooms.pop(session):
            self._clients[session].push(
                {"t": "media.closed", "room": room, "reason": "media_unavailable"}
            )

    def on_event(self, event: dict[str, Any]) -> None:
        """Deliver what the SFU says by itself."""
        match event:
            case {"event": "frame", "session": session, "frame": frame}:
                self._deliver(session, frame)
            case {"event": "ended", "participant": participant}:
                self._ended(participant)
            case _:
                logger.warning("unknown event of the SFU: %s", event.get("event"))

    def _deliver(self, session: str, frame: dict[str, Any]) -> None:
        if frame.get("t") == "media.closed":
            # Told already why: whom another session replaced must not be sent to join again.
            self._rooms.get(session, set()).discard(frame["room"])
        if (client := self._clients.get(session)) is not None:
            client.push(frame)
