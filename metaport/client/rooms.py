"""Rooms: what is laid down about them, who is there, and what moderators do."""

from collections.abc import AsyncIterator
from typing import Any

from metaport.api.invitations import InvitationMade, InvitationPage, InvitationTold, Redeemed
from metaport.api.moderation import ActDone
from metaport.api.participants import Figures, Participant, ParticipantPage, Said
from metaport.api.rooms import Room, RoomPage
from metaport.client.server import Server, path_of

_ROOM = "/api/v1/rooms/{room}"
_PERSON = "/api/v1/rooms/{room}/participants/{user}"


class Rooms:
    """The rooms of a server."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def list(self) -> AsyncIterator[Room]:
        """Yield the rooms something is laid down about, by name."""
        return self._server.pages("/api/v1/rooms", answer=RoomPage, items="rooms")

    async def create(self, room: str, **settings: Any) -> Room:
        """Lay something down about a room."""
        body = {"room": room, **settings}
        return await self._server.ask("POST", "/api/v1/rooms", body, answer=Room)

    async def show(self, room: str) -> Room:
        """Return what is laid down about a room."""
        return await self._server.ask("GET", path_of(_ROOM, room=room), answer=Room)

    async def change(self, room: str, **settings: Any) -> Room:
        """Lay some of it down anew."""
        return await self._server.ask("PATCH", path_of(_ROOM, room=room), settings, answer=Room)

    async def remove(self, room: str) -> None:
        """Lay nothing down any more."""
        await self._server.ask("DELETE", path_of(_ROOM, room=room), answer=type(None))

    async def invite(self, room: str, **settings: int) -> InvitationMade:
        """Make an invitation into a private room; its code is told here only."""
        path = path_of(f"{_ROOM}/invitations", room=room)
        return await self._server.ask("POST", path, settings, answer=InvitationMade)

    def invitations(self, room: str) -> AsyncIterator[InvitationTold]:
        """Yield the invitations into a room, by their ids."""
        path = path_of(f"{_ROOM}/invitations", room=room)
        return self._server.pages(path, answer=InvitationPage, items="invitations")

    async def uninvite(self, room: str, invitation: str) -> None:
        """Take an invitation back."""
        path = path_of(f"{_ROOM}/invitations/{{which}}", room=room, which=invitation)
        await self._server.ask("DELETE", path, answer=type(None))

    async def redeem(self, code: str) -> Redeemed:
        """Come by an invitation."""
        path = "/api/v1/invitations/redeem"
        return await self._server.ask("POST", path, {"code": code}, answer=Redeemed)

    def people(self, room: str) -> AsyncIterator[Participant]:
        """Yield who is in a room, by user id."""
        path = path_of(f"{_ROOM}/participants", room=room)
        return self._server.pages(path, answer=ParticipantPage, items="participants")

    async def figures(self, room: str) -> Figures:
        """Return the live figures of a room."""
        return await self._server.ask("GET", path_of(f"{_ROOM}/figures", room=room), answer=Figures)

    async def say(self, room: str, body: Any, *, key: str | None = None, **who: str) -> Said:
        """Say something as the server, or as `user` and `name`."""
        said = {"body": body, **who}
        path = path_of(f"{_ROOM}/messages", room=room)
        return await self._server.ask("POST", path, said, answer=Said, key=key)

    async def remove_message(self, room: str, message: str, note: str = "") -> ActDone:
        """Have a message read no more."""
        path = path_of(f"{_ROOM}/messages/{{message}}", room=room, message=message)
        return await self._server.ask("DELETE", path, {"note": note}, answer=ActDone)

    async def moderate(self, act: str, room: str, user: str, **fields: Any) -> ActDone:
        """Mute, unmute, kick, ban, unban or move somebody; `room` may be a pattern."""
        path = path_of(f"{_PERSON}/{act}", room=room, user=user)
        return await self._server.ask("POST", path, fields, answer=ActDone)

    async def end_media(self, room: str, user: str) -> ActDone:
        """End somebody's voice and video."""
        path = path_of(f"{_PERSON}/media", room=room, user=user)
        return await self._server.ask("DELETE", path, answer=ActDone)
