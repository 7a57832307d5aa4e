"""The WHIP and WHEP sessions of a hub process: whose they are, and where they are present."""

from collections.abc import Callable, Container
from dataclasses import dataclass
from typing import Protocol

from chatd.grants import Rights
from metaport.api.problems import Problem
from metaport.roles import Permission, may
from metaport.tokens import Claims


class Presence(Protocol):
    """A person present in a room without a chat connection."""

    def detach(self) -> None:
        """Let the person leave; a second call does nothing."""


@dataclass
class Resource:
    """One live WHIP or WHEP session: who owns it, where they are present, and by what right."""

    claims: Claims
    room: str
    right: Rights
    presence: Presence

    @property
    def user(self) -> str:
        """Return the owner's id."""
        return self.claims.user


class MediaResources:
    """The live sessions of this hub process by participant id."""

    def __init__(self) -> None:
        self._live: dict[str, Resource] = {}

    def __contains__(self, participant: str) -> bool:
        return participant in self._live

    def add(
        self,
        participant: str,
        claims: Claims,
        room: str,
        right: Rights,
        presence: Presence,
    ) -> None:
        """Remember a session, and by which token it was made."""
        self._live[participant] = Resource(claims, room, right, presence)

    def made_by(self, void: Callable[[str, str | None, float], bool]) -> list[str]:
        """Return the sessions whose user, token id and issue make their token `void`."""
        return [
            participant
            for participant, resource in self._live.items()
            if void(resource.user, resource.claims.token_id, resource.claims.issued_at)
        ]

    def in_room(self, room: str) -> list[tuple[str, Resource]]:
        """Return the sessions of a room."""
        return [found for found in self._live.items() if found[1].room == room]

    def owned(self, participant: str, claims: Claims) -> Resource:
        """Return a session of this user (or any, for an operator).

        Raises:
            Problem: `no-such-session`; also for other people's, so that ids cannot be probed.
        """
        resource = self._live.get(participant)
        if resource is None or (
            resource.user != claims.user and not may(claims.roles, Permission.MEDIA_CONTROL)
        ):
            raise Problem("no-such-session")
        return resource

    def end(self, participant: str) -> None:
        """Take a session out of its room; a second call does nothing."""
        resource = self._live.pop(participant, None)
        if resource is not None:
            resource.presence.detach()

    def keep(self, participants: Container[str]) -> None:
        """Take all but these out of their rooms: the SFU has the others no longer."""
        for participant in [known for known in self._live if known not in participants]:
            self.end(participant)
