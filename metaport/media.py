"""Join the chat's media port to the SFU's control socket.

1. `SfuLink.request` sends one operation and waits for its answer.
2. `MediaRelay` is the hub's media port: it relays `media.*` frames of chat connections, unread.
3. Events of the SFU reach `MediaRelay.on_event`: frames go to their chat session, ended
   WHIP and WHEP participants leave their room.

**What a media frame means is the SFU's business alone**; here only session, user, name, room
and whether the person may publish are added.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from chatd.media import MediaClient, MediaRefused
from sfu.control import ControlClient, ControlError, ControlLost

logger = logging.getLogger(__name__)

# An SFU under load answers an offer in tens of milliseconds; its restart takes under 2 s.
REQUEST_TIMEOUT_S = 5.0
MEDIA_UNAVAILABLE = 390


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


class MediaRelay:
    """The media port of `chatd.hub.Hub` over an SFU."""

    def __init__(
        self,
        link: SfuLink,
        found: Callable[[str, str, str, str], None],
        ended: Callable[[str], None],
    ) -> None:
        self._link = link
        self._found = found
        self._ended = ended
        self._clients: dict[str, MediaClient] = {}
        self._rooms: dict[str, set[str]] = {}  # session: rooms whose media it has joined
        self._closing_tasks: set[asyncio.Task[None]] = set()

    async def request(self, client: MediaClient, frame: dict[str, Any]) -> dict[str, Any]:
        """Relay one `media.*` frame and return the SFU's reply frame."""
        self._clients[client.session] = client
        identity = client.identity
        try:
            reply = await self._link.request(
                "frame",
                session=client.session,
                user=identity.user_id,
                name=identity.name,
                room=frame.get("room"),
                may_publish="listener" not in identity.roles,
                frame=frame,
            )
        except ControlError as refusal:
            raise MediaRefused(
                refusal.code, refusal.reason, refusal.message, refusal.retry_after_ms
            ) from None
        except SfuAway:
            raise MediaRefused(
                MEDIA_UNAVAILABLE, "media_unavailable", "the media server is away", 1000
            ) from None
        self._note(client.session, reply)
        return reply

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
        for member in answer["participants"]:
            self._found(member["participant"], member["room"], member["user"], member["name"])
        for session in self._rooms.keys() - set(answer["known"]):
            self._close_media(session)

    def on_lost(self) -> None:
        """Tell everybody in media that the SFU is gone: they join again when it is back."""
        for session in list(self._rooms):
            self._close_media(session)

    def _close_media(self, session: str) -> None:
        for room in self._rooms.pop(session):
            self._clients[session].push(
                {"t": "media.closed", "room": room, "reason": "media_unavailable"}
            )

    def on_event(self, event: dict[str, Any]) -> None:
        """Deliver what the SFU says by itself."""
        match event:
            case {"event": "frame", "session": session, "frame": frame}:
                client = self._clients.get(session)
                if client is not None:
                    client.push(frame)
            case {"event": "ended", "participant": participant}:
                self._ended(participant)
            case _:
                logger.warning("unknown event of the SFU: %s", event.get("event"))
